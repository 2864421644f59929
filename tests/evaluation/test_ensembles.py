"""An ensemble is the mean of its models' probabilities, calibrated as one model."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.special import softmax
from support import Script, fails_in_one_line

from landmarks.dataset import prediction_files, tables
from landmarks.evaluation import calibration, ensembles


def test_an_ensemble_of_honest_models_is_as_sure_as_it_is_right() -> None:
    """Two models that err independently: where they agree, they are right more often than the mean of what they say."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 10, 4000)
    parts = []
    for _ in range(2):
        logits = rng.normal(size=(4000, 10))
        logits[np.arange(4000), labels] += 2.5
        parts.append(softmax(logits * 2.5, axis=1))
    held_out = np.arange(4000) < 2000
    told = ensembles.mean(parts, labels, held_out)
    errors = []
    for probabilities in (told[~held_out], np.mean(parts, axis=0)[~held_out]):
        right = probabilities.argmax(axis=1) == labels[~held_out]
        errors.append(calibration.expected_error(probabilities.max(axis=1), right))
    assert errors[0] < 0.03 < errors[1]
    np.testing.assert_array_equal(told.argmax(axis=1), np.mean(parts, axis=0).argmax(axis=1))
    np.testing.assert_allclose(told.sum(axis=1), 1)


@pytest.fixture
def told(split: Path, tmp_path: Path) -> tuple[Path, Path]:
    """Predictions of two models that list the landmarks in other orders."""
    rows, rng, paths = tables.read_split(split), np.random.default_rng(0), []
    for name, labels in (("network", ["1", "2", "3"]), ("model", ["3", "1", "2"])):
        right = np.array([labels.index(landmark) for landmark in rows["landmark_id"]])
        probabilities = softmax(rng.normal(size=(len(rows), 3)) + 2 * np.eye(3)[right], axis=1)
        paths.append(tmp_path / f"{name}.parquet")
        prediction_files.write(paths[-1], rows.index, rows["landmark_id"], labels, probabilities)
    return paths[0], paths[1]


def test_the_stage_combines_what_two_models_say_of_each_landmark(
    script: Script, split: Path, told: tuple[Path, Path], tmp_path: Path
) -> None:
    done = script("fuse", split, *told, tmp_path / "fused.parquet")
    assert done.returncode == 0, done.stderr
    landmarks = tables.read_split(split)["landmark_id"]
    one, other, fused = (
        pd.DataFrame(shares, columns=labels)
        for labels, shares in (
            prediction_files.probabilities(prediction_files.read(path, landmarks))
            for path in (*told, tmp_path / "fused.parquet")
        )
    )
    mean = (one + other[one.columns]) / 2
    assert (fused.idxmax(axis=1) == mean.idxmax(axis=1)).all()
    after, before = (np.asarray(np.log(table["1"] / table["2"]), float) for table in (fused, mean))
    near = (fused.min(axis=1) > 0.01).to_numpy() & (np.abs(before) > 0.1)
    assert near.sum() > 5
    powers = (after / before)[near]  # one temperature for all photos
    np.testing.assert_allclose(powers, powers[0], rtol=0.01)


def test_models_of_other_landmarks_and_tables_without_probabilities_are_errors(
    script: Script, split: Path, told: tuple[Path, Path], tmp_path: Path
) -> None:
    network, model = told
    changes: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
        "different landmarks": lambda rows: rows.assign(**{"p:4": 0.0}),
        "no probability of its landmark": lambda rows: rows[list(prediction_files.COLUMNS)],
        "p1_00": lambda rows: rows.assign(**{"p:1": np.nan}),
    }
    for number, (said, change) in enumerate(changes.items()):
        change(pd.read_parquet(model)).to_parquet(tmp_path / f"{number}.parquet", index=False)
        done = script("fuse", split, network, tmp_path / f"{number}.parquet", tmp_path / "f.parquet")
        fails_in_one_line(done, said)
