"""Which place do these photos show?"""

import csv
import dataclasses
import itertools
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, cast

import numpy as np
import typer

import stage
from landmarks.common import parallel, progress
from landmarks.common.errors import InputError
from landmarks.serving import inputs, video

if TYPE_CHECKING:
    from io import TextIOWrapper

    from landmarks.serving.predictor import Prediction, Predictor

BATCH = 32
CHOICES = 3  # as many as a line of the table has room for


class Answer(NamedTuple):
    """What became of one photo, or a second of a clip: a prediction, or the reason why there is none."""

    photo: str
    prediction: "Prediction | None"
    error: str = ""
    second: int | None = None
    majority: str = ""  # of a clip: the label of most frames around this one


def main(
    photos: Annotated[
        list[str], typer.Argument(help="Photos, clips, folders of them, URLs of photos", show_default=False)
    ],
    model: stage.Model = stage.MODEL,
    unchecked: stage.Unchecked = False,
    names: stage.Names = None,
    threshold: stage.Threshold = None,
    top: Annotated[int, typer.Option(min=1, help="Choices listed by --json")] = CHOICES,
    window: Annotated[
        int, typer.Option(min=1, max=600, help="Clips: frames, a second apart, that agree on a place by their majority")
    ] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with all there is to know of the model")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV")] = False,
    contact: Annotated[str, typer.Option(help="Your mail address or page, shown to hosts of URLs")] = "",
    loopback: Annotated[bool, typer.Option("--loopback", help="URLs may be of this machine")] = False,
    robots: Annotated[bool, typer.Option(help="Obey the robots.txt of hosts of URLs")] = True,
) -> None:
    """Say which place each photo shows, how sure that is, and where it is none that the model knows.

    Folders are searched through. Of a clip, a frame a second is looked at; its place is what most frames around it show.

    Exit code 0: every photo has an answer; 1: some could not be read, or nothing was done.
    """
    if as_json and as_csv:
        raise InputError("--json and --csv: one of them")
    cast("TextIOWrapper", sys.stdout).reconfigure(errors="surrogateescape")  # a file's name need not be UTF-8
    sources = inputs.listed(photos)
    from landmarks.serving import predictor  # here: --help and typos need not wait for TensorFlow

    loaded = predictor.load(model, None if unchecked else Path("dvc.lock"), names, threshold)
    if loaded.provenance.threshold is None:
        print(f"predict: no threshold was chosen for {model}: it never says unknown; set --threshold", file=sys.stderr)
    write: Callable[[Iterator[Answer], Predictor], bool] = _json if as_json else _csv if as_csv else _table
    with inputs.opened(sources, contact, loopback, robots) as contents:
        fine = write(_answers(loaded, contents, len(sources), top, window), loaded)
    if not fine:
        raise typer.Exit(1)


def _answers(
    loaded: "Predictor", contents: Iterator[inputs.Content], count: int, top: int, window: int
) -> Iterator[Answer]:
    """In order, an answer a photo and second of a clip."""
    with progress.bar(count, "predict", "photo") as steps:
        for clips, some in itertools.groupby(contents, lambda content: inputs.is_clip(content.source)):
            if clips:
                for clip in some:
                    yield from _seconds(loaded, clip.source, top, window)
                    steps.update()
            else:
                for answer in _photos(loaded, some, top):
                    yield answer
                    steps.update()


def _photos(loaded: "Predictor", contents: Iterator[inputs.Content], top: int) -> Iterator[Answer]:
    """A batch of them in memory."""

    def square(content: inputs.Content) -> Any:
        try:
            return content.source, loaded.square(content.read())
        except InputError as error:  # of this photo; the others have nothing to do with it
            return content.source, str(error)

    for block in parallel.batched(parallel.threads(square, contents), BATCH):
        found = iter(loaded.predict([shown for _, shown in block if isinstance(shown, np.ndarray)], top))
        for source, shown in block:
            yield Answer(source, None, shown) if isinstance(shown, str) else Answer(source, next(found))


def _seconds(loaded: "Predictor", clip: str, top: int, window: int) -> Iterator[Answer]:
    """What can be seen of a clip."""
    path, recipe = Path(clip), loaded.network.recipe
    seen: dict[int, Prediction] = {}
    try:
        length = video.length(path)
        shown = video.frames(path, recipe.size, recipe.crop)
        for second, square in progress.over(shown, round(length), path.name, "frame"):
            (seen[second],) = loaded.predict([square], top)
    except InputError as error:
        yield Answer(clip, None, str(error))
        return
    if max(seen) + 2 < length:  # it may be sound alone, and it may be lost
        print(
            f"predict: {clip}: {length:.0f} seconds, it says; the last frame seen is of {_clock(max(seen))}",
            file=sys.stderr,
        )
    said = list(seen.values())
    places = video.majority([one.label for one in said], [one.confidence for one in said], window)
    for (second, one), place in zip(seen.items(), places, strict=True):
        yield Answer(clip, one, "", second, place)


def _json(answers: Iterator[Answer], loaded: "Predictor") -> bool:
    rows = [
        {
            "photo": row.photo,
            **({} if row.second is None else {"second": row.second, "majority": row.majority}),
            **(dataclasses.asdict(row.prediction) if row.prediction else {"error": row.error}),
        }
        for row in answers
    ]
    print(
        json.dumps({"model": dataclasses.asdict(loaded.provenance), "predictions": rows}, indent=2, ensure_ascii=False)
    )
    return all("error" not in row for row in rows)


def _csv(answers: Iterator[Answer], loaded: "Predictor") -> bool:
    table = csv.writer(sys.stdout, lineterminator="\n")
    table.writerow(["photo", "second", "label", "name", "confidence", "surest", "majority", "error"])
    fine = True
    for photo, said, error, second, majority in answers:
        row = [said.label, said.name, f"{said.confidence:.6f}", said.top[0].label] if said else [""] * 4
        table.writerow([photo, second, *row, majority, error])
        fine = fine and said is not None
    return fine


def _table(answers: Iterator[Answer], loaded: "Predictor") -> bool:
    told = list(answers)
    rows = [("photo", "place", "sure", "choices")]
    for photo, said, error, second, majority in told:
        if said:
            choices = ", ".join(f"{choice.name} {choice.confidence:.2f}" for choice in said.top[:CHOICES])
            when, place = ("", said.label) if second is None else (f" {_clock(second)}", majority)
            sure = f"{said.confidence:.2f}" if place == said.label else "-"  # not of a place that its neighbours show
            rows.append((photo + when, loaded.name(place), sure, choices))
        else:
            rows.append((photo, "-", "-", error))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for row in rows:
        print("  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]]))
    for clip, seconds in itertools.groupby((row for row in told if row.second is not None), lambda row: row.photo):
        print(f"{clip}: {', '.join(_stretches(seconds, loaded))}")
    return all(row.prediction for row in told)


def _stretches(seconds: Iterator[Answer], loaded: "Predictor") -> Iterator[str]:
    """A clip in short: from when to when it shows which place."""
    for majority, rows in itertools.groupby(seconds, lambda row: row.majority):
        when = [row.second or 0 for row in rows]
        yield f"{_clock(when[0])}-{_clock(when[-1])} {loaded.name(majority)}"


def _clock(second: int) -> str:
    return f"{second // 60}:{second % 60:02}"


if __name__ == "__main__":
    stage.run(main)
