"""The predictor: from the bytes of a photo to the name of the landmark and its probability."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landmarks.common import knobs
from landmarks.common.errors import InputError
from landmarks.common.files import read_json
from landmarks.dataset import places, schema
from landmarks.dataset.places import Place
from landmarks.deep import classifier, frozen_graph
from landmarks.deep.frozen_graph import FrozenNetwork
from landmarks.deep.runtime import tf
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
    """What a photo shows. ``label`` is ``unknown`` if the most probable landmark is below the threshold."""

    label: str
    name: str
    confidence: float  # of the most probable landmark, known or not
    known: bool
    top: list[Choice]  # the most probable first
    place: Place | None = None  # what is known about the landmark; of unknown, nothing


@dataclass(frozen=True)
class ModelRecord:
    """Which model predicts, and what it was made with."""

    model: str  # path of its JSON
    md5: dict[str, str]  # by file
    checked: bool  # whether the files were compared with dvc.lock
    commit: str | None
    threshold: float | None  # lowest confidence of a known landmark; None: none was chosen for this model
    temperature: float
    labels: list[str]
    parameters: dict[str, Any]  # of params.yaml that it was trained with


@dataclass(frozen=True)
class Predictor:
    """A network, what is known about its landmarks, and the record of the model with its threshold."""

    network: FrozenNetwork
    places: Mapping[str, Place]  # by label
    record: ModelRecord

    def preprocess(self, content: bytes, max_pixels: int = decoding.MAX_PIXELS) -> Pictures:
        """The bytes of a photo as the network takes them: uint8 RGB (views * size, size, 3). Raises as ``uploads.preprocess``."""
        return uploads.preprocess(content, self.network.preprocessing, max_pixels)

    def forward(self, pictures: Pictures) -> tuple[Vectors, Vectors]:
        """Penultimate vectors (n, dimensions) and probabilities (n, labels), float32, of uint8 RGB (n, views * size, size, 3),
        any number of views; n > 0.
        """
        size = classifier.BLOCK
        batches = [self._forward_batch(pictures[start : start + size]) for start in range(0, len(pictures), size)]
        vectors, probabilities = (np.concatenate(part) for part in zip(*batches, strict=True))
        return vectors, probabilities

    def predict(self, pictures: Sequence[Pictures], top: int) -> list[Prediction]:
        """The prediction for each picture from ``preprocess``, with its ``top`` most probable landmarks."""
        if not len(pictures):
            return []
        return [self.to_prediction(row, top) for row in self.forward(np.stack(pictures))[1]]

    def to_prediction(self, probabilities: Vectors, top: int) -> Prediction:
        """The prediction that follows from the probabilities (labels,) of one photo."""
        rounded = probabilities.astype(float).round(DIGITS)
        order = np.argsort(-rounded, kind="stable")[: max(top, 1)]
        labels, threshold = self.network.labels, self.record.threshold
        choices = [Choice(labels[i], self.display_name(labels[i]), float(rounded[i])) for i in order]
        best = choices[0]
        known = threshold is None or best.confidence >= threshold
        label, name = (best.label, best.name) if known else (schema.UNKNOWN, schema.UNKNOWN)
        place = self.places.get(label) if known else None
        return Prediction(
            label=label, name=name, confidence=best.confidence, known=known, top=choices[:top], place=place
        )

    def display_name(self, label: str) -> str:
        """The name of a landmark for people; its id if none is known."""
        return self.places[label].name if label in self.places else label

    def _forward_batch(self, pictures: Pictures) -> tuple[Vectors, Vectors]:
        """``forward`` for up to ``classifier.BLOCK``, padded to a power of two: TensorFlow keeps memory for every batch size."""
        count = len(pictures)
        padded = np.zeros((1 << (count - 1).bit_length(), *pictures.shape[1:]), np.uint8)
        padded[:count] = pictures
        vectors, probabilities = self.network.run(padded)
        return vectors[:count], probabilities[:count]


def load(
    model: Path, lock: Path | None = Path("dvc.lock"), names: Path | None = None, threshold: float | None = None,
    threads: int = 0,
) -> Predictor:  # fmt: skip
    """Load a model of the cnn stage and run it once, so that the first photo does not wait for the graph.

    Args:
        model: its JSON, the weights beside it.
        lock: the dvc.lock whose hashes both files must have; None accepts them as they are.
        names: a CSV as ``places.read`` takes it; None takes landmarks.csv of the places stage, beside the model, if it is there.
        threshold: lowest confidence of a known landmark; None takes the one that the reject stage chose for this model.
        threads: of one call, 0: one per core; several calls at once have a higher throughput on one each. Set for the
            whole process, before anything else that TensorFlow does.

    Raises ``InputError`` if something is missing; ``LineageError``, a kind of it, if a file is not what DVC recorded.
    """
    if threads:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
    files = [model, model.with_suffix(".weights.h5")]
    beside = model.with_name("landmarks.csv")
    if lock:
        dvc_lock = dvc_lineage.read(lock)
        hashes = dvc_lock.check(files)
        if names is None and beside.exists():
            dvc_lock.check([beside])
        if threshold is None:
            threshold = _read_threshold(model.with_name("threshold.json"), model, dvc_lock)
    else:
        hashes = {str(file): dvc_lineage.md5(file) for file in files}
    names = names or (beside if beside.exists() else None)
    network = frozen_graph.load(model)
    record = ModelRecord(
        model=str(model), md5=hashes, checked=lock is not None, commit=dvc_lineage.commit(model.parent),
        threshold=threshold, temperature=network.temperature, labels=list(network.labels),
        parameters=knobs.flat(network.recipe),
    )  # fmt: skip
    predictor = Predictor(network=network, places=places.read(names) if names else {}, record=record)
    predictor.forward(np.zeros((1, *network.preprocessing.shape), np.uint8))
    return predictor


def _read_threshold(file: Path, model: Path, dvc_lock: dvc_lineage.DvcLock) -> float | None:
    """The threshold of the reject stage, if it was chosen for this model."""
    if not dvc_lock.made_from(file, model):
        return None
    dvc_lock.check([file])
    try:
        return float(read_json(file, "reject")["confidence"])
    except (KeyError, TypeError, ValueError):
        raise InputError(f"{file}: has no confidence; run: dvc repro --force reject") from None
