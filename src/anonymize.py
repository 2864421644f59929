"""Obscure the faces."""

import dataclasses
import json
import shlex
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pandas as pd

import stage
from landmarks.common.errors import InputError
from landmarks.common.files import as_text, write_json
from landmarks.common.knobs import Knob
from landmarks.common.result_cache import ResultCache, path_for
from landmarks.dataset import tables
from landmarks.images import folders, object_store, photo_store
from landmarks.images.photo_store import Photo, PhotoStore
from landmarks.privacy import gate
from landmarks.privacy import verdicts as reviewed

NAMED = 5  # verdicts that decide nothing which are named on the screen; faces.json names all


@dataclass(frozen=True)
class AnonymizeConfig:
    """The block ``anonymize`` of params.yaml."""

    gate: gate.GateSettings
    max_quarantined: Annotated[int, Knob("Most photos in quarantine; with more, the stage fails", min=0)]


def main(
    images: Annotated[Path, "Folder of photos"],
    anonymous: Annotated[Path, "Folder to write: those that passed, as JPEG"],
    listing: Annotated[Path | None, "CSV with the column id: which; else every photo in there"] = None,
    audit: Annotated[Path | None, "JSON to write: settings, models, faces of each photo [OUT/faces.json]"] = None,
    quarantine: Annotated[Path | None, "CSV to write: photos that did not pass, and why [OUT/quarantine.csv]"] = None,
    verdicts: Annotated[Path | None, "CSV: what a person decided, saved from review.html [OUT/verdicts.csv]"] = None,
    *,
    anonymize: AnonymizeConfig,
    storage: stage.StorageConfig,
) -> str | None:
    """Examine every photo, obscure its faces and examine it again; a photo in which a face is still found goes to quarantine.

    Photos are written upright and without metadata. Later stages see these, never the originals. A photo that was examined
    before under the same settings is not examined again. For photos of your own: python src/anonymize.py FOLDER OUT
    To look over what it was least sure of: python src/review.py FOLDER OUT
    """
    settings = anonymize.gate
    decided_in = verdicts or anonymous / "verdicts.csv"  # which need not be there
    decisions = reviewed.read(decided_in) if verdicts or decided_in.is_file() else []
    others: Counter[str] = Counter()
    originals = _listed(images, listing) if listing else _all_in(images, others)
    review = "python src/review.py" if listing else shlex.join(["python", "src/review.py", str(images), str(anonymous)])
    audit, quarantine = audit or anonymous / "faces.json", quarantine or anonymous / "quarantine.csv"
    cache = ResultCache(path_for(audit))
    if not listing:
        _require_result_folder(images, anonymous, (audit, cache.path))
    anonymous.mkdir(parents=True, exist_ok=True)
    identity = gate.identity(settings)
    passed: dict[str, Any] = {}
    refused, examined = [], 0
    try:
        with cache:
            earlier = _earlier(audit, identity)
            decided = reviewed.by_source(decisions)
            for photo, result, now in gate.examine_all(
                originals, anonymous, cache, earlier, settings, identity, decided
            ):
                examined += now
                if isinstance(result, gate.PassedPhoto):
                    passed[photo] = dataclasses.asdict(result)
                else:
                    refused.append((photo, str(result)))
    except OSError as error:  # a full disk is no fault of the photo
        raise InputError(f"{anonymous}: {error}; what is examined is kept: mend that, run the same command") from None
    rows = [(as_text(photo), reason) for photo, reason in refused]
    tables.write(quarantine, pd.DataFrame(rows, columns=["id", "reason"]))
    undecided = [row for row in refused if row[1] != gate.KEPT_OUT]
    if len(undecided) > anonymize.max_quarantined or not passed:
        problem = (
            f"{len(refused)} of {len(originals)} photos did not pass, the first {': '.join((undecided or refused)[0])}"
        )
        remedy = f"decide on them ({review}), remove them, or raise anonymize.max_quarantined"
        raise InputError(f"{quarantine}: {problem}; {remedy}")
    if listing:
        object_store.upload(photo_store.arrange(anonymous, list(passed), storage.shard))
    unused = _unused(decided_in, decisions, passed, [originals[photo] for photo, _ in refused])
    counts = {**_count(passed), "quarantined": len(refused)}
    write_json(audit, {**identity, **counts, "unused_verdicts": unused, "photos": passed})
    cache.delete()  # the audit file holds all its records
    if listing:
        known, faces = stage.there(len(originals) - examined), f"{counts['faces']} faces obscured"
        return f"{examined} of {len(originals)} photos examined{known}; {faces}, {len(refused)} photos in quarantine"
    _print_counts({"photos": len(originals), "passed": len(passed), **counts})
    print(f"written to {anonymous}; a face that was not found is still there: look over what is least certain:")
    print(review)
    if others:
        print(f"anonymize: {folders.summary(others)}", file=sys.stderr)
    return None


def _unused(path: Path, decisions: list[reviewed.Verdict], passed: dict[str, Any], refused: list[Photo]) -> list[str]:
    """The verdicts that decide nothing, a line each; said on stderr as well."""
    readable = {photo["source"]: list(map(reviewed.recorded, photo["readable"])) for photo in passed.values()}
    lines = reviewed.unused(decisions, readable, [photo_store.sha256(photo) for photo in refused if photo.is_file()])
    if lines:
        some = "; ".join(lines[:NAMED]) + "; ..." * (len(lines) > NAMED)
        print(
            f"anonymize: {path}: {len(lines)} of {len(decisions)} verdicts decide nothing now: {some}", file=sys.stderr
        )
    return lines


def _listed(images: Path, listing: Path) -> dict[str, Photo]:
    rows, store = tables.read(listing, ["id"]), PhotoStore(images, remote=False)
    tables.check_ids(listing, rows)
    return {photo: store[photo] for photo in rows["id"]}


def _all_in(images: Path, others: Counter[str]) -> dict[str, Photo]:
    """The photos by the name of their result; ``others`` gets the other files, counted by ending."""
    listing = folders.list_photos(images)
    others.update(listing.others)
    found: dict[str, Photo] = {}
    for path in listing.paths:
        name = str(path.relative_to(images).with_suffix(""))
        if name in found:
            raise InputError(f"{path}: would be written as {name}.jpg, as {found[name]} is; rename one")
        found[name] = path
    return found


def _require_result_folder(images: Path, anonymous: Path, results: tuple[Path, ...]) -> None:
    """Raise ``InputError`` unless ``anonymous`` is new, empty, or an earlier result: no photo of the user is overwritten."""
    if anonymous.resolve().is_relative_to(images.resolve()):
        raise InputError(f"{anonymous}: lies in the folder of the originals; name another to write to")
    if anonymous.is_dir() and any(anonymous.iterdir()) and not any(path.exists() for path in results):
        raise InputError(f"{anonymous}: is there, not empty, and not an earlier result; name another folder")


def _earlier(audit: Path, identity: dict[str, Any]) -> dict[str, Any]:
    """Return the records of a finished run under the same settings, models and code, by id; none if there was no such run."""
    try:
        audited = json.loads(audit.read_text())
        same = {key: audited.get(key) for key in identity} == identity
        return dict(audited["photos"]) if same else {}
    except (OSError, ValueError, KeyError, AttributeError):
        return {}


def _count(passed: dict[str, Any]) -> dict[str, int]:
    return {
        "faces": sum(len(photo["faces"]) for photo in passed.values()),
        "photos_with_faces": sum(bool(photo["faces"]) for photo in passed.values()),
        "obscured_again": sum(photo["looks"] > 2 for photo in passed.values()),
    }


def _print_counts(counts: dict[str, int]) -> None:
    width = max(map(len, counts))
    for name, count in counts.items():
        print(f"{name.replace('_', ' '):{width}}  {count:>6}")


if __name__ == "__main__":
    stage.run(main)
