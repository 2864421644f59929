"""All models are scored on the same held-out photos, with an interval beside each accuracy."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import Script, examples, fails_in_one_line

from landmarks.evaluation import calibration, metrics

COUNTED = ("catalogue", "clean", "download", "split", "sweep", "grid", "retrieve", "reject", "export")
LABELS = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), min_size=1, max_size=60)


@pytest.fixture
def stages(split: Path, tmp_path: Path) -> list[Path]:
    """What the other stages leave for two models: ``sure`` is right everywhere, ``poor`` knows one landmark."""
    parts = pd.read_csv(split, dtype=str)
    (tmp_path / "predictions").mkdir()
    for name, predicted in {"sure": parts["landmark_id"], "poor": "1"}.items():
        columns = {"id": parts["id"], "actual": parts["landmark_id"], "predicted": predicted, "confidence": 0.5}
        pd.DataFrame(columns).to_csv(tmp_path / "predictions" / f"{name}.csv", index=False)
    (tmp_path / "counts").mkdir()
    for name in (*COUNTED, "keypoints/kaze"):
        (tmp_path / "counts" / f"{name}.json").parent.mkdir(exist_ok=True)
        (tmp_path / "counts" / f"{name}.json").write_text('{"rows": 3}')
    (tmp_path / "faces.json").write_text('{"faces": 2, "photos_with_faces": 1, "quarantined": 0, "photos": {}}')
    return [split, tmp_path / "faces.json", tmp_path / "counts", tmp_path / "predictions"]


def test_the_results_hold_all_models_parts_and_counts(script: Script, stages: list[Path], tmp_path: Path) -> None:
    out = [tmp_path / "results.json", tmp_path / "confusion"]
    done = script("evaluate", *stages, *out, "--model", "poor", "--model", "sure")
    assert done.returncode == 0, done.stderr
    results = json.loads(out[0].read_text())
    assert list(results["models"]) == ["poor", "sure"]
    assert results["models"]["poor"]["test"] == {
        "top1": 0.3333, "top1_low": 0.1206, "top1_high": 0.6458, "macro_precision": 0.1111, "macro_recall": 0.3333, "macro_f1": 0.1667,
        "calibration_error": 0.1667,
    }  # fmt: skip
    assert results["models"]["sure"]["per_class"]["2"] == {"precision": 1.0, "recall": 1.0, "f1": 1.0}
    assert results["models"]["sure"]["mcnemar"]["poor"] == results["models"]["poor"]["mcnemar"]["sure"] == 0.03125
    assert set(results["data"]) == {*COUNTED, "anonymize", "keypoints"}
    assert results["data"]["keypoints"] == {"kaze": {"rows": 3}}
    tested = pd.read_csv(tmp_path / "confusion" / "poor.csv")
    assert list(tested.columns) == ["id", "actual", "predicted", "confidence"]
    assert len(tested) == 9


@pytest.mark.parametrize("part", ["train", "validation", "test"])
def test_a_split_without_photos_for_a_part_is_an_error_that_names_it(
    script: Script, stages: list[Path], tmp_path: Path, part: str
) -> None:
    rows = pd.read_csv(stages[0], dtype=str)
    rows.assign(split=rows["split"].replace(part, "test" if part == "train" else "train")).to_csv(tmp_path / "s.csv")
    done = script("evaluate", tmp_path / "s.csv", *stages[1:], tmp_path / "r", tmp_path / "c", "--model", "sure")
    fails_in_one_line(done, "s.csv", f"no photo is for {part}", "dvc repro --force split")


def test_the_interval_is_wilsons() -> None:
    """Brown, Cai and DasGupta (2001): 0 of 10 gives (0, 0.2775); 8 of 10 gives (0.4902, 0.9433)."""
    ten = pd.Series(["a"] * 10)
    assert [metrics.score(ten, pd.Series(["b"] * 10))[k] for k in ("top1_low", "top1_high")] == [0.0, 0.2775]
    eight = metrics.score(ten, pd.Series(["a"] * 8 + ["b"] * 2))
    assert (eight["top1_low"], eight["top1_high"]) == (0.4902, 0.9433)


def test_mcnemar_counts_the_photos_on_which_two_models_differ() -> None:
    first, second = pd.Series([True] * 10 + [False] * 2), pd.Series([True] * 2 + [False] * 8 + [True] * 2)
    assert metrics.mcnemar(first, second) == metrics.mcnemar(second, first) == 0.1094  # 8 against 2, exact binomial
    assert metrics.mcnemar(first, first) == 1.0


@given(LABELS)
def test_scores_lie_where_they_must(rows: list[tuple[str, str]]) -> None:
    actual, predicted = (pd.Series(list(column)) for column in zip(*rows, strict=True))
    score = metrics.score(actual, predicted)
    assert 0 <= score["top1_low"] <= score["top1"] <= score["top1_high"] <= 1
    assert all(0 <= value <= 1 for value in score.values())
    assert set(metrics.by_class(actual, predicted)) == set(actual)


def test_predictions_of_other_photos_are_an_error(script: Script, stages: list[Path], tmp_path: Path) -> None:
    path = tmp_path / "predictions" / "poor.csv"
    rows = pd.read_csv(path)
    rows.iloc[1:].to_csv(path, index=False)
    out = [tmp_path / "results.json", tmp_path / "confusion", "--model", "poor"]
    fails_in_one_line(script("evaluate", *stages, *out), "poor.csv", "not the photos of the split stage")
    rows.assign(actual="3").to_csv(path, index=False)
    fails_in_one_line(script("evaluate", *stages, *out), "poor.csv", "'p1_00'", "another landmark")
    rows.assign(confidence="much").to_csv(path, index=False)
    fails_in_one_line(script("evaluate", *stages, *out), "poor.csv", "'p1_00'", "confidence between 0 and 1")
    path.unlink()
    fails_in_one_line(script("evaluate", *stages, *out), "poor.csv", "no such file")
    assert not any(Path(str(path)).exists() for path in out)


@given(st.floats(0.3, 4), st.integers(0, 9))
@settings(max_examples=examples(20))
def test_the_temperature_is_what_logits_were_multiplied_by(factor: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    honest = rng.normal(0, 2, (4000, 5))
    labels = (honest + rng.gumbel(size=honest.shape)).argmax(axis=1)  # drawn from their softmax
    assert calibration.temperature(honest * factor, labels) == pytest.approx(factor, rel=0.12)


def test_a_few_photos_say_whether_a_good_model_is_honest() -> None:
    """Of a model that errs on 4 photos of 100 and says so, nothing is changed on average; one more photo would have."""
    found = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        honest = rng.normal(0, 30, (100, 10))
        labels = (honest + rng.gumbel(size=honest.shape)).argmax(axis=1)
        found.append(np.log(calibration.temperature(honest, labels)))
    assert np.mean(found) == pytest.approx(0, abs=0.15)


def test_a_model_without_a_mistake_is_not_told_that_it_makes_none() -> None:
    labels = np.arange(80) % 10
    confidence = []
    for strength in (5.0, 50.0):
        logits = np.eye(10)[labels] * strength
        scaled = logits / calibration.temperature(logits, labels)
        confidence.append(np.exp(scaled[0]).max() / np.exp(scaled[0]).sum())
    assert confidence == pytest.approx([1 - 0.5 / 80] * 2, abs=0.004)  # half a mistake in 80 photos
    assert calibration.temperature(np.zeros((0, 10)), labels[:0]) == 1


def test_the_calibration_error_is_how_far_confidence_and_accuracy_lie_apart() -> None:
    right = np.arange(1000) % 2 == 0
    assert calibration.expected_error(np.ones(1000), right) == 0.5
    assert calibration.expected_error(np.full(1000, 0.5), right) == 0.0
    assert calibration.expected_error(np.where(right, 0.95, 0.05), right) == pytest.approx(0.05)


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=50))
def test_every_photo_is_in_one_bin_of_confidence(rows: list[tuple[float, bool]]) -> None:
    confidence, right = (np.array(column) for column in zip(*rows, strict=True))
    bins = calibration.reliability(confidence, right)
    assert bins[:, 0].sum() == len(rows)
    assert np.nansum(bins[:, 0] * bins[:, 2]) == pytest.approx(right.sum())
    assert 0 <= calibration.expected_error(confidence, right) <= 1
