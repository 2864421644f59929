"""Ensembles of a network and a keypoint model, which err on different photos."""

from pathlib import Path
from typing import Annotated

import numpy as np

import stage
from landmarks.common.errors import InputError
from landmarks.dataset import prediction_files, tables
from landmarks.evaluation import ensembles


def main(
    split: Annotated[Path, "CSV of the split stage"],
    network: Annotated[Path, "Predictions of the cnn stage"],
    model: Annotated[Path, "Predictions of the baseline stage"],
    predictions: Annotated[Path, "Parquet file to write: answer and probabilities of every photo"],
) -> str:
    """Pool the probabilities of two models, their weights and temperature chosen on the validation photos."""
    parts = tables.read_split(split)
    tables.require_parts(split, parts["split"], ("validation",))
    (labels, deep), (others, classical) = (
        prediction_files.probabilities(prediction_files.read(path, parts["landmark_id"])) for path in (network, model)
    )
    if set(labels) != set(others):
        raise InputError(f"{network} and {model} know different landmarks; run: dvc repro cnn baseline")
    numbers = np.array([labels.index(landmark) for landmark in parts["landmark_id"]], np.int64)
    held_out = (parts["split"] == "validation").to_numpy()
    pooled, share = ensembles.pool(deep, classical[:, [others.index(label) for label in labels]], numbers, held_out)
    right = prediction_files.write(predictions, parts.index, parts["landmark_id"], labels, pooled)
    return f"{prediction_files.accuracies(right, parts['split'])}; the keypoint model counts {share:.2f}"


if __name__ == "__main__":
    stage.run(main)
