"""Nearest neighbours: the training photos whose vectors are most similar to that of a photo."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from landmarks.common import parallel
from landmarks.common.errors import InputError
from landmarks.dataset import csv_rows
from landmarks.deep import classifier
from landmarks.images import decoding
from landmarks.images.photo_store import PhotoStore
from landmarks.serving import samples
from landmarks.serving.messages import SimilarPhoto
from landmarks.serving.predictor import Predictor

Vectors = NDArray[np.float32]
UNCREDITED = {"author": "", "license": "", "url": ""}
COUNT = 5  # similar photos shown


@dataclass(frozen=True)
class PhotoIndex:
    """The anonymized training photos and their penultimate vectors, float32 (n, dimensions), each of length 1."""

    store: PhotoStore
    ids: list[str]
    labels: list[str]
    vectors: Vectors
    credits: Mapping[str, Mapping[str, str]]  # author, license and url by id, as far as known

    def nearest(self, vector: Vectors, name: Callable[[str], str]) -> list[SimilarPhoto]:
        """The ``COUNT`` photos most similar to a vector (dimensions,), the nearest first; ``name`` gives that of a label.

        One that can no longer be read is left out.
        """
        cosines = self.vectors @ classifier.unit(vector)
        found = []
        for i in np.argsort(-cosines, kind="stable")[:COUNT]:
            photo, label = self.ids[i], self.labels[i]
            with contextlib.suppress(InputError, OSError):
                found.append(
                    SimilarPhoto(
                        id=photo, label=label, name=name(label), cosine=round(float(cosines[i]), 4),
                        jpeg=samples.thumbnail(self.store[photo]), **self.credits.get(photo, UNCREDITED),
                    )
                )  # fmt: skip
        return found


def build(
    predictor: Predictor, folder: Path, split: Path, attribution: Path | None = None,
    ending: Callable[[], bool] = lambda: False,
) -> PhotoIndex:  # fmt: skip
    """Pass the training photos in ``folder`` through the network.

    ``folder`` is that of the anonymize stage, ``split`` the CSV of the split stage, ``attribution`` that of the cards stage.
    Raises ``InputError`` if a photo does not decode, or once ``ending`` says that the server ends.
    """
    rows = [row for row in csv_rows.read(split, ("id", "landmark_id", "split")) if row["split"] == "train"]
    ids = [row["id"] for row in rows]
    credits, store = {}, PhotoStore(folder)
    if attribution:
        known = csv_rows.read(attribution, ("id", *UNCREDITED))
        credits = {row["id"]: {column: row[column] for column in UNCREDITED} for row in known}

    def pictures() -> Iterator[decoding.Picture]:
        for photo in ids:  # one by one: requests need the other cores
            if ending():
                raise InputError("the server ends")
            yield predictor.network.preprocessing.read(store[photo])

    blocks = parallel.batched(pictures(), classifier.BLOCK)
    vectors = np.concatenate([predictor.forward(np.stack(block))[0] for block in blocks])
    return PhotoIndex(
        store=store, ids=ids, labels=[row["landmark_id"] for row in rows], vectors=classifier.unit(vectors),
        credits=credits,
    )  # fmt: skip
