"""The page on which a person looks over what the privacy gate was least sure of, and decides.

It holds originals, readable faces included: it is for the person who may see these, and belongs into no repository.
"""

import dataclasses
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import cv2

from landmarks.common.files import as_text, whole
from landmarks.common.result_cache import fingerprint
from landmarks.images import decoding
from landmarks.images.photo_store import Photo, sha256
from landmarks.privacy import gate, redaction, verdicts
from landmarks.privacy.redaction import Box
from landmarks.reporting import html_page
from landmarks.reporting.figures import Picture

SIDE = 720  # longer side of a photo in the page, pixels
CROP = 240  # the same of a cut-out
QUARANTINED = 200  # photos of the quarantine in one page: each is examined again for it


@dataclass(frozen=True)
class Question:
    """Something for a person to decide: a detection, or a photo in quarantine."""

    kind: Literal["quarantined", "readable", "obscured", "unmarked"]
    photo: str
    source: str  # SHA-256 of the original
    box: Box | None = None  # of the detection
    score: float | None = None
    cover: tuple[Box, ...] = ()  # what is obscured in a photo in quarantine
    found: tuple[Box, ...] = ()  # where a face is still found in it


@dataclass
class Review:
    """What a page asks, the pictures for it, and what is not in it."""

    left_out: int  # detections and photos beyond the limits
    changed: int = 0  # detections and photos whose original is missing or another by now
    questions: list[Question] = field(default_factory=list)
    photos: dict[str, dict[str, Any]] = field(default_factory=dict)  # by source, as ``_frame`` makes them
    crops: dict[Question, dict[str, Any] | None] = field(default_factory=dict)
    files: dict[str, Photo] = field(default_factory=dict)  # the originals, by source
    hopeless: list[tuple[str, str]] = field(default_factory=list)  # in quarantine whatever a verdict says, and why


def least_certain(photos: Mapping[str, Mapping[str, Any]], count: int) -> tuple[list[Question], int]:
    """The ``count`` detections to look at first, and how many more there are.

    Those left readable with the highest scores, then those obscured with the lowest: each up to half, or more where the others
    are fewer. What a person decided before is not asked again. ``photos`` are the records of faces.json.
    """
    asked = {kind: list(_detections(photos, kind)) for kind in ("readable", "obscured")}
    readable = sorted(asked["readable"], key=lambda one: (-(one.score or 0), one.photo, one.box))
    obscured = sorted(asked["obscured"], key=lambda one: (one.score, one.photo, one.box))
    chosen = readable[: max(count // 2, count - len(obscured))]
    chosen += obscured[: count - len(chosen)]
    return chosen, len(readable) + len(obscured) - len(chosen)


def unmarked(photos: Mapping[str, Mapping[str, Any]], count: int) -> list[Question]:
    """``count`` photos in which nothing was found, by chance, the same ones each time: is a face in them that was missed?"""
    empty = {
        record["source"]: photo
        for photo, record in photos.items()
        if not (record["faces"] or record["readable"] or record["verdicts"])
    }
    return [Question("unmarked", empty[source], source) for source in sorted(empty)[:count]]  # hashes are in no order


def _detections(photos: Mapping[str, Mapping[str, Any]], kind: Any) -> Iterator[Question]:
    seen: set[tuple[str, Box]] = set()  # the same photo may be there under two names
    for photo, record in photos.items():
        decided = record["verdicts"]
        known = [*decided.get("face", []), *(decided.get("not_a_face", []) if kind == "readable" else [])]
        faces = record["readable"] if kind == "readable" else list(_found_first(record["faces"]))
        for face in faces:
            box = verdicts.recorded(face)
            if (record["source"], box) in seen or any(
                verdicts.overlap(box, tuple(other)) > verdicts.SAME for other in known
            ):
                continue
            seen.add((record["source"], box))
            yield Question(kind=kind, photo=photo, source=record["source"], box=box, score=face["score"])


def _found_first(faces: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Without those found in a later look in the cover of an earlier one."""
    for face in faces:
        earlier = (verdicts.recorded(other) for other in faces if other["pass"] < face["pass"])
        if not any(redaction.lies_in(verdicts.recorded(face), other) for other in earlier):
            yield face


def prepare(
    asked: Sequence[Question], quarantine: Mapping[str, str], originals: Mapping[str, Photo], settings: gate.GateSettings,
    decided: verdicts.Verdicts, left_out: int,
) -> Review:  # fmt: skip
    """Read the photos of the questions ``asked``, and examine those in ``quarantine`` (reasons by name) again.

    ``originals`` are photos by name. A photo in quarantine is shown as it would pass: obscured as far as the gate got.
    """
    review = Review(left_out)
    overruled = [photo for photo, reason in quarantine.items() if reason.startswith(gate.STILL_FOUND)]
    review.hopeless = [(photo, reason) for photo, reason in quarantine.items() if photo not in set(overruled)]
    review.left_out += len(overruled[QUARANTINED:])
    for photo in overruled[:QUARANTINED]:
        _ask_about(review, photo, originals.get(photo), settings, decided)
    by_source: dict[str, list[Question]] = {}
    for question in asked:
        by_source.setdefault(question.source, []).append(question)
    for source, questions in by_source.items():
        original = originals.get(questions[0].photo)
        if original is None or not original.is_file() or sha256(original) != source:
            review.changed += len(questions)
            continue
        picture = decoding.read(original)  # one at a time: what is kept of it is small
        review.photos[source], review.files[source] = _frame(picture, SIDE), original
        review.crops |= {question: _crop(picture, question.box) for question in questions if question.box}
    review.questions += [question for question in asked if question.source in review.photos]
    return review


def _ask_about(
    review: Review, photo: str, original: Photo | None, settings: gate.GateSettings, decided: verdicts.Verdicts
) -> None:
    """Add a photo in quarantine to ``review``, as it looks when it passes."""
    if original is None or not original.is_file():
        review.changed += 1
        return
    source = sha256(original)
    person = dataclasses.replace(decided.get(source, verdicts.NONE), whole="pass")
    with tempfile.TemporaryDirectory() as folder:
        passing = Path(folder) / "passing.jpg"
        try:
            record = gate.examine(original, passing, settings, {source: person})
        except gate.QuarantineError as error:
            review.hopeless.append((photo, str(error)))
            return
        picture = decoding.read(passing)
    grown = [(face, settings.margin * (face["pass"] - 1)) for face in record.faces]  # later covers reach further
    found = settings.look(picture)
    review.photos[source], review.files[source] = _frame(picture, SIDE), original
    review.questions.append(
        Question(
            kind="quarantined", photo=photo, source=source, score=max((face.score for face in found), default=None),
            cover=tuple(dict.fromkeys(_grow(verdicts.recorded(face), by) for face, by in grown)),
            found=tuple(redaction.box_of(face) for face in found),
        )
    )  # fmt: skip


def write(page: Path, review: Review, earlier: Iterable[verdicts.Verdict], save_as: Path, again: str) -> None:
    """Write the page, for its owner alone to read.

    Args:
        page: HTML file to write.
        review: what it asks.
        earlier: verdicts given before; the file that is saved from the page holds them too.
        save_as: where the saved file is to be put.
        again: the command that reads it.
    """
    questions = [
        {**dataclasses.asdict(question), "photo": as_text(question.photo), "crop": review.crops.get(question)}
        for question in review.questions
    ]
    kept = [[one.source, as_text(one.photo), *(one.box or ("",) * 4), one.verdict] for one in earlier]
    links = {source: _address(file, page) if isinstance(file, Path) else "" for source, file in review.files.items()}
    facts = {
        "questions": questions,
        "photos": {source: {**frame, "file": links[source]} for source, frame in review.photos.items()},
        "columns": verdicts.COLUMNS,
        "earlier": kept,
        "id": fingerprint([[question["source"], question["box"], question["kind"]] for question in questions] + kept),
    }
    html = html_page.environment(autoescape=True).get_template("review.html")
    text = html.render(
        facts=facts, save_as=save_as, again=again, left_out=review.left_out, changed=review.changed,
        hopeless=[(as_text(photo), reason) for photo, reason in review.hopeless],
    )  # fmt: skip
    with whole(page) as partial:
        partial.touch(mode=0o600)
        partial.write_text(text, encoding="utf-8")


def _crop(picture: Picture, box: Box) -> dict[str, Any] | None:
    """A box with as much again on every side; None where it lies outside of the photo."""
    x, y, w, h = _grow(box, 1)
    left, top = max(x, 0), max(y, 0)
    region = picture[top : max(y + h, 0), left : max(x + w, 0)]
    return _frame(region, CROP, left, top) if region.size else None


def _frame(picture: Picture, side: int, left: int = 0, top: int = 0) -> dict[str, Any]:
    """A picture whose longer side is at most ``side``, and the region of the original that it shows: x, y, w, h."""
    height, width = picture.shape[:2]
    smaller = cv2.resize(picture, decoding.scaled_size(width, height, side), interpolation=cv2.INTER_AREA)
    return {"picture": html_page.photo(smaller).source, "region": [left, top, width, height]}


def _address(file: Path, page: Path) -> str:
    """A link from the page to a file on this machine."""
    return quote(os.fsencode(os.path.relpath(file.resolve(), page.resolve().parent)))


def _grow(box: Box, by: float) -> Box:
    """A box that reaches further on every side, by a part of its width and height."""
    x, y, w, h = box
    across, down = round(w * by), round(h * by)
    return x - across, y - down, w + 2 * across, h + 2 * down
