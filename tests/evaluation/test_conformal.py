"""Sets of landmarks that hold the right one as often as asked, whatever the model is worth."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import examples

from landmarks.evaluation import conformal, metrics


@settings(max_examples=examples(20))
@given(st.integers(0, 2**32), st.floats(0.1, 8), st.sampled_from([0.8, 0.9, 0.95]))
def test_the_right_landmark_is_in_the_set_as_often_as_asked(seed: int, strength: float, covered: float) -> None:
    """Over 200 draws of 60 validation photos and one new photo each, of a model that may be good or poor, modest or boastful."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, strength, (200, 61, 6))
    actual = (logits / 2 + rng.gumbel(size=logits.shape)).argmax(axis=2)
    shares = np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)
    held = [
        conformal.sets(mine[60:], conformal.least(mine[np.arange(60), truth[:60]], covered))[0, truth[60]]
        for mine, truth in zip(shares, actual, strict=True)
    ]
    assert np.mean(held) >= covered - 4 * np.sqrt(covered * (1 - covered) / 200)


def test_a_set_has_what_is_as_probable_as_needed_and_at_least_the_most_probable() -> None:
    shares = np.array([[0.5, 0.4, 0.1], [0.4, 0.35, 0.25], [0.1, 0.2, 0.7]])
    chosen = conformal.sets(shares, 0.45)
    assert chosen.tolist() == [[True, False, False], [True, False, False], [False, False, True]]
    assert conformal.sets(shares, 0.2).sum(axis=1).tolist() == [2, 3, 2]
    found = metrics.set_scores([(np.array([1, 1, 2]), shares)], 0.2)
    assert (found.size, found.coverage) == (round(7 / 3, 4), 1.0)
    assert metrics.set_scores([(np.array([1, 1, 2]), shares)], 0.45).coverage == round(1 / 3, 4)


def test_too_few_validation_photos_put_every_landmark_into_the_set() -> None:
    shares = np.full((4, 3), 1 / 3)
    assert conformal.least(shares[:, 0]) == 0
    assert conformal.sets(shares, 0.0).all()
    assert conformal.least(shares[:, 0], 0.8) == pytest.approx(0.3333)
