"""The privacy gate: a photo passes once it was examined, its faces obscured, and the result looked at again."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from landmarks.common import files, parallel
from landmarks.common.errors import InputError
from landmarks.images import decoding
from landmarks.privacy import face_detectors, redaction


@dataclass(frozen=True)
class Settings:
    """How photos are examined and faces obscured. ``python src/anonymize.py --help`` explains each."""

    detector: face_detectors.Name = "centerface"
    models: str = ""
    sizes: tuple[int, ...] = face_detectors.SIZES
    turned: int = face_detectors.TURNED
    confidence: float = 0.3
    recheck: float = 0.2
    passes: int = 3
    method: redaction.Method = "pixelate"
    shape: redaction.Shape = "box"
    margin: float = 0.15
    cells: int = 5
    quality: int = 92

    def look(self) -> face_detectors.Look:
        """What finds faces under these settings."""
        return partial(
            face_detectors.detect, name=self.detector, models=self.models, sizes=self.sizes, turned=self.turned
        )

    def first(self, picture: redaction.Picture) -> list[redaction.Face]:
        """What is obscured in a photo: nothing if nothing scores ``confidence``, else all that scores ``recheck``."""
        found = self.look()(picture, self.recheck)
        return found if max((face.score for face in found), default=0.0) >= self.confidence else []

    def __post_init__(self) -> None:
        """Raise ``InputError`` if the second look would be less strict than the first."""
        if self.recheck > self.confidence:
            raise InputError(
                f"anonymize.recheck is {self.recheck}, above anonymize.confidence {self.confidence}: "
                "the second look must not overlook what the first would see; lower it"
            )


@dataclass(frozen=True)
class Passed:
    """What is on record of a photo that passed."""

    source: str  # sha256 of the original
    sha256: str  # of what was written
    looks: int  # how often it was examined
    faces: list[dict[str, Any]]  # x, y, w, h, score, and the pass that found it


class Quarantined(InputError):  # noqa: N818 - not an error of the run: a photo's fate
    """The photo does not pass; the text says why."""


def identity(settings: Settings) -> dict[str, Any]:
    """All that decides what becomes of a photo: settings, model files, and the code that finds and obscures faces."""
    code = hashlib.sha256()
    for module in (face_detectors.__file__, redaction.__file__, __file__, decoding.__file__):
        code.update(Path(str(module)).read_bytes())
    told = {**dataclasses.asdict(settings), "sizes": list(settings.sizes)}  # as JSON gives it back
    del told["models"]  # where they lie changes nothing
    return {
        **told, "model_sha256": face_detectors.digests(settings.detector, settings.models), "code": code.hexdigest()[:16],
    }  # fmt: skip


def examine(original: Path, target: Path, settings: Settings) -> Passed:
    """Write what may be seen of ``original`` to ``target``, a JPEG without metadata.

    A photo in which nothing scores ``confidence`` passes as it is. In any other, all that scores ``recheck``, which is
    lower, is obscured and looked for again: covered whole and wider each time, ``passes`` times at most.
    Raises ``Quarantined`` if a face is found still, or the photo can't be read, and ``OSError`` if the target can't be written.
    """
    try:
        content = original.read_bytes()
        picture = decoding.decode(content)
    except (OSError, InputError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise Quarantined(f"cannot be read: {reason}") from None
    look, record, looks = settings.look(), [], 1
    found = settings.first(picture)
    while found and looks <= settings.passes:
        record += [{**dataclasses.asdict(face), "pass": looks} for face in found]
        method = settings.method if looks == 1 else "solid"
        picture = redaction.obscure(picture, found, method, settings.margin * looks, settings.cells, settings.shape)
        found, looks = look(picture, settings.recheck), looks + 1
    if found:
        raise Quarantined(f"a face is still found after {settings.passes} passes (score {max(f.score for f in found)})")
    decoding.write(target, picture, settings.quality)
    return Passed(hashlib.sha256(content).hexdigest(), files.sha256(target), looks, record)


def examine_all(
    originals: dict[str, Path], folder: Path, journal: Path, known: dict[str, Any], settings: Settings,
    identity: dict[str, Any],
) -> Generator[tuple[str, Passed | Quarantined]]:  # fmt: skip
    """Examine ``originals`` (id to path) into ``folder``; yields each id, in order, with its record or why it did not pass.

    ``known`` are the records of an earlier run under this ``identity``, ``journal`` holds those of killed ones: a photo of
    theirs is not examined again while its original and what was written are both there, to the byte.
    """
    records = {**known, **_replay(journal, identity)}
    fresh = [photo for photo in originals if not _holds(records.get(photo), originals[photo], folder / f"{photo}.jpg")]
    for photo in fresh:
        (folder / f"{photo}.jpg").unlink(missing_ok=True)  # of another original, or under other settings
    journal.parent.mkdir(parents=True, exist_ok=True)
    task, todo = partial(_one, originals=originals, folder=folder, settings=settings), set(fresh)
    with journal.open("a") as log, closing(parallel.each(task, fresh, "anonymize")) as results:
        log.write("\n" + json.dumps({"identity": identity}) + "\n")
        for photo in originals:
            if photo not in todo:
                yield photo, Passed(**records[photo])
                continue
            result = next(results)  # in the order of originals, like fresh
            if not isinstance(result, parallel.Failure):
                log.write(json.dumps({"id": photo, **dataclasses.asdict(result)}) + "\n")
                log.flush()
                yield photo, result
            elif isinstance(result.error, Quarantined):
                yield photo, result.error
            else:
                raise result.error


def _one(photo: str, originals: dict[str, Path], folder: Path, settings: Settings) -> Passed:
    return examine(originals[photo], folder / f"{photo}.jpg", settings)


def _replay(journal: Path, identity: dict[str, Any]) -> dict[str, Any]:
    found, under = {}, None
    for value in files.entries(journal):
        if "identity" in value:
            under = value["identity"]
        elif under == identity:  # what was done to a photo under other settings does not count
            found[value.pop("id")] = value
    return found


def _holds(record: dict[str, Any] | None, original: Path, written: Path) -> bool:
    if not record or not original.is_file() or not written.is_file():
        return False
    pairs = ((original, record["source"]), (written, record["sha256"]))
    return all(files.sha256(file) == sha256 for file, sha256 in pairs)
