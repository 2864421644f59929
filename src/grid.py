"""Which keypoints, encoding and classifier go best together?"""

from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Annotated, get_args

import numpy as np
import pandas as pd
import typer

import stage
from landmarks.classical import classifiers, encodings, features_file
from landmarks.common import parallel
from landmarks.common.files import write_json
from landmarks.dataset import tables
from landmarks.reporting import plots

KINDS: tuple[classifiers.Kind, ...] = get_args(classifiers.Kind)
Task = tuple[str, classifiers.Recipe, classifiers.Fold]


def main(
    split: Annotated[Path, typer.Argument(help="CSV of the split stage")],
    table: Annotated[Path, typer.Argument(help="CSV to write: features, encoding, kind, validation, spread")],
    figure: Annotated[Path, typer.Argument(help="PNG to write: the same as a map")],
    counts: Annotated[Path, typer.Argument(help="JSON to write: the best combination, by validation")],
    described: Annotated[list[Path], typer.Option("--features", help="File of the keypoints stage; repeat for more")],
    keypoints: stage.Keypoints = 32,
    words: stage.Words = 64,
    components: stage.Components = 64,
    sample: stage.Sample = 60_000,
    folds: Annotated[int, typer.Option(min=2, help="Folds of the cross-validation")] = 3,
    seed: Annotated[int, typer.Option(min=0, help="Which photo is in which fold, and what encodings draw")] = 0,
) -> None:
    """Accuracy of every combination by cross-validation on the training photos alone, near-duplicates in one fold."""
    paths = {path.stem: path for path in described}
    tasks: list[Task] = []
    for name, path in paths.items():
        found = features_file.read(path)
        parts = tables.read_split(split, found.ids, found.landmarks)
        train = np.flatnonzero((parts["split"] == "train").to_numpy())
        groups = parts["group"].to_numpy(np.int64)[train]
        folded = classifiers.deal(found.landmarks[train], groups, folds, seed, "grid")
        dealt = [(train[fit], train[held_out]) for fit, held_out in folded]
        recipe = classifiers.Recipe(
            found.settings.detector, "flat", "bayes", 0, keypoints, words, components, sample, seed
        )
        for each, fold in product(get_args(encodings.Encoding), dealt):
            tasks.append((name, replace(recipe, encoding=each), fold))
    scored = parallel.sound(parallel.each(partial(_score, paths=paths), tasks, "grid", "fold"))
    rows = [
        (name, recipe.encoding, one, accuracy)
        for (name, recipe, _), accuracies in zip(tasks, scored, strict=True)
        for one, accuracy in zip(KINDS, accuracies, strict=True)
    ]
    each_fold = pd.DataFrame(rows, columns=["features", "encoding", "kind", "validation"])
    by = each_fold.groupby(["features", "encoding", "kind"], sort=False)["validation"]
    made = by.agg(validation="mean", spread="std").round(4).reset_index()
    tables.write(table, made)
    plots.grid(figure, made)
    best = made.iloc[made["validation"].argmax()]
    write_json(counts, {name: best[name] for name in made.columns})


def _score(task: Task, paths: dict[str, Path]) -> list[float]:
    """Accuracy of each kind on the held-out photos; they share one encoding, learnt on the others."""
    name, recipe, (train, held_out) = task
    found = features_file.mapped(paths[name])
    encoder = classifiers.encoder(recipe)
    known, asked = encoder.fit_transform(found.values[train]), encoder.transform(found.values[held_out])
    models = [classifiers.classifier(kind, recipe.seed).fit(known, found.landmarks[train]) for kind in KINDS]
    return [float(model.score(asked, found.landmarks[held_out])) for model in models]


if __name__ == "__main__":
    stage.run(main)
