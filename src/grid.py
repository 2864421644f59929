"""Which keypoints, encoding and classifier go best together?"""

from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Annotated, get_args

import numpy as np
import pandas as pd
import typer

import stage
from landmarks.classical import classifiers, features_file
from landmarks.classical.config import Encoding, EncodingConfig, Kind, PipelineConfig
from landmarks.common import parallel
from landmarks.common.files import write_json
from landmarks.common.knobs import Knob
from landmarks.dataset import tables

KINDS: tuple[Kind, ...] = get_args(Kind)
Task = tuple[str, PipelineConfig, classifiers.Fold]


@dataclass(frozen=True)
class GridConfig:
    """The block ``grid`` of params.yaml."""

    folds: Annotated[int, Knob("Folds of the cross-validation", min=2)]
    words: Annotated[int, Knob("Size of the vocabulary of the encodings words, vlad and fisher", min=2)]


def main(
    folder: Annotated[Path, "Folder of the keypoints stage, <features>.arrow"],
    split: Annotated[Path, "CSV of the split stage"],
    table: Annotated[Path, "CSV to write: features, encoding, kind, validation, spread"],
    counts: Annotated[Path, "JSON to write: the best combination, by validation"],
    encoding: EncodingConfig,
    grid: GridConfig,
    seed: stage.Seed,
    features: Annotated[list[str], typer.Option(help="Of these; repeat for more [all that params.yaml declares]")] = [],  # noqa: B006 - typer makes a list anew
) -> None:
    """Accuracy of every combination by cross-validation on the training photos alone, near-duplicates in one fold."""
    paths = stage.declared(folder, ".arrow", list(stage.params()["features"]), features)
    tasks: list[Task] = []
    for name, path in paths.items():
        read = features_file.read(path)
        parts = tables.read_split(split, read.ids, read.landmarks)
        train = np.flatnonzero((parts["split"] == "train").to_numpy())
        groups = parts["group"].to_numpy(np.int64)[train]
        folds = classifiers.deal(read.landmarks[train], groups, grid.folds, seed, "grid")
        config = PipelineConfig(
            detector=read.settings.detector, encoding="flat", classifier="bayes", n=0, words=grid.words, seed=seed,
            **vars(encoding),
        )  # fmt: skip
        for each, (fit, held_out) in product(get_args(Encoding), folds):
            tasks.append((name, replace(config, encoding=each), (train[fit], train[held_out])))
    scored = parallel.sound(parallel.each(partial(_score, paths=paths), tasks, "grid", "fold"))
    rows = [
        (name, config.encoding, kind, accuracy)
        for (name, config, _), accuracies in zip(tasks, scored, strict=True)
        for kind, accuracy in zip(KINDS, accuracies, strict=True)
    ]
    each_fold = pd.DataFrame(rows, columns=["features", "encoding", "kind", "validation"])
    by = each_fold.groupby(["features", "encoding", "kind"], sort=False)["validation"]
    accuracies = by.agg(validation="mean", spread="std").round(4).reset_index()
    tables.write(table, accuracies)
    best = accuracies.iloc[accuracies["validation"].argmax()]
    write_json(counts, {name: best[name] for name in accuracies.columns})


def _score(task: Task, paths: dict[str, Path]) -> list[float]:
    """Accuracy of each kind on the held-out photos; they share one encoding, learnt on the others."""
    name, config, (train, held_out) = task
    features = features_file.mapped(paths[name])
    encoder = classifiers.encoder(config)
    known, other = encoder.fit_transform(features.values[train]), encoder.transform(features.values[held_out])
    models = [classifiers.classifier(kind, config.seed, len(train)) for kind in KINDS]
    for model in models:
        model.fit(known, features.landmarks[train])
    return [float(model.score(other, features.landmarks[held_out])) for model in models]


if __name__ == "__main__":
    stage.run(main)
