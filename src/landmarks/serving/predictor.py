"""From the bytes of a photo to the name of the place, how sure that is, and who says so."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from landmarks.common.errors import InputError
from landmarks.common.files import read_json
from landmarks.dataset import schema, tables
from landmarks.deep import classifier
from landmarks.images import decoding
from landmarks.serving import dvc_lineage, uploads

Pictures = NDArray[np.uint8]
Vectors = NDArray[np.float32]
DIGITS = 6  # of a confidence, as in the tables of predictions


@dataclass(frozen=True)
class Choice:
    """A landmark and its calibrated probability, 0 to 1."""

    label: str
    name: str
    confidence: float


@dataclass(frozen=True)
class Prediction:
    """What a photo shows. ``label`` is ``unknown`` where the surest choice is below the threshold; ``top`` is then a guess."""

    label: str
    name: str
    confidence: float  # of the surest choice, known or not
    known: bool
    top: list[Choice]  # the surest first


@dataclass(frozen=True)
class Provenance:
    """Which model answers, and what it was made with."""

    model: str  # path of its JSON
    md5: dict[str, str]  # of its files
    checked: bool  # whether they were held against dvc.lock
    commit: str | None
    threshold: float | None  # least confidence of an answer; None: none was chosen for this model
    temperature: float
    labels: list[str]
    parameters: dict[str, Any]  # the block cnn of params.yaml that it was trained with


@dataclass(frozen=True)
class Predictor:
    """A network, what its classes are called, and below which confidence it says that it does not know."""

    network: classifier.Network
    names: dict[str, str]
    provenance: Provenance

    def square(self, content: bytes, max_pixels: int = decoding.MAX_PIXELS) -> Pictures:
        """The bytes of a photo as the network takes them: uint8 RGB (size, size, 3). Raises as ``uploads.square``."""
        return uploads.square(content, self.network.recipe.size, self.network.recipe.crop, max_pixels)

    def run(self, pictures: Pictures) -> tuple[Vectors, Vectors]:
        """Penultimate vectors (n, dimensions) and probabilities (n, labels), float32, of uint8 RGB (n, size, size, 3); n > 0."""
        blocks = [self._block(pictures[at : at + classifier.BLOCK]) for at in range(0, len(pictures), classifier.BLOCK)]
        vectors, shares = (np.concatenate(part) for part in zip(*blocks, strict=True))
        return vectors, shares

    def _block(self, pictures: Pictures) -> tuple[Vectors, Vectors]:
        """The same of up to ``networks.BLOCK``, filled up to a power of two: TensorFlow keeps memory for every size that it meets."""
        count = len(pictures)
        filled = np.zeros((1 << (count - 1).bit_length(), *pictures.shape[1:]), np.uint8)
        filled[:count] = pictures
        vectors, shares = self._graph(tf.constant(filled))
        return vectors.numpy()[:count], shares.numpy()[:count]

    @cached_property
    def _graph(self) -> Any:
        *trunk, last = self.network.model.layers
        side = self.network.recipe.size

        def run(pictures: Any) -> Any:
            vectors = tf.cast(pictures, tf.float32) / 255
            for layer in trunk:
                vectors = layer(vectors, training=False)
            return vectors, tf.nn.softmax(last(vectors) / self.network.temperature)

        # with a signature, else there would be one graph a batch size; its weights constants, else batch norm is not folded
        traced = tf.function(run, input_signature=[tf.TensorSpec((None, side, side, 3), tf.uint8)])
        return convert_variables_to_constants_v2(traced.get_concrete_function())

    def answer(self, shares: Vectors, top: int) -> Prediction:
        """What probabilities (labels,) say, with the ``top`` surest choices."""
        rounded = shares.astype(float).round(DIGITS)
        order = np.argsort(-rounded, kind="stable")[: max(top, 1)]
        labels = self.network.labels
        choices = [Choice(labels[i], self.name(labels[i]), float(rounded[i])) for i in order]
        first, least = choices[0], self.provenance.threshold
        known = least is None or first.confidence >= least
        label, name = (first.label, first.name) if known else (schema.UNKNOWN, schema.UNKNOWN)
        return Prediction(label, name, first.confidence, known, choices[:top])

    def predict(self, pictures: Sequence[Pictures], top: int) -> list[Prediction]:
        """The same of pictures from ``square``."""
        if not len(pictures):
            return []
        return [self.answer(shares, top) for shares in self.run(np.stack(pictures))[1]]

    def name(self, label: str) -> str:
        """What people call a landmark; its id where no table tells."""
        return self.names.get(label, label)


def load(
    model: Path,
    lock: Path | None = Path("dvc.lock"),
    names: Path | None = None,
    threshold: float | None = None,
    threads: int = 0,
) -> Predictor:
    """A model of the cnn stage, ready to answer.

    Args:
        model: its JSON, the weights beside it.
        lock: the dvc.lock that must know both files by their hashes; None takes them as they are.
        names: a CSV of id, name.
        threshold: least confidence of an answer; else the one that the reject stage chose on this very model, if it did.
        threads: that one call uses, 0: one a core. Several calls at a time, of one thread each, get more done; it is for
            the whole process, and can be chosen only before TensorFlow has done anything.

    Raises ``InputError`` if something is missing, or is not what DVC recorded.
    """
    if threads:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
    files = [model, model.with_suffix(".weights.h5")]
    if lock:
        locked = dvc_lineage.read(lock)
        hashes = locked.check(files)
        if threshold is None:
            threshold = _chosen(model.with_name("threshold.json"), model, locked)
    else:
        hashes = {str(file): dvc_lineage.md5(file) for file in files}
    called = _names(names) if names else {}
    network = classifier.load(model)
    recipe = dataclasses.asdict(network.recipe)
    commit = dvc_lineage.commit(model.resolve().parent)
    made = Predictor(
        network,
        called,
        Provenance(
            str(model), hashes, lock is not None, commit, threshold, network.temperature, list(network.labels), recipe
        ),
    )
    made.run(np.zeros((1, recipe["size"], recipe["size"], 3), np.uint8))  # the first photo need not wait for the graph
    return made


def _chosen(file: Path, model: Path, locked: dvc_lineage.Lock) -> float | None:
    """The threshold of the reject stage, if that was asked about this model."""
    if not locked.made_from(file, model):
        return None
    locked.check([file])
    try:
        return float(read_json(file, "reject")["confidence"])
    except (KeyError, TypeError, ValueError):
        raise InputError(f"{file}: has no confidence; run: dvc repro --force reject") from None


def _names(path: Path) -> dict[str, str]:
    table = tables.read(path, ["id", "name"])
    twice = table["id"].duplicated()
    if twice.any():
        row = int(twice.to_numpy().argmax())
        raise InputError(
            f"{path}: row {row + 2}: the id {table['id'].iloc[row]!r} stands in an earlier row; remove one"
        )
    return dict(zip(table["id"], table["name"], strict=True))
