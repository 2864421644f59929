"""Charts and pictures of photos: made from what other stages left, the same bytes every time."""

import json
import re
import shutil
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_rgb
from support import ROOT, Script, gate_settings

import gallery as gallery_stage
import plots as plots_stage
import stage
from landmarks.classical import features_file, local_features
from landmarks.common.errors import InputError
from landmarks.dataset.places import Names
from landmarks.evaluation import metrics, results
from landmarks.images import decoding
from landmarks.privacy.redaction import Face
from landmarks.reporting import figures, gallery, labels, plots

PHOTOS = {"train": 340, "validation": 80, "test": 180}


@pytest.fixture(scope="module")
def left(photos: Path, split: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the stages leave of two models, one of them always right, that no script knows by name."""
    root = tmp_path_factory.mktemp("left")
    shutil.copytree(photos / "images", root / "data" / "anonymous")
    rows = pd.read_csv(split, dtype=str).set_index("id")
    (root / "plots" / "confusion").mkdir(parents=True)
    predictions = {}
    for name, predicted in {"always-right": rows["landmark_id"], "one": "1"}.items():
        columns = {"actual": rows["landmark_id"], "predicted": predicted, "confidence": np.linspace(0.3, 1, len(rows))}
        shares = {f"p:{label}": 0.25 for label in sorted(set(rows["landmark_id"]))}
        predictions[name] = pd.DataFrame({**columns, **shares}, rows.index)
        tested = pd.DataFrame(columns, rows.index)[rows["split"] == "test"].reset_index()
        tested.to_csv(root / "plots" / "confusion" / f"{name}.csv", index=False)
    scored = metrics.compare(predictions, rows)
    results.Evaluation(
        models=scored, data={"reject": {"threshold": 0.5}, "split": rows["split"].value_counts().to_dict()}
    ).write(root / "evaluation.json")
    (root / "landmarks.csv").write_text("id,name\n1,Old Bridge\n2,Torre Añil\n")
    (root / "data" / "predictions").mkdir()
    (root / "data" / "predictions" / "plain.suspects.csv").write_text(
        "id,actual,predicted,own_probability,confidence\np1_00,1,3,0.01,0.98\n"
    )
    answers = {"id": list("abcd"), "answer": ["right", "wrong", "unknown", "right"], "confidence": [0.9, 0.6, 0.2, 1]}
    pd.DataFrame(answers).to_csv(root / "data" / "confidences.csv", index=False)
    pd.DataFrame({"coverage": [0.5, 1], "risk": [0, 0.1]}).to_csv(root / "plots" / "rejection.csv", index=False)
    grid = {"features": "orb", "encoding": ["flat", "vlad"], "kind": "svm", "validation": [0.25, 0.75]}
    pd.DataFrame(grid).to_csv(root / "plots" / "grid.csv", index=False)
    curve = {"model": "one", "photos": [5, 5, 7.5], "draw": [0, 1, 0], "accuracy": [0.25, 0.5, 0.75]}
    pd.DataFrame(curve).to_csv(root / "plots" / "learning_curve.csv", index=False)
    disturbed = {"model": "one", "kind": ["none", "turn"], "strength": [0, 90], "photos": 8, "accuracy": [1, 0.5]}
    pd.DataFrame(disturbed).to_csv(root / "plots" / "robustness.csv", index=False)
    _write_for_gallery(root / "data", split)
    return root


def _write_for_gallery(data: Path, split: Path) -> None:
    shutil.copy(split, data / "split.csv")
    settings = asdict(gate_settings(detector="haar", sizes=(320,), turned=0, method="solid"))
    face = {"x": 20, "y": 30, "w": 40, "h": 40, "score": 0.4}
    record = {**settings, "photos": {"p1_00": {"faces": [face]}, "p1_01": {"faces": []}}}
    (data / "faces.json").write_text(json.dumps(record))
    queries = {"query": ["p1_07"] * 2 + ["p2_07"] * 2, "photo": ["p1_00", "p2_00", "p2_01", "p2_02"]}
    table = pd.DataFrame(queries).assign(same_landmark=["true", "false", "true", "true"], inliers=[40, 3, 31, 0])
    table.to_csv(data / "retrieval.csv", index=False)
    labels, shares = np.array(["1", "2"]), np.array([0.9, 0.2])
    pictures = np.full((2, 32, 32, 3), 90, np.uint8)
    drops = np.ones((2, 4, 4), np.float32)
    np.savez(data / "occlusion.npz", picture=pictures, drops=drops, landmark=labels, probability=shares)
    (data / "keypoints").mkdir()
    describe(data / "keypoints" / "orb.arrow", data / "anonymous", ["p1_00", "p2_00", "p2_01"])


def describe(path: Path, folder: Path, ids: list[str]) -> None:
    settings = local_features.FeatureSettings(detector="orb", count=100, long_side=200, protocol="joint")

    def row(photo: str) -> features_file.Row:
        picture = decoding.read(folder / f"{photo}.jpg", 200)
        points, values, count = local_features.describe(picture, settings)
        where = [(point.pt[0] / 200, point.pt[1] / 200, point.size / 200, point.angle) for point in points]
        return features_file.Row(photo, photo[1], count, np.array(where, np.float32).reshape(-1, 4), values)

    features_file.write(path, settings, map(row, ids))


def drawn(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.png")}


def test_confusion_is_drawn_of_short_names_never_two_alike(script: Script, left: Path, tmp_path: Path) -> None:
    shutil.copytree(left / "plots", tmp_path / "plots")
    long = "The Old Bridge over the River"
    (tmp_path / "landmarks.csv").write_text(f"id,name\n1,{long} of the North\n2,{long} of the South\n")
    given = left / "evaluation.json", tmp_path / "landmarks.csv", left / "data", tmp_path / "plots"
    done = script("plots", *given, "--folds", 3)
    assert done.returncode == 0, done.stderr
    answers = {name: pd.read_csv(tmp_path / "plots" / "answers" / f"{name}.csv") for name in ("always-right", "one")}
    ids = pd.read_csv(left / "plots" / "confusion" / "one.csv", dtype=str)
    for rows in answers.values():
        assert list(rows) == ["actual", "predicted"]
        assert len(rows) == len(ids)
    called = dict(zip(ids["actual"], answers["one"]["actual"], strict=True))
    assert len(set(called.values())) == len(called) == 3
    assert called["3"] == "3"  # without a name
    assert all(len(name) <= 28 and name.startswith("The Old Bridge") for id_, name in called.items() if id_ != "3")
    assert set(answers["one"]["predicted"]) == {called["1"]}


def test_the_charts_of_the_results_repeat_to_the_byte(script: Script, left: Path, tmp_path: Path) -> None:
    for name in "ab":
        shutil.copytree(left / "plots", tmp_path / name)
    done = script(
        "plots",
        left / "evaluation.json",
        left / "landmarks.csv",
        left / "data",
        tmp_path / "a",
        "--title",
        "a test",
        "--folds",
        "3",
    )
    assert done.returncode == 0, done.stderr
    plots_stage.main(
        left / "evaluation.json", left / "landmarks.csv", left / "data", tmp_path / "b", stage.TitleConfig("a test"), 3
    )
    names = {"accuracy", "grid", "learning_curve", "mistakes", "rejection", "reliability", "robustness", "suspects"}
    assert set(drawn(tmp_path / "a")) == {f"{name}.png" for name in names}
    assert drawn(tmp_path / "a") == drawn(tmp_path / "b")


def test_the_gallery_repeats_to_the_byte(script: Script, left: Path, tmp_path: Path) -> None:
    world = tmp_path / "world.yaml"
    world.write_text(re.sub(r"landmarks: 12\b", "landmarks: 2", (ROOT / "data" / "demo" / "world.yaml").read_text()))
    (tmp_path / "b" / "keypoints").mkdir(parents=True)
    (tmp_path / "b" / "keypoints" / "of-an-earlier-run.png").write_bytes(b"")
    done = script("gallery", left / "data", left / "landmarks.csv", tmp_path / "a", world, "--features", "orb")
    assert done.returncode == 0, done.stderr
    gallery_stage.main(left / "data", left / "landmarks.csv", tmp_path / "b", world, ["orb"])
    names = {"detections.png", "explain.png", "faces.png", "keypoints/orb.png", "retrieval.png"}
    assert set(drawn(tmp_path / "a")) == names
    assert all(cv2.imread(str(tmp_path / "a" / name)).shape[1] <= 700 for name in names)
    assert drawn(tmp_path / "a") == drawn(tmp_path / "b")


def test_a_malformed_file_is_named(left: Path, tmp_path: Path) -> None:
    shutil.copy(left / "data" / "split.csv", tmp_path)
    (tmp_path / "retrieval.csv").write_text("query,photo,same_landmark,inliers\nother,p1_00,true,3\n")
    with pytest.raises(InputError, match=r"retrieval.csv: the photo 'other' is not in the split; run: dvc repro"):
        gallery_stage._draw_retrieval(tmp_path / "r.png", tmp_path)
    with pytest.raises(InputError, match=r"occlusion.npz: no such file; run: dvc repro explain"):
        gallery_stage._draw_occlusions(tmp_path / "e.png", tmp_path / "occlusion.npz", Names())
    for content in (b"nothing", b"", (left / "data" / "occlusion.npz").read_bytes()[:-40]):
        (tmp_path / "occlusion.npz").write_bytes(content)
        with pytest.raises(InputError, match=r"occlusion.npz: not a file of the explain stage .*dvc repro --force"):
            gallery_stage._draw_occlusions(tmp_path / "e.png", tmp_path / "occlusion.npz", Names())


def test_the_figure_of_keypoints_needs_no_two_photos_of_a_landmark(photos: Path, tmp_path: Path) -> None:
    for ids in (["p1_00"], ["p1_00", "p2_00"], ["p1_00", "p2_00", "p2_01"]):
        describe(tmp_path / "orb.arrow", photos / "images", ids)
        features = features_file.read(tmp_path / "orb.arrow")
        gallery_stage._draw_keypoints(tmp_path / "orb.png", photos / "images", features)
        assert cv2.imread(str(tmp_path / "orb.png")).std() > 0


def test_the_sheet_of_faces_says_where_there_are_none(left: Path, tmp_path: Path) -> None:
    photos = json.loads((left / "data" / "faces.json").read_text())["photos"]
    for name, passed in (("sheet", photos), ("none", {"p1_01": {"faces": []}})):
        gallery.least_certain(tmp_path / f"{name}.png", left / "data" / "anonymous", passed)
    sheet, none = (cv2.imread(str(tmp_path / f"{name}.png")) for name in ("sheet", "none"))
    assert sheet.std() > none.std()


def test_two_dollars_in_a_title_are_text_and_no_formula(tmp_path: Path) -> None:
    """Of a formula, the dollars would not be drawn; of one that is none, drawing would fail."""
    score = results.Score(0.5, 0.4, 0.6, 0.5, 0.5, 0.5, 0.1)
    models = {"$m$": results.ModelScores(score, score, score, {"1": results.ClassScore(1, 1, 1)}, {}, {})}
    for name, title in (("formula", "$a$"), ("plain", "a"), ("broken", "$(id) ^_{$ ñ")):
        plots.accuracies(tmp_path / f"{name}.png", models, PHOTOS, title)
    formula, plain = (decoding.read(tmp_path / f"{name}.png") for name in ("formula", "plain"))
    assert (formula != plain).any()
    wide, narrow = (np.flatnonzero((picture[:30] < 128).all(axis=2).any(axis=0)) for picture in (formula, plain))
    assert np.ptp(wide) > np.ptp(narrow) + 8


@given(st.lists(st.text("ab", max_size=9), max_size=30), st.integers(5, 9))
def test_no_two_names_are_alike_after_cutting(names: list[str], most: int) -> None:
    short = labels.shortened(names, most)
    assert list(short) == list(dict.fromkeys(names))
    assert len(set(short.values())) == len(short)
    for name, label in short.items():
        assert len(label) <= most
        assert label == name if len(name) <= most else "…" in label


def test_a_name_is_cut_at_its_end_or_where_another_begins_alike_before_it() -> None:
    names = ["Sagrada Familia", "Sagrada Familia 2", "Alhambra", "Sagra…"]
    assert list(labels.shortened(names, 8).values()) == ["Sagrada…", "Sagrad…2", "Alhambra", "Sagra…"]


def test_charts_are_narrow_enough_for_two_beside_each_other(left: Path, tmp_path: Path) -> None:
    shutil.copytree(left / "plots", tmp_path / "p")
    plots_stage.main(
        left / "evaluation.json", left / "landmarks.csv", left / "data", tmp_path / "p", stage.TitleConfig("a test"), 3
    )
    assert all(cv2.imread(str(path)).shape[1] <= 700 for path in (tmp_path / "p").glob("*.png"))


def count(path: Path, colour: str) -> int:
    """Pixels of exactly this colour."""
    return int((decoding.read(path)[..., ::-1] == np.round(np.multiply(to_rgb(colour), 255))).all(axis=2).sum())


def test_one_wrong_answer_is_seen_beside_a_thousand_right_ones(tmp_path: Path) -> None:
    rows = pd.DataFrame({"answer": ["right"] * 1000 + ["unknown"] * 100, "confidence": 0.95})
    curve = pd.DataFrame({"coverage": [0.5, 1], "risk": [0, 0.001]})
    one = pd.DataFrame({"answer": ["wrong"], "confidence": 0.95})
    for name, table in (("none", rows), ("one", pd.concat([rows, one]))):
        plots.rejection(tmp_path / f"{name}.png", table, 0.5, curve)
    assert count(tmp_path / "none.png", figures.WRONG) == 0
    assert count(tmp_path / "one.png", figures.WRONG) > 200


def test_a_dot_at_the_edge_of_a_reliability_chart_is_whole(tmp_path: Path) -> None:
    sizes = []
    for place in (0.5, 1.0):
        bins = np.array([[180, place, place], *[[0, np.nan, np.nan]] * 9])
        plots.reliability(tmp_path / "r.png", {"a": bins}, {"a": 0.0})
        blue, green, red = decoding.read(tmp_path / "r.png").astype(int).transpose(2, 0, 1)
        sizes.append(int(((blue - red > 40) & (green > red)).sum()))
    assert sizes[1] == pytest.approx(sizes[0], rel=0.1)


def test_the_intervals_are_drawn_over_every_bar(tmp_path: Path) -> None:
    """In black on a white edge: a wider interval adds a line to each of three bars, the dark ones, too."""
    inside = []
    for low in (0.9, 0.1):
        score = results.Score(0.9, low, 0.9, 0.9, 0.9, 0.9, 0.1)
        models = {"a": results.ModelScores(score, score, score, {"1": results.ClassScore(1, 1, 1)}, {}, {})}
        plots.accuracies(tmp_path / "a.png", models, PHOTOS, "a")
        inside.append(int((decoding.read(tmp_path / "a.png").max(axis=2) < 70).sum()))
    assert inside[1] - inside[0] > 3 * 200


def test_a_model_without_an_error_has_no_empty_row(photos: Path, tmp_path: Path) -> None:
    wrong = pd.DataFrame({"id": ["p1_00"], "actual": "1", "predicted": "2", "confidence": 0.9})
    for name, tables in (("one", {"a": wrong}), ("two", {"a": wrong, "b": wrong[:0]}), ("none", {"b": wrong[:0]})):
        gallery.mistakes(tmp_path / f"{name}.png", photos / "images", tables)
    one, two, none = (decoding.read(tmp_path / f"{name}.png") for name in ("one", "two", "none"))
    assert one.shape == two.shape
    assert none.std() > 0


def test_matches_are_blue_and_orange_which_nobody_takes_for_one_another(photos: Path, tmp_path: Path) -> None:
    describe(tmp_path / "orb.arrow", photos / "images", ["p1_00", "p1_01"])
    gallery_stage._draw_keypoints(tmp_path / "orb.png", photos / "images", features_file.read(tmp_path / "orb.arrow"))
    blue, green, red = decoding.read(tmp_path / "orb.png").astype(int).transpose(2, 0, 1)
    assert ((blue > 200) & (red < 60)).any()
    assert not ((green > 180) & (red < 60) & (blue < 60)).any()


@pytest.mark.parametrize("askew", [True, False])
def test_the_figure_of_faces_marks_one_that_is_missed_where_one_is(tmp_path: Path, askew: bool) -> None:
    """The face is a white square; one of two detectors finds nothing in a photo whose corner is grey, since it was turned."""
    picture = np.full((200, 300, 3), 90, np.uint8)
    picture[60:90, 100:130] = 255

    def detect(shown: np.ndarray) -> list[Face]:
        rows, columns = np.nonzero((shown > 200).all(axis=2))
        turned = (shown[0, 0] == 128).all()
        if askew and turned:
            return []
        x, y = int(columns.min()), int(rows.min())
        return [Face(x, y, int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1, 0.9)]

    gallery.before_and_after(tmp_path / "f.png", [picture], detect, {"untouched": lambda shown, _: shown})
    blue, _, red = decoding.read(tmp_path / "f.png").astype(int).transpose(2, 0, 1)
    assert ((red > 230) & (blue < 40)).any() == askew


@pytest.mark.parametrize("degrees", [45, 135, 225, 315])
def test_a_photo_turned_for_the_figure_of_faces_is_not_cut_and_its_faces_move_along(degrees: int) -> None:
    picture = np.zeros((100, 160, 3), np.uint8)
    picture[10:20, 130:150] = 255
    turned, turn = gallery._turned(picture, degrees)
    face = gallery._moved(Face(130, 10, 20, 10, 1.0), turn)
    assert turned[face["y"] + 5, face["x"] + 10].tolist() == [255, 255, 255]
    assert (turned == 255).all(axis=2).sum() == pytest.approx(200, rel=0.2)
