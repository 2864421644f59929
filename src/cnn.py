"""Transfer learning on the photos."""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

import stage
from landmarks.dataset import schema, tables
from landmarks.deep import config
from landmarks.deep.augmentation import Ranges


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
    module: Annotated[
        str,
        typer.Option(
            help="What turns a photo into a vector: TF-Hub handle, SavedModel folder, or name in keras.applications"
        ),
    ],
    size: Annotated[int, typer.Option(min=0, help="Pixels a side that the module takes; 0: as it says itself")] = 0,
    low: Annotated[
        float, typer.Option(help="Lowest pixel value that the module takes (keras.applications know)")
    ] = 0.0,
    high: Annotated[float, typer.Option(help="Highest pixel value that the module takes")] = 1.0,
    crop: Annotated[bool, typer.Option(help="Take the middle square of a photo, or squash all of it")] = True,
    recipe: Annotated[
        config.Kind,
        typer.Option(
            help="frozen: the head alone, on vectors made once; two-phase: then the module's last layers, too; "
            "thesis: all at once, batch norm by the batch"
        ),
    ] = "frozen",
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
    patience: Annotated[
        int,
        typer.Option(
            min=0, help="While the module learns: epochs without a lower validation loss that end it; 0: none do"
        ),
    ] = 0,
    tuned: Annotated[
        float, typer.Option(min=0.01, max=1, help="two-phase: share of the module's layers that learn, the last ones")
    ] = 0.2,
    tuning_rate: Annotated[float, typer.Option(min=0, help="two-phase: learning rate of the second phase")] = 0.0005,
    tuning_epochs: Annotated[int, typer.Option(min=1, help="two-phase: epochs of the second phase, at most")] = 10,
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
    from landmarks.deep import classifier, training  # here: --help and typos need not wait for TensorFlow

    rows = tables.read_split(split)
    labels = sorted(set(rows["landmark_id"]), key=schema.natural)
    numbers = rows["landmark_id"].map({label: number for number, label in enumerate(labels)}).to_numpy(np.int64)
    made_by = config.Recipe(
        module, size, low, high, crop, recipe, augment, views, tuple(head or ()), dropout, l2, epochs, batch, learning_rate, cosine,
        momentum, label_smoothing, restore_best, patience, tuned, tuning_rate, tuning_epochs,
        Ranges(rotation, shift, shear, zoom, flip), seed,
    )  # fmt: skip
    everything = training.Photos(anonymous, list(rows.index), numbers, labels)
    train, validation = ((rows["split"] == name).to_numpy() for name in ("train", "validation"))
    network, epochs_seen, probabilities = training.fit(made_by, everything, train, validation)
    classifier.save(model, network)
    tables.write(history, epochs_seen)
    tables.write_predictions(predictions, rows.index, rows["landmark_id"], labels, probabilities)


if __name__ == "__main__":
    stage.run(main)
