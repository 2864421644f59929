"""The stages sweep, grid, baseline and retrieve: fitted and chosen on train alone, errors that name the remedy."""

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import pytest
from support import Done, Script, fails_in_one_line

import stage
from classical.conftest import BAYES, SMALL, write
from landmarks.classical import features_file, saved_models
from landmarks.classical.config import Encoding, Kind


def succeed(done: Done) -> None:
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_choices_and_models_go_by_train_alone(script: Script, described: Path, split: Path, tmp_path: Path) -> None:
    """Whatever the photos for validation and test hold, model and choice stay the same to the byte."""
    read = features_file.read(described)
    train = (pd.read_csv(split)["split"] == "train").to_numpy()
    upset = features_file.objects(each if known else each * -9 for each, known in zip(read.values, train, strict=True))
    for folder in ("one", "other"):
        (tmp_path / folder).mkdir()
    write(tmp_path / "one" / "kaze.arrow", read, read.values)
    write(tmp_path / "other" / "kaze.arrow", read, upset)
    made = []
    for folder in ("one", "other"):
        path, out = tmp_path / folder / "kaze.arrow", [tmp_path / f"{folder}.{n}" for n in range(7)]
        succeed(script("sweep", path, split, *out[:2], "--start", 2, "--stop", 9, "--step", 3, "--folds", 3))
        succeed(script("grid", path.parent, split, out[2], out[3], "--features", "kaze", *SMALL))
        model = (*BAYES, "--encoding", "fisher", "--classifier", "logistic", *SMALL)
        succeed(script("baseline", path.parent, split, *out[4:6], *model))
        made.append([file.read_bytes() for file in out[:6]])
    assert made[0][2:5] == made[1][2:5]
    assert made[0][5] != made[1][5]
    swept_tables = [pd.read_csv(tmp_path / f"{folder}.0") for folder in ("one", "other")]
    assert list(swept_tables[0]["components"]) == [2, 5, 8]
    for column in ("train", "validation"):
        assert list(swept_tables[0][column]) == list(swept_tables[1][column])
    assert (swept_tables[0]["test"] != swept_tables[1]["test"]).any()


def test_the_sweep_chooses_by_validation_and_shows_what_choosing_on_the_test_set_gains(
    script: Script, described: Path, split: Path, tmp_path: Path
) -> None:
    out, numbers = [tmp_path / "s.csv", tmp_path / "s.json"], ("--start", 1, "--stop", 9, "--step", 1)
    succeed(script("sweep", described, split, *out, *numbers, "--folds", 3))
    table, told = pd.read_csv(out[0]), json.loads(out[1].read_text())
    assert told["validation"] == table["validation"].max()
    assert told["thesis_test"] == table["test"].max()
    assert told["test"] == table.set_index("components").loc[told["components"], "test"]
    assert told["gained_by_looking"] == round(told["thesis_test"] - told["test"], 4) >= 0


@pytest.mark.parametrize(("start", "stop", "edge"), [(1, 9, ""), (4, 9, "sweep.start")])
def test_the_sweep_warns_where_its_best_number_lies_at_the_edge_of_the_range(
    script: Script, described: Path, split: Path, tmp_path: Path, start: int, stop: int, edge: str
) -> None:
    numbers = ("--start", start, "--stop", stop, "--step", 1, "--folds", 3)
    done = script("sweep", described, split, tmp_path / "s.csv", tmp_path / "s.json", *numbers)
    succeed(done)
    best = json.loads((tmp_path / "s.json").read_text())["components"]
    assert (f"move {edge}" in done.stderr) == (best == start) if edge else "edge of the range" not in done.stderr


def test_the_grid_holds_every_combination_and_names_the_best_by_validation(
    script: Script, described: Path, split: Path, tmp_path: Path
) -> None:
    read = features_file.read(described)
    write(tmp_path / "kaze.arrow", read, read.values)
    write(tmp_path / "noise.arrow", read, features_file.objects(values * 0 + 1 for values in read.values))
    files = ("--features", "kaze", "--features", "noise")
    made = []
    for workers in "12":
        out = [tmp_path / f"{workers}.{kind}" for kind in ("csv", "json")]
        succeed(script("grid", tmp_path, split, *out, *files, *SMALL, LANDMARKS_WORKERS=workers))
        made.append([file.read_bytes() for file in out])
    assert made[0] == made[1]
    table, best = pd.read_csv(out[0]), json.loads(out[1].read_text())
    assert len(table) == 2 * len(get_args(Encoding)) * len(get_args(Kind))
    assert best["validation"] == table["validation"].max()
    assert best["features"] == "kaze"


@pytest.mark.parametrize(("encoding", "kind", "n"), [
    ("flat", "bayes", 0), ("flat", "bayes", 6), ("flat", "tree", 6), ("words", "logistic", 0), ("vlad", "svm", 0),
    ("fisher", "neighbours", 5),
])  # fmt: skip
def test_every_photo_gets_a_prediction_and_the_saved_model_gives_the_same(
    script: Script, described: Path, split: Path, tmp_path: Path, encoding: str, kind: str, n: int
) -> None:
    out = [tmp_path / "m.skops", tmp_path / "p.parquet"]
    knobs = ("--features", "kaze", "--encoding", encoding, "--classifier", kind, "--pca", n)
    succeed(script("baseline", described.parent, split, *out, *knobs, *SMALL))
    rows, read = pd.read_parquet(out[1]), features_file.read(described)
    assert list(rows.columns) == ["id", "actual", "predicted", "confidence", "p:1", "p:2", "p:3"]
    assert list(rows["id"]) == list(read.ids)
    assert rows["confidence"].between(1 / 3 - 1e-6, 1).all()
    model = saved_models.load(out[0], read.settings)
    assert list(model.predict(read.values)) == list(rows["predicted"])


@pytest.mark.parametrize(
    "model", [BAYES, ("--features", "kaze", "--encoding", "vlad", "--pca", 0, "--classifier", "svm")]
)
def test_with_refit_validation_photos_teach_and_are_predicted_by_a_model_that_lacks_them(
    script: Script, described: Path, split: Path, tmp_path: Path, model: tuple[object, ...]
) -> None:
    rows, parts = {}, pd.read_csv(split, dtype=str).set_index("id")["split"]
    for refit in ("--no-refit", "--refit"):
        out = [tmp_path / f"m{refit}", tmp_path / f"p{refit}"]
        succeed(script("baseline", described.parent, split, *out, *model, *SMALL, refit))
        rows[refit] = pd.read_parquet(out[1]).set_index("id").filter(like="p:")
    differ = (rows["--refit"] != rows["--no-refit"]).any(axis=1)
    assert not differ[parts == "validation"].any()
    assert differ[parts == "test"].any()


@pytest.mark.parametrize(("stage", "knobs", "parts"), [
    ("baseline", (*BAYES, "--pca", 22), ["22 principal", "21 training", "pca.n", "to 21 in params.yaml"]),
    ("baseline", (*BAYES, "--encoding", "vlad", "--words", 3000), ["of 3000 words", "encoding.sample", "keypoints.count"]),
    ("sweep", ("--start", 15, "--stop", 40, "--folds", 3), ["sweep.start 15", "give 14 components at most", "to 14"]),
    ("sweep", ("--start", 2, "--stop", 4, "--folds", 8), ["7 training photos", "sweep.folds asks for 8", "lower it to 7"]),
])  # fmt: skip
def test_more_asked_for_than_the_training_photos_hold_is_an_error_that_names_the_parameter(
    script: Script,
    described: Path,
    split: Path,
    tmp_path: Path,
    stage: str,
    knobs: tuple[object, ...],
    parts: list[str],
) -> None:
    source = described if stage == "sweep" else described.parent
    fails_in_one_line(script(stage, source, split, tmp_path / "m", tmp_path / "p", *knobs), *parts)
    assert not list(tmp_path.iterdir())


def test_a_range_beyond_what_the_photos_give_is_cut_with_a_note(
    script: Script, described: Path, split: Path, tmp_path: Path
) -> None:
    out = [tmp_path / "s.csv", tmp_path / "s.json"]
    done = script("sweep", described, split, *out, "--start", 10, "--stop", 200, "--step", 2, "--folds", 3)
    succeed(done)
    assert list(pd.read_csv(out[0])["components"]) == [10, 12, 14]
    assert "sweep.stop 200: the training photos of a fold give 14 components at most" in done.stderr


def few(described: Path, split: Path, folder: Path, photos: int) -> tuple[Path, Path]:
    """So many training photos of each of two landmarks, two for validation and three for the test, with keypoints."""
    rows = pd.read_csv(split, dtype=str)
    rank = rows[rows["split"] == "train"].groupby("landmark_id").cumcount(ascending=False)
    kept = rows["landmark_id"].isin(["1", "3"]) & (rank.reindex(rows.index).fillna(0) < photos)
    rows[kept].to_csv(folder / "split.csv", index=False)
    read, keep = features_file.read(described), kept.to_numpy()
    arrays = {name: getattr(read, name)[keep] for name in ("ids", "landmarks", "found", "points", "values")}
    write(folder / "kaze.arrow", replace(read, **arrays), arrays["values"])
    return folder / "kaze.arrow", folder / "split.csv"


@pytest.mark.parametrize("count", [1, 2])
def test_with_few_photos_all_that_can_be_fitted_is(
    script: Script, described: Path, split: Path, tmp_path: Path, count: int
) -> None:
    file, table = few(described, split, tmp_path, count)
    out = [tmp_path / name for name in ("a", "b")]
    for kind in get_args(Kind):
        for encoding in get_args(Encoding):
            knobs = (*BAYES, "--encoding", encoding, "--classifier", kind, *SMALL, "--words", 2)
            succeed(script("baseline", tmp_path, table, *out, *knobs))
    done = script("retrieve", file, table, out[0], tmp_path / "r.csv", tmp_path / "r.json")
    succeed(done)
    assert f"retrieve.verified 20: there are {2 * count} training photos" in done.stderr
    assert json.loads((tmp_path / "r.json").read_text())["nearest"] == 2 * count
    sweep = ("sweep", file, table, *out, "--start", 1)
    grid = ("grid", tmp_path, table, *out, "--features", "kaze", *SMALL)
    if count == 2:
        fails_in_one_line(script(*sweep), "sweep.folds asks for 5", "2 training photos", "lower it to 2")
        fails_in_one_line(script(*grid), "grid.folds asks for 3", "lower it to 2")
        succeed(script(*sweep, "--folds", 2))
        succeed(script(*grid, "--folds", 2))
    else:
        fails_in_one_line(script(*sweep), "1 training photos", "raise sample.per_class")
        fails_in_one_line(script(*grid), "1 training photos", "raise sample.per_class")


def test_more_keypoints_than_a_row_can_have_cannot_be_asked_for(script: Script, described: Path, split: Path) -> None:
    done = script("baseline", described.parent, split, split, split, *BAYES, "--keypoints", 10**8)
    assert (done.returncode, "4096" in done.stderr) == (2, True)


@pytest.mark.parametrize("value", ["abc", 1.5, -3, True, [4]])
def test_a_value_of_pca_that_is_no_whole_number_is_an_error_that_names_it(
    script: Script, described: Path, split: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: object
) -> None:
    changed = {**stage.params(), "pca": {"n": value}}
    monkeypatch.setattr(stage, "params", lambda: changed)
    done = script("baseline", described.parent, split, tmp_path / "m", tmp_path / "p.csv", *BAYES, "--pca", "n")
    fails_in_one_line(done, f"params.yaml: pca.n is {value!r}", "whole number")


def test_a_split_of_other_photos_is_an_error(script: Script, described: Path, split: Path, tmp_path: Path) -> None:
    pd.read_csv(split).iloc[1:].to_csv(tmp_path / "split.csv", index=False)
    done = script("baseline", described.parent, tmp_path / "split.csv", tmp_path / "m", tmp_path / "p", *BAYES)
    fails_in_one_line(done, "'p1_00'", "dvc repro")


@pytest.mark.parametrize(("column", "value", "said"), [
    ("split", "Train", ["row 3", "'Train'"]), ("group", "x", ["row 3", "'x'"]), ("id", "p1_00", ["row 3", "'p1_00'", "twice"]),
    ("landmark_id", "2", ["'p1_01'", "another landmark"]),
])  # fmt: skip
def test_a_split_that_was_changed_by_hand_is_an_error_that_names_the_row(
    script: Script, described: Path, split: Path, tmp_path: Path, column: str, value: str, said: list[str]
) -> None:
    rows = pd.read_csv(split, dtype=str)
    rows.loc[1, column] = value
    rows.to_csv(tmp_path / "split.csv", index=False)
    done = script("baseline", described.parent, tmp_path / "split.csv", tmp_path / "m", tmp_path / "p", *BAYES)
    fails_in_one_line(done, "split.csv", "dvc repro", *said)


def test_a_single_landmark_and_photos_without_keypoints_are_errors_that_say_so(
    script: Script, described: Path, split: Path, tmp_path: Path
) -> None:
    read = features_file.read(described)
    one = replace(read, landmarks=np.repeat("1", len(read.ids)))
    write(tmp_path / "kaze.arrow", one, read.values)
    pd.read_csv(split, dtype=str).assign(landmark_id="1").to_csv(tmp_path / "one.csv", index=False)
    out = [tmp_path / "m", tmp_path / "p"]
    fails_in_one_line(script("baseline", tmp_path, tmp_path / "one.csv", *out, *BAYES), "two are needed")
    points, values = (features_file.objects(each[:0] for each in column) for column in (read.points, read.values))
    write(tmp_path / "kaze.arrow", replace(read, points=points), values)
    for encoding in ("flat", "fisher"):
        done = script("baseline", tmp_path, split, *out, *BAYES, "--encoding", encoding, "--words", 4)
        assert done.returncode == 1, encoding
        assert "Traceback" not in done.stderr
        assert "keypoints" in done.stderr


@pytest.mark.slow
def test_photos_are_found_by_their_encoding_and_their_common_points_counted(
    script: Script, photos: Path, split: Path, tmp_path: Path
) -> None:
    file, model = tmp_path / "upright.arrow", tmp_path / "m"
    upright = ("--detector", "sift", "--protocol", "upright", "--long-side", 320)
    succeed(script("keypoints", photos / "photos.csv", photos / "images", file, tmp_path / "f.json", *upright))
    vlad = ("--encoding", "vlad", "--pca", 0, "--classifier", "svm", "--words", 16, "--components", 32)
    succeed(script("baseline", tmp_path, split, model, tmp_path / "p", "--features", "upright", *vlad))

    def retrieve(*knobs: object, **environment: str) -> tuple[bytes, bytes]:
        table, told = tmp_path / "t.csv", tmp_path / "t.json"
        succeed(script("retrieve", file, split, model, table, told, "--nearest", 3, *knobs, **environment))
        return told.read_bytes(), table.read_bytes()

    made = [retrieve(LANDMARKS_WORKERS=workers) for workers in "12"]
    assert made[0] == made[1]
    told = json.loads(made[0][0])
    assert (told["queries"], told["nearest"]) == (6, 3)
    assert told["precision"] >= 0.6  # chance: a third
    rows = pd.read_csv(io.BytesIO(made[0][1]))
    assert list(rows["rank"]) == [1, 2, 3] * 6
    assert (rows["same_landmark"] == (rows["query"].str[:2] == rows["photo"].str[:2])).all()
    assert rows["same_landmark"].mean() == pytest.approx(told["precision_verified"], abs=1e-4)
    parts = pd.read_csv(split, index_col="id")["split"]
    assert set(parts[rows["query"]]) == {"validation"}
    assert set(parts[rows["photo"]]) == {"train"}
    first, far = (json.loads(retrieve("--trusted", trusted)[0]) for trusted in (1, 10**6))
    assert far["precision_verified"] == far["precision"] == told["precision"]  # nobody has so many inliers
    assert first["precision_verified"] != first["precision"]
    fails_in_one_line(script("retrieve", file, split, tmp_path / "none", tmp_path, tmp_path), "none", "dvc repro")
