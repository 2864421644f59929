"""Fetch the photos."""

import dataclasses
import sys
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer

import stage
from landmarks.common.errors import InputError
from landmarks.common.files import entries, write_json
from landmarks.dataset import schema, tables
from landmarks.download import fetcher, politeness, storage

COLUMNS = [field.name for field in dataclasses.fields(fetcher.Answer)]
TYPES = {name: type(getattr(fetcher.Answer("", "", ""), name)) for name in COLUMNS}
SETTINGS = fetcher.Settings()
SCHEMES, NONE = list(SETTINGS.schemes), list[str]()  # defaults of lists


def main(
    sample: Annotated[Path, typer.Argument(help="CSV of the sample stage: id, url, landmark_id, reserve")],
    images: Annotated[Path, typer.Argument(help="Folder of photos; those already there and still wanted are kept")],
    table: Annotated[Path, typer.Argument(help="CSV to write: what became of each URL")],
    photos: Annotated[Path, typer.Argument(help="CSV to write: id, landmark_id and sha256 of each photo")],
    counts: Annotated[Path, typer.Argument(help="JSON to write: photos by status, replaced, missing, link rot")],
    contact: Annotated[
        str, typer.Option(help="A mail address or page of yours, shown to hosts; Wikimedia asks for it")
    ] = "",
    schemes: Annotated[
        list[str], typer.Option(help="Schemes that may be asked; besides these: file, s3, gs, abfs")
    ] = SCHEMES,
    loopback: Annotated[bool, typer.Option(help="Ask this machine's own addresses too")] = SETTINGS.loopback,
    robots: Annotated[bool, typer.Option(help="Obey robots.txt")] = SETTINGS.robots,
    per_host: Annotated[int, typer.Option(min=1, help="Requests to one host at a time")] = SETTINGS.per_host,
    kilobytes_per_second: Annotated[
        float, typer.Option(min=0, help="What one host may send, on average; 0: no bound")
    ] = SETTINGS.kilobytes_per_second,
    attempts: Annotated[
        int, typer.Option(min=1, help="Requests a photo while a host is busy or unreachable")
    ] = SETTINGS.attempts,
    seconds: Annotated[
        float, typer.Option(min=0.1, help="Longest time that answers to an attempt take")
    ] = SETTINGS.seconds,
    redirects: Annotated[int, typer.Option(min=0, help="Redirects followed")] = SETTINGS.redirects,
    megabytes: Annotated[float, typer.Option(min=0.001, help="Largest answer accepted")] = SETTINGS.megabytes,
    megapixels: Annotated[float, typer.Option(min=0.001, max=80, help="Largest photo accepted")] = SETTINGS.megapixels,
    long_side: Annotated[int, typer.Option(min=0, help="Cap on a photo's longer side, pixels; 0: as it comes")] = 0,
    thumbnail: Annotated[
        int, typer.Option(min=0, help="Width, pixels, asked where a host makes thumbnails (Wikimedia); 0: the original")
    ] = SETTINGS.thumbnail,
    archives: Annotated[
        list[str], typer.Option(help="Where expired photos are looked for: addresses with {url} in them")
    ] = NONE,
    tars: Annotated[list[str], typer.Option(help="TAR archives with <id>.jpg in them, read before any URL")] = NONE,
) -> None:
    """Fetch the sample; each expired photo is replaced by the next of its landmark's reserve while that lasts.

    Interrupted or killed, it goes on where it stopped. LANDMARKS_CONNECTIONS sets how many URLs are asked at once (16);
    with LANDMARKS_RETRY=1 photos that failed in an earlier run are asked for again.
    """
    rows = tables.read(sample, fetcher.SAMPLE)
    tables.check_ids(sample, rows)
    settings = fetcher.Settings(
        contact, tuple(schemes), loopback, robots, per_host, kilobytes_per_second, attempts, seconds, redirects,
        megabytes, megapixels, long_side, thumbnail, tuple(archives), tuple(tars),
    )  # fmt: skip
    _check(settings, rows)
    journal = table.with_name(f".{table.stem}.journal")
    journal.parent.mkdir(parents=True, exist_ok=True)
    collection = fetcher.Collection(rows)
    try:
        collection.collect(images, journal, _earlier(table), settings)
        collection.prune(images)
    except KeyboardInterrupt:
        answers = collection.so_far()
        _write(table, answers)
        fine = sum(answer.status == "ok" for answer in answers)
        print(f"download: interrupted with {fine} photos there; the same command goes on from here", file=sys.stderr)
        raise typer.Exit(130) from None
    except OSError as error:
        raise InputError(f"{images}: {error}; what is fetched is kept: mend that and run the same command") from None
    answers = collection.result()
    _require_photos(answers, sorted(set(rows["landmark_id"]), key=schema.natural), journal)
    _write(table, answers)
    fine_ones = [(a.id, a.landmark_id, a.sha256) for a in answers if a.status == "ok"]
    tables.write(photos, pd.DataFrame(fine_ones, columns=["id", "landmark_id", "sha256"]))
    write_json(counts, _count(answers, wanted=int((rows["reserve"] == "0").sum())))
    asked = sum("id" in entry for entry in entries(journal))
    print(f"download: {asked} of {len(answers)} addresses asked, of the others the answer is known")
    fetcher.close(journal, settings)
    _advise(answers)


def _check(settings: fetcher.Settings, rows: pd.DataFrame) -> None:
    for scheme in settings.schemes:
        if scheme not in fetcher.WEB:
            storage.require(scheme)
    for address in settings.archives:
        if "{url}" not in address:
            raise InputError(f"download.archives: {address!r} has no {{url}} in it, where the photo's address goes")
    if not settings.contact.isascii() or not settings.contact.isprintable():
        raise InputError(f"download.contact: {settings.contact!r} cannot be sent in a header; use plain letters")
    wikimedia = (rows["url"].map(politeness.host_of) == politeness.WIKIMEDIA).any()
    if wikimedia and not settings.contact:
        raise InputError(
            f"{politeness.WIKIMEDIA} asks robots for a contact: set download.contact in params.yaml to a mail address or page of yours"
        )


def _write(table: Path, answers: list[fetcher.Answer]) -> None:
    tables.write(table, pd.DataFrame([dataclasses.asdict(a) for a in answers], columns=COLUMNS))


def _count(answers: list[fetcher.Answer], wanted: int) -> dict[str, Any]:
    fine = [answer for answer in answers if answer.status == "ok"]
    rot: dict[str, Counter[str]] = {}
    for answer in answers:
        reasons = rot.setdefault(answer.landmark_id, Counter())
        reasons[answer.status.replace(" ", "_")] += answer.status != "ok"
    return {
        "asked": len(answers),
        "ok": len(fine),
        "failed": dict(sorted((sum(rot.values(), Counter()) + Counter()).items())),
        "from": dict(sorted(Counter(answer.source for answer in fine).items())),
        "replaced": sum(bool(answer.replaces) for answer in answers),
        "short": wanted - len(fine),
        "same_bytes": sum(bool(answer.same_as) for answer in answers),
        "link_rot": {k: dict(sorted((+rot[k]).items())) for k in sorted(rot, key=schema.natural)},
    }


def _advise(answers: list[fetcher.Answer]) -> None:
    passing = Counter(answer.status for answer in answers if answer.status in (*fetcher.AGAIN, "too slow"))
    if passing:
        said = ", ".join(f"{status} {count}" for status, count in passing.most_common())
        print(
            f"download: failures that may pass: {said}; to ask again: LANDMARKS_RETRY=1 dvc repro -f -s download",
            file=sys.stderr,
        )
    twins = [answer for answer in answers if answer.same_as]
    if twins:
        print(
            f"download: {len(twins)} photos have the bytes of another (column same_as), the first {twins[0].id} those of "
            f"{twins[0].same_as}: a placeholder, or listed twice",
            file=sys.stderr,
        )


def _earlier(table: Path) -> list[fetcher.Answer]:
    """The answers of an earlier run, if there was one and it wrote the columns of today."""
    try:
        found = pd.read_csv(table, dtype=str, keep_default_na=False)[COLUMNS].astype(TYPES)
    except (FileNotFoundError, ValueError, KeyError):
        return []  # none, or of another version: every photo is asked for again
    return [fetcher.Answer(*row) for row in found.itertuples(index=False, name=None)]


def _require_photos(answers: list[fetcher.Answer], landmarks: list[str], journal: Path) -> None:
    fine = {a.landmark_id for a in answers if a.status == "ok"}
    for landmark in landmarks:
        if landmark not in fine:
            first = next((a for a in answers if a.landmark_id == landmark), None)
            if not first:
                continue  # it has a reserve and nothing to replace
            fetcher.close(journal, None)
            knob = "set sample.unknown to 0" if landmark == schema.UNKNOWN else "lower sample.classes"
            raise InputError(
                f"landmark {landmark}: none of its URLs gave a photo (the first, {first.asked}: {first.status}); "
                f"is the network there? Else raise sample.reserve or {knob} in params.yaml"
            )


if __name__ == "__main__":
    stage.run(main)
