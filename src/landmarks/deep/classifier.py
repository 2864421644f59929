"""Image classifiers: a pre-trained backbone under a head, how they are built, and their files."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landmarks.common import arrays, knobs
from landmarks.common.errors import InputError
from landmarks.common.files import read_json, whole, write_json
from landmarks.deep import backbones
from landmarks.deep.config import Recipe
from landmarks.deep.runtime import tf
from landmarks.images.preprocessing import Preprocessing

Features = NDArray[np.float32]
BLOCK = 8  # pictures a forward pass: more are no faster, and take more memory


@dataclass(frozen=True, kw_only=True)
class Description:
    """What a network is made by, its class names, and what its logits are divided by."""

    recipe: Recipe
    labels: list[str]
    temperature: float

    @property
    def preprocessing(self) -> Preprocessing:
        """How a photo becomes what the network sees."""
        return self.recipe.preprocessing


@dataclass(frozen=True, kw_only=True)
class Classifier(Description):
    """A trained ``model``, float32 RGB in [0, 1] to logits."""

    model: Any

    def vectors(self, pictures: Any) -> Any:
        """What the last layer takes, (n, dimensions), a tensor: the mean of a photo's views.

        ``pictures`` are float32 RGB in [0, 1], (n, views * size, size, 3), any number of views.
        """
        side = self.preprocessing.size
        values = tf.reshape(pictures, (-1, side, side, 3))
        for layer in self.model.layers[:-1]:
            values = layer(values, training=False)
        return tf.reduce_mean(tf.reshape(values, (tf.shape(pictures)[0], -1, values.shape[-1])), axis=1)

    def probabilities_of(self, vectors: Any) -> Any:
        """Calibrated probabilities (n, labels), a tensor, of ``vectors``. The last layer is linear: its logits are the views' mean."""
        return tf.nn.softmax(self.model.layers[-1](vectors) / self.temperature)

    def softmax(self, pictures: Any) -> Any:
        """The same of ``pictures``."""
        return self.probabilities_of(self.vectors(pictures))

    def probabilities(self, pictures: NDArray[np.uint8]) -> Features:
        """The same of uint8 RGB, any number of photos: float32 (n, labels)."""
        blocks = [self.softmax(scaled(pictures[at : at + BLOCK])) for at in range(0, len(pictures), BLOCK)]
        return np.concatenate([np.zeros((0, len(self.labels)), np.float32), *blocks])


def scaled(pictures: NDArray[np.uint8]) -> Features:
    """uint8 pictures as networks take them: float32 in [0, 1]."""
    return np.divide(pictures, np.float32(255), dtype=np.float32)


def unit(vectors: Features, out: Features | None = None) -> Features:
    """Vectors, float32 (…, dimensions), scaled to length 1, zeros left as they are; into ``out``, which may be ``vectors``, if given.

    Then the first axis is worked off in blocks, since the vectors of all photos may be larger than the memory.
    """
    if out is not None:
        for rows in arrays.blocks(len(vectors)):
            out[rows] = unit(vectors[rows])
        return out
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.divide(vectors, np.maximum(lengths, np.finfo(np.float32).tiny))


def load_backbone(recipe: Recipe, trained: bool = False) -> backbones.Backbone:
    """The backbone of a recipe, or all of them as one. Raises ``InputError`` if one cannot be used."""
    alone, training = len(recipe.training.module) == 1, recipe.training.recipe == "thesis"
    if recipe.preprocessing.size and not (alone or trained):
        raise InputError(
            "cnn.size is for one module; several take photos of their own sizes: set it to 0 in params.yaml"
        )
    preprocessing = recipe.preprocessing if alone else dataclasses.replace(recipe.preprocessing, size=0)
    return backbones.join(
        tuple(backbones.load(name, preprocessing, training, trained) for name in recipe.training.module)
    )


def build(recipe: Recipe, backbone: backbones.Backbone, classes: int) -> Any:
    """The backbone under a head, RGB in [0, 1] of one view, (n, size, size, 3), to logits.

    ``frozen`` trains none of the backbone; its head is one dense layer on vectors of length 1. ``two-phase`` trains the share
    ``tuned`` of it, ``thesis`` all of it with batch norm; their head is dropout and dense layers, the thesis' figure 14 where
    ``head`` is 20000, 1000, 200.
    """
    layers, config = tf.keras.layers, recipe.training
    tuned = {"frozen": 0.0, "two-phase": config.tuned, "thesis": 1.0}[config.recipe]
    trunk = backbones.BackboneLayer(backbone, tuned, statistics=config.recipe == "thesis")
    if config.recipe == "frozen":
        head = [layers.UnitNormalization(), layers.Dense(classes)]
    else:
        hidden = [layers.Dense(units, activation="relu") for units in config.head]
        hidden += [layers.Dropout(config.dropout)] if hidden else []
        last = layers.Dense(classes, kernel_regularizer=tf.keras.regularizers.l2(config.l2))
        head = [layers.Dropout(config.dropout), *hidden, last]
    model = tf.keras.Sequential([trunk, *head])
    model.build((None, backbone.size, backbone.size, 3))
    return model


def save(path: Path, network: Classifier) -> None:
    """Write ``path`` (.json: recipe, labels, temperature, layers) and the weights beside it (.weights.h5), byte-stable, free of code."""
    with whole(path.with_suffix(".weights.h5")) as partial_file:
        network.model.save_weights(str(partial_file))
    recipe, layers = dataclasses.asdict(network.recipe), summary(network.model)
    write_json(path, {"labels": network.labels, "temperature": network.temperature, "recipe": recipe, "layers": layers})


def summary(model: Any) -> list[dict[str, Any]]:
    """Of each layer of what ``build`` made its kind, the width of its output, and how many of its numbers are trained or not."""
    width = next(layer.kernel.shape[0] for layer in model.layers if hasattr(layer, "units"))
    rows = []
    for layer in model.layers:
        width = getattr(layer, "units", width)
        parts = {"trained": layer.trainable_weights, "fixed": layer.non_trainable_weights}
        counts = {part: sum(weight.shape.num_elements() for weight in weights) for part, weights in parts.items()}
        rows.append({"layer": type(layer).__name__, "width": width, **counts})
    return rows


def describe(path: Path) -> Description:
    """Read the JSON that ``save`` wrote. Raises ``InputError`` if the file is missing or is something else."""
    stored = read_json(path, "cnn")
    try:
        recipe = knobs.restore(Recipe, stored["recipe"])
        labels, temperature = [str(label) for label in stored["labels"]], float(stored["temperature"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: not a model of the cnn stage as it is now ({error}); run: dvc repro cnn") from None
    return Description(recipe=recipe, labels=labels, temperature=temperature)


def load(path: Path) -> Classifier:
    """Read what ``save`` wrote; the backbone has to be where it was.

    Raises ``InputError`` if a file is missing or is something else.
    """
    described, weights = describe(path), path.with_suffix(".weights.h5")
    recipe, labels = described.recipe, described.labels
    model = build(recipe, load_backbone(recipe, trained=True), len(labels))
    try:
        model.load_weights(str(weights))
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{weights}: {backbones.first_line(error)}; run: dvc repro --force cnn") from None
    return Classifier(model=model, recipe=recipe, labels=labels, temperature=described.temperature)
