"""The trained network in formats for a server and for a phone."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np

import stage
from landmarks.common import progress
from landmarks.common.files import whole_folder, write_json
from landmarks.common.knobs import Knob
from landmarks.dataset import places, tables
from landmarks.images.photo_store import Photo, PhotoStore

if TYPE_CHECKING:
    from landmarks.deep.classifier import Classifier
    from landmarks.deep.export import Run

VERSION = "1"  # TensorFlow Serving serves the highest of the numbered folders in a model's folder
BLOCK = 32  # photos that are compared at once


@dataclass(frozen=True)
class ExportConfig:
    """The block ``export`` of params.yaml."""

    examples: Annotated[int, Knob("Training photos that int8 takes its ranges from", min=1)]


def main(
    anonymous: Annotated[Path, "Folder of the anonymize stage"],
    split: Annotated[Path, "CSV of the split stage"],
    model: Annotated[Path, "JSON of the cnn stage, its weights beside it"],
    landmarks: Annotated[Path, "CSV of the places stage"],
    folder: Annotated[
        Path, "Folder to write: model.keras, saved_model/1/, labels.json, names.json and a .tflite file a precision"
    ],
    counts: Annotated[Path, "JSON to write: bytes, test accuracy and agreement of each form"],
    export: ExportConfig,
) -> str:
    """Write the network in other formats and compare each with the original on every test photo."""
    from landmarks.deep import classifier  # here: --help need not wait for TensorFlow
    from landmarks.deep import export as formats

    network, called = classifier.load(model), places.names(landmarks)
    names = [called[label] for label in network.labels]
    rows = tables.read(split, ["id", "landmark_id", "split"]).sort_values("id")
    test, train = (rows[rows["split"] == part] for part in ("test", "train"))
    tables.require_parts(split, rows["split"], ("train", "test"))
    read, store = network.preprocessing.read, PhotoStore(anonymous)
    chosen = train["id"][:: -(-len(train) // export.examples)]
    examples = np.stack([read(store[photo]) for photo in chosen])
    sizes = {"trained": model.with_suffix(".weights.h5").stat().st_size}
    runs: dict[str, formats.Run] = {"trained": formats.original(network)}
    with whole_folder(folder) as place:
        keras = place / "model.keras"
        formats.keras(network, keras)
        sizes["keras"], runs["keras"] = keras.stat().st_size, formats.open_keras(keras)
        served = place / "saved_model" / VERSION
        formats.saved_model(network, names, served)
        for name, run in formats.serve(served).items():
            sizes[name], runs[name] = sum(path.stat().st_size for path in served.rglob("*.*")), run
        for form, content in progress.over(formats.lite(network, examples), 3, "export", "format"):
            (place / f"{form}.tflite").write_bytes(content)
            sizes[form], runs[form] = len(content), formats.interpret(content)
        write_json(place / "labels.json", network.labels)
        write_json(place / "names.json", names)
        predicted = _predictions(network, runs, [store[photo] for photo in test["id"]])
    told = {
        name: {"bytes": sizes[name], "top1": _share(labels, test["landmark_id"]), "same_top1": _share(labels, predicted["trained"])}
        for name, labels in predicted.items()
    }  # fmt: skip
    write_json(counts, told)
    least = min(told.keys() - {"trained"}, key=lambda name: (told[name]["same_top1"], name))
    return f"{len(told) - 1} forms; the one least like the network, {least}, answers alike on {told[least]['same_top1']:.3f}"


def _predictions(network: "Classifier", runs: Mapping[str, "Run"], photos: list[Photo]) -> dict[str, list[str]]:
    """By format, the label that each photo gets."""
    predicted: dict[str, list[str]] = {name: [] for name in runs}
    for start in range(0, len(photos), BLOCK):
        block = photos[start : start + BLOCK]
        pictures = np.stack([network.preprocessing.read(photo) for photo in block])
        files = [photo.read_bytes() for photo in block]
        for name, run in runs.items():
            predicted[name] += [network.labels[number] for number in run(pictures, files).argmax(axis=1)]
    return predicted


def _share(labels: Iterable[str], others: Iterable[str]) -> float:
    return round(float(np.mean([one == other for one, other in zip(labels, others, strict=True)])), 4)


if __name__ == "__main__":
    stage.run(main)
