"""Fetch the photos."""

import dataclasses
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer

import stage
from landmarks.common import result_cache
from landmarks.common.errors import InputError
from landmarks.common.files import write_json
from landmarks.common.status import Status
from landmarks.dataset import schema, tables
from landmarks.demo import world
from landmarks.download import collection, fetcher, politeness
from landmarks.download.storage import require

EMPTY = dataclasses.asdict(fetcher.Answer(id="", landmark_id="", status=Status.OK))
TYPES = {name: str if name == "status" else type(value) for name, value in EMPTY.items()}
NETWORK = "is the network there?"
BROKEN = "look at the address in a browser"
REMEDIES = {  # of a landmark without a photo, by what most of its URLs gave
    Status.UNREACHABLE: NETWORK,
    Status.TOO_SLOW: f"{NETWORK} Raise download.seconds",
    Status.BUSY: "ask again later: LANDMARKS_RETRY=1 dvc repro -f -s download",
    Status.SERVER_ERROR: "ask again later: LANDMARKS_RETRY=1 dvc repro -f -s download",
    Status.GONE: "set download.archives, where expired photos are looked for",
    Status.REFUSED: "set download.contact, which hosts are shown; of files, check who may read them",
    Status.SCHEME_NOT_ALLOWED: "add the scheme to download.schemes",
    Status.PRIVATE_ADDRESS: "only public addresses are asked; for those of this machine set download.loopback",
    Status.BAD_URL: "mend the URLs in the catalogue",
    Status.DISALLOWED: "the host's robots.txt, or its rules for clients without download.contact, forbid it",
    Status.OPTED_OUT: "the host does not give its photos for machine learning",
    Status.TOO_MANY_REDIRECTS: "raise download.redirects",
    Status.TOO_LARGE: "raise download.megabytes or download.megapixels",
    **dict.fromkeys((Status.HTML, Status.MISLABELLED, Status.NOT_A_PHOTO, Status.REDIRECT_LOOP), BROKEN),
}
DEMO = world.SCHEME.removesuffix("://")


def main(
    sample: Annotated[Path, "CSV of the sample stage: id, url, landmark_id, reserve"],
    images: Annotated[Path, "Folder of photos; those that are there and still wanted are kept"],
    table: Annotated[Path, "CSV to write: what became of each URL"],
    photos: Annotated[Path, "CSV to write: id, landmark_id and sha256 of each photo"],
    counts: Annotated[Path, "JSON to write: photos by status, replaced, missing, link rot"],
    download: fetcher.FetchSettings,
    storage: stage.StorageConfig,
) -> str:
    """Fetch the sample; each photo that fails is replaced by the next of its landmark's reserve while there is one.

    The same bytes again are a failure, and under two landmarks none of them counts.

    If it is interrupted or killed, the next run resumes. LANDMARKS_CONNECTIONS sets how many requests are open at once
    (16); with LANDMARKS_RETRY=1 photos that failed in an earlier run are asked for again.
    """
    rows = tables.read(sample, collection.COLUMNS)
    tables.check_ids(sample, rows)
    check(download, rows["url"])
    with result_cache.ResultCache(result_cache.path_for(table)) as cache:
        known = earlier(table)
        wanted = collection.Collection(sample=rows, folder=images, settings=download, cache=cache, earlier=known)
        _collect(wanted, table, storage.shard)
        answers = wanted.result()
        own = [answer for answer in answers if not schema.is_external(answer.id)]
        missing = _landmark_without_photo(own, sorted(set(rows["landmark_id"]), key=schema.natural))
        wanted.prune_cache(failures=not missing)  # a run without a result: its failures are asked again
    if missing:
        raise InputError(missing)
    _write(table, answers)
    fetched = [(a.id, a.landmark_id, a.sha256) for a in answers if a.status == Status.OK]
    tables.write(photos, pd.DataFrame(fetched, columns=["id", "landmark_id", "sha256"]))
    first = (rows["reserve"] == "0") & ~rows["id"].map(schema.is_external)
    write_json(counts, {**_count(own, wanted=int(first.sum())), "external": _external(answers)})
    _advise(answers)
    there = len(answers) - wanted.asked
    return f"{wanted.asked} of {len(answers)} addresses asked{stage.there(there)}; {len(fetched)} photos"


def _collect(wanted: collection.Collection, table: Path, shard: int) -> None:
    """Fetch the photos; an interrupted run writes what it knows to ``table``."""
    try:
        wanted.collect({DEMO: world.WorldAdapter()})
        wanted.arrange_folder(shard)
    except KeyboardInterrupt:
        answers = wanted.so_far()
        _write(table, answers)
        there = sum(answer.status == Status.OK for answer in answers)
        print(f"download: interrupted with {there} photos there; the same command resumes", file=sys.stderr)
        raise typer.Exit(130) from None
    except OSError as error:
        raise InputError(
            f"{wanted.folder}: {error}; what is fetched is kept: mend that, run the same command"
        ) from None


def check(settings: fetcher.FetchSettings, urls: Iterable[str]) -> None:
    """Raise ``InputError`` if these addresses cannot be asked under these settings."""
    for scheme in settings.schemes:
        if scheme not in (*fetcher.HTTP, DEMO):
            require(scheme)
    for address in settings.archives:
        if "{url}" not in address:
            raise InputError(f"download.archives: {address!r} has no {{url}} in it, where the photo's address goes")
    if not settings.contact.isascii() or not settings.contact.isprintable():
        raise InputError(f"download.contact: {settings.contact!r} cannot be sent in a header; use plain letters")
    if not settings.contact and politeness.WIKIMEDIA in map(politeness.host_of, urls):
        remedy = "set download.contact in params.yaml to a mail address or page of yours"
        raise InputError(f"{politeness.WIKIMEDIA} asks robots for a contact: {remedy}")


def _write(table: Path, answers: list[fetcher.Answer]) -> None:
    tables.write(table, pd.DataFrame([dataclasses.asdict(a) for a in answers], columns=list(EMPTY)))


def _count(answers: list[fetcher.Answer], wanted: int) -> dict[str, Any]:
    fetched = [answer for answer in answers if answer.status == Status.OK]
    rot: dict[str, Counter[str]] = {}
    for answer in answers:
        reasons = rot.setdefault(answer.landmark_id, Counter())
        reasons[answer.status.replace(" ", "_")] += answer.status != Status.OK
    return {
        "asked": len(answers),
        "ok": len(fetched),
        "failed": dict(sorted((sum(rot.values(), Counter()) + Counter()).items())),
        "from": dict(sorted(Counter(answer.source for answer in fetched).items())),
        "replaced": sum(bool(answer.replaces) for answer in answers),
        "short": wanted - len(fetched),
        "same_bytes": sum(bool(answer.same_as) for answer in answers),
        "link_rot": {k: dict(sorted((+rot[k]).items())) for k in sorted(rot, key=schema.natural)},
    }


def _external(answers: list[fetcher.Answer]) -> dict[str, int]:
    """Photos of the external test: asked for, and there."""
    statuses = [answer.status for answer in answers if schema.is_external(answer.id)]
    return {"asked": len(statuses), "ok": statuses.count(Status.OK)}


def _advise(answers: list[fetcher.Answer]) -> None:
    temporary = Counter(answer.status for answer in answers if answer.status in (*fetcher.TEMPORARY, Status.TOO_SLOW))
    if temporary:
        listed = ", ".join(f"{status} {count}" for status, count in temporary.most_common())
        remedy = "to ask again: LANDMARKS_RETRY=1 dvc repro -f -s download"
        print(f"download: failures that may be temporary: {listed}; {remedy}", file=sys.stderr)
    twins = [answer for answer in answers if answer.same_as]
    if twins:
        first = f"the first {twins[0].id} those of {twins[0].same_as}: a placeholder, or listed twice"
        print(f"download: {len(twins)} photos are left out, they have the bytes of another, {first}", file=sys.stderr)


def earlier(table: Path) -> list[fetcher.Answer]:
    """Return the answers in the table of an earlier run; none if it is missing or has other columns."""
    try:
        rows = pd.read_csv(table, dtype=str, keep_default_na=False)[list(TYPES)].astype(TYPES)
        return [fetcher.Answer.from_values(dict(zip(TYPES, row, strict=True))) for row in rows.itertuples(index=False)]
    except (FileNotFoundError, ValueError, KeyError):
        return []


def _landmark_without_photo(answers: list[fetcher.Answer], landmarks: list[str]) -> str:
    """Return an error message about the first landmark whose URLs all failed; empty if there is none."""
    with_photo = {answer.landmark_id for answer in answers if answer.status == Status.OK}
    for landmark in landmarks:
        failed = [answer for answer in answers if answer.landmark_id == landmark]
        if landmark not in with_photo and failed:  # without an answer, it has a reserve and nothing to replace
            ((status, _),) = Counter(answer.status for answer in failed).most_common(1)
            example = next(answer.asked for answer in failed if answer.status == status)
            remedy = f"{REMEDIES[status]}; or " if status in REMEDIES else ""
            knob = "set sample.unknown to 0" if landmark == schema.UNKNOWN else "lower sample.classes"
            return (
                f"landmark {landmark}: none of its URLs gave a photo (most of them, as {example}: {status}); "
                f"{remedy}raise sample.reserve or {knob} in params.yaml"
            )
    return ""


if __name__ == "__main__":
    stage.run(main)
