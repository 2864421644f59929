"""Transfer learning from a TF-Hub feature-vector module."""

from __future__ import annotations

import os

os.environ["TF_USE_LEGACY_KERAS"] = "1"  # tensorflow-hub works with Keras 2 alone; read when tf.keras is first touched
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # else TensorFlow reports on every missing CUDA library

import dataclasses
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf

with warnings.catch_warnings():
    warnings.filterwarnings(
        "ignore", "pkg_resources is deprecated"
    )  # tensorflow-hub asks for it; the lock pins one that has it
    import tensorflow_hub as hub

from numpy.typing import NDArray
from tqdm import tqdm

from landmarks import augmentation, calibration, photos, work
from landmarks.errors import InputError
from landmarks.files import read_json, whole, write_json

Features = NDArray[np.float32]
Labels = NDArray[np.int64]
BLOCK = 32  # photos that pass a frozen module at once
HISTORY = ("epoch", "loss", "accuracy", "validation_loss", "validation_accuracy")


@dataclass(frozen=True)
class Recipe:
    """How to train: the knobs of the cnn stage, whose ``--help`` explains them."""

    module: str
    size: int
    crop: bool
    trainable: bool
    augment: bool
    views: int
    head: tuple[int, ...]
    dropout: float
    l2: float
    epochs: int
    batch: int
    learning_rate: float
    cosine: bool
    momentum: float
    label_smoothing: float
    restore_best: bool
    ranges: augmentation.Ranges
    seed: int


def scaled(pictures: NDArray[np.uint8]) -> Features:
    """uint8 pictures as modules take them: float32 in [0, 1]."""
    return pictures.astype(np.float32) / np.float32(255)


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
        """The same of uint8 RGB: float32 (n, labels)."""
        return np.asarray(self.shares(scaled(pictures)))


@dataclass(frozen=True)
class Photos:
    """What to train on: photo ``i`` is ``folder/ids[i].jpg``, of class ``labels[i]``."""

    folder: Path
    ids: list[str]
    labels: Labels
    classes: int

    def part(self, mask: NDArray[np.bool_]) -> Photos:
        """The photos where ``mask`` (n,) is true."""
        ids = [photo for photo, chosen in zip(self.ids, mask, strict=True) if chosen]
        return dataclasses.replace(self, ids=ids, labels=self.labels[mask])


def fit(
    recipe: Recipe, everything: Photos, train: NDArray[np.bool_], validation: NDArray[np.bool_]
) -> tuple[Any, pd.DataFrame, float, Features]:
    """Train on the photos of one mask, select epoch and temperature on those of the other, give the probabilities of all.

    With a frozen module, each photo and each of its augmented views passes the module once; the head trains on these
    features, an epoch on the photos, the next on their first views, and so on. A trainable module sees a fresh view of
    every photo in each epoch.

    Returns:
        The Keras model (float32 RGB in [0, 1] to logits), its history by epoch, the temperature that its logits are
        divided by, and float32 (n, classes).

    Raises:
        InputError: if the module cannot be used, a photo not be read, or the loss is no number.
    """
    tf.keras.utils.set_random_seed(recipe.seed)
    tf.config.experimental.enable_op_determinism()
    model = build(recipe, everything.classes)
    trainer = model if recipe.trainable else tf.keras.Sequential(model.layers[1:])
    rate: Any = recipe.learning_rate
    if recipe.cosine:
        rate = tf.keras.optimizers.schedules.CosineDecay(rate, recipe.epochs * -(-int(train.sum()) // recipe.batch))
    trainer.compile(
        tf.keras.optimizers.legacy.SGD(rate, recipe.momentum),
        tf.keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=recipe.label_smoothing),
        ["accuracy"],
    )
    learning, selecting = everything.part(train), everything.part(validation)
    if recipe.trainable:
        try:
            history = _train(trainer, recipe, partial(_photos, learning, recipe), _photos(selecting, recipe, None))
            logits = trainer.predict(_photos(everything, recipe, None), verbose=0)
        except tf.errors.OpError as error:  # what a photo raised, wrapped
            said = next((line for line in str(error).splitlines() if "InputError:" in line), _first_line(error))
            raise InputError(said.split("InputError: ")[-1]) from None
    else:
        plain, *views = features(model.layers[0], everything, recipe, train)
        rounds = [_batches(view[train], learning, recipe) for view in (plain, *views)]
        selection = _batches(plain[validation], selecting, recipe)(None)
        history = _train(trainer, recipe, lambda epoch: rounds[epoch % len(rounds)](epoch), selection)
        logits = trainer.predict(plain, batch_size=256, verbose=0)
    scale = calibration.temperature(logits[validation], everything.labels[validation])
    return model, history, scale, tf.nn.softmax(logits / scale).numpy()


def build(recipe: Recipe, classes: int) -> Any:
    """The module under dropout and dense layers, the thesis' figure 14 where ``head`` is 20000, 1000, 200."""
    layers = tf.keras.layers
    head = [layers.Dense(units, activation="relu") for units in recipe.head]
    head += [layers.Dropout(recipe.dropout)] if recipe.head else []
    last = layers.Dense(classes, kernel_regularizer=tf.keras.regularizers.l2(recipe.l2))
    shape = (recipe.size, recipe.size, 3)
    model = tf.keras.Sequential([load_module(recipe), layers.Dropout(recipe.dropout), *head, last])
    model.build((None, *shape))
    return model


def load_module(recipe: Recipe) -> Any:
    """``hub.KerasLayer`` for a TF-Hub handle or a SavedModel folder.

    Raises ``InputError`` if it cannot be reached, does not take photos of that size or does not give one vector a photo.
    """
    remedy = "set cnn.module and cnn.size in params.yaml; without a network, to a SavedModel folder"
    try:
        layer = hub.KerasLayer(recipe.module, trainable=recipe.trainable)
    except Exception as error:  # TF-Hub raises what its resolvers raise: OSError, ValueError, URLError, RuntimeError …
        raise InputError(f"cnn.module {recipe.module}: cannot be loaded ({_first_line(error)}); {remedy}") from None
    try:
        shape = layer(tf.zeros((1, recipe.size, recipe.size, 3))).shape
    except (ValueError, TypeError, tf.errors.OpError):
        raise InputError(
            f"cnn.module {recipe.module}: does not take RGB photos of {recipe.size} pixels a side; {remedy}"
        ) from None
    if len(shape) != 2:
        raise InputError(f"cnn.module {recipe.module}: gives {shape[1:]} a photo, not one vector; {remedy}")
    return layer


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def features(module: Any, everything: Photos, recipe: Recipe, train: NDArray[np.bool_]) -> list[Features]:
    """What the frozen module makes of the photos: float32 (n, dimensions), and as much again for each augmented view.

    Views of photos that are not for training are left zero: nothing ever reads them.
    """
    views = recipe.views if recipe.augment else 0
    made: list[Features] = []
    shots = [(photo, views if chosen else 0) for photo, chosen in zip(everything.ids, train, strict=True)]
    draw = partial(augmentation.views, everything.folder, recipe.size, recipe.crop, recipe.ranges, recipe.seed)
    drawn = work.sound(work.each(draw, shots, "features"))
    for start, block in enumerate(work.batched(drawn, BLOCK)):
        for number in range(views + 1):
            rows = [index for index, shot in enumerate(block) if len(shot) > number]
            if not rows:
                continue
            vectors = module(scaled(np.stack([block[row][number] for row in rows]))).numpy()
            if len(made) <= number:
                made.append(np.zeros((len(everything.ids), vectors.shape[1]), np.float32))
            made[number][start * BLOCK + np.array(rows)] = vectors
    return made


def _batches(values: Features, part: Photos, recipe: Recipe) -> Callable[[int | None], Any]:
    """Batches of features: shuffled by the epoch's number, or in order for no epoch."""
    targets = np.eye(part.classes, dtype=np.float32)[part.labels]

    def of(epoch: int | None) -> Any:
        order = _order(len(values), epoch, recipe.seed)
        return tf.data.Dataset.from_tensor_slices((values[order], targets[order])).batch(recipe.batch)

    return of


def _photos(part: Photos, recipe: Recipe, epoch: int | None) -> Any:
    """The same from photos, decoded as they are needed: one augmented view of each if ``epoch`` and the recipe say so."""

    def look(index: NDArray[np.int64]) -> Features:
        photo = part.ids[int(index)]
        picture = photos.read_square(part.folder / f"{photo}.jpg", recipe.size, recipe.crop)
        if recipe.augment and epoch is not None:
            picture = augmentation.view(picture, photo, epoch, recipe.ranges, recipe.seed)
        return scaled(picture)

    def load(index: Any, target: Any) -> Any:
        picture = tf.numpy_function(look, [index], tf.float32, stateful=False)
        return tf.ensure_shape(picture, (recipe.size, recipe.size, 3)), target

    order = _order(len(part.ids), epoch, recipe.seed)
    targets = np.eye(part.classes, dtype=np.float32)[part.labels]
    rows = tf.data.Dataset.from_tensor_slices((order, targets[order]))
    return rows.map(load, num_parallel_calls=work.workers(), deterministic=True).batch(recipe.batch).prefetch(2)


def _order(count: int, epoch: int | None, seed: int) -> NDArray[np.int64]:
    return np.arange(count) if epoch is None else np.random.default_rng([seed, epoch]).permutation(count)


def _train(trainer: Any, recipe: Recipe, batches: Callable[[int], Any], validation: Any) -> pd.DataFrame:
    rows: list[tuple[float, ...]] = []
    best: tuple[float, Any] | None = None
    with tqdm(range(recipe.epochs), desc="epochs", unit="epoch", mininterval=1) as bar:
        for epoch in bar:
            result = trainer.fit(batches(epoch), validation_data=validation, verbose=0).history
            loss, accuracy, lost, right = (
                float(result[name][0]) for name in ("loss", "accuracy", "val_loss", "val_accuracy")
            )
            if not np.isfinite(loss):
                raise InputError(
                    f"epoch {epoch + 1}: the loss is {loss} at a learning rate of {recipe.learning_rate}; lower cnn.learning_rate in params.yaml"
                )
            rows.append((epoch + 1, *(round(value, 6) for value in (loss, accuracy, lost, right))))
            bar.set_postfix(loss=f"{loss:.3f}", validation=f"{right:.3f}")
            if recipe.restore_best and (best is None or lost < best[0]):
                best = lost, trainer.get_weights()
    if best:
        trainer.set_weights(best[1])
    return pd.DataFrame(rows, columns=list(HISTORY))


def save(path: Path, model: Any, recipe: Recipe, labels: Sequence[str], temperature: float) -> None:
    """Write ``path`` (.json: recipe, labels, temperature) and the weights beside it (.weights.h5): byte-stable, and no code in either."""
    with whole(path.with_suffix(".weights.h5")) as partial_file:
        model.save_weights(str(partial_file))
    write_json(path, {"labels": list(labels), "temperature": temperature, "recipe": dataclasses.asdict(recipe)})


def load(path: Path) -> Network:
    """What ``save`` wrote; the module has to be where it was. Raises ``InputError`` if the file is missing or is something else."""
    stored = read_json(path, "cnn")
    knobs = stored["recipe"]
    recipe = Recipe(**{**knobs, "head": tuple(knobs["head"]), "ranges": augmentation.Ranges(**knobs["ranges"])})
    model = build(recipe, len(stored["labels"]))
    model.load_weights(str(path.with_suffix(".weights.h5")))
    return Network(model, recipe, stored["labels"], stored["temperature"])


def occlusion(network: Network, picture: NDArray[np.uint8], label: str, cells: int) -> tuple[float, Features]:
    """Where a network sees a landmark: what covering a patch takes from its probability (Zeiler and Fergus, 2014).

    A class-activation map would need the module's last feature map; a feature-vector module gives its mean alone.

    Args:
        network: whose view it is.
        picture: uint8 RGB (size, size, 3).
        label: the landmark asked about.
        cells: places a side; the patch, of the photo's mean colour, is as wide as two of them.

    Returns:
        The probability of the whole photo, and how far it falls, float32 (cells, cells): below 0 where it rises.
    """
    side, number = network.recipe.size, network.labels.index(label)
    edges = np.linspace(0, side, cells + 1).round().astype(int)
    covered = np.repeat(picture[None], cells * cells, axis=0)
    for place, (row, column) in enumerate(np.ndindex(cells, cells)):
        reach = [slice(max(edges[i] - side // cells // 2, 0), edges[i + 1] + side // cells // 2) for i in (row, column)]
        covered[place, reach[0], reach[1]] = picture.mean(axis=(0, 1))
    whole_photo = float(network.probabilities(picture[None])[0, number])
    left = np.concatenate(
        [network.probabilities(block) for block in np.array_split(covered, -(-len(covered) // BLOCK))]
    )
    return whole_photo, np.asarray((whole_photo - left[:, number]).reshape(cells, cells), np.float32)
