"""How many principal components?"""

from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer

import stage
from landmarks import classifiers, descriptors, tables
from landmarks.errors import InputError
from landmarks.files import write_json


def main(
    features: Annotated[Path, typer.Argument(help=".npz of the keypoints stage")],
    split: Annotated[Path, typer.Argument(help="CSV of the split stage")],
    table: Annotated[Path, typer.Argument(help="CSV to write: components, train, validation (mean accuracies)")],
    counts: Annotated[Path, typer.Argument(help="JSON to write: the best number of components and its accuracy")],
    start: Annotated[int, typer.Option(min=1, help="First number of components")] = 10,
    stop: Annotated[int, typer.Option(min=2, help="End of the range, not in it")] = 200,
    step: Annotated[int, typer.Option(min=1, help="Step of the range")] = 5,
    folds: Annotated[int, typer.Option(min=2, help="Folds of the cross-validation")] = 5,
    seed: Annotated[int, typer.Option(min=0, help="Which photo is in which fold")] = 0,
) -> None:
    """Accuracy of naive Bayes on PCA against the number of components, by cross-validation on the training photos alone."""
    if stop <= start:
        raise InputError(f"sweep.stop {stop} is not above sweep.start {start}; raise it in params.yaml")
    found = descriptors.load(features)
    parts = tables.read_split(split, found.ids)
    train = (parts["split"] == "train").to_numpy()
    groups = parts["group"].to_numpy(np.int64)[train]
    made = pd.DataFrame(
        classifiers.sweep(
            found.values[train].astype(np.float64),
            found.landmarks[train],
            groups,
            list(range(start, stop, step)),
            folds,
            seed,
        ),
        columns=["components", "train", "validation"],
    )
    tables.write(table, made)
    best = made.iloc[made["validation"].argmax()]
    write_json(counts, {"components": int(best["components"]), "validation": float(best["validation"])})


if __name__ == "__main__":
    stage.run(main)
