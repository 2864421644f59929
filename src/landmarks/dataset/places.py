"""What is known about landmarks: names and further facts by id, for people. No result depends on them."""

import csv
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from landmarks.common.errors import InputError
from landmarks.common.files import whole
from landmarks.dataset import csv_rows, schema

NEEDED = ("id", "name")
DEGREES = (("latitude", 90), ("longitude", 180))  # and the most of each


@dataclass(frozen=True)
class Place:
    """A landmark. What is not known is empty, or None."""

    id: str
    name: str
    description: str = ""
    country: str = ""
    latitude: float | None = None  # degrees north, -90 to 90
    longitude: float | None = None  # degrees east, -180 to 180
    url: str = ""  # a page about it, http or https
    picture: str = ""  # file of a photo of it that may be shown


Places = dict[str, Place]  # by id
COLUMNS = tuple(field.name for field in fields(Place))


def read(path: Path) -> Places:
    """The places of a CSV with the columns id and name, and further ``COLUMNS`` where they are there; their names differ.

    Raises ``InputError`` if the file is missing, lacks a column, has an id twice, or a value that is none.
    """
    return _distinct(collect(str(path), enumerate(csv_rows.read(path, NEEDED, "dvc repro places"), 2)))


class Names(dict[str, str]):
    """What landmarks are called, by id; one without a name is called by its id."""

    def __missing__(self, landmark: str) -> str:
        """The id."""
        return landmark


def names(path: Path) -> Names:
    """What the places of a CSV are called, as ``read``: no two alike."""
    return Names({id_: place.name for id_, place in read(path).items()})


def write(path: Path, found: Iterable[Place]) -> None:
    """Write a CSV file of ``COLUMNS``, whole or not at all."""
    with whole(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        table.writeheader()
        table.writerows({name: "" if value is None else value for name, value in asdict(one).items()} for one in found)


def collect(table: str, rows: Iterable[tuple[int, Mapping[str, Any]]]) -> Places:
    """The places of rows, each with its number in ``table``. Raises ``InputError`` if an id stands twice or a value is none."""
    found: Places = {}
    for number, row in rows:
        place = _place(f"{table}: row {number}", row)
        if place.id in found:
            raise InputError(f"{table}: row {number}: the id {place.id!r} is in an earlier row; remove one")
        found[place.id] = place
    return found


def _place(where: str, row: Mapping[str, Any]) -> Place:
    text = {column: _one_line(row.get(column) or "") for column in COLUMNS}
    if not text["id"]:
        raise InputError(f"{where}: no id; remove the row")
    if text["url"] and urlsplit(text["url"]).scheme not in ("http", "https"):
        raise InputError(f"{where}: the url {text['url']!r} is none of http or https; correct it")
    latitude, longitude = (_degrees(where, name, most, text[name]) for name, most in DEGREES)
    return Place(
        id=text["id"], name=text["name"] or text["id"], description=text["description"], country=text["country"],
        latitude=latitude, longitude=longitude, url=text["url"], picture=text["picture"],
    )  # fmt: skip


def _degrees(where: str, name: str, most: int, text: str) -> float | None:
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not -most <= value <= most:
        raise InputError(f"{where}: the {name} {text!r} is no number of degrees from -{most} to {most}; correct it")
    return value


def _one_line(text: str) -> str:
    """Without line breaks, and without the letters that move a terminal's cursor."""
    return "".join(letter for letter in " ".join(text.split()) if letter.isprintable())


def _distinct(found: Places) -> Places:
    """The same; a name that another place has, too, is followed by the id."""
    counts = Counter([schema.UNKNOWN, *(place.name for place in found.values())])
    names_of: dict[str, str] = {}
    taken = {name for name, count in counts.items() if count == 1}
    for place in found.values():
        name = place.name
        while counts[place.name] > 1 and name in {*taken, place.name}:
            name += f" ({place.id})"
        taken.add(name)
        names_of[place.id] = name
    return {id_: replace(place, name=names_of[id_]) for id_, place in found.items()}
