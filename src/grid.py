"""Which keypoints, encoding and classifier go best together?"""

from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, product
from pathlib import Path
from typing import Annotated, get_args

import numpy as np
import pandas as pd
import typer

import stage
from landmarks.classical import classifiers, features_file
from landmarks.classical.config import Encoding, EncodingConfig, Kind, PipelineConfig
from landmarks.classical.encodings import fit_together
from landmarks.common import parallel
from landmarks.common.files import write_json
from landmarks.common.knobs import Knob
from landmarks.dataset import tables

KINDS: tuple[Kind, ...] = get_args(Kind)
# what is learnt together, since it has a vocabulary in common; what takes longest first, so that no core waits at the end
GROUPS: tuple[tuple[Encoding, ...], ...] = (("fisher",), ("words", "vlad"), ("flat",))
KEYS = ["features", "encoding", "kind"]
Task = tuple[str, list[PipelineConfig], classifiers.Fold]
Row = tuple[str, Encoding, Kind, float]


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
) -> str:
    """Accuracy of every combination by cross-validation on the training photos alone, near-duplicates in one fold."""
    paths = stage.declared(folder, ".arrow", list(stage.params()["features"]), features)
    folds: dict[str, list[classifiers.Fold]] = {}
    configs: dict[str, PipelineConfig] = {}
    for name, path in paths.items():
        read = features_file.read(path)
        parts = tables.read_split(split, read.ids, read.landmarks)
        train = np.flatnonzero((parts["split"] == "train").to_numpy())
        groups = parts["group"].to_numpy(np.int64)[train]
        dealt = classifiers.deal(read.landmarks[train], groups, grid.folds, seed, "grid")
        folds[name] = [(train[fit], train[held_out]) for fit, held_out in dealt]
        configs[name] = PipelineConfig(
            detector=read.settings.detector, encoding="flat", classifier="bayes", n=0, words=grid.words, seed=seed,
            **vars(encoding),
        )  # fmt: skip
    tasks: list[Task] = [
        (name, [replace(configs[name], encoding=encoding) for encoding in group], fold)
        for group, name in product(GROUPS, paths)
        for fold in folds[name]
    ]
    scored = parallel.sound(parallel.each(partial(_score, paths=paths), tasks, "grid", "fold"))
    each_fold = pd.DataFrame(chain.from_iterable(scored), columns=[*KEYS, "validation"])
    by = each_fold.groupby(KEYS)["validation"].agg(validation="mean", spread="std").round(4)
    accuracies = by.loc[list(product(paths, get_args(Encoding), KINDS))].reset_index()
    tables.write(table, accuracies)
    best = accuracies.iloc[accuracies["validation"].argmax()]
    write_json(counts, {name: best[name] for name in accuracies.columns})
    combination = " ".join(best[["features", "encoding", "kind"]])
    return f"best of {len(accuracies)}: {combination}, top-1 {best['validation']:.3f} cross-validated"


def _score(task: Task, paths: dict[str, Path]) -> list[Row]:
    """Accuracy of each kind on the held-out photos, from each encoding, learnt on the others."""
    name, configs, (train, held_out) = task
    features = features_file.mapped(paths[name])
    encoders = {config.encoding: classifiers.encoder(config) for config in configs}
    if "flat" not in encoders:
        fit_together(list(encoders.values()), features.values[train])
    rows: list[Row] = []
    for encoding, encoder in encoders.items():
        known, other = (encoder.transform(features.values[part]) for part in (train, held_out))
        for kind in KINDS:
            model = classifiers.classifier(kind, configs[0].seed, len(train)).fit(known, features.landmarks[train])
            rows.append((name, encoding, kind, float(model.score(other, features.landmarks[held_out]))))
    return rows


if __name__ == "__main__":
    stage.run(main)
