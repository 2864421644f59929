"""The solved head: logistic regression at its optimum, its strength chosen on photos that were held out."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats
from scipy.special import log_softmax, softmax
from sklearn.linear_model import LogisticRegression
from support import examples as count

from landmarks.common import arrays
from landmarks.deep import solved_head
from landmarks.linear import sgd


def examples(class_ids: NDArray[np.int64], views: int = 2, spread: float = 0.6) -> solved_head.Examples:
    """Photos whose views lie around a direction of their class, in 12 dimensions."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(class_ids.max() + 1, 12))
    vectors = centres[class_ids][:, None] + rng.normal(size=(len(class_ids), views, 12)) * spread * 3
    vectors = (vectors / np.linalg.norm(vectors, axis=2, keepdims=True)).astype(np.float32)
    weights = np.full((len(class_ids), views), 1 / views, np.float32)
    return solved_head.Examples(vectors, weights, views, class_ids, np.arange(len(class_ids)))


@pytest.mark.parametrize("classes", [2, 5])
def test_it_is_the_logistic_regression_of_scikit_learn_on_every_view(classes: int) -> None:
    taught = examples(np.arange(60) % classes)
    head = solved_head.solve(taught, classes, 0)
    chosen = min(head.path, key=lambda step: step.held_out_loss).strength
    rows, targets = taught.vectors.reshape(-1, 12), np.repeat(taught.class_ids, 2)
    theirs = LogisticRegression(C=chosen, tol=1e-8, max_iter=10000).fit(rows, targets, taught.weights.ravel())
    np.testing.assert_allclose(softmax(rows @ head.kernel + head.bias, axis=1), theirs.predict_proba(rows), atol=0.01)


def test_every_strength_is_solved_not_left_where_the_one_before_ended() -> None:
    """Landmarks so far apart that almost nothing is left to gain: against Newton's method, which needs no tolerance to speak of."""
    taught = examples(np.arange(60) % 5, spread=0.1)
    rows, targets, weights = taught.vectors.reshape(-1, 12), np.repeat(taught.class_ids, 2), taught.weights.ravel()
    everything = np.ones(60, bool)
    for strength, (kernel, bias) in zip(
        solved_head.STRENGTHS, solved_head._along_path(taught, everything, 5), strict=True
    ):
        newton = LogisticRegression(C=strength, solver="newton-cg", tol=1e-9, max_iter=1000)
        theirs = newton.fit(rows.astype(np.float64), targets, weights).predict_log_proba(rows)
        np.testing.assert_allclose(log_softmax(rows @ kernel + bias, axis=1), theirs, atol=0.03 * np.abs(theirs).max())


def test_a_photo_is_held_out_from_the_fold_that_predicts_it() -> None:
    """Of labels drawn at random, nothing can be known of the photos held out."""
    taught = examples(np.random.default_rng(1).integers(0, 2, 80), spread=9)
    head = solved_head.solve(taught, 2, 0)
    right = (head.held_out.argmax(axis=1) == taught.class_ids).mean()
    own = (solved_head.logits(taught.vectors, head.kernel, head.bias).argmax(axis=1) == taught.class_ids).mean()
    assert right == pytest.approx(0.5, abs=0.15)
    assert own > 0.62


@given(sizes=st.lists(st.integers(1, 4), min_size=1, max_size=60), classes=st.integers(1, 6), seed=st.integers(0, 9))
@settings(max_examples=count(60))
def test_folds_keep_near_duplicates_together_and_spread_each_landmark(
    sizes: list[int], classes: int, seed: int
) -> None:
    groups = np.repeat(np.arange(len(sizes)), sizes)
    class_ids = groups % classes
    folds = solved_head.deal(class_ids, groups, seed)
    assert len({(group, fold) for group, fold in zip(groups.tolist(), folds.tolist(), strict=True)}) == len(sizes)
    for landmark in range(min(classes, len(sizes))):
        of = folds[np.searchsorted(groups, np.flatnonzero(np.arange(len(sizes)) % classes == landmark))]
        dealt = np.bincount(of, minlength=solved_head.FOLDS)
        assert dealt.max() - dealt.min() <= 1


def test_a_landmark_of_one_photo_is_learnt_and_not_judged() -> None:
    taught = examples(np.array([0] * 12 + [1] * 12 + [2]))
    head = solved_head.solve(taught, 3, 0)
    assert head.judged.tolist() == [True] * 24 + [False]
    assert solved_head.logits(taught.vectors[-1:], head.kernel, head.bias).argmax() == 2
    alone = solved_head.solve(examples(np.array([0, 1])), 2, 0)  # no fold has two landmarks to tell apart
    assert not alone.judged.any()
    assert np.isfinite(alone.kernel).all()


def test_views_that_are_not_for_training_change_nothing() -> None:
    taught = examples(np.arange(40) % 4, views=3)
    hidden = taught.weights.copy()
    hidden[:, 2] = 0
    noise = taught.vectors.copy()
    noise[:, 2] = 0
    one, other = (
        solved_head.solve(solved_head.Examples(vectors, hidden, 2, taught.class_ids, taught.groups), 4, 0)
        for vectors in (taught.vectors, noise)
    )
    np.testing.assert_array_equal(one.kernel, other.kernel)


@pytest.fixture
def _in_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sgd, "STEPS", 200)
    monkeypatch.setattr(sgd, "EXACT", 0)


def test_a_head_learnt_in_passes_is_right_as_often_as_the_solved_one(monkeypatch: pytest.MonkeyPatch) -> None:
    class_ids = np.random.default_rng(2).integers(0, 8, 1600)
    taught = examples(class_ids, spread=0.45)
    exact = solved_head.solve(taught, 8, 0)
    monkeypatch.setattr(sgd, "EXACT", 0)
    learnt = solved_head.solve(taught, 8, 0)
    right = [int((head.held_out.argmax(axis=1) == class_ids).sum()) for head in (exact, learnt)]
    interval = stats.binomtest(right[0], len(class_ids)).proportion_ci(0.95, method="wilson")
    assert 0.6 < right[0] / len(class_ids) < 0.97
    assert interval.low <= right[1] / len(class_ids) <= interval.high
    assert [step.strength for step in learnt.path] == list(solved_head.STRENGTHS)
    for one, other in zip(exact.path, learnt.path, strict=True):
        assert other.held_out_accuracy == pytest.approx(one.held_out_accuracy, abs=0.05)
    probabilities = [softmax(head.held_out, axis=1) for head in (exact, learnt)]
    assert np.abs(probabilities[0] - probabilities[1]).mean() < 0.02


@pytest.mark.usefixtures("_in_passes")
def test_in_passes_a_photo_is_held_out_and_a_landmark_of_one_photo_is_not_judged() -> None:
    taught = examples(np.random.default_rng(1).integers(0, 2, 80), spread=9)
    head = solved_head.solve(taught, 2, 0)
    assert (head.held_out.argmax(axis=1) == taught.class_ids).mean() == pytest.approx(0.5, abs=0.15)
    alone = solved_head.solve(examples(np.array([0] * 12 + [1] * 12 + [2])), 4, 0)
    assert alone.judged.tolist() == [True] * 24 + [False]
    assert alone.bias[3] == solved_head.NEVER  # nobody's class
    assert np.isfinite(alone.kernel).all()


@pytest.mark.usefixtures("_in_passes")
def test_in_passes_it_does_not_matter_whether_vectors_lie_in_memory_or_in_a_file_nor_how_many_threads_there_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    taught, heads = examples(np.arange(300) % 5), []
    for held, workers in ((arrays.HELD, "1"), (0, "2")):
        monkeypatch.setattr(arrays, "HELD", held)
        monkeypatch.setenv("LANDMARKS_WORKERS", workers)
        vectors = arrays.taken(taught.vectors, np.ones(300, bool))
        assert isinstance(vectors, np.memmap) == (held == 0)
        heads.append(solved_head.solve(dataclasses.replace(taught, vectors=vectors), 5, 0))
    for name in ("kernel", "bias", "held_out"):
        np.testing.assert_array_equal(getattr(heads[0], name), getattr(heads[1], name))
