"""How good a model is, and how sure we are of it."""

from typing import Any

import numpy as np
import pandas as pd
from scipy import stats
from sklearn.metrics import precision_recall_fscore_support

from landmarks.dataset import schema
from landmarks.evaluation import calibration

DIGITS = 4


def score(actual: pd.Series, predicted: pd.Series) -> dict[str, float]:
    """Top-1 accuracy with its 95 % Wilson interval, and macro precision, recall and F1 (0 where nothing was predicted)."""
    right = int((actual == predicted).sum())
    interval = stats.binomtest(right, len(actual)).proportion_ci(0.95, method="wilson")
    precision, recall, f1, _ = precision_recall_fscore_support(actual, predicted, average="macro", zero_division=0)
    values = {"top1": right / len(actual), "top1_low": interval.low, "top1_high": interval.high}
    values |= {"macro_precision": precision, "macro_recall": recall, "macro_f1": f1}
    return {name: _round(value) for name, value in values.items()}


def by_class(actual: pd.Series, predicted: pd.Series) -> dict[str, dict[str, float]]:
    """Precision, recall and F1 of each landmark (the thesis' figures 27 and 34)."""
    labels = sorted(set(actual), key=schema.natural)
    rows = precision_recall_fscore_support(actual, predicted, labels=labels, zero_division=0)
    names = ("precision", "recall", "f1")
    return {label: {n: _round(rows[i][k]) for i, n in enumerate(names)} for k, label in enumerate(labels)}


def mcnemar(right: pd.Series, other_right: pd.Series) -> float:
    """Two-sided p of McNemar's exact test that two models err equally often on the same photos (McNemar, 1947).

    Four significant digits; not corrected for the number of pairs compared.
    """
    won, lost = int((right & ~other_right).sum()), int((~right & other_right).sum())
    return float(f"{stats.binomtest(won, won + lost).pvalue:.{DIGITS}g}") if won + lost else 1.0


def compare(predictions: dict[str, pd.DataFrame], split: pd.Series) -> dict[str, Any]:
    """Every model on every part: ``{name: {train, validation, test, per_class, mcnemar}}``; the last two on the test part.

    All tables are indexed by id; ``predictions`` have the columns actual, predicted and confidence.
    """
    test = split.index[split == "test"]
    right = {name: table.loc[test, "actual"] == table.loc[test, "predicted"] for name, table in predictions.items()}
    result: dict[str, Any] = {}
    for name, table in predictions.items():
        parts = {part: table.loc[split.index[split == part]] for part in schema.PARTS}
        result[name] = {
            part: {**score(rows["actual"], rows["predicted"]), "calibration_error": _calibration_error(rows)}
            for part, rows in parts.items()
        }
        result[name]["per_class"] = by_class(parts["test"]["actual"], parts["test"]["predicted"])
        result[name]["mcnemar"] = {other: mcnemar(right[name], right[other]) for other in predictions if other != name}
    return result


def _calibration_error(rows: pd.DataFrame) -> float:
    right = (rows["actual"] == rows["predicted"]).to_numpy()
    return _round(calibration.expected_error(rows["confidence"].to_numpy(float), right))


def _round(value: float | np.floating[Any]) -> float:
    return round(float(value), DIGITS)
