"""Transfer learning: a head on the vectors of a frozen trunk, the trunk's last layers after it, or all at once."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf
from numpy.typing import NDArray

from landmarks.common import parallel, progress
from landmarks.common.errors import InputError
from landmarks.deep import augmentation, backbones, classifier, image_cache
from landmarks.deep.classifier import Features, Network
from landmarks.deep.config import Recipe
from landmarks.evaluation import calibration

Labels = NDArray[np.int64]
Mask = NDArray[np.bool_]
Batches = Callable[[int | None], Any]  # the tf.data.Dataset of an epoch, or, for none, in order and as they are
BLOCK = 32  # photos that pass a frozen trunk at once
HISTORY = ("epoch", "phase", "loss", "accuracy", "validation_loss", "validation_accuracy")


@dataclass(frozen=True)
class Photos:
    """What to train on: photo ``i`` is ``folder/ids[i].jpg``, of class ``numbers[i]``, called ``labels[numbers[i]]``."""

    folder: Path
    ids: list[str]
    numbers: Labels
    labels: list[str]


def fit(recipe: Recipe, everything: Photos, train: Mask, validation: Mask) -> tuple[Network, pd.DataFrame, Features]:
    """Train on the photos of one mask, select epoch and temperature on those of the other, give the probabilities of all.

    With ``frozen``, each photo and each of its augmented views passes the trunk once; the head trains on these vectors, an
    epoch on the photos, the next on their first views, and so on. ``two-phase`` goes on from there: the last layers of the
    trunk learn too, at a low rate, on a fresh view of every photo in each epoch, and only an epoch that is better on
    validation than the head alone is kept. ``thesis`` trains all from the start.

    With the environment variable TF_CONFIG, the machines that it names share the work (tf.distribute); each of them ends
    with the same network.

    Returns:
        The network, its history by epoch, and float32 (n, labels).

    Raises:
        InputError: if the module cannot be used, a photo not be read, a landmark has no photo for training, or the loss is
            no number.
    """
    _require_photos(everything, train, validation)
    team = Team.of_environment()  # first of all: TensorFlow takes no other order
    tf.keras.utils.set_random_seed(recipe.seed)
    tf.config.experimental.enable_op_determinism()
    module = classifier.load_module(recipe)
    recipe = dataclasses.replace(recipe, size=module.size)
    with team.strategy.scope():  # what a team trains can't be called outside of its training: another copy is for that
        shared = module if team.count == 1 else classifier.load_module(recipe)
        model = classifier.build(recipe, shared, len(everything.labels))
        head = tf.keras.Sequential(model.layers[1:])
    _check_range(module, recipe, everything, train)
    course = Course(recipe, team)
    if recipe.kind != "thesis":
        plain, *views = vectors(backbones.Trunk(module, 0, statistics=False), everything, recipe, train, team)
        rounds = [_rows(view[train], everything.numbers[train], everything.labels, recipe) for view in (plain, *views)]
        selection = _rows(plain[validation], everything.numbers[validation], everything.labels, recipe)
        course.phase("head", head, lambda epoch: rounds[(epoch or 0) % len(rounds)](epoch), selection)
        logits = head.predict(plain, batch_size=256, verbose=0)
    if recipe.kind != "frozen":
        pictures = image_cache.cached(everything.folder, everything.ids, recipe.size, recipe.crop)
        learning, selection, all_of_them = (
            _shots(pictures, everything, np.flatnonzero(mask), recipe) for mask in (train, validation, train | True)
        )
        course.phase("all" if recipe.kind == "thesis" else "trunk", model, learning, selection)
        logits = model.predict(all_of_them(None), verbose=0)
    temperature = calibration.temperature(logits[validation], everything.numbers[validation])
    network = Network(model, recipe, everything.labels, temperature)
    return network, pd.DataFrame(course.rows, columns=list(HISTORY)), tf.nn.softmax(logits / temperature).numpy()


def _require_photos(everything: Photos, train: Mask, validation: Mask) -> None:
    lacking = sorted(set(range(len(everything.labels))).difference(everything.numbers[train].tolist()))
    if lacking or len(everything.labels) < 2:
        said = f"landmark {everything.labels[lacking[0]]} has none" if lacking else "they are all of one landmark"
        raise InputError(
            f"photos for training: {said}; see sample.classes and split in params.yaml, and run: dvc repro"
        )
    if not validation.any():
        raise InputError(
            "no photo is for validation, by which epochs are chosen; raise split.validation in params.yaml"
        )


def _check_range(module: backbones.Module, recipe: Recipe, everything: Photos, train: Mask) -> None:
    rows = np.flatnonzero(train)
    rows = rows[:: -(-len(rows) // backbones.PROBED)]
    shown = image_cache.cached(everything.folder, [everything.ids[row] for row in rows], recipe.size, recipe.crop)
    backbones.check_range(module, classifier.scaled(shown), everything.numbers[rows])


@dataclass(frozen=True)
class Team:
    """The processes that train one network together, on as many machines: this one is number ``place`` of ``count``."""

    strategy: Any
    place: int = 0
    count: int = 1

    @classmethod
    def of_environment(cls) -> Team:
        """As TF_CONFIG says, in TensorFlow's own form; without it, this process alone. Raises ``InputError`` if it is none."""
        if "TF_CONFIG" not in os.environ:
            return cls(tf.distribute.get_strategy())
        try:
            resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
            members = resolver.cluster_spec().as_dict()
            everyone = [(kind, number) for kind in ("chief", "worker") for number in range(len(members.get(kind, [])))]
            place = everyone.index((resolver.task_type, resolver.task_id))
            return cls(tf.distribute.MultiWorkerMirroredStrategy(), place, len(everyone))
        except (ValueError, TypeError, AttributeError, tf.errors.OpError) as error:
            said = backbones.first_line(error)
            raise InputError(
                f"the environment variable TF_CONFIG: {said}; name every worker and this one's task"
            ) from None

    def sum(self, values: Features) -> Features:
        """The sum of what all processes bring, float32 of one shape."""
        if self.count == 1:
            return values
        every = self.strategy.experimental_distribute_values_from_function(lambda _: tf.constant(values))
        return np.asarray(self.strategy.reduce("SUM", every, axis=None))


@dataclass
class Course:
    """One training: its history so far."""

    recipe: Recipe
    team: Team
    rows: list[tuple[Any, ...]] = field(default_factory=list)

    def phase(self, name: str, model: Any, batches: Batches, validation: Batches) -> None:
        """Train ``model`` for the epochs of a phase; it keeps the best weights by validation loss, or the last."""
        recipe, later = self.recipe, name == "trunk"
        knob, rate = ("tuning_rate", recipe.tuning_rate) if later else ("learning_rate", recipe.learning_rate)
        epochs = recipe.tuning_epochs if later else recipe.epochs
        self._compile(model, rate, epochs * len(batches(0)))
        chosen = validation(None)
        weights: list[Any] = []
        best, since = np.inf, 0
        if later:  # a head is there already, and has to be beaten
            best = model.evaluate(chosen, verbose=0)[0]
            weights = model.get_weights() if recipe.restore_best else []
        with progress.bar(epochs, f"{name}: epochs", "epoch") as bar:
            for epoch in range(epochs):
                result = model.fit(batches(epoch), validation_data=chosen, verbose=0).history
                loss, right, lost, found = (result[key][0] for key in ("loss", "accuracy", "val_loss", "val_accuracy"))
                number = len(self.rows) + 1
                if not np.isfinite(loss):
                    raise InputError(
                        f"epoch {number}: the loss is {loss} at a learning rate of {rate}; lower cnn.{knob} in params.yaml"
                    )
                self.rows.append((number, name, *(round(float(value), 6) for value in (loss, right, lost, found))))
                bar.set_postfix(loss=f"{loss:.3f}", validation=f"{found:.3f}")
                bar.update()
                since += 1
                if lost < best:
                    best, since = lost, 0
                    weights = model.get_weights() if recipe.restore_best else []
                if name != "head" and 0 < recipe.patience <= since:  # a head's epochs cost nothing
                    break
        if weights:
            model.set_weights(weights)

    def _compile(self, model: Any, rate: Any, steps: int) -> None:
        recipe = self.recipe
        with self.team.strategy.scope():
            model.compile(
                tf.keras.optimizers.legacy.SGD(
                    tf.keras.optimizers.schedules.CosineDecay(rate, steps) if recipe.cosine else rate, recipe.momentum
                ),
                tf.keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=recipe.label_smoothing),
                ["accuracy"],
            )


def vectors(trunk: backbones.Trunk, everything: Photos, recipe: Recipe, train: Mask, team: Team) -> list[Features]:
    """What the frozen trunk makes of the photos: float32 (n, dimensions), and as much again for each augmented view.

    Views of photos that are not for training are left zero: nothing ever reads them. Each process of a team takes its share.
    """
    views = recipe.views if recipe.augment else 0
    draw = partial(augmentation.views, everything.folder, recipe.size, recipe.crop, recipe.ranges, recipe.seed)

    def look(rows: list[int]) -> list[tuple[list[int], Features]]:
        shots = [draw((everything.ids[row], views if train[row] else 0)) for row in rows]
        deep = [
            [(row, shot[number]) for row, shot in zip(rows, shots, strict=True) if len(shot) > number]
            for number in range(views + 1)
        ]
        return [
            ([row for row, _ in level], trunk(classifier.scaled(np.stack([picture for _, picture in level])), training=False).numpy())
            for level in deep if level
        ]  # fmt: skip

    made: list[Features] = []
    share = range(team.place, len(everything.ids), team.count)
    with progress.bar(len(share), "features", "photo") as bar:
        for levels in parallel.threads(look, parallel.batched(share, BLOCK)):
            for number, (rows, found) in enumerate(levels):
                if len(made) == number:
                    made.append(np.zeros((len(everything.ids), found.shape[1]), np.float32))
                made[number][rows] = found
            bar.update(len(levels[0][0]))
    return [team.sum(values) for values in made]


def _rows(vectors: Features, numbers: Labels, labels: list[str], recipe: Recipe) -> Batches:
    """Batches of vectors."""
    targets = np.eye(len(labels), dtype=np.float32)[numbers]

    def of(epoch: int | None) -> Any:
        order = _order(len(vectors), epoch, recipe.seed)
        return _sharded(tf.data.Dataset.from_tensor_slices((vectors[order], targets[order])).batch(recipe.batch))

    return of


def _shots(pictures: image_cache.Pictures, everything: Photos, chosen: NDArray[np.intp], recipe: Recipe) -> Batches:
    """Batches of photos: one augmented view of each, if the recipe says so, in every epoch."""
    targets = np.eye(len(everything.labels), dtype=np.float32)[everything.numbers]

    def of(epoch: int | None) -> Any:
        def look(index: NDArray[np.int64]) -> Features:
            picture = pictures[int(index)]
            if recipe.augment and epoch is not None:
                picture = augmentation.view(picture, everything.ids[int(index)], epoch, recipe.ranges, recipe.seed)
            return classifier.scaled(picture)

        def load(index: Any, target: Any) -> Any:
            picture = tf.numpy_function(look, [index], tf.float32, stateful=False)
            return tf.ensure_shape(picture, (recipe.size, recipe.size, 3)), target

        order = chosen[_order(len(chosen), epoch, recipe.seed)]
        rows = tf.data.Dataset.from_tensor_slices((order, targets[order]))
        looked = rows.map(load, num_parallel_calls=parallel.workers(), deterministic=True)
        return _sharded(looked.batch(recipe.batch).prefetch(2))

    return of


def _sharded(dataset: Any) -> Any:
    """For a team: each takes its part of every batch."""
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    return dataset.with_options(options)


def _order(count: int, epoch: int | None, seed: int) -> NDArray[np.int64]:
    return np.arange(count) if epoch is None else np.random.default_rng([seed, epoch]).permutation(count)
