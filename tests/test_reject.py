"""The network says that it does not know a place: by a threshold that validation chose, and at a risk that is shown."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from conftest import Script, fails_in_one_line
from hypothesis import given, settings
from hypothesis import strategies as st
from test_sample import table

from landmarks.common.errors import InputError
from landmarks.dataset import catalogues, schema
from landmarks.evaluation import open_set

CONFIDENCES = st.lists(st.floats(0, 1).map(lambda value: round(value, 6)), min_size=1, max_size=50)


@settings(max_examples=200, deadline=None)
@given(CONFIDENCES, st.floats(0.01, 1))
def test_the_threshold_accepts_at_least_the_share_asked_for_and_no_higher_one_does(
    known: list[float], accepted: float
) -> None:
    confidence = np.array(known)
    least = open_set.threshold(confidence, accepted)
    assert (confidence >= least).mean() >= accepted - 1e-9
    higher = confidence[confidence >= least + 1e-4]
    assert len(higher) < len(confidence) or least + 1e-4 > confidence.min()


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([0.1, 0.4, 0.6, 0.9]), st.booleans()), min_size=1, max_size=40))
def test_risk_by_coverage_is_the_error_of_what_a_threshold_lets_pass(rows: list[tuple[float, bool]]) -> None:
    confidence, right = (np.array(column) for column in zip(*rows, strict=True))
    curve = {tuple(row) for row in open_set.risk_coverage(confidence, right).round(9)}
    passed = [confidence >= least for least in set(confidence)]
    assert curve == {(round(sure.mean(), 9), round(1 - right[sure].mean(), 9)) for sure in passed}


def test_the_shares_are_those_of_a_hand_count() -> None:
    known, right = np.array([0.9, 0.8, 0.6, 0.4]), np.array([True, True, False, True])
    found = open_set.scores(known, right, np.array([0.3, 0.5, 0.7]), 0.55)
    shares = {name: found[name] for name in ("unknown_rejected", "known_rejected", "right_of_all", "right_of_accepted")}
    assert shares == {
        "unknown_rejected": 0.6667,
        "known_rejected": 0.25,
        "right_of_all": 0.75,
        "right_of_accepted": 0.6667,
    }
    assert found["right_with_unknown"] == round(4 / 7, 4)
    assert found["auroc"] == round(9 / 12, 4)
    assert found["aurc"] == round((0 + 0 + 1 / 3 + 1 / 4) / 4, 4)
    none = open_set.scores(known, right, np.zeros(0), 0.55)
    assert none["unknown"] == 0
    assert none["unknown_rejected"] is none["auroc"] is None


def test_photos_of_other_landmarks_are_one_of_each_while_there_are_enough_and_carry_no_name() -> None:
    rows = table(L1=9, L2=9, L3=4, L4=4, L5=4)
    names = catalogues.others(rows["landmark_id"], ["1", "2"], 9, 0)
    assert sorted(names) == ["3", "4", "5"]
    drawn = catalogues.unknown(rows, names, 5, 2, 0).to_pandas()
    assert set(drawn["landmark_id"]) == {schema.UNKNOWN}
    assert list(drawn["reserve"]) == [0, 0, 0, 0, 0, 1, 1]
    first = drawn["id"][:3].str[:2]
    assert sorted(first) == ["L3", "L4", "L5"]
    order = np.random.default_rng(0).permutation(len(rows))
    shuffled = rows.take(pa.array(order))
    assert catalogues.unknown(shuffled, names, 5, 2, 0).to_pandas().equals(drawn)
    with pytest.raises(InputError, match=r"12 photos of other landmarks, sample.unknown asks for 13"):
        catalogues.unknown(rows, names, 13, 0, 0)


@pytest.mark.slow
def test_a_place_that_nobody_taught_is_rejected_more_often_than_one_that_is_known(
    script: Script, photos: Path, split: Path, trained: Path, strangers: Path, tmp_path: Path
) -> None:
    out = [tmp_path / name for name in ("threshold.json", "counts.json", "curve.csv", "figure.png")]
    said = trained.with_name("predictions.csv")
    for _ in range(2):
        done = script(
            "reject", strangers / "images", split, strangers / "unknown.csv", trained, said, *out, "--accepted", 0.9
        )
        assert done.returncode == 0, done.stderr
    found = json.loads(out[1].read_text())
    assert json.loads(out[0].read_text()) == {"confidence": found["threshold"]}
    assert found["unknown"] == 12
    assert found["unknown_rejected"] > found["known_rejected"]
    assert found["auroc"] > 0.7
    curve = pd.read_csv(out[2])
    assert list(curve.columns) == ["coverage", "risk"]
    assert curve["coverage"].iloc[-1] == 1
    (tmp_path / "predictions.csv").write_text(said.read_text().replace("p1_00", "p1_99"))
    done = script(
        "reject", photos / "images", split, strangers / "unknown.csv", trained, tmp_path / "predictions.csv", *out
    )
    fails_in_one_line(done, "predictions.csv", "not the photos of the split stage", "dvc repro")
