"""The demo's own small backbone, so that the default run needs no network."""

import os

os.environ["TF_USE_LEGACY_KERAS"] = "1"  # tensorflow-hub works with Keras 2 alone; read when tf.keras is first touched

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from landmarks.demo.config import BackboneConfig

Batch = tuple[NDArray[np.float32], NDArray[np.int64]]

MOMENTUM = 0.9  # of batch norm's averages: with Keras' 0.999 the first epochs would still count in the last


def trunk(size: int, alpha: float) -> Any:
    """MobileNetV2 (Sandler et al., 2018) without its top, untrained: (n, size, size, 3) in [-1, 1] to (n, 1280)."""
    shape = (size, size, 3)
    made = tf.keras.applications.MobileNetV2(shape, alpha=alpha, include_top=False, weights=None, pooling="avg")
    for layer in made.layers:
        if isinstance(layer, tf.keras.layers.BatchNormalization):
            layer.momentum = MOMENTUM
    return made


def train(pictures: NDArray[np.uint8], class_ids: NDArray[np.int64], config: BackboneConfig) -> Any:
    """Train a backbone to classify landmarks, by cross-entropy with Adam and a cosine schedule.

    Args:
        pictures: uint8 RGB (n, side, side, 3), side at least ``config.size``: each epoch crops, flips and tints them differently.
        class_ids: (n,).
        config: how.
    """
    tf.keras.utils.set_random_seed(config.seed)
    tf.config.experimental.enable_op_determinism()
    features = trunk(config.size, config.alpha)
    classes = int(class_ids.max()) + 1
    model = tf.keras.Sequential([tf.keras.layers.Rescaling(2.0, -1.0), features, tf.keras.layers.Dense(classes)])
    steps = len(pictures) // config.batch
    schedule = tf.keras.optimizers.schedules.CosineDecay(config.learning_rate, config.epochs * steps)
    loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(tf.keras.optimizers.Adam(schedule), loss, ["accuracy"])
    for epoch in range(config.epochs):
        rng = np.random.default_rng([config.seed, epoch])
        batches = _batches(pictures, class_ids, config.size, config.batch, rng)
        history = model.fit(batches, steps_per_epoch=steps, verbose=0).history
        accuracy, loss_value = history["accuracy"][0], history["loss"][0]
        print(f"epoch {epoch + 1}/{config.epochs}: loss {loss_value:.3f}, accuracy {accuracy:.3f}", flush=True)
    return features


def _batches(
    pictures: NDArray[np.uint8], landmarks: NDArray[np.int64], size: int, batch: int, rng: np.random.Generator
) -> Iterator[Batch]:
    order = rng.permutation(len(pictures))
    for start in range(0, len(order) - batch + 1, batch):
        chosen = np.sort(order[start : start + batch])
        y, x = rng.integers(0, pictures.shape[1] - size + 1, 2)
        crop = pictures[chosen][:, y : y + size, x : x + size].astype(np.float32) / 255
        flipped = rng.random(batch) < 0.5
        crop[flipped] = crop[flipped, :, ::-1]
        light, tint = rng.uniform(0.7, 1.3, (batch, 1, 1, 1)), rng.uniform(0.92, 1.08, (batch, 1, 1, 3))
        yield np.clip(crop * (light * tint).astype(np.float32), 0, 1), landmarks[chosen]


def export(features: Any, size: int, folder: Path) -> None:
    """Write a TF2 SavedModel with TF-Hub's common signature for feature vectors: float32 RGB in [0, 1], (n, size, size, 3).

    ``hub.KerasLayer`` loads it, trainable or not; batch norm runs as in training or as in inference.
    """
    module = tf.train.Checkpoint()
    module.variables = features.variables
    module.trainable_variables = features.trainable_variables
    module.regularization_losses = []

    def call(inputs: Any, training: bool = False) -> Any:
        return features(inputs * 2.0 - 1.0, training=training)

    spec = tf.TensorSpec([None, size, size, 3], tf.float32, name="inputs")
    module.__call__ = tf.function(call)
    for training in (True, False):
        module.__call__.get_concrete_function(spec, training=training)
    tf.saved_model.save(module, str(folder))
