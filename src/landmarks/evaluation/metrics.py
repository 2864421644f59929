"""How good a model is, and how sure we are of it."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats
from sklearn.metrics import precision_recall_fscore_support

from landmarks.dataset import prediction_files, schema
from landmarks.evaluation import bootstrap, calibration, conformal, significance
from landmarks.evaluation.results import (
    DIGITS,
    ClassScore,
    Interval,
    ModelScores,
    ProbabilityScores,
    Score,
    SetScores,
)

BLOCK = 4096  # photos whose probabilities of all landmarks are looked at at once
LOWEST = 1e-15  # a probability of 0 would make the mean log-loss infinite


def score(actual: pd.Series, predicted: pd.Series, confidence: pd.Series) -> Score:
    """What ``Score`` has of one model and part; a landmark that was never predicted has precision 0."""
    right = actual == predicted
    interval = stats.binomtest(int(right.sum()), len(actual)).proportion_ci(0.95, method="wilson")
    precision, recall, f1, _ = precision_recall_fscore_support(actual, predicted, average="macro", zero_division=0)
    error = calibration.expected_error(confidence.to_numpy(float), right.to_numpy())
    values = (right.mean(), interval.low, interval.high, precision, recall, f1, error)
    return Score(*map(_round, values))


def by_class(actual: pd.Series, predicted: pd.Series) -> dict[str, ClassScore]:
    """Precision, recall and F1 of each landmark (the thesis' figures 27 and 34)."""
    labels = sorted(set(actual), key=schema.natural)
    rows = precision_recall_fscore_support(actual, predicted, labels=labels, zero_division=0)
    return {label: ClassScore(*map(_round, row)) for label, *row in zip(labels, *rows[:3], strict=True)}


def mcnemar(right: pd.Series, other_right: pd.Series) -> float:
    """Two-sided p of McNemar's exact test that two models err equally often on the same photos (McNemar, 1947).

    Not corrected for the number of pairs compared.
    """
    won, lost = int((right & ~other_right).sum()), int((~right & other_right).sum())
    return float(stats.binomtest(won, won + lost).pvalue) if won + lost else 1.0


def probability_scores(
    actual: Sequence[int] | NDArray[np.int64], probabilities: NDArray[np.floating[Any]]
) -> ProbabilityScores:
    """What ``ProbabilityScores`` has of probabilities (n, landmarks) and the columns ``actual`` (n,) of the right landmarks.

    Of equal probabilities the first column counts as the higher; the log-loss takes none for lower than ``LOWEST``.
    """
    columns = np.asarray(actual)
    each = [_of_block(columns[start : start + BLOCK], probabilities[start : start + BLOCK])
            for start in range(0, len(columns), BLOCK)]  # fmt: skip
    return ProbabilityScores(*(_round(np.concatenate(values).mean()) for values in zip(*each, strict=True)))


def _of_block(
    columns: NDArray[np.int64], probabilities: NDArray[np.floating[Any]]
) -> tuple[NDArray[np.bool_], NDArray[np.floating[Any]], NDArray[np.floating[Any]]]:
    """Of each photo: whether the right landmark is among the first three, its log-loss and its Brier score."""
    rows = np.arange(len(columns))
    highest = np.argsort(-probabilities, axis=1, kind="stable")[:, :3]
    truth = np.zeros(probabilities.shape)
    truth[rows, columns] = 1
    return (
        (highest == columns[:, None]).any(axis=1),
        -np.log(np.maximum(probabilities[rows, columns], LOWEST)),
        ((probabilities - truth) ** 2).sum(axis=1),
    )


def set_scores(
    probabilities: NDArray[np.floating[Any]], actual: Sequence[int] | NDArray[np.int64], least: float
) -> SetScores:
    """What ``SetScores`` has of probabilities (n, landmarks), the columns ``actual`` (n,), and the ``least`` of ``conformal``."""
    chosen = conformal.sets(probabilities, least)
    covered = chosen[np.arange(len(chosen)), actual]
    interval = stats.binomtest(int(covered.sum()), len(covered)).proportion_ci(0.95, method="wilson")
    return SetScores(*map(_round, (chosen.sum(axis=1).mean(), covered.mean(), interval.low, interval.high)))


def compare(predictions: Mapping[str, pd.DataFrame], rows: pd.DataFrame) -> dict[str, ModelScores]:
    """Every model on every part, by name.

    ``predictions`` are as ``prediction_files.read`` gives them, ``rows`` as ``tables.read_split`` does, both indexed by id.
    """
    test = rows.index[rows["split"] == "test"]
    right = {name: table.loc[test, "actual"] == table.loc[test, "predicted"] for name, table in predictions.items()}
    pairs = list(itertools.combinations(predictions, 2))
    corrected = significance.holm([mcnemar(right[one], right[other]) for one, other in pairs])
    p = {frozenset(pair): float(f"{value:.{DIGITS}g}") for pair, value in zip(pairs, corrected, strict=True)}
    against = {
        name: {other: p[frozenset((name, other))] for other in predictions if other != name} for name in predictions
    }
    return {name: _scored(predictions[name], rows, against[name]) for name in predictions}


def _scored(table: pd.DataFrame, rows: pd.DataFrame, against: dict[str, float]) -> ModelScores:
    """One model: in a function of its own, so that its table is gone from memory before the next one is read."""
    judged = [part for part in ("test", schema.EXTERNAL) if (rows["split"] == part).any()]
    parts = {part: table.loc[rows.index[rows["split"] == part]] for part in dict.fromkeys((*schema.PARTS, *judged))}
    numbers = {part: _numbers(own) for part, own in parts.items()}
    least = conformal.least(*numbers["validation"])
    return ModelScores(
        **{part: score(own["actual"], own["predicted"], own["confidence"]) for part, own in parts.items()},
        per_class=by_class(parts["test"]["actual"], parts["test"]["predicted"]),
        mcnemar=against,
        probabilities={part: probability_scores(actual, shares) for part, (shares, actual) in numbers.items()},
        by_group={part: _by_group(parts[part], rows["group"]) for part in judged},
        sets={part: set_scores(*numbers[part], least) for part in judged},
    )


def _numbers(own: pd.DataFrame) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Probabilities (n, landmarks) and the columns of the right ones (n,)."""
    labels, probabilities = prediction_files.probabilities(own)
    return probabilities, pd.Index(labels).get_indexer(pd.Index(own["actual"]))


def _by_group(own: pd.DataFrame, groups: pd.Series) -> Interval:
    right = (own["actual"] == own["predicted"]).to_numpy()
    return Interval(*map(_round, bootstrap.over_groups(right, groups[own.index])))


def _round(value: float | np.floating[Any]) -> float:
    return round(float(value), DIGITS)
