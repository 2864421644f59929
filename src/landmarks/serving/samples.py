"""Photos to try: of the landmarks that a model knows, and of others, with who took them."""

import base64
import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2

from landmarks.dataset import csv_rows
from landmarks.dataset.places import Place
from landmarks.images import decoding
from landmarks.images.photo_store import Photo, PhotoStore

EXAMPLES = ("id", "name", "author", "license", "source")  # columns of data/examples/photos.csv
LONG_SIDE, QUALITY = 240, 80  # pixels and JPEG quality of small copies


@dataclass(frozen=True)
class Sample:
    """A photo that may be shown to whoever asks. ``label`` is empty where no landmark of the model is in it."""

    id: str
    label: str
    name: str
    path: Photo
    author: str = ""
    license: str = ""
    url: str = ""


def of_places(places: Mapping[str, Place]) -> Iterator[Sample]:
    """The pictures that a table of landmarks names, where the file is there."""
    for label, place in places.items():
        if place.picture and Path(place.picture).is_file():
            yield Sample(id=f"place-{label}", label=label, name=place.name, path=Path(place.picture))


def of_test_photos(places: Mapping[str, Place], anonymous: Path, split: Path) -> Iterator[Sample]:
    """The first test photo of each landmark: one that no model was trained on, faces obscured. Raises ``InputError``."""
    seen, store = set(), PhotoStore(anonymous)
    for row in csv_rows.read(split, ("id", "landmark_id", "split")):
        label, photo = row["landmark_id"], row["id"]
        if row["split"] == "test" and label not in seen and photo in store:
            seen.add(label)
            name = places[label].name if label in places else label
            yield Sample(id=f"place-{label}", label=label, name=name, path=store[photo])


def of_examples(table: Path) -> Iterator[Sample]:
    """Real photos under licences that allow to show them. Raises ``InputError`` if the table is not as it should be."""
    for row in csv_rows.read(table, EXAMPLES):
        yield Sample(
            id=f"example-{row['id']}", label="", name=row["name"], path=table.with_name(f"{row['id']}.jpg"),
            author=row["author"], license=row["license"], url=row["source"],
        )  # fmt: skip


def thumbnail(photo: Photo) -> str:
    """A small copy of a photo, a JPEG in base64. Raises ``InputError`` or ``OSError`` if it cannot be read."""
    small = cv2.imencode(".jpg", decoding.read(photo, LONG_SIDE), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1]
    return base64.b64encode(small.tobytes()).decode()


kept_thumbnail = functools.cache(thumbnail)  # of samples, which do not change while a server runs
