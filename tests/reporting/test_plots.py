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
from support import ROOT, Script, gate_settings

import gallery as gallery_stage
import plots as plots_stage
import stage
from landmarks.classical import features_file, local_features
from landmarks.common.errors import InputError
from landmarks.evaluation import metrics
from landmarks.images import decoding
from landmarks.reporting import gallery, plots


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
        predictions[name] = pd.DataFrame(columns, rows.index)
        tested = predictions[name][rows["split"] == "test"].reset_index()
        tested.to_csv(root / "plots" / "confusion" / f"{name}.csv", index=False)
    results = {"models": metrics.compare(predictions, rows["split"]), "data": {"reject": {"threshold": 0.5}}}
    (root / "results.json").write_text(json.dumps(results))
    answers = {"id": list("abcd"), "answer": ["right", "wrong", "unknown", "right"], "confidence": [0.9, 0.6, 0.2, 1]}
    pd.DataFrame(answers).to_csv(root / "data" / "confidences.csv", index=False)
    pd.DataFrame({"coverage": [0.5, 1], "risk": [0, 0.1]}).to_csv(root / "plots" / "rejection.csv", index=False)
    grid = {"features": "orb", "encoding": ["flat", "vlad"], "kind": "svm", "validation": [0.25, 0.75]}
    pd.DataFrame(grid).to_csv(root / "plots" / "grid.csv", index=False)
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


def test_the_charts_of_the_results_repeat_to_the_byte(script: Script, left: Path, tmp_path: Path) -> None:
    for name in "ab":
        shutil.copytree(left / "plots", tmp_path / name)
    done = script("plots", left / "results.json", left / "data", tmp_path / "a", "--title", "a test")
    assert done.returncode == 0, done.stderr
    plots_stage.main(left / "results.json", left / "data", tmp_path / "b", stage.TitleConfig("a test"))
    names = {"accuracy.png", "grid.png", "mistakes.png", "rejection.png", "reliability.png"}
    assert set(drawn(tmp_path / "a")) == names
    assert drawn(tmp_path / "a") == drawn(tmp_path / "b")


def test_the_gallery_repeats_to_the_byte(script: Script, left: Path, tmp_path: Path) -> None:
    world = tmp_path / "world.yaml"
    world.write_text(re.sub(r"landmarks: 12\b", "landmarks: 2", (ROOT / "data" / "demo" / "world.yaml").read_text()))
    (tmp_path / "b" / "keypoints").mkdir(parents=True)
    (tmp_path / "b" / "keypoints" / "of-an-earlier-run.png").write_bytes(b"")
    done = script("gallery", left / "data", tmp_path / "a", world, "--features", "orb")
    assert done.returncode == 0, done.stderr
    gallery_stage.main(left / "data", tmp_path / "b", world, ["orb"])
    names = {"detections.png", "explain.png", "faces.png", "keypoints/orb.png", "retrieval.png"}
    assert set(drawn(tmp_path / "a")) == names
    assert drawn(tmp_path / "a") == drawn(tmp_path / "b")


def test_a_malformed_file_is_named(left: Path, tmp_path: Path) -> None:
    shutil.copy(left / "data" / "split.csv", tmp_path)
    (tmp_path / "retrieval.csv").write_text("query,photo,same_landmark,inliers\nother,p1_00,true,3\n")
    with pytest.raises(InputError, match=r"retrieval.csv: the photo 'other' is not in the split; run: dvc repro"):
        gallery_stage._draw_retrieval(tmp_path / "r.png", tmp_path)
    with pytest.raises(InputError, match=r"occlusion.npz: no such file; run: dvc repro explain"):
        gallery_stage._draw_occlusions(tmp_path / "e.png", tmp_path / "occlusion.npz")
    for content in (b"nothing", b"", (left / "data" / "occlusion.npz").read_bytes()[:-40]):
        (tmp_path / "occlusion.npz").write_bytes(content)
        with pytest.raises(InputError, match=r"occlusion.npz: not a file of the explain stage .*dvc repro --force"):
            gallery_stage._draw_occlusions(tmp_path / "e.png", tmp_path / "occlusion.npz")


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
    score = {"top1": 0.5, "top1_low": 0.4, "top1_high": 0.6}
    models = {"$m$": {"per_class": {"1": {}}, **dict.fromkeys(("train", "validation", "test"), score)}}
    for name, title in (("formula", "$a$"), ("plain", "a"), ("broken", "$(id) ^_{$ ñ")):
        plots.accuracies(tmp_path / f"{name}.png", models, title)
    formula, plain = (decoding.read(tmp_path / f"{name}.png") for name in ("formula", "plain"))
    assert (formula != plain).any()
    wide, narrow = (np.flatnonzero((picture[:30] < 128).all(axis=2).any(axis=0)) for picture in (formula, plain))
    assert np.ptp(wide) > np.ptp(narrow) + 8
