"""Transfer learning: a solved head on the vectors of a frozen backbone, or gradient descent, with fine-tuning, or on all layers."""

import dataclasses
import os
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from landmarks.common import arrays, parallel, progress
from landmarks.common.errors import InputError
from landmarks.dataset import schema
from landmarks.deep import augmentation, backbones, classifier, image_cache, photo_vectors, solved_head
from landmarks.deep.classifier import Classifier, Features
from landmarks.deep.config import Recipe
from landmarks.deep.runtime import tf
from landmarks.evaluation import calibration
from landmarks.images.photo_store import PhotoStore

ClassIds = NDArray[np.int64]
Mask = NDArray[np.bool_]
Batches = Callable[[int | None], Any]  # the tf.data.Dataset of an epoch; of None, every row once in order, unaugmented
HISTORY = ("step", "phase", "loss", "accuracy", "validation_loss", "validation_accuracy")


class Trained(NamedTuple):
    """A network, its history by epoch (of a solved head, by strength), and probabilities, float32 (n, labels).

    ``held_out``, (m, labels), are those of the photos ``judged``, which the network learnt from, by folds that they were not in; of
    none where no folds were made.
    """

    network: Classifier
    history: pd.DataFrame
    probabilities: Features
    judged: ClassIds
    held_out: Features


@dataclass(frozen=True)
class LabelledPhotos:
    """Photo ``i`` is ``ids[i]`` in ``folder``, of class ``class_ids[i]``, whose name is ``labels[class_ids[i]]``.

    Near-duplicates have the same number in ``groups``.
    """

    folder: Path
    ids: list[str]
    class_ids: ClassIds
    groups: ClassIds
    labels: list[str]

    @classmethod
    def of(cls, folder: Path, rows: pd.DataFrame) -> Self:
        """The photos in ``folder`` of ``rows``, as ``tables.read_split`` gives them; landmarks are numbered in natural order."""
        labels = sorted(set(rows["landmark_id"]), key=schema.natural)
        numbers = {label: number for number, label in enumerate(labels)}
        return cls(
            folder=folder, ids=list(rows.index), class_ids=rows["landmark_id"].map(numbers).to_numpy(np.int64),
            groups=rows["group"].to_numpy(np.int64), labels=labels,
        )  # fmt: skip


def fit(recipe: Recipe, photos: LabelledPhotos, train: Mask, validation: Mask) -> Trained:
    """Train on the photos of one mask, predict all.

    ``frozen``: each view of a photo, and each augmented one, passes the backbone once; the head is solved on these vectors. Its
    strength and the temperature are chosen on folds of the training photos. With ``refit`` the validation photos are among them,
    and their probabilities are those of the folds that lack them. The other recipes select epoch and temperature on the
    validation photos: ``two-phase`` trains the head on the same vectors, an epoch on one view of each photo, the next on another;
    then the last layers of the backbone learn at a low rate, on a fresh augmented view of every photo in each epoch, and only an
    epoch with a lower validation loss than the head alone is kept. ``thesis`` trains all layers from the start.

    Where the environment variable TF_CONFIG names several machines, ``Model.fit`` runs under
    ``tf.distribute.MultiWorkerMirroredStrategy``; each of them ends with the same network.

    Raises:
        InputError: if the backbone cannot be used, a photo not be read, a landmark has no photo for training, the loss is not
            finite, or a solved head is asked for hidden layers.
    """
    _require_photos(photos, train, validation)
    if recipe.training.recipe == "frozen" and recipe.training.head:
        raise InputError(
            "cnn.head: the recipe frozen has no hidden layers; set cnn.head to [], or cnn.recipe to two-phase"
        )
    strategy = _strategy()  # first of all: TensorFlow takes no other order
    tf.keras.utils.set_random_seed(recipe.seed)
    tf.config.experimental.enable_op_determinism()
    backbone = classifier.load_backbone(recipe)
    recipe = recipe.at(backbone.size)
    with strategy.scope():  # variables of several replicas cannot be called outside: a copy of its own is for that
        shared = backbone if "TF_CONFIG" not in os.environ else classifier.load_backbone(recipe)
        model = classifier.build(recipe, shared, len(photos.labels))
        head = tf.keras.Sequential(model.layers[1:])
    if not backbone.certain:
        _check_range(backbone, recipe, photos, train)
    if recipe.training.recipe == "frozen":
        return _solve(recipe, photos, model, vectors(backbone, photos, recipe, train, validation), train, validation)
    run = TrainingRun(recipe, strategy)
    if recipe.training.recipe == "two-phase":
        train_head(run, head, photos, vectors(backbone, photos, recipe, train, validation), train, validation)
    pictures = image_cache.preprocessed(photos.folder, photos.ids, recipe.preprocessing)
    learning, selection = (photo_batches(pictures, photos, mask, recipe) for mask in (train, validation))
    run.phase("all" if recipe.training.recipe == "thesis" else "trunk", model, learning, selection)
    untempered = Classifier(model=model, recipe=recipe, labels=photos.labels, temperature=1.0)
    logs = np.log(np.maximum(untempered.probabilities(pictures), np.finfo(np.float32).tiny))
    temperature = calibration.temperature(logs[validation], photos.class_ids[validation])
    network = dataclasses.replace(untempered, temperature=temperature)
    history = pd.DataFrame(run.history, columns=list(HISTORY))
    nobody = np.zeros(0, np.int64)
    return Trained(network, history, tf.nn.softmax(logs / temperature).numpy(), nobody, logs[nobody])


def train_head(
    run: "TrainingRun", head: Any, photos: LabelledPhotos, seen: Features, train: Mask, validation: Mask
) -> None:
    """Train a head by gradient descent on the vectors of the photos' views, an epoch on one view of each photo, the next on another."""
    rounds = [_vector_batches(seen[:, view], photos, train, run.recipe) for view in range(seen.shape[1])]
    selection = _vector_batches(seen[:, 0], photos, validation, run.recipe)
    run.phase("head", head, lambda epoch: rounds[(epoch or 0) % len(rounds)](epoch), selection)


def _solve(
    recipe: Recipe, photos: LabelledPhotos, model: Any, seen: Features, train: Mask, validation: Mask
) -> Trained:
    """The network with a solved head, the path of its strengths, and probabilities, given the vectors of all photos' views."""
    learnt, shown = train | validation if recipe.training.refit else train, len(recipe.preprocessing.views)
    classifier.unit(seen, out=seen)
    head, temperature = solved(recipe, photos, seen, learnt)
    model.layers[-1].set_weights([head.kernel, head.bias])
    with threadpool_limits(1):  # more would sum in another order
        logits = solved_head.logits(seen[:, :shown], head.kernel, head.bias)
    if recipe.training.refit:
        logits[validation] = head.held_out[validation[learnt]]
    history = [
        (number, f"C = {step.strength:g}", *np.round(dataclasses.astuple(step)[1:], 6).tolist())
        for number, step in enumerate(head.path, 1)
    ]
    told = pd.DataFrame(history, columns=list(HISTORY))
    network = Classifier(model=model, recipe=recipe, labels=photos.labels, temperature=temperature)
    held_out = _softmax(head.held_out[head.judged], temperature)
    return Trained(network, told, _softmax(logits, temperature), np.flatnonzero(learnt)[head.judged], held_out)


def solved(
    recipe: Recipe, photos: LabelledPhotos, seen: Features, learnt: Mask
) -> tuple[solved_head.SolvedHead, float]:
    """A head for ``seen``, vectors of length 1 of all photos' views, solved on the photos ``learnt``, and its temperature."""
    shown = len(recipe.preprocessing.views)
    head = solved_head.solve(examples(seen, shown, photos, learnt), len(photos.labels), recipe.seed)
    return head, calibration.temperature(head.held_out[head.judged], photos.class_ids[learnt][head.judged])


def _softmax(logits: Features, temperature: float) -> Features:
    """The probabilities, which take the place of the logits, a block at a time."""
    for rows in arrays.blocks(len(logits)):
        logits[rows] = tf.nn.softmax(logits[rows] / temperature)
    return logits


def examples(seen: Features, shown: int, photos: LabelledPhotos, learnt: Mask) -> solved_head.Examples:
    """What a head is solved on: vectors of length 1, or of zeros where there is no such view, (n, views, dimensions)."""
    vectors = arrays.taken(seen, learnt)
    there = vectors.any(axis=2).astype(np.float32)
    return solved_head.Examples(
        vectors=vectors, weights=there / there.sum(axis=1, keepdims=True), shown=shown,
        class_ids=photos.class_ids[learnt], groups=photos.groups[learnt],
    )  # fmt: skip


def _require_photos(photos: LabelledPhotos, train: Mask, validation: Mask) -> None:
    lacking = sorted(set(range(len(photos.labels))).difference(photos.class_ids[train].tolist()))
    if lacking or len(photos.labels) < 2:
        problem = f"landmark {photos.labels[lacking[0]]} has none" if lacking else "they are all of one landmark"
        raise InputError(f"photos for training: {problem}; see sample.classes and split in params.yaml; run: dvc repro")
    if not validation.any():
        raise InputError("no photo is for validation, which selects epochs; raise split.validation in params.yaml")


def _strategy() -> Any:
    """How ``Model.fit`` is distributed: as TF_CONFIG says, in TensorFlow's own form; without it, not at all.

    Raises ``InputError`` if TF_CONFIG is malformed or names no such task: TensorFlow would wait for it forever.
    """
    if "TF_CONFIG" not in os.environ:
        return tf.distribute.get_strategy()
    try:
        resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
        resolver.cluster_spec().task_address(resolver.task_type, resolver.task_id)
        return tf.distribute.MultiWorkerMirroredStrategy()
    except (ValueError, TypeError, AttributeError, tf.errors.OpError) as error:
        problem = backbones.first_line(error)
        raise InputError(f"environment variable TF_CONFIG: {problem}; name every worker and this one's task") from None


def _check_range(backbone: backbones.Backbone, recipe: Recipe, photos: LabelledPhotos, train: Mask) -> None:
    rows = np.flatnonzero(train)
    rows = rows[:: -(-len(rows) // backbones.PROBED)]
    shown = image_cache.preprocessed(photos.folder, [photos.ids[row] for row in rows], recipe.preprocessing)
    first_views = shown[:, : recipe.preprocessing.size]
    backbones.check_range(backbone, classifier.scaled(first_views), photos.class_ids[rows])


@dataclass
class TrainingRun:
    """One training and its history so far."""

    recipe: Recipe
    strategy: Any
    history: list[tuple[Any, ...]] = field(default_factory=list)

    def phase(self, name: str, model: Any, batches: Batches, validation: Batches) -> None:
        """Train ``model`` for the epochs of a phase; it keeps the best weights by validation loss, or the last."""
        config, fine_tuning = self.recipe.training, name == "trunk"
        epochs, rate = config.epochs, config.learning_rate
        if fine_tuning:
            epochs, rate = config.tuning_epochs, config.tuning_rate
        self._compile(model, rate, epochs * len(batches(0)))
        selection = validation(None)
        weights: list[Any] = []
        best, since = np.inf, 0
        if fine_tuning:  # the head alone has to be improved on
            best = model.evaluate(selection, verbose=0)[0]
            weights = model.get_weights() if config.restore_best else []
        with progress.bar(epochs, f"{name}: epochs", "epoch") as bar:
            for epoch in range(epochs):
                loss, validation_loss, accuracy = self._epoch(name, model, batches(epoch), selection)
                bar.set_postfix(loss=f"{loss:.3f}", validation=f"{accuracy:.3f}")
                bar.update()
                since += 1
                if validation_loss < best:
                    best, since = validation_loss, 0
                    weights = model.get_weights() if config.restore_best else []
                if name != "head" and 0 < config.patience <= since:  # a head's epochs cost nothing
                    break
        if weights:
            model.set_weights(weights)

    def _epoch(self, name: str, model: Any, batches: Any, selection: Any) -> tuple[float, float, float]:
        """Train one epoch and note it. Returns training loss, validation loss, validation accuracy."""
        result = model.fit(batches, validation_data=selection, verbose=0).history
        scores = [float(result[key][0]) for key in ("loss", "accuracy", "val_loss", "val_accuracy")]
        number = len(self.history) + 1
        if not np.isfinite(scores[0]):
            knob = "tuning_rate" if name == "trunk" else "learning_rate"
            problem = f"the loss is {scores[0]} at a learning rate of {getattr(self.recipe.training, knob)}"
            raise InputError(f"epoch {number}: {problem}; lower cnn.{knob} in params.yaml")
        self.history.append((number, name, *(round(score, 6) for score in scores)))
        return scores[0], scores[2], scores[3]

    def _compile(self, model: Any, rate: float, steps: int) -> None:
        config = self.recipe.training
        schedule = tf.keras.optimizers.schedules.CosineDecay(rate, steps) if config.cosine else rate
        with self.strategy.scope():
            model.compile(
                tf.keras.optimizers.legacy.SGD(schedule, config.momentum),
                tf.keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=config.label_smoothing),
                ["accuracy"],
            )


def vectors(
    backbone: backbones.Backbone, photos: LabelledPhotos, recipe: Recipe, train: Mask, validation: Mask
) -> Features:
    """Vectors of the photos' views, then of their augmented ones, float32 (n, views, dimensions).

    Augmented views exist of photos alone that the head learns from; the others' are zero.
    """
    shown, learnt = len(recipe.preprocessing.views), train | (validation & recipe.training.refit)
    count = recipe.training.augmentations if recipe.network.augment else 0
    asked = {photo: count if teaches else 0 for photo, teaches in zip(photos.ids, learnt, strict=True)}
    result, done = np.zeros((0, 0, 0), np.float32), 0
    with (
        closing(photo_vectors.each(backbone, PhotoStore(photos.folder), recipe, asked)) as passed,
        progress.bar(len(asked), "vectors", "photo") as bar,
    ):
        for values in passed:
            if not done:
                result = arrays.zeros((len(asked), shown + count, values[0].shape[1]), np.float32)
            for row, own in enumerate(values, done):
                result[row, : len(own)] = own
            done += len(values)
            bar.update(len(values))
    return result


def _vector_batches(vectors: Features, photos: LabelledPhotos, chosen: Mask, recipe: Recipe) -> Batches:
    """Batches of vectors."""
    rows, targets = vectors[chosen], np.eye(len(photos.labels), dtype=np.float32)[photos.class_ids[chosen]]

    def dataset(epoch: int | None) -> Any:
        order = _order(len(rows), epoch, recipe.seed)
        batches = tf.data.Dataset.from_tensor_slices((rows[order], targets[order])).batch(recipe.training.batch)
        return _sharded(batches)

    return dataset


def photo_batches(pictures: image_cache.Pictures, photos: LabelledPhotos, mask: Mask, recipe: Recipe) -> Batches:
    """Batches of photos: of each one view, another in every epoch, augmented where the network is; of None, the first view."""
    targets = np.eye(len(photos.labels), dtype=np.float32)[photos.class_ids]
    size, config, chosen = recipe.preprocessing.size, recipe.training, np.flatnonzero(mask)

    def dataset(epoch: int | None) -> Any:
        def shown(index: NDArray[np.int64]) -> Features:
            view = (epoch or 0) % len(recipe.preprocessing.views)
            picture = pictures[int(index)][view * size : (view + 1) * size]
            if recipe.network.augment and epoch is not None:
                picture = augmentation.view(picture, photos.ids[int(index)], epoch, config.augmentation, recipe.seed)
            return classifier.scaled(picture)

        def load(index: Any, target: Any) -> Any:
            picture = tf.numpy_function(shown, [index], tf.float32, stateful=False)
            return tf.ensure_shape(picture, (size, size, 3)), target

        order = chosen[_order(len(chosen), epoch, recipe.seed)]
        rows = tf.data.Dataset.from_tensor_slices((order, targets[order]))
        loaded = rows.map(load, num_parallel_calls=parallel.workers(), deterministic=True)
        # as figure 28's steps_per_epoch: batch norm by the batch would take its statistics from a few last photos
        whole = config.recipe == "thesis" and epoch is not None and len(order) >= config.batch
        return _sharded(loaded.batch(config.batch, drop_remainder=whole).prefetch(2))

    return dataset


def _sharded(dataset: Any) -> Any:
    """The same dataset; of several machines, each takes its part of every batch."""
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    return dataset.with_options(options)


def _order(count: int, epoch: int | None, seed: int) -> NDArray[np.int64]:
    return np.arange(count) if epoch is None else np.random.default_rng([seed, epoch]).permutation(count)
