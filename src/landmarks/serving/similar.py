"""The training photos that a network finds most like a photo."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from landmarks.common import parallel
from landmarks.dataset import tables
from landmarks.deep import classifier
from landmarks.images import decoding
from landmarks.serving.predictor import Predictor

Vectors = NDArray[np.float32]
QUALITY = 80


@dataclass(frozen=True)
class Training:
    """The anonymized training photos and their penultimate vectors, float32 (n, dimensions), each of length 1."""

    folder: Path
    ids: list[str]
    labels: list[str]
    vectors: Vectors

    def nearest(self, vector: Vectors, count: int, long_side: int) -> list[tuple[str, str, float, bytes]]:
        """The ``count`` photos most like a vector (dimensions,), the nearest first: id, landmark, cosine, a small JPEG."""
        cosines = self.vectors @ _unit(vector[None])[0]
        order = np.argsort(-cosines, kind="stable")[:count]
        return [(self.ids[i], self.labels[i], float(cosines[i]), self._small(self.ids[i], long_side)) for i in order]

    def _small(self, photo: str, long_side: int) -> bytes:
        picture = decoding.read(self.folder / f"{photo}.jpg", long_side)
        return bytes(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1])


def learn(predictor: Predictor, folder: Path, split: Path) -> Training:
    """Pass the training photos in ``folder`` through the network once. Raises ``InputError`` if one is missing."""
    rows = tables.read_split(split)
    rows = rows[rows["split"] == "train"]
    ids = list(rows.index)
    blocks = [
        predictor.run(np.stack(block))[0]
        for block in parallel.batched(_squares(predictor, folder, ids), classifier.BLOCK)
    ]
    return Training(folder, ids, list(rows["landmark_id"]), _unit(np.concatenate(blocks)))


def _squares(predictor: Predictor, folder: Path, ids: list[str]) -> Iterator[decoding.Picture]:
    recipe = predictor.network.recipe
    for photo in ids:  # one at a time: whoever asks meanwhile comes first
        yield decoding.read_square(folder / f"{photo}.jpg", recipe.size, recipe.crop)


def _unit(vectors: Vectors) -> Vectors:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.finfo(np.float32).tiny)
