"""Pre-trained backbones: TF-Hub handles, SavedModels and keras.applications behind one interface, photos to vectors."""

import difflib
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from scipy.stats import wilcoxon

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", "pkg_resources is deprecated")  # tensorflow-hub imports it; the lock pins it
    import tensorflow_hub as hub

from landmarks.common.errors import InputError
from landmarks.images.preprocessing import Preprocessing

RANGES = ((0, 1), (-1, 1), (0, 255))  # of pixel values that published backbones take
PROBED = 64  # photos that the range is tried on
CHANCE = 0.01  # of refusing the right range
CUSTOM = {"KerasLayer": hub.KerasLayer}  # what Keras has to be told when it opens a .keras file
REMEDY = "set cnn.module and cnn.size in params.yaml; without a network, to a SavedModel folder"


@dataclass(frozen=True)
class Backbone:
    """A pre-trained network without its top."""

    name: str  # TF-Hub handle, SavedModel folder, or name in keras.applications
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
        self.layer, self.scale, self._statistics = backbone.layer, backbone.scale, statistics
        count = round(tuned * len(backbone.learnable))
        self._trained = {id(variable) for variable in backbone.learnable[len(backbone.learnable) - count :]}
        if tuned and not count:
            raise InputError(f"cnn.module {backbone.name}: has nothing to train; set cnn.recipe to frozen")

    def call(self, pictures: Any, training: bool = False) -> Any:
        """The vectors."""
        return self.layer(self.scale(pictures), training=bool(training and self._statistics))

    @property
    def trainable_weights(self) -> list[Any]:
        """The variables that gradient descent changes."""
        return [weight for weight in self.layer.weights if id(weight) in self._trained]

    @property
    def non_trainable_weights(self) -> list[Any]:
        """All other variables, the statistics of batch norm among them."""
        return [weight for weight in self.layer.weights if id(weight) not in self._trained]


def load(name: str, preprocessing: Preprocessing, training: bool) -> Backbone:
    """Load a backbone; with ``training``, its batch norm can use the batch.

    Size 0 stands for the size that the backbone states. ``keras.applications`` know the range of pixel values themselves.
    Raises ``InputError`` if it cannot be reached, does not take photos of that size or does not give one vector a photo.
    """
    make = getattr(tf.keras.applications, name, None)
    known = callable(make) and not Path(name).exists()
    try:
        backbone = _application(name, make, preprocessing.size) if known else _published(name, preprocessing, training)
    except InputError:
        raise
    except Exception as error:  # TF-Hub and Keras raise what they like: OSError, ValueError, URLError, Exception …
        raise InputError(f"cnn.module {name}: cannot be loaded ({first_line(error)}){_hint(name)}; {REMEDY}") from None
    try:
        blank = backbone.scale(tf.zeros((1, backbone.size, backbone.size, 3)))
        shape = tf.distribute.get_strategy().run(backbone.layer, [blank], {"training": False}).shape
    except (ValueError, TypeError, tf.errors.OpError):
        raise InputError(f"cnn.module {name}: takes no RGB photos of {backbone.size} pixels a side; {REMEDY}") from None
    if len(shape) != 2:
        raise InputError(f"cnn.module {name}: gives {shape[1:]} a photo, not one vector; {REMEDY}")
    return backbone


def _application(name: str, make: Any, size: int) -> Backbone:
    side = size or int(make(weights=None).input_shape[1])
    layer = make(include_top=False, weights="imagenet", pooling="avg", input_shape=(side, side, 3))
    prepare = sys.modules[make.__module__].preprocess_input
    return Backbone(
        name=name, layer=layer, size=side, scale=lambda pictures: prepare(pictures * 255), certain=True,
        learnable=list(layer.trainable_variables),
    )  # fmt: skip


def _published(name: str, preprocessing: Preprocessing, training: bool) -> Backbone:
    # Loaded first: given a name, KerasLayer imports Keras 3, which is of no use. A layer that is not trainable ignores `training`
    layer = hub.KerasLayer(hub.load(name), trainable=training)
    if training and not layer._has_training_argument:  # the layer would leave it out in silence
        raise InputError(f"cnn.module {name}: has no training mode; set cnn.recipe to frozen or two-phase")
    found = layer.resolved_object
    shapes = {
        tuple(spec.shape[1:3])
        for function in getattr(found.__call__, "concrete_functions", [])
        for spec in tf.nest.flatten(function.structured_input_signature)
        if isinstance(spec, tf.TensorSpec) and spec.shape.rank == 4
    }
    (own,) = shapes if len(shapes) == 1 else (None,)
    if not (side := preprocessing.size or (own and own[0])):
        raise InputError(f"cnn.module {name}: does not say what size of photos it takes; set cnn.size in params.yaml")
    if own and own[0] and own != (side, side):
        sizes = f"photos of {own[0]} x {own[1]} pixels, not of {side}"
        raise InputError(f"cnn.module {name}: takes {sizes}; set cnn.size to {own[0]} or 0")
    low, high = preprocessing.low, preprocessing.high
    return Backbone(
        name=name, layer=layer, size=side, scale=lambda pictures: low + pictures * (high - low), certain=False,
        learnable=list(getattr(found, "trainable_variables", ())),
    )  # fmt: skip


def by_name(layer: Any, name: str) -> Any:
    """The same layer; a TF-Hub layer becomes one that names in a .keras file where its graph is to be loaded from."""
    if not isinstance(layer, hub.KerasLayer):
        return layer
    named = hub.KerasLayer(name, trainable=layer.trainable, name=layer.name)
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
