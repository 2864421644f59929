"""Nearest neighbours: the training photos whose vectors are most similar to that of a photo."""

import base64
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from landmarks.common import parallel
from landmarks.dataset import tables
from landmarks.deep import classifier
from landmarks.images import decoding
from landmarks.serving.messages import SimilarPhoto
from landmarks.serving.predictor import Predictor

Vectors = NDArray[np.float32]
COUNT, LONG_SIDE, QUALITY = 5, 240, 80  # similar photos shown; pixels and JPEG quality of their copies


@dataclass(frozen=True)
class PhotoIndex:
    """The anonymized training photos and their penultimate vectors, float32 (n, dimensions), each of length 1."""

    folder: Path
    ids: list[str]
    labels: list[str]
    vectors: Vectors

    def nearest(self, vector: Vectors, name: Callable[[str], str]) -> list[SimilarPhoto]:
        """The ``COUNT`` photos most similar to a vector (dimensions,), the nearest first; ``name`` gives that of a label.

        Raises ``InputError`` if one of them is gone.
        """
        cosines = self.vectors @ _normalize(vector[None])[0]
        order = np.argsort(-cosines, kind="stable")[:COUNT]
        return [
            SimilarPhoto(
                id=self.ids[i],
                label=self.labels[i],
                name=name(self.labels[i]),
                cosine=round(float(cosines[i]), 4),
                jpeg=_thumbnail(self.folder / f"{self.ids[i]}.jpg"),
            )
            for i in order
        ]


def build(predictor: Predictor, folder: Path, split: Path) -> PhotoIndex:
    """Pass the training photos in ``folder`` through the network. Raises ``InputError`` if one does not decode.

    ``folder`` is that of the anonymize stage, ``split`` the CSV of the split stage.
    """
    rows = tables.read_split(split)
    rows = rows[rows["split"] == "train"]
    ids = list(rows.index)
    read = predictor.network.preprocessing.read
    pictures = (read(folder / f"{photo}.jpg") for photo in ids)  # one by one: requests need the other cores
    blocks = parallel.batched(pictures, classifier.BLOCK)
    vectors = np.concatenate([predictor.forward(np.stack(block))[0] for block in blocks])
    return PhotoIndex(folder=folder, ids=ids, labels=list(rows["landmark_id"]), vectors=_normalize(vectors))


def _thumbnail(path: Path) -> str:
    small = cv2.imencode(".jpg", decoding.read(path, LONG_SIDE), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1]
    return base64.b64encode(small.tobytes()).decode()


def _normalize(vectors: Vectors) -> Vectors:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.finfo(np.float32).tiny)
