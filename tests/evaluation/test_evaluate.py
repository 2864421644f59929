"""All models are scored on the same held-out photos, with an interval beside each accuracy."""

import json
import tempfile
import tracemalloc
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import Script, examples, fails_in_one_line

from landmarks.common import arrays
from landmarks.dataset import prediction_files, schema
from landmarks.evaluation import calibration, metrics, results, significance

COUNTED = ("catalogue", "clean", "download", "split", "sweep", "grid", "retrieve", "reject", "export")
LANDMARKS = ["1", "2", "3"]
OUT = ("results.json", "evaluation.json", "confusion")
LABELS = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), min_size=1, max_size=60)


@pytest.fixture
def stages(split: Path, tmp_path: Path) -> list[Path]:
    """What the other stages leave for two models: ``sure`` is right everywhere, ``poor`` knows one landmark."""
    parts = pd.read_csv(split, dtype=str)
    (tmp_path / "predictions").mkdir()
    for name, predicted in {"sure": parts["landmark_id"], "poor": "1"}.items():
        shares = np.where(np.array(LANDMARKS) == pd.Series(predicted, parts.index).to_numpy()[:, None], 0.5, 0.25)
        path = tmp_path / "predictions" / f"{name}.parquet"
        prediction_files.write(path, parts["id"], parts["landmark_id"], LANDMARKS, shares)
    (tmp_path / "counts").mkdir()
    for name in (*COUNTED, "keypoints/kaze"):
        (tmp_path / "counts" / f"{name}.json").parent.mkdir(exist_ok=True)
        (tmp_path / "counts" / f"{name}.json").write_text('{"rows": 3}')
    (tmp_path / "faces.json").write_text('{"faces": 2, "photos_with_faces": 1, "quarantined": 0, "photos": {}}')
    return [split, tmp_path / "faces.json", tmp_path / "counts", tmp_path / "predictions"]


def test_the_results_hold_all_models_parts_and_counts(script: Script, stages: list[Path], tmp_path: Path) -> None:
    out = [tmp_path / name for name in OUT]
    done = script("evaluate", *stages, *out, "--model", "poor", "--model", "sure")
    assert done.returncode == 0, done.stderr
    found = results.read(out[1])
    assert list(found.models) == ["poor", "sure"]
    assert found.models["poor"].test == results.Score(
        top1=0.3333, top1_low=0.1206, top1_high=0.6458, macro_precision=0.1111, macro_recall=0.3333, macro_f1=0.1667,
        calibration_error=0.1667,
    )  # fmt: skip
    assert found.models["sure"].per_class["2"] == results.ClassScore(precision=1.0, recall=1.0, f1=1.0)
    assert found.models["sure"].mcnemar["poor"] == found.models["poor"].mcnemar["sure"] == 0.03125
    assert found.models["sure"].probabilities["test"] == results.ProbabilityScores(top3=1, log_loss=0.6931, brier=0.375)
    assert set(found.data) == {*COUNTED, "anonymize", "keypoints"}
    assert found.data["keypoints"] == {"kaze": {"rows": 3}}
    assert json.loads(out[0].read_text()) == {
        "accuracy": {"poor": 0.3333, "sure": 1.0},
        "calibration_error": {"poor": 0.1667, "sure": 0.5},
        "gap_to_train": {"poor": 0.0, "sure": 0.0},
        "macro_f1": {"poor": 0.1667, "sure": 1.0},
        "validation_accuracy": {"poor": 0.3333, "sure": 1.0},
    }
    tested = pd.read_csv(tmp_path / "confusion" / "poor.csv")
    assert list(tested.columns) == ["id", "actual", "predicted", "confidence"]
    assert len(tested) == 9


def test_photos_from_elsewhere_are_scored_beside_the_test_and_are_no_metric(
    script: Script, stages: list[Path], tmp_path: Path
) -> None:
    """Of six of the photos, taken out of the training part and scored as another source's."""
    out = [tmp_path / name for name in OUT]
    chosen = ("--model", "poor", "--model", "sure")
    assert script("evaluate", *stages, *out, *chosen).returncode == 0
    before, without = (json.loads(path.read_text()) for path in out[:2])
    assert (without["models"]["poor"]["external"], list(without["models"]["poor"]["by_group"])) == (None, ["test"])
    rows = pd.read_csv(stages[0], dtype=str)
    rows["split"] = rows["split"].mask(rows["id"].str.fullmatch("p[12]_0[0-2]"), "external")
    rows.to_csv(tmp_path / "s.csv", index=False)
    assert script("evaluate", tmp_path / "s.csv", *stages[1:], *out, *chosen).returncode == 0
    found = results.read(out[1])
    poor, sure = found.models["poor"], found.models["sure"]
    assert poor.external is not None
    assert (poor.external.top1, poor.test.top1) == (0.5, 0.3333)
    assert set(poor.probabilities) == {"train", "validation", "test", "external"}
    assert sure.by_group == dict.fromkeys(("test", "external"), results.Interval(1, 1))
    assert poor.by_group["test"].low < 0.3333 < poor.by_group["test"].high
    assert (sure.sets["external"].coverage, poor.sets["test"].coverage) == (1, 1)
    assert set(json.loads(out[0].read_text())) == set(before)


@pytest.mark.parametrize("part", ["train", "validation", "test"])
def test_a_split_without_photos_for_a_part_is_an_error_that_names_it(
    script: Script, stages: list[Path], tmp_path: Path, part: str
) -> None:
    rows = pd.read_csv(stages[0], dtype=str)
    rows.assign(split=rows["split"].replace(part, "test" if part == "train" else "train")).to_csv(tmp_path / "s.csv")
    done = script("evaluate", tmp_path / "s.csv", *stages[1:], *(tmp_path / name for name in "rec"), "--model", "sure")
    fails_in_one_line(done, "s.csv", f"no photo is for {part}", "dvc repro --force split")


def test_the_interval_is_wilsons() -> None:
    """Brown, Cai and DasGupta (2001): 0 of 10 gives (0, 0.2775); 8 of 10 gives (0.4902, 0.9433)."""
    ten, half = pd.Series(["a"] * 10), pd.Series([0.5] * 10)
    none = metrics.score(ten, pd.Series(["b"] * 10), half)
    assert (none.top1_low, none.top1_high) == (0.0, 0.2775)
    eight = metrics.score(ten, pd.Series(["a"] * 8 + ["b"] * 2), half)
    assert (eight.top1_low, eight.top1_high) == (0.4902, 0.9433)


def test_mcnemar_counts_the_photos_on_which_two_models_differ() -> None:
    first, second = pd.Series([True] * 10 + [False] * 2), pd.Series([True] * 2 + [False] * 8 + [True] * 2)
    assert (
        metrics.mcnemar(first, second) == metrics.mcnemar(second, first) == pytest.approx(0.109375)
    )  # 8 against 2, exact binomial
    assert metrics.mcnemar(first, first) == 1.0
    assert significance.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])


@settings(max_examples=examples(100))
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_never_lowers_a_p_nor_changes_their_order(values: list[float]) -> None:
    found = significance.holm(values)
    assert all(1 >= after >= before for before, after in zip(values, found, strict=True))
    assert found[int(np.argmin(values))] == min(min(values) * len(values), 1)
    assert [found[i] for i in np.argsort(values)] == sorted(found)


@pytest.mark.parametrize("block", [1, 2, arrays.BLOCK])
def test_probabilities_are_scored_as_by_hand_however_many_photos_at_once(block: int) -> None:
    shares, actual = np.array([[0.5, 0.25, 0.15, 0.1], [0.1, 0.2, 0.3, 0.4], [0, 0, 0, 1]]), np.array([0, 0, 2])
    blocks = [(actual[start : start + block], shares[start : start + block]) for start in range(0, 3, block)]
    found = metrics.probability_scores(blocks)
    assert found.top3 == round(
        1 / 3, 4
    )  # the second's is the fourth of four; of the third's equal ones the first columns count
    assert found.log_loss == round(-float(np.log([0.5, 0.1, metrics.LOWEST]).mean()), 4)
    brier = (0.5**2 + 0.25**2 + 0.15**2 + 0.1**2 + 0.9**2 + 0.2**2 + 0.3**2 + 0.4**2 + 2) / 3
    assert found.brier == round(brier, 4)


@settings(max_examples=examples(6))
@given(st.integers(1, 40), st.integers(2, 12), st.integers(0, 2**32), st.sampled_from([1, 7, 64]))
def test_what_is_read_and_scored_does_not_depend_on_the_photos_in_a_block(
    photos: int, landmarks: int, seed: int, block: int
) -> None:
    """In files whose photos stand in another order than in the split, too."""
    rng, labels = np.random.default_rng(seed), [str(number) for number in range(landmarks)]
    actual = pd.Series(rng.choice(labels, 3 * photos), [f"p{number}" for number in range(3 * photos)])
    rows = pd.DataFrame({"landmark_id": actual, "split": np.repeat(schema.PARTS, photos), "group": range(3 * photos)})
    shares, order = rng.dirichlet(np.ones(landmarks), 3 * photos), rng.permutation(3 * photos)
    with tempfile.TemporaryDirectory() as made, pytest.MonkeyPatch.context() as patch:
        path, tables_read, scores = Path(made) / "m.parquet", [], []
        for size in (10**6, block):
            for module, name in ((arrays, "BLOCK"), (prediction_files, "ROWS")):
                patch.setattr(module, name, size)
            prediction_files.write(path, actual.index[order], actual.iloc[order], labels, shares[order])
            tables_read.append(prediction_files.read(path, actual))
            scores.append(metrics.compare({"m": tables_read[-1], "same": tables_read[-1]}, rows))
    pd.testing.assert_frame_equal(tables_read[0], tables_read[1])
    np.testing.assert_array_equal(prediction_files.probabilities(tables_read[0])[1], shares.astype(np.float32))
    assert scores[0] == scores[1]


def test_memory_holds_the_probabilities_of_one_model_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays, "BLOCK", 256)
    photos, labels = 6_000, [str(number) for number in range(200)]
    actual = pd.Series([labels[number % 200] for number in range(photos)], [f"p{number}" for number in range(photos)])
    parts = np.array(schema.PARTS)[np.arange(photos) % 3]
    rows = pd.DataFrame({"landmark_id": actual, "split": parts, "group": range(photos)})
    shares = np.full((photos, 200), 1 / 200, np.float32)
    files = {name: tmp_path / f"{name}.parquet" for name in ("one", "other", "third")}
    for path in files.values():
        prediction_files.write(path, actual.index, actual, labels, shares)
    tracemalloc.start()
    metrics.compare(prediction_files.Predictions(files, actual), rows)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert shares.nbytes < peak < 2.1 * shares.nbytes  # the rest: names, answers, the draws of the bootstrap


@given(LABELS)
def test_scores_lie_where_they_must(rows: list[tuple[str, str]]) -> None:
    actual, predicted = (pd.Series(list(column)) for column in zip(*rows, strict=True))
    score = metrics.score(actual, predicted, pd.Series(np.linspace(0, 1, len(rows))))
    assert 0 <= score.top1_low <= score.top1 <= score.top1_high <= 1
    assert all(0 <= value <= 1 for value in asdict(score).values())
    assert set(metrics.by_class(actual, predicted)) == set(actual)


@pytest.mark.parametrize(("change", "parts"), [
    (lambda rows: rows.iloc[1:], ["not the photos of the split stage"]),
    (lambda rows: rows.assign(actual="3"), ["'p1_00'", "another landmark"]),
    (lambda rows: rows.assign(confidence=2.0), ["'p1_00'", "confidence between 0 and 1"]),
    (lambda rows: rows.assign(confidence="much"), ["'confidence' holds no numbers"]),
    (lambda rows: rows.assign(**{"p:2": np.nan}), ["'p1_00'", "between 0 and 1"]),
    (lambda rows: rows.drop(columns="p:1"), ["'p1_00'", "no probability of its landmark"]),
    (lambda rows: rows.drop(columns="predicted"), ["no column 'predicted'"]),
])  # fmt: skip
def test_predictions_of_other_photos_are_an_error(
    script: Script, stages: list[Path], tmp_path: Path, change: Callable[[pd.DataFrame], pd.DataFrame], parts: list[str]
) -> None:
    path = tmp_path / "predictions" / "poor.parquet"
    change(pd.read_parquet(path)).to_parquet(path, index=False)
    out = [*(tmp_path / name for name in OUT), "--model", "poor"]
    fails_in_one_line(script("evaluate", *stages, *out), "poor.parquet", *parts)
    assert not any(Path(str(path)).exists() for path in out)


def test_predictions_that_are_missing_or_no_parquet_file_are_an_error(
    script: Script, stages: list[Path], tmp_path: Path
) -> None:
    path = tmp_path / "predictions" / "poor.parquet"
    out = [*(tmp_path / name for name in OUT), "--model", "poor"]
    path.write_bytes(path.read_bytes()[:-9])
    fails_in_one_line(script("evaluate", *stages, *out), "poor.parquet", "not a readable Parquet file")
    path.unlink()
    fails_in_one_line(script("evaluate", *stages, *out), "poor.parquet", "no such file")


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
