"""Open-set rejection: a threshold chosen on validation photos, and the risk at each coverage."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import Script, examples, fails_in_one_line

from landmarks.evaluation import open_set


@settings(max_examples=examples(200))
@given(
    st.lists(st.floats(0.0001, 1), min_size=1, max_size=50, unique_by=lambda value: round(value, 3)),
    st.integers(1, 100),
)
def test_a_new_photo_of_a_known_landmark_reaches_the_threshold_as_often_as_asked(
    known: list[float], percent: int
) -> None:
    values = [round(value, 3) for value in known]
    reached = 0
    for place, new in enumerate(values):  # each of n + 1 exchangeable photos may be the new one
        others = np.array(values[:place] + values[place + 1 :])
        reached += new >= open_set.threshold(others, percent / 100)
    assert 100 * reached >= percent * len(values)
    if percent * len(values) % 100 == 0:
        assert 100 * reached == percent * len(values)  # no more than that are accepted, where the numbers allow it


@pytest.mark.parametrize(("photos", "accepted", "rejected"), [
    (9, 0.9, 1), (19, 0.95, 1), (99, 0.95, 5), (80, 0.95, 4), (8, 0.9, 0), (10, 0.9, 1), (999, 0.999, 1), (0, 0.9, 0),
])  # fmt: skip
def test_the_threshold_is_the_kth_lowest_confidence(photos: int, accepted: float, rejected: int) -> None:
    confidence = (np.arange(photos) + 1) / 1000
    least = open_set.threshold(confidence, accepted)
    assert least == rejected / 1000


@settings(max_examples=examples(200))
@given(st.lists(st.tuples(st.sampled_from([0.1, 0.4, 0.6, 0.9]), st.booleans()), min_size=1, max_size=40))
def test_risk_by_coverage_is_the_error_of_what_a_threshold_lets_pass(rows: list[tuple[float, bool]]) -> None:
    confidence, right = (np.array(column) for column in zip(*rows, strict=True))
    curve = {tuple(row) for row in open_set.risk_coverage(confidence, right).round(9)}
    passed = [confidence >= least for least in set(confidence)]
    assert curve == {(round(sure.mean(), 9), round(1 - right[sure].mean(), 9)) for sure in passed}


def test_the_shares_are_those_of_a_hand_count() -> None:
    known, right = np.array([0.9, 0.8, 0.6, 0.4]), np.array([True, True, False, True])
    found = open_set.scores(known, right, np.array([0.3, 0.5, 0.7]), 0.55)
    assert (found["unknown_rejected"], found["known_rejected"]) == (0.6667, 0.25)
    assert (found["right_of_all"], found["right_of_accepted"]) == (0.75, 0.6667)
    assert found["right_with_unknown"] == round(4 / 7, 4)
    assert found["auroc"] == round(9 / 12, 4)
    assert found["aurc"] == round((0 + 0 + 1 / 3 + 1 / 4) / 4, 4)
    none = open_set.scores(known, right, np.zeros(0), 0.55)
    assert none["unknown"] == 0
    assert none["unknown_rejected"] is none["auroc"] is None


@pytest.mark.slow
def test_unknown_landmarks_are_rejected_more_often(
    script: Script, split: Path, trained: Path, strangers: Path, tmp_path: Path
) -> None:
    out = [tmp_path / name for name in ("threshold.json", "counts.json", "curve.csv", "confidences.csv")]
    said = trained.with_name("predictions.parquet")
    known = (strangers / "images", split, strangers / "unknown.csv", trained)
    for _ in range(2):
        done = script("reject", *known, said, *out, "--accepted", 0.5)
        assert done.returncode == 0, done.stderr
    found = json.loads(out[1].read_text())
    assert json.loads(out[0].read_text()) == {"confidence": found["threshold"]}
    assert found["unknown"] == 12
    assert found["unknown_rejected"] > found["known_rejected"]
    assert found["auroc"] > 0.7
    curve = pd.read_csv(out[2])
    assert list(curve.columns) == ["coverage", "risk"]
    assert curve["coverage"].iloc[-1] == 1
    rows = pd.read_csv(out[3])
    counts = rows["answer"].value_counts()
    assert (len(rows), counts["unknown"], counts["right"]) == (9 + 12, 12, round(9 * found["right_of_all"]))
    unknown = rows["confidence"][rows["answer"] == "unknown"]
    assert (unknown < found["threshold"]).mean() == pytest.approx(found["unknown_rejected"], abs=1e-4)
    assert found["external"] is None
    _elsewhere(known, said, tmp_path)
    known = (strangers / "images", tmp_path / "s.csv", tmp_path / "u.csv", trained)
    done = script("reject", *known, tmp_path / "said.parquet", *out, "--accepted", 0.5)
    assert done.returncode == 0, done.stderr
    theirs = json.loads(out[1].read_text())
    assert (theirs["unknown"], theirs["external"]["unknown"]) == (9, 3)
    assert (theirs["threshold"], theirs["known_rejected"]) == (found["threshold"], found["known_rejected"])
    assert theirs["external"]["auroc"] > 0.7
    known = (strangers / "images", split, strangers / "unknown.csv", trained)
    pd.read_parquet(said).replace("p1_00", "p1_99").to_parquet(tmp_path / "predictions.parquet")
    done = script("reject", *known, tmp_path / "predictions.parquet", *out)
    fails_in_one_line(done, "predictions.parquet", "not the photos of the split stage", "dvc repro")


def _elsewhere(known: tuple[Path, ...], said: Path, folder: Path) -> None:
    """Make six training photos and three unknown ones those of another source."""
    images, split, unknown, _ = known
    for table, name in ((split, "s.csv"), (unknown, "u.csv")):
        rows = pd.read_csv(table, dtype=str)
        chosen = rows["id"].str.fullmatch("p[12]_0[0-2]|u10[0-2]_0")
        for photo in rows["id"][chosen]:
            shutil.copy(images / f"{photo}.jpg", images / f"external.{photo}.jpg")
        rows["id"] = rows["id"].mask(chosen, "external." + rows["id"])
        if "split" in rows:
            rows["split"] = rows["split"].mask(chosen, "external")
        rows.to_csv(folder / name, index=False)
    predicted = pd.read_parquet(said)
    chosen = predicted["id"].str.fullmatch("p[12]_0[0-2]")
    predicted["id"] = predicted["id"].mask(chosen, "external." + predicted["id"])
    predicted.to_parquet(folder / "said.parquet", index=False)
