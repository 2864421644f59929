"""The sweep chooses a number of components without the test set; the baselines are fitted on train alone."""

import json
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
from conftest import Script, fails_in_one_line
from sklearn.decomposition import PCA
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.naive_bayes import GaussianNB

from landmarks import classifiers, descriptors


@pytest.fixture(scope="module")
def features(split: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Descriptors in which the landmark shows."""
    rows = pd.read_csv(split, dtype=str)
    rng = np.random.default_rng(0)
    values = rng.normal(0, 1, (len(rows), 60)) + 0.8 * rows["landmark_id"].astype(int).to_numpy()[:, None]
    made = descriptors.Features(
        rows["id"].to_numpy(np.str_),
        rows["landmark_id"].to_numpy(np.str_),
        values.astype(np.float32),
        np.full(len(rows), 32),
    )
    path = tmp_path_factory.mktemp("features") / "kaze.npz"
    descriptors.save(path, made)
    return path


def test_one_pca_a_fold_gives_what_one_pca_a_number_gives() -> None:
    rng = np.random.default_rng(1)
    landmarks = np.repeat(["a", "b", "c"], 20)
    values = rng.normal(0, 1, (60, 40)) + (landmarks == "b")[:, None] * 0.7
    groups = np.arange(60)
    quick = classifiers.sweep(values, landmarks, groups, [2, 5, 17], 3, 0)
    for n, train_accuracy, accuracy in quick:
        scores = []
        for train, held_out in StratifiedGroupKFold(3, shuffle=True, random_state=0).split(values, landmarks, groups):
            pca = PCA(n, svd_solver="full").fit(values[train])
            model = GaussianNB().fit(pca.transform(values[train]), landmarks[train])
            scores.append([model.score(pca.transform(values[part]), landmarks[part]) for part in (train, held_out)])
        assert np.allclose(np.mean(scores, axis=0), [train_accuracy, accuracy], atol=5e-5)


def test_the_sweep_and_the_baselines_learn_from_train_alone(
    script: Script, features: Path, split: Path, tmp_path: Path
) -> None:
    """Whatever the rows for validation and test hold, model and choice stay the same to the byte."""
    stored = descriptors.load(features)
    train = (pd.read_csv(split)["split"] == "train").to_numpy()
    upset = np.where(train[:, None], stored.values, stored.values * -9).astype(np.float32)
    descriptors.save(
        tmp_path / "upset.npz", descriptors.Features(stored.ids, stored.landmarks, upset, stored.keypoints)
    )
    made = []
    for n, path in enumerate((features, tmp_path / "upset.npz")):
        out = [tmp_path / f"{n}.{kind}" for kind in ("csv", "json", "joblib", "predictions")]
        assert (
            script("sweep", path, split, *out[:2], "--start", 2, "--stop", 9, "--step", 3, "--folds", 3).returncode == 0
        )
        assert script("baseline", path, split, *out[2:], "--n", 5).returncode == 0
        made.append([path.read_bytes() for path in out])
    assert made[0][:3] == made[1][:3]
    assert made[0][3] != made[1][3]
    assert list(pd.read_csv(tmp_path / "0.csv")["components"]) == [2, 5, 8]
    assert json.loads((tmp_path / "0.json").read_text())["components"] in (2, 5, 8)


@pytest.mark.parametrize(("kind", "n"), [("bayes", 0), ("bayes", 6), ("tree", 6)])
def test_every_photo_gets_a_prediction_and_the_saved_model_gives_the_same(
    script: Script, features: Path, split: Path, tmp_path: Path, kind: str, n: int
) -> None:
    done = script("baseline", features, split, tmp_path / "m.joblib", tmp_path / "p.csv", "--kind", kind, "--n", n)
    assert done.returncode == 0, done.stderr
    rows, stored = pd.read_csv(tmp_path / "p.csv", dtype={"actual": str, "predicted": str}), descriptors.load(features)
    assert list(rows.columns) == ["id", "actual", "predicted", "confidence"]
    assert list(rows["id"]) == list(stored.ids)
    assert rows["confidence"].between(1 / 3 - 1e-9, 1).all()
    model = joblib.load(tmp_path / "m.joblib")
    assert list(model.predict(stored.values.astype(np.float64))) == list(rows["predicted"])


def test_more_components_than_photos_is_an_error_that_names_the_parameter(
    script: Script, features: Path, split: Path, tmp_path: Path
) -> None:
    fails_in_one_line(
        script("baseline", features, split, tmp_path / "m", tmp_path / "p", "--n", 22),
        "22 principal",
        "21 training",
        "pca.n",
    )
    fails_in_one_line(
        script("sweep", features, split, tmp_path / "s", tmp_path / "c", "--stop", 40, "--folds", 3),
        "lower pca.n or sweep.stop",
    )
    assert not list(tmp_path.iterdir())


def test_a_split_of_other_photos_is_an_error_that_names_one(
    script: Script, features: Path, split: Path, tmp_path: Path
) -> None:
    pd.read_csv(split).iloc[1:].to_csv(tmp_path / "split.csv", index=False)
    fails_in_one_line(
        script("baseline", features, tmp_path / "split.csv", tmp_path / "m", tmp_path / "p"), "'p1_00'", "dvc repro"
    )


def test_more_folds_than_photos_of_a_landmark_is_an_error(
    script: Script, features: Path, split: Path, tmp_path: Path
) -> None:
    done = script("sweep", features, split, tmp_path / "s", tmp_path / "c", "--start", 2, "--stop", 4, "--folds", 8)
    fails_in_one_line(done, "7 training photos", "sweep.folds asks for 8")
