"""Photos with a wrong label are found by what models say that did not see them."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import softmax
from support import examples

from landmarks.deep import solved_head
from landmarks.evaluation import label_issues


def suspected(truth: NDArray[np.int64], labels: NDArray[np.int64], seed: int) -> set[int]:
    """The suspects among photos whose vectors lie around one of four landmarks, ``truth``, and who are labelled ``labels``."""
    rng = np.random.default_rng(seed)
    vectors = rng.normal(0, 0.4, (len(truth), 1, 12)).astype(np.float32)
    vectors[np.arange(len(truth)), 0, truth] += 3
    vectors /= np.linalg.norm(vectors, axis=2, keepdims=True)
    weights = np.ones((len(truth), 1), np.float32)
    head = solved_head.solve(solved_head.Examples(vectors, weights, 1, labels, np.arange(len(truth))), 4, seed)
    return set(label_issues.suspects(softmax(head.held_out, axis=1), labels).tolist())


def test_swapped_labels_are_suspected_and_hardly_any_other() -> None:
    truth, found, others = np.repeat(np.arange(4), 25), 0, 0
    for seed in range(4):
        rng = np.random.default_rng(seed)
        labels, swapped = truth.copy(), rng.choice(100, 6, replace=False)
        labels[swapped] = (labels[swapped] + rng.integers(1, 4, 6)) % 4
        told = suspected(truth, labels, seed)
        found += len(told & set(swapped.tolist()))
        others += len(told - set(swapped.tolist()))
    assert (found >= 20, others <= 1) == (True, True), (found, others)  # of 24
    assert not suspected(truth, truth, 0)


def test_a_table_has_the_suspects_with_the_landmark_that_they_may_show() -> None:
    held_out = np.array([[0.9, 0.1], [0.8, 0.2], [0.95, 0.05], [0.1, 0.9], [0.9, 0.1]])
    found = label_issues.table(list("abcde"), ["x", "y"], np.array([0, 0, 0, 1, 1]), held_out)
    assert found.to_numpy().tolist() == [["e", "y", "x", 0.1, 0.9]]
    assert tuple(found.columns) == label_issues.COLUMNS
    nothing = label_issues.table([], ["x", "y"], np.zeros(0, np.int64), np.zeros((0, 2)))
    assert (len(nothing), tuple(nothing.columns)) == (0, label_issues.COLUMNS)


@settings(max_examples=examples(50))
@given(st.integers(0, 2**32), st.integers(1, 30))
def test_no_photo_is_suspected_of_showing_its_own_landmark(seed: int, photos: int) -> None:
    rng = np.random.default_rng(seed)
    held_out, class_ids = softmax(rng.normal(0, 3, (photos, 5)), axis=1), rng.integers(0, 5, photos)
    found = label_issues.suspects(held_out, class_ids)
    assert len(set(found)) == len(found)
    table = label_issues.table([str(n) for n in range(photos)], list("abcde"), class_ids, held_out)
    assert list(table["id"]) == [str(n) for n in found]
    assert (table["actual"] != table["predicted"]).all()
    assert (table["confidence"] > 0).all()
