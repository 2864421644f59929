"""Pre-trained modules: whatever they were published as, photos go in and one vector a photo comes out."""

from __future__ import annotations

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
    warnings.filterwarnings(
        "ignore", "pkg_resources is deprecated"
    )  # tensorflow-hub asks for it; the lock pins one that has it
    import tensorflow_hub as hub

from landmarks.common.errors import InputError

Values = tuple[float, float]
RANGES: tuple[Values, ...] = ((0, 1), (-1, 1), (0, 255))  # of pixel values: what published modules take
PROBED = 64  # photos that the range is tried on
CHANCE = 0.01  # that a right range is refused
CUSTOM = {"KerasLayer": hub.KerasLayer}  # what Keras has to be told when it opens a .keras file
REMEDY = "set cnn.module and cnn.size in params.yaml; without a network, to a SavedModel folder"


@dataclass(frozen=True)
class Module:
    """A pre-trained network without its top.

    Attributes:
        name: TF-Hub handle, SavedModel folder, or name in ``keras.applications``.
        layer: the Keras layer.
        size: pixels a side of the photos that it takes.
        scale: from RGB in [0, 1] to the values that it takes.
        certain: whether ``scale`` is known, or what somebody wrote into params.yaml.
        learnable: its variables, but for the statistics of batch norm, in the order from the photo to the vector.
    """

    name: str
    layer: Any
    size: int
    scale: Callable[[Any], Any]
    certain: bool
    learnable: list[Any]


class Trunk(tf.keras.layers.Layer):  # type: ignore[misc]  # TensorFlow has no types
    """A module as the first layer of a network: float32 RGB in [0, 1], (n, size, size, 3), to float32 (n, dimensions).

    Args:
        module: which.
        tuned: share of its variables that learn, the last ones.
        statistics: whether batch norm goes by the batch in training and learns from it, or by what it came with.
    """

    def __init__(self, module: Module, tuned: float, statistics: bool) -> None:
        super().__init__(name="trunk")
        self.layer, self.scale, self._statistics = module.layer, module.scale, statistics
        count = round(tuned * len(module.learnable))
        self._learning = {id(variable) for variable in module.learnable[len(module.learnable) - count :]}
        if tuned and not count:
            raise InputError(f"cnn.module {module.name}: has nothing to train; set cnn.recipe to frozen in params.yaml")

    def call(self, pictures: Any, training: bool = False) -> Any:
        """The vectors."""
        return self.layer(self.scale(pictures), training=bool(training and self._statistics))

    @property
    def trainable_weights(self) -> list[Any]:
        """What gradient descent may change."""
        return [weight for weight in self.layer.weights if id(weight) in self._learning]

    @property
    def non_trainable_weights(self) -> list[Any]:
        """All the rest, the statistics of batch norm among it."""
        return [weight for weight in self.layer.weights if id(weight) not in self._learning]


def load(name: str, size: int, values: Values, training: bool) -> Module:
    """Load a module; ``training`` where batch norm shall be able to go by the batch.

    ``size`` 0 takes the size that the module says it has; ``values``, the lowest and highest pixel value that it takes, are
    not asked of ``keras.applications``, which know. Raises ``InputError`` if it cannot be reached, does not take photos of
    that size or does not give one vector a photo.
    """
    make = getattr(tf.keras.applications, name, None)
    known = callable(make) and not Path(name).exists()
    try:
        module = _application(name, make, size) if known else _published(name, size, values, training)
    except InputError:
        raise
    except Exception as error:  # TF-Hub and Keras raise what they like: OSError, ValueError, URLError, Exception …
        raise InputError(f"cnn.module {name}: cannot be loaded ({first_line(error)}){_hint(name)}; {REMEDY}") from None
    try:
        blank = module.scale(tf.zeros((1, module.size, module.size, 3)))
        shape = tf.distribute.get_strategy().run(module.layer, [blank], {"training": False}).shape
    except (ValueError, TypeError, tf.errors.OpError):
        raise InputError(
            f"cnn.module {name}: does not take RGB photos of {module.size} pixels a side; {REMEDY}"
        ) from None
    if len(shape) != 2:
        raise InputError(f"cnn.module {name}: gives {shape[1:]} a photo, not one vector; {REMEDY}")
    return module


def _application(name: str, make: Any, size: int) -> Module:
    side = size or int(make(weights=None).input_shape[1])
    layer = make(include_top=False, weights="imagenet", pooling="avg", input_shape=(side, side, 3))
    prepare = sys.modules[make.__module__].preprocess_input
    return Module(name, layer, side, lambda pictures: prepare(pictures * 255), True, list(layer.trainable_variables))


def _published(name: str, size: int, values: Values, training: bool) -> Module:
    # Loaded first: of a name, KerasLayer would import Keras 3 to no end. One that is not trainable ignores that it is in training
    layer = hub.KerasLayer(hub.load(name), trainable=training)
    if training and not layer._has_training_argument:  # the layer would leave it out in silence
        raise InputError(
            f"cnn.module {name}: has no training mode; set cnn.recipe to frozen or two-phase in params.yaml"
        )
    found = layer.resolved_object
    shapes = {
        tuple(spec.shape[1:3])
        for function in getattr(found.__call__, "concrete_functions", [])
        for spec in tf.nest.flatten(function.structured_input_signature)
        if isinstance(spec, tf.TensorSpec) and spec.shape.rank == 4
    }
    (own,) = shapes if len(shapes) == 1 else (None,)
    if not (side := size or (own and own[0])):
        raise InputError(f"cnn.module {name}: does not say what size of photos it takes; set cnn.size in params.yaml")
    if own and own[0] and own != (side, side):
        raise InputError(
            f"cnn.module {name}: takes photos of {own[0]} x {own[1]} pixels, not of {side}; set cnn.size to {own[0]} or 0"
        )
    low, high = values
    return Module(
        name,
        layer,
        side,
        lambda pictures: low + pictures * (high - low),
        False,
        list(getattr(found, "trainable_variables", ())),
    )


def by_name(layer: Any, name: str) -> Any:
    """The same layer, of a TF-Hub module one that can say in a .keras file from where its graph is to be loaded."""
    if not isinstance(layer, hub.KerasLayer):
        return layer
    named = hub.KerasLayer(name, trainable=layer.trainable, name=layer.name)
    named.set_weights(layer.get_weights())
    return named


def _hint(name: str) -> str:
    names = [known for known in dir(tf.keras.applications) if known[0].isupper()]
    near = difflib.get_close_matches(name, names, n=1)
    return f"; is it {near[0]!r}?" if near and near[0] != name else ""


def check_range(module: Module, pictures: NDArray[np.float32], labels: NDArray[np.int64]) -> None:
    """Raise ``InputError`` if the vectors tell landmarks apart better from another range of pixel values.

    Nothing in a published module says whether it takes values in [0, 1], [-1, 1] or [0, 255], and a wrong one gives a bad
    model, no error. So each is tried: how early do photos of the same landmark come when the others are ordered by cosine?
    Another range must be better beyond chance, by Wilcoxon's signed-rank test on each photo's average precision.

    Args:
        module: whose ``scale`` is in doubt.
        pictures: training photos, float32 RGB in [0, 1], (n, size, size, 3).
        labels: class numbers (n,).
    """
    if module.certain:
        return
    asked = _average_precision(module, module.scale(pictures), labels)
    own = (module.scale(0.0), module.scale(1.0))
    others = {
        (low, high): _average_precision(module, low + pictures * (high - low), labels)
        for low, high in RANGES
        if (low, high) != own
    }
    (low, high), best = max(others.items(), key=lambda item: item[1].mean())
    if (best != asked).any() and wilcoxon(best, asked, alternative="greater").pvalue < CHANCE / len(RANGES):
        raise InputError(
            f"cnn.module {module.name}: {len(labels)} training photos find others of their landmark with a mean average precision "
            f"of {best.mean():.2f} from pixel values in [{low}, {high}], of {asked.mean():.2f} from those of cnn.low and "
            f"cnn.high; set them to {low} and {high} in params.yaml"
        )


def _average_precision(module: Module, pictures: Any, labels: NDArray[np.int64]) -> NDArray[np.float64]:
    vectors = tf.math.l2_normalize(module.layer(pictures, training=False), axis=1).numpy()
    alike = np.nan_to_num(vectors @ vectors.T, nan=-1)
    np.fill_diagonal(alike, -np.inf)
    order = np.argsort(-alike, axis=1, kind="stable")[:, :-1]
    same = labels[order] == labels[:, None]
    precision = same.cumsum(axis=1) / np.arange(1, same.shape[1] + 1)
    return np.asarray((precision * same).sum(axis=1) / np.maximum(same.sum(axis=1), 1))


def first_line(error: Exception) -> str:
    """What it says, or its name where it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
