"""How good a model is, and how sure we are of it."""

from typing import Any

import numpy as np
import pandas as pd
from scipy import stats
from sklearn.metrics import precision_recall_fscore_support

from landmarks.dataset import schema
from landmarks.evaluation import calibration
from landmarks.evaluation.results import DIGITS, ClassScore, ModelScores, Score


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

    Four significant digits; not corrected for the number of pairs compared.
    """
    won, lost = int((right & ~other_right).sum()), int((~right & other_right).sum())
    return float(f"{stats.binomtest(won, won + lost).pvalue:.{DIGITS}g}") if won + lost else 1.0


def compare(predictions: dict[str, pd.DataFrame], split: pd.Series) -> dict[str, ModelScores]:
    """Every model on every part, by name.

    All tables are indexed by id; ``predictions`` have the columns actual, predicted and confidence.
    """
    test = split.index[split == "test"]
    right = {name: table.loc[test, "actual"] == table.loc[test, "predicted"] for name, table in predictions.items()}
    found = {}
    for name, table in predictions.items():
        parts = {part: table.loc[split.index[split == part]] for part in schema.PARTS}
        found[name] = ModelScores(
            **{part: score(rows["actual"], rows["predicted"], rows["confidence"]) for part, rows in parts.items()},
            per_class=by_class(parts["test"]["actual"], parts["test"]["predicted"]),
            mcnemar={other: mcnemar(right[name], right[other]) for other in predictions if other != name},
        )
    return found


def _round(value: float | np.floating[Any]) -> float:
    return round(float(value), DIGITS)
