"""What a person decided about photos: a CSV, one decision a row, bound to the content of an original.

| column | what it holds |
|---|---|
| source | SHA-256 of the original, 64 hexadecimal digits: a verdict applies to this photo, under whatever name, and to no other |
| photo | its id or name when it was looked at, for people to read |
| x, y, w, h | a box in the upright original, pixels; empty where the verdict is about the whole photo |
| verdict | ``face`` or ``not_a_face`` of a box, ``pass`` or ``stay_out`` of a photo |

``face``: the box is obscured, whether a detector finds it or not, and the photo counts as one that has a face. ``not_a_face``:
no face is in the box, and the detection there is left readable. ``pass``: the photo passes even if a detector still finds a
face once it was obscured. ``stay_out``: it never passes. No verdict leaves another box readable.
"""

import dataclasses
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from landmarks.common.errors import InputError
from landmarks.dataset import tables
from landmarks.privacy.redaction import Box, Face, box_of, shared

OfBox = Literal["face", "not_a_face"]
OfPhoto = Literal["pass", "stay_out"]

SIDES = ("x", "y", "w", "h")
COLUMNS = ("source", "photo", *SIDES, "verdict")
DIGITS = r"-?[0-9]{1,6}"  # no photo that is decoded has a longer side
SAME = 0.5  # a detection that shares more than this part of its union with a box is the same one
PERSON = 1.0  # the score of what a person called a face


@dataclass(frozen=True)
class Verdict:
    """One decision; ``row`` is where it stands in its file, the header counted."""

    source: str
    photo: str
    box: Box | None
    verdict: OfBox | OfPhoto
    row: int


@dataclass(frozen=True)
class PhotoVerdicts:
    """All decisions about one photo, in an order that does not depend on their rows."""

    faces: tuple[Box, ...] = ()
    not_faces: tuple[Box, ...] = ()
    whole: OfPhoto | None = None

    def record(self) -> dict[str, Any]:
        """Return them as JSON gives them back: part of what decides on the result of the photo; empty if there are none."""
        lists = {"face": self.faces, "not_a_face": self.not_faces}
        made: dict[str, Any] = {name: [list(box) for box in boxes] for name, boxes in lists.items() if boxes}
        return {**made, "whole": self.whole} if self.whole else made

    def drawn(self) -> list[Face]:
        """Return the boxes that a person called faces."""
        return [Face(*box, score=PERSON) for box in self.faces]

    def divide(self, found: Iterable[Face]) -> tuple[list[Face], list[Face]]:
        """Divide detections into those that no verdict is about, and those in whose box there is no face.

        A box clears the one detection that it overlaps most: of two faces close together, the other stays.
        """
        open_, cleared = [face for face in found if box_of(face) not in self.faces], []
        for box in self.not_faces:
            best = max(open_, key=lambda face: overlap(box_of(face), box), default=None)
            if best and overlap(box_of(best), box) > SAME:
                open_.remove(best)
                cleared.append(best)
        return open_, cleared


Verdicts = Mapping[str, PhotoVerdicts]  # by the SHA-256 of the original

NONE = PhotoVerdicts()
NO_VERDICTS: Verdicts = {}


def recorded(face: Mapping[str, Any]) -> Box:
    """The box of a detection as faces.json has it."""
    return face["x"], face["y"], face["w"], face["h"]


def overlap(one: Box, other: Box) -> float:
    """Intersection over union, in [0, 1]."""
    both = shared(one, other)
    return both / (one[2] * one[3] + other[2] * other[3] - both or 1)


def joined(known: list[Face], more: Iterable[Face]) -> list[Face]:
    """``known`` with those of ``more`` that are not the same detections, a few pixels off."""
    return known + [face for face in more if not _is_among(box_of(face), map(box_of, known))]


def _is_among(box: Box, others: Iterable[Box]) -> bool:
    return any(overlap(box, other) > SAME for other in others)


def read(path: Path) -> list[Verdict]:
    """The verdicts in a CSV file, in its order.

    Raises ``InputError`` if a row is not as the review page writes it, or two rows decide differently about one thing.
    """
    rows = tables.read(path, COLUMNS).itertuples(index=False, name=None)
    verdicts = [
        _verdict(f"{path}: row {row}", row, dict(zip(COLUMNS, values, strict=True)))
        for row, values in enumerate(rows, 2)
    ]
    first: dict[tuple[str, Box | None], Verdict] = {}
    for verdict in verdicts:
        earlier = first.setdefault((verdict.source, verdict.box), verdict)
        if earlier.verdict != verdict.verdict:
            contrary = f"{verdict.verdict} contradicts {earlier.verdict} in row {earlier.row} about the same"
            raise InputError(f"{path}: row {verdict.row}: {contrary} {'box' if verdict.box else 'photo'}; remove one")
    return list(first.values())


def by_source(verdicts: Iterable[Verdict]) -> dict[str, PhotoVerdicts]:
    """The verdicts of each original that has any."""
    found: dict[str, PhotoVerdicts] = {}
    for verdict in verdicts:
        known = found.get(verdict.source, NONE)
        found[verdict.source] = dataclasses.replace(known, **_added(known, verdict))
    return found


def unused(verdicts: Iterable[Verdict], passed: Mapping[str, list[Box]], refused: Iterable[str]) -> list[str]:
    """A line for each verdict that decides nothing now, with its row and photo.

    ``passed`` has, by the hash of the original, the boxes that were left readable; ``refused`` the hashes of the originals that
    did not pass.
    """
    kept_out, lines = set(refused), []
    for verdict in verdicts:
        why = ""
        if verdict.source not in passed:
            why = "" if verdict.source in kept_out else "no photo has this content"
            if verdict.source in kept_out and verdict.verdict == "pass":
                why = "the photo cannot be read"
        elif verdict.verdict == "not_a_face" and verdict.box and not _is_among(verdict.box, passed[verdict.source]):
            why = "nothing is found in this box"
        lines += [f"row {verdict.row} ({verdict.photo}, {verdict.verdict}): {why}"] if why else []
    return lines


def _added(known: PhotoVerdicts, verdict: Verdict) -> dict[str, Any]:
    if verdict.box is None:
        return {"whole": verdict.verdict}
    name = "faces" if verdict.verdict == "face" else "not_faces"
    return {name: tuple(sorted({*getattr(known, name), verdict.box}))}


def _verdict(place: str, row: int, values: dict[str, str]) -> Verdict:
    if not re.fullmatch("[0-9a-f]{64}", values["source"]):
        raise InputError(
            f"{place}: source {values['source'][:70]!r} is no SHA-256 in lower case; save it from the page again"
        )
    allowed: tuple[Any, ...] = (*get_args(OfBox), *get_args(OfPhoto))
    verdict: Any = values["verdict"]
    if verdict not in allowed:
        raise InputError(f"{place}: verdict {verdict!r} is none of {', '.join(allowed)}; correct it or remove the row")
    sides = [values[side] for side in SIDES]
    if verdict in get_args(OfPhoto):
        if any(sides):
            raise InputError(f"{place}: {verdict} is about the whole photo; leave {', '.join(SIDES)} empty")
        return Verdict(source=values["source"], photo=values["photo"], box=None, verdict=verdict, row=row)
    if not all(re.fullmatch(DIGITS, side) for side in sides) or min(map(int, sides[2:])) < 1:
        given = ", ".join(sides)
        raise InputError(f"{place}: x, y, w, h are {given!r}, no box in whole pixels; correct it or remove the row")
    x, y, w, h = map(int, sides)
    return Verdict(source=values["source"], photo=values["photo"], box=(x, y, w, h), verdict=verdict, row=row)
