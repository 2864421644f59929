"""Ensembles of a network and a keypoint model, which err on different photos."""

from pathlib import Path
from typing import Annotated

import numpy as np

import stage
from landmarks.common.errors import InputError
from landmarks.dataset import tables
from landmarks.evaluation import ensembles


def main(
    split: Annotated[Path, "CSV of the split stage"],
    network: Annotated[Path, "Predictions of the cnn stage"],
    model: Annotated[Path, "Predictions of the baseline stage"],
    predictions: Annotated[Path, "CSV to write: id, actual, predicted, confidence, probabilities, for every photo"],
) -> None:
    """Give each landmark the mean of the probabilities of two models, calibrated as one on the validation photos."""
    parts = tables.read_split(split)
    tables.require_parts(split, parts["split"], ("validation",))
    deep, classical = (tables.read_probabilities(path, parts["landmark_id"]) for path in (network, model))
    labels = list(deep.columns)
    if set(labels) != set(classical.columns):
        raise InputError(f"{network} and {model} know different landmarks; run: dvc repro cnn baseline")
    numbers = np.array([labels.index(landmark) for landmark in parts["landmark_id"]], np.int64)
    held_out = (parts["split"] == "validation").to_numpy()
    mean = ensembles.mean([deep.to_numpy(), classical[labels].to_numpy()], numbers, held_out)
    tables.write_predictions(predictions, parts.index, parts["landmark_id"], labels, mean)


if __name__ == "__main__":
    stage.run(main)
