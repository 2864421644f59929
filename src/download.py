"""Fetch the photos."""

import dataclasses
import sys
from collections import Counter
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

import stage
from landmarks import contracts, fetching, tables
from landmarks.errors import InputError
from landmarks.files import write_json

COLUMNS = [field.name for field in dataclasses.fields(fetching.Answer)]


def main(
    sample: Annotated[Path, typer.Argument(help="CSV of the sample stage: id, url, landmark_id, reserve")],
    images: Annotated[Path, typer.Argument(help="Folder of photos; those already there and still wanted are kept")],
    table: Annotated[Path, typer.Argument(help="CSV to write: what became of each URL")],
    counts: Annotated[Path, typer.Argument(help="JSON to write: photos by status, replaced, missing")],
    attempts: Annotated[int, typer.Option(min=1, help="Requests a photo while a host is busy or unreachable")] = 3,
    seconds: Annotated[float, typer.Option(min=0.1, help="Longest time a request may take")] = 30.0,
    megabytes: Annotated[float, typer.Option(min=0.001, help="Largest photo accepted")] = 32.0,
) -> None:
    """Fetch the sample; each expired photo is replaced by the next of its landmark's reserve while that lasts.

    Interrupted or killed, it goes on where it stopped. LANDMARKS_CONNECTIONS sets how many URLs are asked at once.
    """
    rows = tables.read(sample, fetching.SAMPLE)
    tables.check_ids(sample, rows)
    limits = fetching.Limits(attempts, seconds, megabytes)
    journal = table.with_name(f".{table.stem}.journal")
    try:
        answers = fetching.collect(rows, images, journal, _earlier(table), limits)
    except KeyboardInterrupt:
        print("download: interrupted; what is fetched is kept: the same command goes on from here", file=sys.stderr)
        raise typer.Exit(130) from None
    except OSError as error:
        raise InputError(f"{images}: {error}; what is fetched is kept: mend that and run the same command") from None
    failed = Counter(a.status.replace(" ", "_") for a in answers if a.status != "ok")
    fine = len(answers) - failed.total()
    wanted = int((rows["reserve"] == "0").sum())
    _require_photos(answers, sorted(set(rows["landmark_id"]), key=contracts.natural))
    tables.write(table, pd.DataFrame([dataclasses.asdict(a) for a in answers], columns=COLUMNS))
    journal.unlink()
    write_json(counts, {
        "asked": len(answers),
        "ok": fine,
        "failed": dict(sorted(failed.items())),
        "replaced": sum(bool(a.replaces) for a in answers),
        "short": wanted - fine,
    })  # fmt: skip


def _earlier(table: Path) -> list[fetching.Answer]:
    """The answers of an earlier run, if there was one and it wrote the columns of today."""
    try:
        found = pd.read_csv(table, dtype=str, keep_default_na=False)
        found = found[COLUMNS].astype(dict.fromkeys(("bytes", "width", "height"), int))
    except (FileNotFoundError, ValueError, KeyError):
        return []  # none, or of another version: every photo is asked for again
    return [fetching.Answer(*row) for row in found.itertuples(index=False, name=None)]


def _require_photos(answers: list[fetching.Answer], landmarks: list[str]) -> None:
    fine = {a.landmark_id for a in answers if a.status == "ok"}
    for landmark in landmarks:
        if landmark not in fine:
            first = next(a for a in answers if a.landmark_id == landmark)
            raise InputError(
                f"landmark {landmark}: none of its URLs gave a photo (the first, {first.asked}: {first.status}); "
                "is the network there? Else raise sample.reserve or lower sample.classes in params.yaml"
            )


if __name__ == "__main__":
    stage.run(main)
