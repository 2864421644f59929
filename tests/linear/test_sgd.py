"""What is learnt in passes is as good as what an exact solver finds, in memory that doesn't grow with the rows."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC
from support import examples
from threadpoolctl import threadpool_limits

from landmarks.linear import sgd

CLASSES = 20


def vectors(count: int, columns: int = 48, seed: int = 0) -> tuple[sgd.Rows, NDArray[np.int64]]:
    """Rows of length 1 and without negative numbers, as backbones give them, few directions of which vary much; and their classes."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(9).normal(size=(CLASSES, columns))
    class_ids = rng.integers(0, CLASSES, count)
    noise = rng.normal(size=(count, columns)) * 1.1
    rows = np.abs((centres[class_ids] + noise) / np.sqrt(1 + np.arange(columns) / 8) + 0.3)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32), class_ids


def learnt(rows: sgd.Rows, class_ids: NDArray[np.int64], loss: sgd.Loss, strength: float = 100) -> tuple[sgd.Rows, ...]:
    weights = np.ones(len(rows), np.float32)
    with threadpool_limits(1):
        return sgd.fit(
            rows, np.arange(len(rows)), class_ids, weights, classes=CLASSES, loss=loss, strength=strength, seed=0
        )


@pytest.mark.parametrize(("loss", "exact", "strength"), [
    ("logistic", LogisticRegression(C=100, max_iter=1000), 100), ("squared_hinge", LinearSVC(random_state=0), 1),
])  # fmt: skip
def test_it_is_right_as_often_as_the_exact_solver(
    loss: sgd.Loss, exact: LogisticRegression | LinearSVC, strength: float
) -> None:
    """On photos that neither has seen: McNemar's exact test finds no difference."""
    (rows, class_ids), (others, actual) = vectors(2000), vectors(3000, seed=1)
    kernel, bias = learnt(rows, class_ids, loss, strength)
    mine = (others @ kernel + bias).argmax(axis=1) == actual
    with threadpool_limits(1):
        theirs = exact.fit(rows, class_ids).predict(others) == actual
    won, lost = int((mine & ~theirs).sum()), int((~mine & theirs).sum())
    assert 0.5 < theirs.mean() < 0.95  # neither easy nor hopeless
    assert stats.binomtest(won, won + lost).pvalue > 0.05 or won > lost


def test_it_ends_where_the_exact_solver_does() -> None:
    rows, class_ids = vectors(2000)
    kernel, bias = learnt(rows, class_ids, "logistic", 10)
    with threadpool_limits(1):
        theirs = LogisticRegression(C=10, max_iter=1000).fit(rows, class_ids)
    scores = rows @ kernel + bias
    apart = scores - scores.mean(axis=1, keepdims=True) - theirs.decision_function(rows)
    assert np.abs(apart).mean() < 0.03 * np.abs(theirs.decision_function(rows)).mean()


@given(st.integers(1, 700), st.integers(0, 2**32), st.sampled_from(["logistic", "squared_hinge"]), st.floats(0.5, 8))
@settings(max_examples=examples(6))
def test_only_the_chosen_rows_count_and_weights_are_strengths(
    count: int, seed: int, loss: sgd.Loss, factor: float
) -> None:
    rows, class_ids = vectors(2 * count)
    chosen = np.sort(np.random.default_rng(seed).permutation(2 * count)[:count])
    ones = np.ones(count, np.float32)
    with threadpool_limits(1):
        one, other = (
            sgd.fit(
                of, numbers, class_ids[chosen], ones * weight, classes=CLASSES, loss=loss, strength=10 / weight, seed=0
            )
            for of, numbers, weight in ((rows, chosen, 1.0), (rows[chosen], np.arange(count), factor))
        )
    for mine, theirs in zip(one, other, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-3 * np.abs(mine).max())


def test_memory_does_not_grow_with_the_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of rows in a file, at the same bits as in memory."""
    monkeypatch.setattr(sgd, "STEPS", 100)
    peaks = []
    for count in (10_000, 40_000):
        rows, class_ids = vectors(count)
        stored = np.memmap(tmp_path / str(count), np.float32, "w+", shape=rows.shape)
        stored[:] = rows
        tracemalloc.start()
        from_file = learnt(stored, class_ids, "logistic")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        np.testing.assert_array_equal(from_file[0], learnt(rows, class_ids, "logistic")[0])
    grown = peaks[1] - peaks[0]
    assert grown < 0.25 * 30_000 * 48 * 4  # numbers, classes, weights and order of the rows; not the rows


def test_photos_by_the_thousand_are_solved_exactly_and_a_thousand_landmarks_are_not() -> None:
    assert not sgd.needed(2000 * 5, 2688, 10)  # five views on two backbones
    assert sgd.needed(112_000, 1280, 1000)
