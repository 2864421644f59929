"""Pre-trained backbones: TF-Hub handles, SavedModels, EfficientNet-Lite and keras.applications, photos to vectors.

A module of TF-Hub is fetched once and kept in the folder that the environment variable TFHUB_CACHE_DIR names, by default in
``tfhub`` of LANDMARKS_MODELS (``~/.cache/landmarks``): predict and serve find it there without a network.
"""

import difflib
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landmarks.common.errors import InputError
from landmarks.common.files import models_folder
from landmarks.deep import efficientnet_lite
from landmarks.deep.runtime import hub, tf
from landmarks.images.preprocessing import Preprocessing

RANGES = ((0, 1), (-1, 1), (0, 255))  # of pixel values that published backbones take
ALONE = 0.05  # part of the largest value by which a photo's vector may differ with the photos beside it
PROBED = 64  # photos that the range is tried on
CHANCE = 0.01  # of refusing the right range
SIGNATURES = ("serving_default", "default")  # what is called where a module is no function itself: Keras' name, TF1's
OUTPUT = "default"  # the vector among several outputs, by TF-Hub's convention
ONE_OUTPUT = f"save it with one output, or call the vector {OUTPUT!r}"
CUSTOM = {"KerasLayer": hub.KerasLayer}  # what Keras has to be told when it opens a .keras file
KERAS_FILE = "; it is a file: open it with Keras and write a SavedModel folder with model.export(FOLDER)"
REMEDY = "set cnn.module and cnn.size in params.yaml; without a network, to a SavedModel folder or efficientnet_lite0"


@dataclass(frozen=True)
class Backbone:
    """A pre-trained network without its top."""

    name: str  # TF-Hub handle, SavedModel folder, efficientnet_lite0 to 2, or name in keras.applications
    layer: Any
    size: int  # pixels a side of the photos that it takes
    scale: Callable[[Any], Any]  # from RGB in [0, 1] to the values that it takes
    certain: bool  # whether scale is known, rather than taken from params.yaml
    learnable: list[Any]  # variables without the statistics of batch norm, from the photo to the vector


class BackboneLayer(tf.keras.layers.Layer):  # type: ignore[misc]  # TensorFlow has no types
    """A backbone as the first layer of a network: float32 RGB in [0, 1], (n, size, size, 3), to float32 (n, dimensions).

    The last of its variables are trained, the share ``tuned``. With ``statistics``, batch norm uses the batch in training
    and updates its averages; without, it keeps those it came with.
    """

    def __init__(self, backbone: Backbone, tuned: float, statistics: bool) -> None:
        super().__init__(name="trunk")
        self.backbone, self.layer, self._statistics = backbone, backbone.layer, statistics
        count = round(tuned * len(backbone.learnable))
        self._trained = {id(variable) for variable in backbone.learnable[len(backbone.learnable) - count :]}
        if tuned and not count:
            raise InputError(f"cnn.module {backbone.name}: has nothing to train; set cnn.recipe to frozen")

    def call(self, pictures: Any, training: bool = False) -> Any:
        """The vectors."""
        return self.layer(self.backbone.scale(pictures), training=bool(training and self._statistics))

    @property
    def trainable_weights(self) -> list[Any]:
        """The variables that gradient descent changes."""
        return [weight for weight in self.layer.weights if id(weight) in self._trained]

    @property
    def non_trainable_weights(self) -> list[Any]:
        """All other variables, the statistics of batch norm among them."""
        return [weight for weight in self.layer.weights if id(weight) not in self._trained]


class JoinedLayer(tf.keras.layers.Layer):  # type: ignore[misc]  # TensorFlow has no types
    """Several backbones as one: each vector scaled to length 1, then laid end to end; no layer of them learns."""

    def __init__(self, parts: tuple[Backbone, ...]) -> None:
        super().__init__(name="joined")
        self.parts, self.inner = parts, [part.layer for part in parts]

    def call(self, pictures: Any, training: bool = False) -> Any:
        """The vectors of float32 RGB in [0, 1]; a backbone that takes smaller photos gets them scaled."""
        return tf.concat([tf.math.l2_normalize(part.layer(part.scale(resized(pictures, part.size)), training=False), axis=1)
                          for part in self.parts], axis=1)  # fmt: skip


def resized(pictures: Any, size: int) -> Any:
    """RGB (n, side, side, 3) at (n, size, size, 3)."""
    return pictures if pictures.shape[1] == size else tf.image.resize(pictures, (size, size))


def join(parts: tuple[Backbone, ...]) -> Backbone:
    """One backbone of several, for photos of the largest size; of one, that one."""
    if len(parts) == 1:
        return parts[0]
    return Backbone(
        name=" and ".join(part.name for part in parts), layer=JoinedLayer(parts), size=max(part.size for part in parts),
        scale=lambda pictures: pictures, certain=all(part.certain for part in parts), learnable=[],
    )  # fmt: skip


def compiled(backbone: Backbone) -> Callable[[NDArray[np.uint8]], NDArray[np.float32]]:
    """The backbone as a graph: uint8 RGB (n, size, size, 3) to vectors, float32 (n, dimensions).

    TensorFlow fuses convolution, batch norm and activation there: half the time of a Keras model that runs layer by layer.
    The vector of a picture is the same, to the byte, whatever pictures are beside it and however many cores there are.
    """

    def forward(pictures: Any) -> Any:
        return backbone.layer(backbone.scale(tf.cast(pictures, tf.float32) / 255), training=False)

    # with a signature, or each number of photos would get a graph of its own
    graph = tf.function(forward, input_signature=[tf.TensorSpec((None, backbone.size, backbone.size, 3), tf.uint8)])

    def vectors(pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        alone = len(pictures) == 1  # the order of its sums would depend on the number of cores
        return np.asarray(graph(np.repeat(pictures, 2, axis=0) if alone else pictures))[: len(pictures)]

    return vectors


def load(name: str, preprocessing: Preprocessing, training: bool, trained: bool = False) -> Backbone:
    """Load a backbone; with ``training``, its batch norm can use the batch.

    Size 0 stands for the size that the backbone states. EfficientNet-Lite and ``keras.applications`` know the range of pixel
    values themselves; where they are ``trained``, weights that the caller has replace the published ones, which are not looked
    for. The backbone is tried on two photos. Raises ``InputError`` if it cannot be reached, does not take photos of that size,
    any number of them, or does not give one vector a photo that depends on that photo alone.
    """
    make = getattr(tf.keras.applications, name, None)
    known = callable(make) and not Path(name).exists()
    try:
        if name in efficientnet_lite.VARIANTS:
            backbone = _efficientnet_lite(name, preprocessing.size, trained)
        elif known:
            backbone = _application(name, make, preprocessing.size, trained)
        else:
            backbone = _published(name, preprocessing, training)
    except InputError:
        raise
    except Exception as error:  # TF-Hub and Keras raise what they like: OSError, ValueError, URLError, Exception …
        hint = KERAS_FILE if Path(name).is_file() else _hint(name)
        raise InputError(f"cnn.module {name}: cannot be loaded ({first_line(error)}){hint}; {REMEDY}") from None
    _probe(backbone)
    return backbone


def _probe(backbone: Backbone) -> None:
    """Raise ``InputError`` unless two photos get two vectors, and one of them the same vector by itself."""
    name, size = backbone.name, backbone.size
    pair = np.random.default_rng(0).random((2, size, size, 3), np.float32)
    run = tf.distribute.get_strategy().run
    try:
        vectors, alone = (run(backbone.layer, [backbone.scale(part)], {"training": False}) for part in (pair, pair[:1]))
    except (ValueError, TypeError, tf.errors.OpError):
        taken = f"takes no RGB photos of {size} pixels a side, float32 (n, {size}, {size}, 3)"
        raise InputError(f"cnn.module {name}: {taken}{_stated(backbone.layer)}; {REMEDY}") from None
    if not tf.is_tensor(vectors):
        raise InputError(f"cnn.module {name}: gives {len(vectors)} outputs; {ONE_OUTPUT}")
    if len(vectors.shape) != 2 or len(vectors) != 2:
        given = (
            f"{vectors.shape[1:]} a photo"
            if len(vectors.shape) and len(vectors) == 2
            else f"{vectors.shape} for two photos"
        )
        raise InputError(f"cnn.module {name}: gives {given}, not one vector a photo; {REMEDY}")
    if not np.isfinite(vectors).all():
        raise InputError(
            f"cnn.module {name}: gives values that are no numbers; check cnn.low and cnn.high, or {REMEDY}"
        )
    if np.abs(vectors[:1] - alone).max() > ALONE * np.abs(alone).max():
        raise InputError(
            f"cnn.module {name}: gives a photo another vector when it has another photo beside it; save it in inference mode, "
            "where batch norm uses its averages"
        )


def _stated(layer: Any) -> str:
    """The inputs that a layer states, as the end of a sentence."""
    stated = _inputs(layer._callable) if isinstance(layer, hub.KerasLayer) else []
    return (
        f"; its inputs are {', '.join(f'{spec.dtype.name} {tuple(spec.shape)}' for spec in stated)}" if stated else ""
    )


def _efficientnet_lite(name: str, size: int, trained: bool) -> Backbone:
    side = size or efficientnet_lite.VARIANTS[name].size
    layer = efficientnet_lite.build(name, side, None if trained else efficientnet_lite.published(name))
    return Backbone(
        name=name, layer=layer, size=side, scale=efficientnet_lite.scale, certain=True,
        learnable=list(layer.trainable_variables),
    )  # fmt: skip


def _application(name: str, make: Any, size: int, trained: bool) -> Backbone:
    side = size or int(make(weights=None).input_shape[1])
    weights = None if trained else "imagenet"
    layer = make(include_top=False, weights=weights, pooling="avg", input_shape=(side, side, 3))
    prepare = sys.modules[make.__module__].preprocess_input
    return Backbone(
        name=name, layer=layer, size=side, scale=lambda pictures: prepare(pictures * 255), certain=True,
        learnable=list(layer.trainable_variables),
    )  # fmt: skip


def _published(name: str, preprocessing: Preprocessing, training: bool) -> Backbone:
    os.environ.setdefault("TFHUB_CACHE_DIR", str(models_folder() / "tfhub"))  # else a folder for temporary files
    loaded = hub.load(name)
    signature = None if callable(loaded) else _signature(name, loaded)
    function = loaded if signature is None else loaded.signatures[signature]
    side = _side(name, [spec.shape for spec in _inputs(function) if spec.shape.rank == 4], preprocessing.size)
    # the loaded object where there is a choice: given a name, KerasLayer loads it anew, and Keras 3 with it
    layer = hub.KerasLayer(
        loaded if signature is None else name,
        trainable=training,
        signature=signature,
        output_key=_output(name, function),
    )
    if training and not layer._has_training_argument:  # the layer would leave it out in silence
        raise InputError(f"cnn.module {name}: has no training mode; set cnn.recipe to frozen or two-phase")
    low, high = preprocessing.low, preprocessing.high
    return Backbone(
        name=name, layer=layer, size=side, scale=lambda pictures: low + pictures * (high - low), certain=False,
        learnable=list(getattr(layer.resolved_object, "trainable_variables", ())),
    )  # fmt: skip


def _signature(name: str, loaded: Any) -> str:
    """The signature to call of a module that is no function itself, as ``model.export()`` of Keras writes them."""
    names = list(getattr(loaded, "signatures", ()))
    chosen = next((each for each in (*SIGNATURES, *names[: len(names) == 1]) if each in names), None)
    if chosen is None:
        there = f"only the signatures {', '.join(names)}" if names else "nothing to call"
        raise InputError(f"cnn.module {name}: has {there}; save it with the signature {SIGNATURES[0]}")
    return chosen


def _functions(function: Any) -> list[Any]:
    """The traced functions of a module's ``__call__``, or a signature, which is one."""
    if hasattr(function, "structured_input_signature"):
        return [function]
    return list(getattr(getattr(function, "__call__", None), "concrete_functions", ()))  # noqa: B004 - TensorFlow's own attribute


def _inputs(function: Any) -> list[Any]:
    """Each different input that a module states (``tf.TensorSpec``)."""
    stated = [spec for each in _functions(function) for spec in tf.nest.flatten(each.structured_input_signature)]
    specs = [spec for spec in stated if isinstance(spec, tf.TensorSpec)]
    return list({(spec.dtype, str(spec.shape)): spec for spec in specs}.values())


def _output(name: str, function: Any) -> str | None:
    """The name of the vector where the outputs of a module have names; None where it gives the vector itself."""
    named = next(
        (each.structured_outputs for each in _functions(function) if isinstance(each.structured_outputs, dict)), None
    )
    if named is None:
        return None
    if OUTPUT not in named and len(named) != 1:
        raise InputError(f"cnn.module {name}: gives the outputs {', '.join(sorted(named))}; {ONE_OUTPUT}")
    return OUTPUT if OUTPUT in named else str(*named)


def _side(name: str, shapes: list[Any], asked: int) -> int:
    """The size of photos, given the shapes that a module states. Raises ``InputError`` if they are no photos of that size."""
    if shapes and all(shape[1] == 3 and shape[3] != 3 for shape in shapes):
        problem = f"takes channels first, {tuple(shapes[0])}"
        raise InputError(f"cnn.module {name}: {problem}; save it for photos with channels last, (n, height, width, 3)")
    if shapes and all(shape[0] is not None for shape in shapes):
        problem = f"takes {shapes[0][0]} photos at a time, no other number"
        raise InputError(f"cnn.module {name}: {problem}; save it with None as the first number of its input's shape")
    sides = {tuple(shape[1:3]) for shape in shapes}
    (own,) = sides if len(sides) == 1 else (None,)
    if not (side := asked or (own and own[0])):
        raise InputError(f"cnn.module {name}: does not say what size of photos it takes; set cnn.size in params.yaml")
    if own and own[0] and own != (side, side):
        sizes = f"photos of {own[0]} x {own[1]} pixels, not of {side}"
        remedy = f"set cnn.size to {own[0]} or 0" if own[0] == own[1] else "save it for square photos"
        raise InputError(f"cnn.module {name}: takes {sizes}; {remedy}")
    return int(side)


def by_name(layer: Any, name: str) -> Any:
    """The same layer; a TF-Hub layer becomes one that names in a .keras file where its graph is to be loaded from."""
    if not isinstance(layer, hub.KerasLayer):
        return layer
    called = {"signature": layer._signature, "output_key": layer._output_key}
    named = hub.KerasLayer(name, trainable=layer.trainable, name=layer.name, **called)
    named.set_weights(layer.get_weights())
    return named


def _hint(name: str) -> str:
    names = [known for known in dir(tf.keras.applications) if known[0].isupper()]
    near = difflib.get_close_matches(name, names, n=1)
    return f"; is it {near[0]!r}?" if near and near[0] != name else ""


def check_range(backbone: Backbone, pictures: NDArray[np.float32], labels: NDArray[np.int64]) -> None:
    """Raise ``InputError`` if the vectors separate landmarks better from another range of pixel values.

    A published backbone does not state whether it takes values in [0, 1], [-1, 1] or [0, 255]; a wrong range gives a bad
    model and no error. So each is tried: the other photos are ordered by cosine, and those of the same landmark should come
    first. Another range must be better beyond chance, by Wilcoxon's signed-rank test on each photo's average precision.
    ``pictures`` are training photos, float32 RGB in [0, 1], (n, size, size, 3); ``labels`` their class ids (n,).
    """
    from scipy.stats import wilcoxon  # here: it takes a second, and only training pays for it

    if isinstance(backbone.layer, JoinedLayer):
        for part in backbone.layer.parts:
            check_range(part, np.asarray(resized(pictures, part.size)), labels)
        return
    if backbone.certain:
        return
    own_precision = _average_precision(backbone, backbone.scale(pictures), labels)
    own = (backbone.scale(0.0), backbone.scale(1.0))
    others = {
        (low, high): _average_precision(backbone, low + pictures * (high - low), labels)
        for low, high in RANGES
        if (low, high) != own
    }
    (low, high), best = max(others.items(), key=lambda item: item[1].mean())
    if not (best != own_precision).any():
        return
    if wilcoxon(best, own_precision, alternative="greater").pvalue < CHANCE / len(RANGES):
        raise InputError(
            f"cnn.module {backbone.name}: {len(labels)} training photos find others of their landmark with a mean average precision "
            f"of {best.mean():.2f} from pixel values in [{low}, {high}], of {own_precision.mean():.2f} from those of cnn.low and "
            f"cnn.high; set them to {low} and {high} in params.yaml"
        )


def _average_precision(backbone: Backbone, pictures: Any, labels: NDArray[np.int64]) -> NDArray[np.float64]:
    vectors = tf.math.l2_normalize(backbone.layer(pictures, training=False), axis=1).numpy()
    alike = np.nan_to_num(vectors @ vectors.T, nan=-1)
    np.fill_diagonal(alike, -np.inf)
    order = np.argsort(-alike, axis=1, kind="stable")[:, :-1]
    same = labels[order] == labels[:, None]
    precision = same.cumsum(axis=1) / np.arange(1, same.shape[1] + 1)
    return np.asarray((precision * same).sum(axis=1) / np.maximum(same.sum(axis=1), 1))


def first_line(error: Exception) -> str:
    """The first line of an error's message, or its type where the message is empty."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
