"""Networks: a pre-trained trunk under a head, what they are made by, and how they lie on disk."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from landmarks.common.errors import InputError
from landmarks.common.files import read_json, whole, write_json
from landmarks.deep import backbones
from landmarks.deep.augmentation import Ranges
from landmarks.deep.config import Recipe

Features = NDArray[np.float32]
BLOCK = 8  # pictures that pass a network at once: more are no faster, and take more memory


@dataclass(frozen=True)
class Network:
    """A trained ``model`` (float32 RGB in [0, 1] to logits), its ``recipe``, class names, and what its logits are divided by."""

    model: Any
    recipe: Recipe
    labels: list[str]
    temperature: float

    def shares(self, pictures: Any) -> Any:
        """Probabilities (n, labels), a tensor, of float32 RGB in [0, 1], (n, size, size, 3)."""
        return tf.nn.softmax(self.model(pictures, training=False) / self.temperature)

    def probabilities(self, pictures: NDArray[np.uint8]) -> Features:
        """The same of uint8 RGB, any number of them: float32 (n, labels)."""
        blocks = [self.shares(scaled(pictures[at : at + BLOCK])) for at in range(0, len(pictures), BLOCK)]
        return np.concatenate([np.zeros((0, len(self.labels)), np.float32), *blocks])


def scaled(pictures: NDArray[np.uint8]) -> Features:
    """uint8 pictures as networks take them: float32 in [0, 1]."""
    return np.divide(pictures, np.float32(255), dtype=np.float32)


def load_module(recipe: Recipe) -> backbones.Module:
    """The module of a recipe. Raises ``InputError`` if it cannot be used."""
    return backbones.load(recipe.module, recipe.size, (recipe.low, recipe.high), recipe.kind == "thesis")


def build(recipe: Recipe, module: backbones.Module, classes: int) -> Any:
    """The module under dropout and dense layers, the thesis' figure 14 where ``head`` is 20000, 1000, 200.

    ``frozen`` trains none of the module, ``two-phase`` the share ``tuned`` of it, ``thesis`` all of it, batch norm too.
    """
    layers = tf.keras.layers
    tuned = {"frozen": 0.0, "two-phase": recipe.tuned, "thesis": 1.0}[recipe.kind]
    head = [layers.Dense(units, activation="relu") for units in recipe.head]
    head += [layers.Dropout(recipe.dropout)] if recipe.head else []
    last = layers.Dense(classes, kernel_regularizer=tf.keras.regularizers.l2(recipe.l2))
    trunk = backbones.Trunk(module, tuned, recipe.kind == "thesis")
    model = tf.keras.Sequential([trunk, layers.Dropout(recipe.dropout), *head, last])
    model.build((None, module.size, module.size, 3))
    return model


def save(path: Path, network: Network) -> None:
    """Write ``path`` (.json: recipe, labels, temperature) and the weights beside it (.weights.h5): byte-stable, no code in either."""
    with whole(path.with_suffix(".weights.h5")) as partial_file:
        network.model.save_weights(str(partial_file))
    recipe = dataclasses.asdict(network.recipe)
    write_json(path, {"labels": network.labels, "temperature": network.temperature, "recipe": recipe})


def load(path: Path) -> Network:
    """What ``save`` wrote; the module has to be where it was. Raises ``InputError`` if the file is missing or is something else."""
    stored = read_json(path, "cnn")
    try:
        knobs = stored["recipe"]
        recipe = Recipe(**{**knobs, "head": tuple(knobs["head"]), "ranges": Ranges(**knobs["ranges"])})
        labels, temperature = [str(label) for label in stored["labels"]], float(stored["temperature"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: not a model of the cnn stage as it is now ({error}); run: dvc repro cnn") from None
    weights = path.with_suffix(".weights.h5")
    model = build(recipe, load_module(recipe), len(labels))
    try:
        model.load_weights(str(weights))
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{weights}: {backbones.first_line(error)}; run: dvc repro --force cnn") from None
    return Network(model, recipe, labels, temperature)
