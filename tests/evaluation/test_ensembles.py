"""An ensemble is the logarithmic pool of its models' probabilities: it heeds the better one more, and is calibrated."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy.special import softmax
from support import Script, fails_in_one_line

from landmarks.dataset import prediction_files, tables
from landmarks.evaluation import calibration, ensembles


def told(skill: float, seed: int, boldness: float = 1) -> NDArray[np.float64]:
    """Probabilities of a model that errs independently of others; at a boldness of 1 it is as sure as it is right."""
    logits = np.random.default_rng(seed).normal(size=(len(LABELS), 10))
    logits[np.arange(len(LABELS)), LABELS] += skill
    return np.asarray(softmax(logits * skill * boldness, axis=1))


LABELS = np.random.default_rng(0).integers(0, 10, 4000)


@pytest.mark.parametrize(("skills", "boldness"), [((2.5, 2.5), 1), ((3.5, 1.5), 1), ((2.5, 2.5), 3)])
def test_an_ensemble_is_better_than_its_models_and_as_sure_as_it_is_right(
    skills: tuple[float, float], boldness: float
) -> None:
    """Of independent models the product of what honest ones say is the truth; one that is three times too bold counts a third."""
    network, model = told(skills[0], 0), told(skills[1], 1, boldness)
    held_out = np.arange(4000) < 2000
    pooled, share = ensembles.pool(network, model, LABELS, held_out)
    right = pooled.argmax(axis=1) == LABELS
    alone = max((each.argmax(axis=1) == LABELS)[~held_out].mean() for each in (network, model))
    assert right[~held_out].mean() > alone
    assert calibration.expected_error(pooled[~held_out].max(axis=1), right[~held_out]) < 0.03
    assert share == pytest.approx(1 / (1 + boldness), abs=0.06)
    np.testing.assert_allclose(pooled.sum(axis=1), 1)


def test_few_photos_move_the_share_little_and_a_model_that_knows_nothing_is_not_heeded() -> None:
    network, model = told(3, 0), told(3, 1)
    none = np.zeros(4000, bool)
    assert ensembles.pool(network, model, LABELS, none)[1] == pytest.approx(ensembles.LIKELY)
    few, share = ensembles.pool(network, np.roll(model, 1, axis=0), LABELS, np.arange(4000) < 100)
    assert share < 0.1
    assert (few.argmax(axis=1) == network.argmax(axis=1)).mean() > 0.98


@pytest.fixture
def tables_of_two(split: Path, tmp_path: Path) -> tuple[Path, Path]:
    """Predictions of two models that list the landmarks in other orders."""
    rows, rng, paths = tables.read_split(split), np.random.default_rng(0), []
    for name, labels in (("network", ["1", "2", "3"]), ("model", ["3", "1", "2"])):
        right = np.array([labels.index(landmark) for landmark in rows["landmark_id"]])
        probabilities = softmax(rng.normal(size=(len(rows), 3)) + 2 * np.eye(3)[right], axis=1)
        paths.append(tmp_path / f"{name}.parquet")
        prediction_files.write(paths[-1], rows.index, rows["landmark_id"], labels, probabilities)
    return paths[0], paths[1]


def test_the_stage_combines_what_two_models_say_of_each_landmark(
    script: Script, split: Path, tables_of_two: tuple[Path, Path], tmp_path: Path
) -> None:
    done = script("fuse", split, *tables_of_two, tmp_path / "fused.parquet")
    assert done.returncode == 0, done.stderr
    landmarks = tables.read_split(split)["landmark_id"]
    one, other, fused = (
        pd.DataFrame(shares, columns=labels)
        for labels, shares in (
            prediction_files.probabilities(prediction_files.read(path, landmarks))
            for path in (*tables_of_two, tmp_path / "fused.parquet")
        )
    )
    logs = [np.log(table[["1", "2", "3"]].to_numpy(float)) for table in (fused, one, other)]
    logs = [values - values.mean(axis=1, keepdims=True) for values in logs]
    weights, misfit, _, _ = np.linalg.lstsq(np.column_stack([each.ravel() for each in logs[1:]]), logs[0].ravel())
    assert (weights > 0).all()
    assert misfit < 0.01 * (logs[0] ** 2).sum()  # rounded to six digits; one pair of weights for all photos


def test_models_of_other_landmarks_and_tables_without_probabilities_are_errors(
    script: Script, split: Path, tables_of_two: tuple[Path, Path], tmp_path: Path
) -> None:
    network, model = tables_of_two
    changes: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
        "different landmarks": lambda rows: rows.assign(**{"p:4": 0.0}),
        "no probability of its landmark": lambda rows: rows[list(prediction_files.COLUMNS)],
        "p1_00": lambda rows: rows.assign(**{"p:1": np.nan}),
    }
    for number, (said, change) in enumerate(changes.items()):
        change(pd.read_parquet(model)).to_parquet(tmp_path / f"{number}.parquet", index=False)
        done = script("fuse", split, network, tmp_path / f"{number}.parquet", tmp_path / "f.parquet")
        fails_in_one_line(done, said)
