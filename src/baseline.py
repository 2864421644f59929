"""The thesis' classical models."""

from pathlib import Path
from typing import Annotated

import joblib
import numpy as np
import typer
from threadpoolctl import threadpool_limits

import stage
from landmarks import classifiers, descriptors, tables
from landmarks.files import whole


def main(
    features: Annotated[Path, typer.Argument(help=".npz of the keypoints stage")],
    split: Annotated[Path, typer.Argument(help="CSV of the split stage")],
    model: Annotated[Path, typer.Argument(help="Joblib file to write: a scikit-learn Pipeline")],
    predictions: Annotated[
        Path, typer.Argument(help="CSV to write: id, actual, predicted, confidence, for every photo")
    ],
    kind: Annotated[classifiers.Kind, typer.Option(help="Gaussian naive Bayes or a decision tree")] = "bayes",
    n: Annotated[int, typer.Option(min=0, help="Principal components; 0 leaves the descriptors as they are")] = 0,
    seed: Annotated[int, typer.Option(min=0, help="Breaks ties between the splits of a tree")] = 0,
) -> None:
    """Fit a classical model on the training photos and predict all."""
    found = descriptors.load(features)
    train = (tables.read_split(split, found.ids)["split"] == "train").to_numpy()
    values = found.values.astype(np.float64)
    fitted = classifiers.fit(kind, n, seed, values[train], found.landmarks[train])
    with whole(model) as partial:
        joblib.dump(fitted, partial)
    with threadpool_limits(1):
        probabilities = fitted.predict_proba(values)
    tables.write_predictions(predictions, found.ids, found.landmarks, fitted.classes_, probabilities)


if __name__ == "__main__":
    stage.run(main)
