"""Keypoint models of more photos than exact solvers can bear: vectors in a file, linear classifiers in passes."""

from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from support import pipeline

from landmarks.classical import classifiers, saved_models
from landmarks.classical.config import Encoding, Kind
from landmarks.common import arrays
from landmarks.linear import sgd

from .conftest import KAZE
from .test_classifiers import clouds


@pytest.mark.parametrize("names", ["ab", "abc"])
@pytest.mark.parametrize(("encoding", "kind", "n"), [
    ("vlad", "svm", 0), ("vlad", "logistic", 0), ("flat", "svm", 0), ("flat", "logistic", 5), ("flat", "bayes", 5),
])  # fmt: skip
def test_a_model_is_right_as_often_as_the_exact_one_at_least(
    monkeypatch: pytest.MonkeyPatch, encoding: Encoding, kind: Kind, n: int, names: str
) -> None:
    values, landmarks = clouds(names, 300, 0.12)
    train = np.arange(len(landmarks)) % 2 == 0
    right, shares = [], []
    for exact, held in ((sgd.EXACT, arrays.HELD), (0, 0)):
        monkeypatch.setattr(sgd, "EXACT", exact)
        monkeypatch.setattr(sgd, "STEPS", 500)
        monkeypatch.setattr(arrays, "HELD", held)
        config = pipeline(encoding, kind, n=n, words=4, components=9)
        model = classifiers.fit(config, values[train], landmarks[train])
        classifiers.calibrate(model, values[~train], landmarks[~train])
        shares.append(classifiers.probabilities(model, values[~train]))
        right.append(int((model.classes_[shares[-1].argmax(axis=1)] == landmarks[~train]).sum()))
    interval = stats.binomtest(right[0], int((~train).sum())).proportion_ci(0.95, method="wilson")
    assert (
        interval.low <= right[1] / (~train).sum()
    )  # of fewer photos than columns, it is right more often: it ends earlier
    assert 1.1 / len(names) < interval.low
    assert interval.high < 0.98
    np.testing.assert_allclose(shares[1].sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("block", [1, 7, 10**6])
def test_probabilities_do_not_depend_on_the_photos_in_a_block(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    values, landmarks = clouds("abc", 12, 0.3)
    model = classifiers.fit(pipeline("vlad", "svm", words=4, components=9), values, landmarks)
    expected = classifiers.probabilities(model, values)
    monkeypatch.setattr(arrays, "BLOCK", block)
    np.testing.assert_allclose(classifiers.probabilities(model, values), expected, rtol=1e-5)


def test_large_arrays_lie_in_files_that_are_gone_with_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(arrays, "HELD", 8 * 4 * 10)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    small, large = (arrays.zeros((rows, 4), np.float64, np.float32) for rows in (10, 11))
    assert not isinstance(small, np.memmap)
    assert isinstance(large, np.memmap)
    assert (small.dtype.name, large.dtype.name) == ("float64", "float32")
    assert not list(tmp_path.iterdir())
    large[3] = 7
    chosen = np.arange(11) % 2 == 1
    np.testing.assert_array_equal(arrays.taken(large, chosen), large[chosen])


def test_a_model_learnt_in_passes_is_saved_like_any_other(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sgd, "EXACT", 0)
    values, landmarks = clouds("abc", 12, 0.5)
    kinds: tuple[Kind, ...] = ("svm", "logistic")
    for kind in kinds:
        model = classifiers.fit(pipeline("vlad", kind, words=4, components=9), values, landmarks)
        saved_models.save(tmp_path / "m.skops", model, KAZE)
        again = saved_models.load(tmp_path / "m.skops", KAZE)
        np.testing.assert_array_equal(
            classifiers.probabilities(again, values), classifiers.probabilities(model, values)
        )


def test_the_penalty_of_two_landmarks_is_that_of_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    landmarks = np.repeat(["a", "b"], 500)
    vectors = rng.standard_normal((1000, 4)).astype(np.float32) + (landmarks == "b")[:, None]
    fitted = []
    for exact in (sgd.EXACT, 0):
        monkeypatch.setattr(sgd, "EXACT", exact)
        steps = Pipeline([("classifier", LogisticRegression(C=0.003))])
        classifiers._learn(steps, vectors, landmarks, seed=0)
        fitted.append(steps[-1].coef_)
    np.testing.assert_allclose(fitted[0], fitted[1], rtol=0.02)
