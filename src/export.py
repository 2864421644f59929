"""The trained network for a server and for a phone."""

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

import stage
from landmarks.common import progress
from landmarks.common.errors import InputError
from landmarks.common.files import whole_folder, write_json
from landmarks.dataset import tables

BLOCK = 32  # photos that are held against each other at once


def main(
    anonymous: Annotated[Path, typer.Argument(help="Folder of the anonymize stage")],
    split: Annotated[Path, typer.Argument(help="CSV of the split stage")],
    model: Annotated[Path, typer.Argument(help="JSON of the cnn stage, its weights beside it")],
    folder: Annotated[
        Path,
        typer.Argument(
            help="Folder to write: model.keras, saved_model/, float32.tflite, float16.tflite, int8.tflite, labels.json"
        ),
    ],
    counts: Annotated[Path, typer.Argument(help="JSON to write: bytes, test accuracy and agreement of each form")],
    examples: Annotated[int, typer.Option(min=1, help="Training photos that int8 takes its ranges from")] = 100,
) -> None:
    """Write the network in other forms and hold each against the original on every test photo."""
    from landmarks.deep import classifier, export  # here: --help need not wait for TensorFlow
    from landmarks.images import decoding  # here: --help need not wait for TensorFlow

    network = classifier.load(model)
    rows = tables.read(split, ["id", "landmark_id", "split"]).sort_values("id")
    tested, trained = (rows[rows["split"] == part] for part in ("test", "train"))
    if tested.empty or trained.empty:
        raise InputError(f"{split}: no photo for the test, or none for training; run: dvc repro split")
    square = partial(decoding.read_square, side=network.recipe.size, crop=network.recipe.crop)
    learnt = np.stack([square(anonymous / f"{photo}.jpg") for photo in trained["id"][:: -(-len(trained) // examples)]])
    sizes = {"trained": model.with_suffix(".weights.h5").stat().st_size}
    runs: dict[str, export.Run] = {"trained": export.original(network)}
    with whole_folder(folder) as place:
        export.keras(network, place / "model.keras")
        sizes["keras"], runs["keras"] = (
            (place / "model.keras").stat().st_size,
            export.open_keras(place / "model.keras"),
        )
        export.saved_model(network, place / "saved_model")
        for name, run in export.serve(place / "saved_model").items():
            sizes[name], runs[name] = sum(path.stat().st_size for path in (place / "saved_model").rglob("*.*")), run
        for form, content in progress.over(export.lite(network, learnt), 3, "export", "form"):
            (place / f"{form}.tflite").write_bytes(content)
            sizes[form], runs[form] = len(content), export.interpret(content)
        write_json(place / "labels.json", network.labels)
        best: dict[str, list[str]] = {name: [] for name in runs}
        for start in range(0, len(tested), BLOCK):
            paths = [anonymous / f"{photo}.jpg" for photo in tested["id"][start : start + BLOCK]]
            shown, files = np.stack([square(path) for path in paths]), [path.read_bytes() for path in paths]
            for name, run in runs.items():
                best[name] += [network.labels[number] for number in run(shown, files).argmax(axis=1)]
    write_json(counts, {
        name: {"bytes": sizes[name], "top1": _share(labels, tested["landmark_id"]), "same_top1": _share(labels, best["trained"])}
        for name, labels in best.items()
    })  # fmt: skip


def _share(labels: list[str], others: Iterable[str]) -> float:
    return round(float(np.mean([one == other for one, other in zip(labels, others, strict=True)])), 4)


if __name__ == "__main__":
    stage.run(main)
