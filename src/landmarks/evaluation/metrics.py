"""How good a model is, and how sure we are of it."""

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats
from sklearn.metrics import precision_recall_fscore_support

from landmarks.common import arrays
from landmarks.dataset import schema
from landmarks.dataset.prediction_files import ANSWER, PROBABILITY
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

# Of n photos: the column of the right landmark (n,), probabilities (n, landmarks)
Block = tuple[NDArray[np.int64], NDArray[np.floating[Any]]]
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


def probability_scores(blocks: Iterable[Block]) -> ProbabilityScores:
    """What ``ProbabilityScores`` has of the photos in all blocks.

    Of equal probabilities the first column counts as the higher; the log-loss takes none for lower than ``LOWEST``.
    """
    each = [_of_block(actual, probabilities) for actual, probabilities in blocks]
    return ProbabilityScores(*(_round(np.concatenate(values).mean()) for values in zip(*each, strict=True)))


def _of_block(
    actual: NDArray[np.int64], probabilities: NDArray[np.floating[Any]]
) -> tuple[NDArray[np.bool_], NDArray[np.floating[Any]], NDArray[np.floating[Any]]]:
    """Of each photo: whether the right landmark is among the first three, its log-loss and its Brier score."""
    rows = np.arange(len(actual))
    own = probabilities[rows, actual]
    before = np.arange(probabilities.shape[1]) < actual[:, None]
    higher = (probabilities > own[:, None]) | ((probabilities == own[:, None]) & before)
    off = probabilities.copy()
    off[rows, actual] -= 1
    return higher.sum(axis=1) < 3, -np.log(np.maximum(own, LOWEST)), (off**2).sum(axis=1)


def set_scores(blocks: Iterable[Block], least: float) -> SetScores:
    """What ``SetScores`` has of the photos in all blocks, given the ``least`` of ``conformal``."""
    sizes, covered = [], []
    for actual, probabilities in blocks:
        chosen = conformal.sets(probabilities, least)
        sizes.append(chosen.sum(axis=1))
        covered.append(chosen[np.arange(len(chosen)), actual])
    right = np.concatenate(covered)
    interval = stats.binomtest(int(right.sum()), len(right)).proportion_ci(0.95, method="wilson")
    return SetScores(*map(_round, (np.concatenate(sizes).mean(), right.mean(), interval.low, interval.high)))


def compare(predictions: Mapping[str, pd.DataFrame], rows: pd.DataFrame) -> dict[str, ModelScores]:
    """Every model on every part, by name; each is asked for once, and let go before the next one.

    ``predictions`` are as ``prediction_files.read`` gives them, ``rows`` as ``tables.read_split`` does, both indexed by id.
    """
    parts = {part: (rows["split"] == part).to_numpy() for part in (*schema.PARTS, schema.EXTERNAL)}
    judged = [part for part in ("test", schema.EXTERNAL) if parts[part].any()]
    scored, right = {}, {}
    for name in predictions:
        scored[name], right[name] = _scored(predictions[name], parts, judged)
    pairs = list(itertools.combinations(predictions, 2))
    tested = {name: pd.Series(values[parts["test"]]) for name, values in right.items()}
    corrected = significance.holm([mcnemar(tested[one], tested[other]) for one, other in pairs])
    p = {frozenset(pair): float(f"{value:.{DIGITS}g}") for pair, value in zip(pairs, corrected, strict=True)}
    together = np.column_stack(list(right.values()))
    ends = {part: bootstrap.over_groups(together[parts[part]], rows["group"][parts[part]]) for part in judged}
    return {
        name: dataclasses.replace(
            scores,
            mcnemar={other: p[frozenset((name, other))] for other in predictions if other != name},
            by_group={part: Interval(*map(_round, ends[part][:, place])) for part in judged},
        )
        for place, (name, scores) in enumerate(scored.items())
    }


def _scored(
    table: pd.DataFrame, parts: Mapping[str, NDArray[np.bool_]], judged: Sequence[str]
) -> tuple[ModelScores, NDArray[np.bool_]]:
    """One model by itself, and which of its answers are right, (n,)."""
    own = {part: table.loc[chosen, list(ANSWER)] for part, chosen in parts.items() if chosen.any()}
    columns = np.flatnonzero(table.columns.str.startswith(PROBABILITY))
    actual = table.columns[columns].get_indexer(pd.Index(PROBABILITY + table["actual"]))

    def blocks(part: str) -> Iterator[Block]:
        """Columns of the right landmarks, and probabilities of all, of some photos of a part."""
        places = np.flatnonzero(parts[part])
        for rows in arrays.blocks(len(places)):
            chosen = places[rows]
            yield actual[chosen], table.iloc[chosen, columns].to_numpy(float)

    least = conformal.least(_right_ones(blocks("validation")))
    by_part = {part: score(rows["actual"], rows["predicted"], rows["confidence"]) for part, rows in own.items()}
    scores = ModelScores(
        train=by_part["train"],
        validation=by_part["validation"],
        test=by_part["test"],
        external=by_part.get(schema.EXTERNAL),
        per_class=by_class(own["test"]["actual"], own["test"]["predicted"]),
        mcnemar={},
        probabilities={part: probability_scores(blocks(part)) for part in own},
        sets={part: set_scores(blocks(part), least) for part in judged},
    )
    return scores, (table["actual"] == table["predicted"]).to_numpy()


def _right_ones(blocks: Iterable[Block]) -> NDArray[np.floating[Any]]:
    return np.concatenate([probabilities[np.arange(len(actual)), actual] for actual, probabilities in blocks])


def _round(value: float | np.floating[Any]) -> float:
    return round(float(value), DIGITS)
