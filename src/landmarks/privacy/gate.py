"""The privacy gate: a photo passes after it was examined, its faces were obscured, and the result was examined again."""

import dataclasses
import hashlib
import json
from collections.abc import Generator, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from landmarks.common import files, parallel
from landmarks.common.errors import InputError
from landmarks.common.knobs import Knob
from landmarks.common.result_cache import ResultCache, code_hash, fingerprint
from landmarks.images import decoding, perceptual_hash, photo_store
from landmarks.images.photo_store import Photo, PhotoStore, sha256
from landmarks.privacy import boxes, cascade, face_detectors, onnx_input, redaction, verdicts
from landmarks.privacy.verdicts import NO_VERDICTS, PhotoVerdicts, Verdicts

STILL_FOUND = "a face is still found"  # how the reasons start that a person can overrule
KEPT_OUT = "a person decided that it stays out"


@dataclass(frozen=True)
class GateSettings:
    """How photos are examined and faces obscured. The block ``anonymize`` of params.yaml.

    Raises ``InputError`` if the second examination would be less strict than the first.
    """

    detector: Annotated[
        cascade.Detector, Knob("Who looks; strict: two networks, all sizes and turns; ssd: the thesis'")
    ]
    models: Annotated[
        str, Knob("Folder of the model files of ssd and of another yunet; without it ssd is downloaded once")
    ]
    sizes: Annotated[tuple[int, ...], Knob("Long sides, pixels, at which a photo is examined; 0: its own", min=0)]
    turned: Annotated[int, Knob("The same for the photo turned by 90, 180 and 270 degrees; 0: it is not", min=0)]
    confidence: Annotated[float, Knob("Lowest score taken for a face", min=0.01, max=0.99)]
    recheck: Annotated[float, Knob("The same where there is a face, and in what was obscured", min=0.01, max=0.99)]
    passes: Annotated[int, Knob("Times a photo is obscured before it goes to quarantine", min=1, max=9)]
    method: Annotated[redaction.Method, Knob("What is done to a face; blur is weak")]
    shape: Annotated[redaction.Shape, Knob("The whole box, or the ellipse in it")]
    margin: Annotated[float, Knob("How far beyond the face, in parts of its box", min=0, max=2)]
    cells: Annotated[int, Knob("Squares a side of a mosaic", min=1, max=16)]
    quality: Annotated[int, Knob("JPEG quality of what is written", min=50, max=100)]

    def __post_init__(self) -> None:
        """Compare the two confidences."""
        if self.recheck > self.confidence:
            problem = f"anonymize.recheck is {self.recheck}, above anonymize.confidence {self.confidence}"
            raise InputError(f"{problem}: the second look must not overlook what the first would see; lower it")

    def search(self) -> cascade.Search:
        """Return how faces are searched for under these settings."""
        return cascade.Search(detector=self.detector, models=self.models, sizes=self.sizes, turned=self.turned)

    def look(self, picture: redaction.Picture) -> list[redaction.Face]:
        """Return all detections that score ``recheck``, largest first."""
        return self.search().found(picture, self.confidence, self.recheck)

    def look_again(self, picture: redaction.Picture, obscured: list[redaction.Face]) -> list[redaction.Face]:
        """Return the detections that score ``recheck`` after some were ``obscured``, largest first."""
        return self.search().faces_near(picture, obscured, self.recheck)

    def faces_to_obscure(self, picture: redaction.Picture) -> list[redaction.Face]:
        """Return all faces that score ``recheck`` if one of them scores ``confidence``, otherwise none."""
        return self.first_look(picture, verdicts.NONE)[0]

    def first_look(
        self, picture: redaction.Picture, decided: PhotoVerdicts
    ) -> tuple[list[redaction.Face], list[redaction.Face]]:
        """Return the faces to obscure, and the detections that are left readable: weak ones, and where there is no face.

        Whether the photo has a face is asked of all detections: a verdict on one of them leaves no other readable.
        """
        found = self.look(picture)
        kept, cleared = decided.divide(found)
        if decided.faces or max((face.score for face in found), default=0.0) >= self.confidence:
            return decided.drawn() + kept, cleared
        return [], kept + cleared


@dataclass(frozen=True)
class PassedPhoto:
    """The record of a photo that passed."""

    source: str  # sha256 of the original
    hash: str  # of what the original shows: ``perceptual_hash``
    sha256: str  # of the file that was written
    looks: int  # how often it was examined
    faces: list[dict[str, Any]]  # x, y, w, h, score, and the pass in which it was found
    readable: list[dict[str, Any]]  # x, y, w, h, score of what was found and not obscured
    verdicts: dict[str, Any]  # what a person decided about the photo, as ``PhotoVerdicts.record``


class QuarantineError(InputError):
    """The photo does not pass; the text says why."""


def identity(settings: GateSettings) -> dict[str, Any]:
    """Return what decides on the record of a photo: settings, model files, and the code that finds and obscures faces."""
    values = {**dataclasses.asdict(settings), "sizes": list(settings.sizes)}  # a list, as JSON gives it back
    del values["models"]  # the folder of the model files changes no result
    modules = (boxes, cascade, face_detectors, onnx_input, redaction, verdicts, decoding, perceptual_hash)
    code = code_hash(__file__, *(str(module.__file__) for module in modules))
    return {**values, "model_sha256": settings.search().digests(), "code": code[:16]}


def examine(original: Photo, target: Path, settings: GateSettings, decided: Verdicts = NO_VERDICTS) -> PassedPhoto:
    """Write ``original`` to ``target`` with its faces obscured, as a JPEG without metadata.

    A photo in which nothing scores ``confidence`` passes unchanged. In any other, all that scores the lower ``recheck`` is
    obscured, and what was obscured is examined again with its surroundings, since nothing else has changed; what is found then
    is covered in one grey, wider each time, at most ``passes`` times. What a person decided (``decided``) comes first. Raises
    ``QuarantineError`` if a face is still found or the photo cannot be read, ``OSError`` if the target cannot be written.
    """
    try:
        content = original.read_bytes()
    except OSError as error:
        raise QuarantineError(f"cannot be read: {error.strerror}") from None
    picture, passed = obscured(content, settings, decided)
    decoding.write(target, picture, settings.quality)
    return dataclasses.replace(passed, sha256=files.sha256(target))


def obscured(
    content: bytes, settings: GateSettings, decided: Verdicts = NO_VERDICTS
) -> tuple[redaction.Picture, PassedPhoto]:
    """The photo in memory as ``examine`` writes it, and its record, without the hash of a file. Raises ``QuarantineError``."""
    try:
        picture = decoding.decode(content)
    except InputError as error:
        raise QuarantineError(f"cannot be read: {error}") from None
    source, shown = hashlib.sha256(content).hexdigest(), perceptual_hash.perceptual_hash(picture)
    person = decided.get(source, verdicts.NONE)
    if person.whole == "stay_out":
        raise QuarantineError(KEPT_OUT)
    (faces, readable), record, looks = settings.first_look(picture, person), [], 1
    while faces and looks <= settings.passes:
        record += [{**dataclasses.asdict(face), "pass": looks} for face in faces]
        method = settings.method if looks == 1 else "solid"
        picture = redaction.obscure(picture, faces, method, settings.margin * looks, settings.cells, settings.shape)
        (faces, cleared), looks = person.divide(settings.look_again(picture, faces)), looks + 1
        readable = verdicts.joined(readable, cleared)
    if faces and person.whole != "pass":
        score = max(face.score for face in faces)
        raise QuarantineError(f"{STILL_FOUND} after {settings.passes} passes (score {score})")
    return picture, PassedPhoto(
        source=source, hash=shown, sha256="", looks=looks, faces=record,
        readable=[dataclasses.asdict(face) for face in readable], verdicts=person.record(),
    )  # fmt: skip


def examine_all(
    originals: Mapping[str, Photo], folder: Path, cache: ResultCache, earlier: dict[str, Any], settings: GateSettings,
    identity: dict[str, Any], decided: Verdicts = NO_VERDICTS,
) -> Generator[tuple[str, PassedPhoto | QuarantineError, bool]]:  # fmt: skip
    """Examine photos into ``folder/<id>.jpg``, each once under the same settings, models and code (``identity``).

    ``originals`` are photos by id, ``earlier`` the records of a finished run under this identity, by id; ``cache`` holds those
    of runs that did not finish, so that the next one resumes. Yields each id, in order; its record, or why it did not pass;
    whether it was examined now. It is not while its original and the file that was written are both there, to the byte, and
    what a person decided about it (``decided``) is the same.
    """
    made_by = fingerprint(identity)
    by_source = {record["source"]: record for record in earlier.values()}
    known: dict[str, PassedPhoto] = {}
    done = PhotoStore(folder)
    for photo, original in originals.items():
        if original.is_file() and photo in done:
            source = sha256(original)
            content = cache.get(_key(made_by, source))
            record = json.loads(content) if content else by_source.get(source)
            person = decided.get(source, verdicts.NONE).record()
            if record and record["verdicts"] == person and record["sha256"] == sha256(done[photo]):
                known[photo] = PassedPhoto(**record)
                continue
        (folder / f"{photo}.jpg").unlink(missing_ok=True)  # of another original, or under other settings
    fresh = [photo for photo in originals if photo not in known]
    photo_store.forget(folder, fresh)
    results = _examine_each([Original(photo, originals[photo]) for photo in fresh], folder, settings, decided)
    with closing(results):
        for photo in originals:
            if photo in known:
                yield photo, known[photo], False
                continue
            result = next(results)  # in the order of ``originals``, like ``fresh``
            if isinstance(result, PassedPhoto):
                cache.put(_key(made_by, result.source), json.dumps(dataclasses.asdict(result)).encode())
            yield photo, result, True


def _key(made_by: str, source: str) -> str:
    return f"{made_by} {source}"


class Original(NamedTuple):
    """A photo to examine: all that a worker is told of it."""

    id: str
    path: Photo


def _examine_each(
    photos: list[Original], folder: Path, settings: GateSettings, decided: Verdicts
) -> Generator[PassedPhoto | QuarantineError]:
    """Yield the result of each photo, in order. Raises any error that is not the photo's."""
    task = partial(_examine_one, folder=folder, settings=settings, decided=decided)
    with closing(parallel.each(task, photos, "anonymize")) as results:
        for result in results:
            if not isinstance(result, parallel.Failure):
                yield result
            elif isinstance(result.error, QuarantineError):
                yield result.error
            elif isinstance(result.error, parallel.KilledError):
                yield QuarantineError(f"cannot be examined: {result.error}")
            else:
                raise result.error


def _examine_one(photo: Original, folder: Path, settings: GateSettings, decided: Verdicts) -> PassedPhoto:
    return examine(photo.path, folder / f"{photo.id}.jpg", settings, decided)
