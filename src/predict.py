"""Which place do these photos show?"""

import csv
import dataclasses
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import numpy as np
import typer

import stage
from landmarks import asked, progress, work
from landmarks.errors import InputError

if TYPE_CHECKING:
    from landmarks.predictor import Prediction, Predictor

BATCH = 32
CHOICES = 3  # as many as a line of the table has room for


class Answer(NamedTuple):
    """What became of one photo: a prediction, or the reason why there is none."""

    photo: str
    prediction: "Prediction | None"
    error: str


def main(
    photos: Annotated[list[str], typer.Argument(help="Photos, folders of photos, URLs", show_default=False)],
    model: Annotated[Path, typer.Option(help="JSON of the cnn stage, its weights beside it")] = Path(
        "models/plain.json"
    ),
    unchecked: Annotated[bool, typer.Option("--unchecked", help="Take a model that dvc.lock does not know")] = False,
    names: Annotated[Path | None, typer.Option(help="CSV of id, name: what landmarks are called")] = None,
    threshold: Annotated[
        float | None, typer.Option(min=0, max=1, help="Least confidence of an answer [the reject stage's]")
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="Choices listed by --json")] = CHOICES,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with all there is to know of the model")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV")] = False,
    contact: Annotated[str, typer.Option(help="Your mail address or page, shown to hosts of URLs")] = "",
    loopback: Annotated[bool, typer.Option("--loopback", help="URLs may be of this machine")] = False,
    robots: Annotated[bool, typer.Option(help="Obey the robots.txt of hosts of URLs")] = True,
) -> None:
    """Say which place each photo shows, how sure that is, and where it is none that the model knows.

    Folders are searched through. Exit code 0: every photo has an answer; 1: some could not be read, or nothing was done.
    """
    if as_json and as_csv:
        raise InputError("--json and --csv: one of them")
    sources = asked.listed(photos)
    from landmarks import predictor  # here: --help and typos need not wait for TensorFlow

    loaded = predictor.load(model, None if unchecked else Path("dvc.lock"), names, threshold)
    if loaded.provenance.threshold is None:
        print(f"predict: no threshold was chosen for {model}: it never says unknown; set --threshold", file=sys.stderr)
    write: Callable[[Iterator[Answer], Predictor], bool] = _json if as_json else _csv if as_csv else _table
    with asked.opened(sources, contact, loopback, robots) as contents:
        fine = write(_answers(loaded, contents, len(sources), top), loaded)
    if not fine:
        raise typer.Exit(1)


def _answers(loaded: "Predictor", contents: Iterator[asked.Content], count: int, top: int) -> Iterator[Answer]:
    """An answer a photo, in order, a batch of them in memory."""

    def square(content: asked.Content) -> Any:
        try:
            return content.source, loaded.square(content.read())
        except InputError as error:  # of this photo; the others have nothing to do with it
            return content.source, str(error)

    for block in work.batched(progress.over(work.threads(square, contents), count, "predict"), BATCH):
        found = iter(loaded.predict([shown for _, shown in block if isinstance(shown, np.ndarray)], top))
        for source, shown in block:
            yield Answer(source, None, shown) if isinstance(shown, str) else Answer(source, next(found), "")


def _json(answers: Iterator[Answer], loaded: "Predictor") -> bool:
    rows = [
        {"photo": row.photo, **(dataclasses.asdict(row.prediction) if row.prediction else {"error": row.error})}
        for row in answers
    ]
    print(
        json.dumps({"model": dataclasses.asdict(loaded.provenance), "predictions": rows}, indent=2, ensure_ascii=False)
    )
    return all("error" not in row for row in rows)


def _csv(answers: Iterator[Answer], loaded: "Predictor") -> bool:
    table = csv.writer(sys.stdout, lineterminator="\n")
    table.writerow(["photo", "label", "name", "confidence", "surest", "error"])
    fine = True
    for photo, said, error in answers:
        row = [said.label, said.name, f"{said.confidence:.6f}", said.top[0].label] if said else [""] * 4
        table.writerow([photo, *row, error])
        fine = fine and said is not None
    return fine


def _table(answers: Iterator[Answer], loaded: "Predictor") -> bool:
    rows, fine = [("photo", "place", "sure", "choices")], True
    for photo, said, error in answers:
        if said:
            choices = ", ".join(f"{choice.name} {choice.confidence:.2f}" for choice in said.top[:CHOICES])
            rows.append((photo, said.name, f"{said.confidence:.2f}", choices))
        else:
            rows.append((photo, "-", "-", error))
            fine = False
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for row in rows:
        print("  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]]))
    return fine


if __name__ == "__main__":
    stage.run(main)
