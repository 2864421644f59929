"""Transfer learning on the photos."""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

import stage
from landmarks import contracts, tables
from landmarks.augmentation import Ranges


def main(
    anonymous: Annotated[Path, typer.Argument(help="Folder of the anonymize stage")],
    split: Annotated[Path, typer.Argument(help="CSV of the split stage")],
    model: Annotated[
        Path, typer.Argument(help="JSON to write: recipe and labels; the weights go beside it, .weights.h5")
    ],
    history: Annotated[Path, typer.Argument(help="CSV to write: loss and accuracy by epoch")],
    predictions: Annotated[
        Path, typer.Argument(help="CSV to write: id, actual, predicted, confidence, for every photo")
    ],
    module: Annotated[str, typer.Option(help="TF-Hub handle or SavedModel folder that turns a photo into a vector")],
    size: Annotated[int, typer.Option(min=16, help="Pixels a side that the module takes")] = 224,
    crop: Annotated[bool, typer.Option(help="Take the middle square of a photo, or squash all of it")] = True,
    trainable: Annotated[bool, typer.Option(help="Train the module too, or only the layers on top of it")] = False,
    augment: Annotated[bool, typer.Option(help="Train on augmented views")] = False,
    views: Annotated[
        int, typer.Option(min=1, help="Augmented views a photo, drawn once and cached, for a frozen module")
    ] = 4,
    head: Annotated[list[int] | None, typer.Option(help="Units of each hidden layer; repeat for more")] = None,
    dropout: Annotated[float, typer.Option(min=0, max=0.9, help="Before the first and the last dense layer")] = 0.2,
    l2: Annotated[float, typer.Option(min=0, help="Weight decay of the last layer")] = 1e-4,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the training photos")] = 20,
    batch: Annotated[int, typer.Option(min=1, help="Photos a step")] = 32,
    learning_rate: Annotated[float, typer.Option(min=0, help="Of stochastic gradient descent")] = 0.02,
    cosine: Annotated[bool, typer.Option(help="Let the rate fall to 0 along a cosine, or keep it")] = True,
    momentum: Annotated[float, typer.Option(min=0, max=0.999, help="Of stochastic gradient descent")] = 0.9,
    label_smoothing: Annotated[
        float, typer.Option(min=0, max=0.9, help="Probability given to the wrong classes")
    ] = 0.0,
    restore_best: Annotated[
        bool, typer.Option(help="Keep the epoch with the lowest validation loss, or the last")
    ] = True,
    rotation: Annotated[float, typer.Option(min=0, max=180, help="Augmentation: degrees, either way")] = 40.0,
    shift: Annotated[float, typer.Option(min=0, max=1, help="Augmentation: part of a side, either way")] = 0.2,
    shear: Annotated[float, typer.Option(min=0, max=60, help="Augmentation: degrees, either way")] = 0.2,
    zoom: Annotated[
        float, typer.Option(min=0, max=0.9, help="Augmentation: factors between 1 - zoom and 1 + zoom")
    ] = 0.2,
    flip: Annotated[bool, typer.Option(help="Augmentation: mirror every other view")] = True,
    seed: Annotated[int, typer.Option(min=0, help="Of weights, order, dropout and views")] = 0,
) -> None:
    """Train a classifier on a pre-trained module, select its epoch on the validation photos and predict all photos."""
    from landmarks import networks, photos  # here: --help and typos need not wait for TensorFlow

    rows = tables.read_split(split, photos.listed(anonymous, tables.read(split, ["id"])["id"]))
    labels = sorted(set(rows["landmark_id"]), key=contracts.natural)
    numbers = rows["landmark_id"].map({label: number for number, label in enumerate(labels)}).to_numpy(np.int64)
    recipe = networks.Recipe(
        module, size, crop, trainable, augment, views, tuple(head or ()), dropout, l2, epochs, batch, learning_rate, cosine, momentum,
        label_smoothing, restore_best, Ranges(rotation, shift, shear, zoom, flip), seed,
    )  # fmt: skip
    everything = networks.Photos(anonymous, list(rows.index), numbers, len(labels))
    train, validation = ((rows["split"] == name).to_numpy() for name in ("train", "validation"))
    fitted, epochs_seen, temperature, probabilities = networks.fit(recipe, everything, train, validation)
    networks.save(model, fitted, recipe, labels, temperature)
    tables.write(history, epochs_seen)
    tables.write_predictions(predictions, rows.index, rows["landmark_id"], labels, probabilities)


if __name__ == "__main__":
    stage.run(main)
