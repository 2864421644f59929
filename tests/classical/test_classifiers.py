"""Classifiers of encoded photos: scikit-learn's own tools take them, their probabilities are calibrated."""

from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedGroupKFold, cross_val_score
from sklearn.naive_bayes import GaussianNB
from support import examples, pipeline

from landmarks.classical import classifiers, encodings, features_file
from landmarks.classical.config import Encoding, Kind
from landmarks.common.errors import InputError
from landmarks.evaluation import calibration


def clouds(names: str, count: int, apart: float) -> tuple[encodings.Photos, classifiers.Labels]:
    """Descriptors of ``count`` photos of each landmark, whose means lie ``apart``; and the landmarks."""
    rng, landmarks = np.random.default_rng(0), np.repeat(list(names), count)
    return features_file.objects(rng.normal("abc".index(n) * apart, 1, (9, 64)) for n in landmarks), landmarks


@pytest.mark.parametrize("encoding", get_args(Encoding))
def test_every_model_is_a_pipeline_for_scikit_learns_tools(described: Path, split: Path, encoding: Encoding) -> None:
    read = features_file.read(described)
    groups = pd.read_csv(split)["group"].to_numpy()
    for kind in get_args(Kind):
        deal = StratifiedGroupKFold(3, shuffle=True, random_state=0)
        model = clone(classifiers.pipeline(pipeline(encoding, kind), 36))
        scores = cross_val_score(model, read.values, read.landmarks, groups=groups, cv=deal, error_score="raise")
        assert scores.mean() > 0.4, kind  # chance: a third
        assert classifiers.probabilities(model.fit(read.values, read.landmarks), read.values).min() >= 0


@pytest.mark.parametrize("names", ["ab", "abc"])
def test_the_probabilities_of_an_svm_order_the_landmarks_as_its_distances_do(names: str) -> None:
    values, landmarks = clouds(names, 10, 1)
    model = classifiers.fit(pipeline("vlad", "svm", words=2, components=3), values, landmarks)
    shares = classifiers.probabilities(model, values)
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    assert list(model.classes_[shares.argmax(axis=1)]) == list(model.predict(values))


def test_an_svm_learns_from_other_photos_how_far_to_trust_itself() -> None:
    values, landmarks = clouds("abc", 600, 0.25)
    parts = np.arange(len(landmarks)) % 3
    model = classifiers.fit(pipeline("vlad", "svm", words=2, components=3), values[parts == 0], landmarks[parts == 0])
    before = classifiers.probabilities(model, values[parts == 2])
    classifiers.calibrate(model, values[parts == 1], landmarks[parts == 1])
    after = classifiers.probabilities(model, values[parts == 2])
    np.testing.assert_array_equal(before.argmax(axis=1), after.argmax(axis=1))
    assert log_loss(landmarks[parts == 2], after) < log_loss(landmarks[parts == 2], before)
    right = model.classes_[after.argmax(axis=1)] == landmarks[parts == 2]
    errors = [calibration.expected_error(shares.max(axis=1), right) for shares in (before, after)]
    assert errors[1] < errors[0] / 2


def test_one_pca_and_one_naive_bayes_give_what_one_each_a_number_gives() -> None:
    rng = np.random.default_rng(1)
    landmarks = np.repeat(["a", "b", "c"], 20)
    values = rng.normal(0, 1, (60, 40)) + (landmarks == "b")[:, None] * 0.7
    train = np.arange(60) % 3 > 0
    numbers = [1, 2, 5, 17, 38]
    quick = classifiers.by_components(values[train], landmarks[train], values[~train], landmarks[~train], numbers)
    for n, accuracies in zip(numbers, quick, strict=True):
        pca = PCA(n, svd_solver="full").fit(values[train])
        model = GaussianNB().fit(pca.transform(values[train]), landmarks[train])
        scores = [model.score(pca.transform(values[part]), landmarks[part]) for part in (train, ~train)]
        assert scores == list(accuracies)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 12)), min_size=12, max_size=60), st.integers(0, 5))
@settings(max_examples=examples(60))
def test_no_fold_is_trained_on_a_near_duplicate_of_what_it_is_asked_or_without_a_landmark(
    rows: list[tuple[str, int]], seed: int
) -> None:
    """Or there are too few groups for that, and the error names the parameter."""
    landmarks = np.array([landmark for landmark, _ in rows])
    groups = np.array(["abc".index(landmark) * 100 + group for landmark, group in rows])
    try:
        dealt = classifiers.deal(landmarks, groups, 3, seed, "grid")
    except InputError as error:
        assert "grid.folds" in str(error) or "sample.classes" in str(error)  # noqa: PT017 - either is right
        return
    assert sorted(np.concatenate([held_out for _, held_out in dealt])) == list(range(len(rows)))
    for train, held_out in dealt:
        assert not set(groups[train]) & set(groups[held_out])
        assert set(landmarks[train]) == set(landmarks)


def test_a_landmark_that_was_not_learnt_is_never_recognised() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(0, 1, (40, 8))
    known, asked = np.repeat(["a", "c"], 10), np.repeat("b", 20)
    scores = classifiers.by_components(values[:20], known, values[20:], asked, [1, 3, 8])
    assert (scores[:, 1] == 0).all()
    assert (scores[:, 0] > 0.4).all()


@pytest.mark.parametrize(("encoding", "kind", "n"), [("flat", "bayes", 3), ("vlad", "svm", 0), ("vlad", "logistic", 0)])
def test_a_model_refitted_on_the_photos_it_was_fitted_on_answers_as_before(
    encoding: Encoding, kind: Kind, n: int
) -> None:
    values, landmarks = clouds("abc", 12, 0.5)
    train = np.arange(len(landmarks)) % 3 > 0
    model = classifiers.fit(pipeline(encoding, kind, n=n, words=8, components=9), values[train], landmarks[train])
    vectors = classifiers.encoded(model, values, train)
    (fitted,) = classifiers.refits(model, vectors, landmarks, [train])
    np.testing.assert_allclose(
        classifiers.probabilities(fitted, vectors), classifiers.probabilities(model, values), atol=0.02
    )
    assert vectors.shape[1] <= train.sum() or encoding == "flat"


@pytest.mark.parametrize(("encoding", "kind"), [("flat", "bayes"), ("vlad", "neighbours")])
def test_refitted_on_fewer_photos_than_components_or_neighbours_a_model_takes_fewer(
    encoding: Encoding, kind: Kind
) -> None:
    values, landmarks = clouds("ab", 12, 2)
    model = classifiers.fit(pipeline(encoding, kind, n=5, words=2, components=3), values, landmarks)
    vectors = classifiers.encoded(model, values, np.ones(len(values), bool))
    few = np.isin(np.arange(len(landmarks)), [0, 1, 12, 13])
    (fitted,) = classifiers.refits(model, vectors, landmarks, [few])
    assert (fitted.predict(vectors) == landmarks).mean() > 0.5
