"""How many principal components?"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

import stage
from landmarks.classical import classifiers, encodings, features_file
from landmarks.classical.config import FlatConfig
from landmarks.common.errors import InputError
from landmarks.common.files import write_json
from landmarks.common.knobs import Knob
from landmarks.dataset import tables


@dataclass(frozen=True)
class SweepConfig:
    """The block ``sweep`` of params.yaml."""

    start: Annotated[int, Knob("First number of components", min=1)]
    stop: Annotated[int, Knob("End of the range, not in it", min=2)]
    step: Annotated[int, Knob("Step of the range", min=1)]
    folds: Annotated[int, Knob("Folds of the cross-validation", min=2)]


def main(
    file: Annotated[Path, "File of the keypoints stage"],
    split: Annotated[Path, "CSV of the split stage"],
    table: Annotated[Path, "CSV to write: components, train, validation (cross-validated), all_train, test"],
    counts: Annotated[
        Path, "JSON to write: the number that validation chooses, those within one standard error of it, the thesis'"
    ],
    encoding: FlatConfig,
    sweep: SweepConfig,
    seed: stage.Seed,
) -> str:
    """Accuracy of naive Bayes on PCA against the number of components (the thesis' figure 23).

    The number is chosen by cross-validation on the training photos; those whose accuracy lies within one standard error over the
    folds do as well (Breiman, Friedman, Olshen and Stone, 1984), and a pca.n that does not is named. The thesis chose it on the test photos: its choice is
    written too, to show what that adds to a reported accuracy, and is not used.
    """
    if sweep.stop <= sweep.start:
        raise InputError(f"sweep.stop {sweep.stop} is not above sweep.start {sweep.start}; raise it in params.yaml")
    features = features_file.read(file)
    parts = tables.read_split(split, features.ids, features.landmarks)
    tables.require_parts(split, parts["split"], ("train", "test"))
    rows = encodings.Flat(features.settings.detector, encoding.keypoints).transform(features.values)
    train, test = ((parts["split"] == name).to_numpy() for name in ("train", "test"))
    values, landmarks = rows[train], features.landmarks[train]
    dealt = classifiers.deal(landmarks, parts["group"].to_numpy(np.int64)[train], sweep.folds, seed, "sweep")
    numbers = _numbers(sweep, min(values.shape[1], *(len(fit) for fit, _ in dealt)))
    with threadpool_limits(1):
        folds = [(values[fit], landmarks[fit], values[held], landmarks[held]) for fit, held in dealt]
        by_fold = np.stack([classifiers.by_components(*fold, numbers) for fold in folds])
        tested = classifiers.by_components(values, landmarks, rows[test], features.landmarks[test], numbers)
    scores = np.hstack([by_fold.mean(axis=0), tested]).round(4)
    made = pd.DataFrame(scores, columns=["train", "validation", "all_train", "test"])
    made.insert(0, "components", numbers)
    tables.write(table, made)
    chosen = int(made["validation"].argmax())
    ours, theirs = made.iloc[chosen], made.iloc[made["test"].argmax()]
    error = by_fold[:, chosen, 1].std(ddof=1) / np.sqrt(len(by_fold))
    supported = made.loc[made["validation"] >= ours["validation"] - error, "components"].astype(int).tolist()
    for remark in _remarks(made, chosen, supported):
        print(f"sweep: {remark}", file=sys.stderr)
    write_json(counts, {
        "components": int(ours["components"]), "within_one_error": supported,
        "validation": ours["validation"], "test": ours["test"],
        "thesis_components": int(theirs["components"]), "thesis_test": theirs["test"],
        "gained_by_looking": round(theirs["test"] - ours["test"], 4),
    })  # fmt: skip
    spread = f"{ours['validation']:.3f} ± {error:.3f}"
    return f"{ours['components']:.0f} components are best, top-1 {spread} (standard error) cross-validated"


def _remarks(scores: pd.DataFrame, chosen: int, supported: list[int]) -> Iterator[str]:
    """What to change in params.yaml: the range, if the best number lies at its edge; pca.n, if it does worse than ``supported``."""
    numbers, validation = scores["components"], scores["validation"]
    if chosen in (0, len(scores) - 1) and numbers[chosen] > 1:
        edge = "sweep.start" if not chosen else "sweep.stop"
        yield f"{numbers[chosen]} components do best, at the edge of the range: move {edge}"
    used = stage.params()["pca"].get("n")  # said here, and no part of the result
    least = validation[numbers.isin(supported)].min()
    if type(used) is int and used > 0 and np.interp(used, numbers, validation) < least:
        yield f"pca.n is {used}; by cross-validation it should be one of {', '.join(map(str, supported))}"


def _numbers(sweep: SweepConfig, most: int) -> list[int]:
    """The numbers of components to try, as far as the training photos of every fold give so many."""
    if sweep.start > most:
        raise InputError(
            f"sweep.start {sweep.start}: the training photos of a fold give {most} components at most; "
            f"lower it to {most} in params.yaml"
        )
    if sweep.stop - 1 > most:
        limit = f"the training photos of a fold give {most} components at most; no more are tried"
        print(f"sweep: sweep.stop {sweep.stop}: {limit}", file=sys.stderr)
    return list(range(sweep.start, min(sweep.stop, most + 1), sweep.step))


if __name__ == "__main__":
    stage.run(main)
