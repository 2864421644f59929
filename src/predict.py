"""Which landmark do these photos and clips show?"""

import csv
import dataclasses
import itertools
import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, cast

import numpy as np
import typer

import stage
import trained_model
from landmarks.common import parallel, progress
from landmarks.common.errors import InputError
from landmarks.download.fetcher import HTTP, FetchSettings
from landmarks.images import folders
from landmarks.serving import inputs, video

if TYPE_CHECKING:
    from io import TextIOWrapper

    from landmarks.serving.predictor import Prediction, Predictor

BATCH = 32
FACTS = ("country", "latitude", "longitude", "url", "description")  # of a place, in the last columns of --csv
CHOICES = 3  # most landmarks in a row of the table


class Result(NamedTuple):
    """The prediction for one photo, or for a second of a clip; or the reason why there is none."""

    photo: str
    prediction: "Prediction | None"
    error: str = ""
    second: int | None = None
    majority: str = ""  # of a clip: the label of most frames around this one


def main(
    photos: Annotated[
        list[str], typer.Argument(help="Photos, clips, folders of them, URLs of photos", show_default=False)
    ],
    model: trained_model.Model = trained_model.MODEL,
    unchecked: trained_model.Unchecked = False,
    names: trained_model.Names = None,
    threshold: trained_model.Threshold = None,
    top: Annotated[int, typer.Option(min=1, help="Most probable landmarks listed by --json")] = CHOICES,
    window: Annotated[
        int, typer.Option(min=1, max=600, help="Clips: frames, a second apart, that vote on a landmark")
    ] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with the record of the model")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV")] = False,
    contact: Annotated[str, typer.Option(help="Your mail address or page, shown to hosts of URLs")] = "",
    loopback: Annotated[bool, typer.Option("--loopback", help="Allow URLs of this machine")] = False,
    robots: Annotated[bool, typer.Option(help="Obey the robots.txt of hosts of URLs")] = True,
) -> None:
    """Print which landmark each photo shows, with its probability, or that it is none that the model knows.

    Folders are searched with their subfolders; files that are neither photos nor clips are counted. Of a clip, one frame a second is predicted; the majority of the frames around it decides.

    Exit code 0: every photo has a prediction; 1: some could not be read, or nothing was done.
    """
    if as_json and as_csv:
        raise InputError("--json and --csv: one of them")
    cast("TextIOWrapper", sys.stdout).reconfigure(errors="surrogateescape")  # a file's name need not be UTF-8
    others: Counter[str] = Counter()
    sources = inputs.expand_folders(photos, others)
    loaded = trained_model.load(model, unchecked=unchecked, names=names, threshold=threshold)
    write = _write_json if as_json else _write_csv if as_csv else _write_table
    settings = stage.block(
        "download", FetchSettings, contact=contact, loopback=loopback, robots=robots, schemes=HTTP, attempts=2,
        long_side=0, archives=(), tars=(),
    )  # fmt: skip
    with inputs.open_sources(sources, settings) as opened:
        complete = write(_predict(loaded, opened, len(sources), top, window), loaded)
    if others:
        print(f"predict: {folders.summary(others)}", file=sys.stderr)
    if not complete:
        raise typer.Exit(1)


def _predict(
    loaded: "Predictor", sources: Iterator[inputs.PhotoSource], count: int, top: int, window: int
) -> Iterator[Result]:
    """In order, a result for each photo and for each second of a clip."""
    with progress.bar(count, "predict", "photo") as steps:
        for are_clips, group in itertools.groupby(sources, lambda source: inputs.is_clip(source.name)):
            if are_clips:
                for clip in group:
                    yield from _predict_clip(loaded, clip.name, top, window)
                    steps.update()
            else:
                for result in _predict_photos(loaded, group, top):
                    yield result
                    steps.update()


def _predict_photos(loaded: "Predictor", sources: Iterator[inputs.PhotoSource], top: int) -> Iterator[Result]:
    """Memory holds one batch of them."""

    def preprocess(source: inputs.PhotoSource) -> Any:
        try:
            return source.name, loaded.preprocess(source.read())
        except InputError as error:  # the reason becomes the result of this photo
            return source.name, str(error)

    for block in parallel.batched(parallel.threads(preprocess, sources), BATCH):
        pictures = [picture for _, picture in block if isinstance(picture, np.ndarray)]
        predictions = iter(loaded.predict(pictures, top))
        for name, picture in block:
            if isinstance(picture, str):
                yield Result(name, None, error=picture)
            else:
                yield Result(name, next(predictions))


def _predict_clip(loaded: "Predictor", name: str, top: int, window: int) -> Iterator[Result]:
    """A result for every second that can be decoded."""
    preprocessing, by_second = loaded.network.preprocessing, {}
    try:
        with video.open_clip(Path(name)) as clip:
            frames = clip.frames(preprocessing)
            for second, picture in progress.over(frames, round(clip.duration), Path(name).name, "frame"):
                (by_second[second],) = loaded.predict([picture], top)
    except InputError as error:
        yield Result(name, None, error=str(error))
        return
    if max(by_second) + 2 < clip.duration:  # the rest may be sound alone, or lost
        lasts = f"{name}: lasts {clip.duration:.0f} seconds by its header"
        print(f"predict: {lasts}; the last frame that could be read is at {_clock(max(by_second))}", file=sys.stderr)
    predictions = list(by_second.values())
    votes = video.majority_vote([one.label for one in predictions], [one.confidence for one in predictions], window)
    for (second, prediction), majority in zip(by_second.items(), votes, strict=True):
        yield Result(name, prediction, second=second, majority=majority)


def _write_json(results: Iterator[Result], loaded: "Predictor") -> bool:
    rows = [
        {
            "photo": result.photo,
            **({} if result.second is None else {"second": result.second, "majority": result.majority}),
            **(dataclasses.asdict(result.prediction) if result.prediction else {"error": result.error}),
        }
        for result in results
    ]
    print(json.dumps({"model": dataclasses.asdict(loaded.record), "predictions": rows}, indent=2, ensure_ascii=False))
    return all("error" not in row for row in rows)


def _write_csv(results: Iterator[Result], loaded: "Predictor") -> bool:
    table = csv.writer(sys.stdout, lineterminator="\n")
    table.writerow(["photo", "second", "label", "name", "confidence", "surest", "majority", "error", *FACTS])
    complete = True
    for photo, prediction, error, second, majority in results:
        cells = [""] * 4
        if prediction:
            cells = [prediction.label, prediction.name, f"{prediction.confidence:.6f}", prediction.top[0].label]
        place = prediction and prediction.place
        facts = [getattr(place, fact) for fact in FACTS] if place else [""] * len(FACTS)
        table.writerow([photo, second, *cells, majority, error, *facts])
        complete = complete and prediction is not None
    return complete


def _write_table(results: Iterator[Result], loaded: "Predictor") -> bool:
    kept = list(results)
    rows = [("photo", "place", "sure", "choices"), *(_table_row(result, loaded) for result in kept)]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for row in rows:
        print("  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]]))
    for clip, seconds in itertools.groupby((one for one in kept if one.second is not None), lambda one: one.photo):
        print(f"{clip}: {', '.join(_stretches(seconds, loaded))}")
    return all(result.prediction for result in kept)


def _table_row(result: Result, loaded: "Predictor") -> tuple[str, str, str, str]:
    photo, prediction, error, second, majority = result
    if not prediction:
        return photo, "-", "-", error
    time, label = ("", prediction.label) if second is None else (f" {_clock(second)}", majority)
    confidence = f"{prediction.confidence:.2f}" if label == prediction.label else "-"  # it is that of another landmark
    choices = ", ".join(f"{choice.name} {choice.confidence:.2f}" for choice in prediction.top[:CHOICES])
    return photo + time, loaded.display_name(label), confidence, choices


def _stretches(seconds: Iterator[Result], loaded: "Predictor") -> Iterator[str]:
    """A summary of a clip: from when to when it shows which landmark."""
    for majority, group in itertools.groupby(seconds, lambda result: result.majority):
        times = [result.second or 0 for result in group]
        yield f"{_clock(times[0])}-{_clock(times[-1])} {loaded.display_name(majority)}"


def _clock(second: int) -> str:
    return f"{second // 60}:{second % 60:02}"


if __name__ == "__main__":
    stage.run(main)
