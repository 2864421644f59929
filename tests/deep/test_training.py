"""Training of a network: frozen or not, plain or augmented, the same bits every time; what stops it says why."""

import os
import re
import resource
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from support import ROOT, Script, fails_in_one_line, recipe

from deep.conftest import MADE, PLAIN, Train, outputs
from landmarks.deep import augmentation, classifier, solved_head, training

RANGES = recipe().training.augmentation
VIEWS = ("--views", "middle", "--views", "squashed", "--views", "bottom_right", "--views", "mirror")


@pytest.mark.slow
@pytest.mark.parametrize(
    "knobs",
    [
        ("--no-augment", *VIEWS),
        ("--augment", "--augmentations", 2, "--refit"),
        ("--recipe", "thesis", "--augment", "--learning_rate", 0.005),
    ],
)
def test_two_runs_give_the_same_bits_and_learn(
    script: Script, process: Script, train: Train, split: Path, tmp_path: Path, knobs: tuple[object, ...]
) -> None:
    for run, start in {"a": script, "b": process}.items():  # another process, and other hashes of strings
        train(tmp_path / run, "--epochs", 6, *knobs, start=start)
    for name in MADE:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name
    rows = pd.read_parquet(tmp_path / "a" / "predictions.parquet")
    taught = (pd.read_csv(split)["split"] == "train").to_numpy()
    assert (rows["actual"] == rows["predicted"])[taught].mean() > 0.7
    history = pd.read_csv(tmp_path / "a" / "history.csv")
    assert list(history.columns) == list(training.HISTORY)
    assert list(history["step"]) == list(range(1, 1 + (6 if "thesis" in knobs else len(solved_head.STRENGTHS))))


def test_the_summary_of_a_network_is_its_layers_outputs_and_numbers() -> None:
    """In the shape of the thesis' figure 14."""
    wanted = recipe(recipe="thesis", head=(20, 10), size=0)
    model = classifier.build(wanted, classifier.load_backbone(wanted), classes=3)
    rows = classifier.summary(model)
    assert [row["layer"] for row in rows] == ["BackboneLayer", "Dropout", "Dense", "Dense", "Dropout", "Dense"]
    assert [row["width"] for row in rows[1:]] == [rows[0]["width"], 20, 10, 10, 3]
    assert [row["trained"] for row in rows[3:]] == [210, 0, 33]
    assert sum(row["trained"] + row["fixed"] for row in rows) == model.count_params()
    assert rows[0]["fixed"] > 0  # the averages of batch norm


def test_the_thesis_recipe_learns_from_whole_batches_alone() -> None:
    """As the thesis' steps_per_epoch has it: batch norm by the batch would take its statistics from a few last photos."""
    pictures, everything = np.zeros((9, 8, 8, 3), np.uint8), np.ones(9, bool)
    photos = training.LabelledPhotos(Path(), [str(i) for i in range(9)], np.arange(9) % 2, np.arange(9), ["a", "b"])
    sizes = {}
    for name in ("thesis", "two-phase"):
        batches = training.photo_batches(pictures, photos, everything, recipe(recipe=name, batch=4, size=8))
        sizes[name] = [[len(targets) for _, targets in batches(epoch)] for epoch in (0, None)]
    assert sizes == {"thesis": [[4, 4], [4, 4, 1]], "two-phase": [[4, 4, 1], [4, 4, 1]]}


@pytest.mark.slow
@pytest.mark.parametrize("knobs", [VIEWS, ("--recipe", "two-phase", "--head", 32, "--epochs", 5, "--tuning-epochs", 1)])
def test_a_saved_model_predicts_what_the_stage_predicted(
    train: Train, photos: Path, tmp_path: Path, knobs: tuple[object, ...]
) -> None:
    train(tmp_path, *knobs)
    network = classifier.load(tmp_path / "model.json")
    rows = pd.read_parquet(tmp_path / "predictions.parquet")
    batch = np.stack([network.preprocessing.read(photos / "images" / f"{photo}.jpg") for photo in rows["id"]])
    shares = network.probabilities(batch)
    assert [network.labels[best] for best in shares.argmax(axis=1)] == list(rows["predicted"])
    np.testing.assert_allclose(shares.max(axis=1), rows["confidence"], atol=1e-4)
    probabilities = [
        float(value) for value in pd.read_parquet(tmp_path / "predictions.parquet").filter(like="p:").sum(axis=1)
    ]
    assert probabilities == pytest.approx([1] * len(rows), abs=1e-5)


@pytest.mark.slow
def test_with_refit_validation_photos_teach_and_are_predicted_by_folds_that_lack_them(
    train: Train, split: Path, tmp_path: Path
) -> None:
    """Told a wrong landmark, a validation photo that is overfit would be predicted as told."""
    rows = pd.read_csv(split, dtype=str)
    wrong = rows["id"].isin(["p1_07", "p2_07", "p3_07"])
    rows["landmark_id"] = rows["landmark_id"].mask(wrong, rows["landmark_id"].map({"1": "2", "2": "3", "3": "1"}))
    rows.to_csv(tmp_path / "split.csv", index=False)
    weights, said = {}, {}
    for name in ("refit", "no-refit"):
        train(tmp_path / name, f"--{name}", table=tmp_path / "split.csv")
        weights[name] = (tmp_path / name / "model.weights.h5").read_bytes()
        said[name] = pd.read_parquet(tmp_path / name / "predictions.parquet").set_index("id")
    assert weights["refit"] != weights["no-refit"]
    for name in ("p1_07", "p2_07", "p3_07"):
        assert str(said["refit"].loc[name, "predicted"]) != str(said["refit"].loc[name, "actual"])
    suspected = pd.read_csv(tmp_path / "refit" / "predictions.suspects.csv", dtype=str)
    assert {"p1_07", "p2_07", "p3_07"}.issuperset(suspected["id"][:2])
    assert len(suspected) >= 2
    assert pd.read_csv(tmp_path / "no-refit" / "predictions.suspects.csv").empty


@pytest.mark.slow
def test_a_solved_head_has_no_hidden_layers(cnn: Train, tmp_path: Path) -> None:
    fails_in_one_line(cnn(tmp_path, "--head", 32), "cnn.head: the recipe frozen has no hidden layers", "two-phase")


@pytest.mark.slow
def test_a_loss_that_is_no_number_stops_the_training_and_says_at_which_rate(cnn: Train, tmp_path: Path) -> None:
    done = cnn(tmp_path, "--recipe", "two-phase", "--learning_rate", 1e30, "--epochs", 9)
    assert done.returncode == 1
    assert re.search(r"the loss is .*1e\+30", done.stderr)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_test_photos_change_nothing_that_is_learnt(train: Train, photos: Path, split: Path, tmp_path: Path) -> None:
    upset = tmp_path / "upset"
    shutil.copytree(photos / "images", upset)
    for photo in pd.read_csv(split).query("split == 'test'")["id"]:
        shutil.copy(photos / "images" / "p1_00.jpg", upset / f"{photo}.jpg")
    for run, folder in {"a": photos / "images", "b": upset}.items():
        train(tmp_path / run, "--epochs", 4, "--augment", images=folder)
    for name in ("model.weights.h5", "history.csv"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert (tmp_path / "a" / "predictions.parquet").read_bytes() != (
        tmp_path / "b" / "predictions.parquet"
    ).read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("method", ["thesis", "frozen"])
def test_a_photo_that_does_not_decode_is_an_error_that_names_it(
    cnn: Train, photos: Path, tmp_path: Path, method: str
) -> None:
    shutil.copytree(photos / "images", tmp_path / "images")
    (tmp_path / "images" / "p2_03.jpg").write_bytes(b"no photo")
    done = cnn(tmp_path, "--epochs", 1, "--recipe", method, images=tmp_path / "images")
    fails_in_one_line(done, "cnn: ", "p2_03.jpg: does not decode")


@pytest.mark.slow
def test_two_phases_change_the_last_layers_alone_and_keep_no_worse_epoch(train: Train, tmp_path: Path) -> None:
    knobs = ("--recipe", "two-phase", "--epochs", 4, "--tuning_epochs", 3, "--tuned", 0.2)
    kept = []
    for name, rate in (("gentle", 0.001), ("wild", 3.0)):
        train(tmp_path / name, *knobs, "--tuning_rate", rate, "--patience", 1)
        kept.append(classifier.load(tmp_path / name / "model.json").model)
        history = pd.read_csv(tmp_path / name / "history.csv")
        assert list(history["phase"][:4]) == ["head"] * 4
        if name == "wild":  # the first epoch of the second phase is worse, so it is the last
            assert len(history) == 5
    gentle, wild = (model.layers[0] for model in kept)
    published = classifier.load_backbone(classifier.load(tmp_path / "wild" / "model.json").recipe).layer
    for weight, other in zip(wild.layer.weights, published.weights, strict=True):  # its epoch was not kept
        np.testing.assert_array_equal(weight.numpy(), other.numpy())
    learning = {weight.name for weight in gentle.trainable_weights}
    pairs = zip(gentle.layer.weights, published.weights, strict=True)
    changed = {weight.name for weight, other in pairs if (weight.numpy() != other.numpy()).any()}
    assert changed
    assert changed <= learning


@pytest.mark.slow
def test_where_the_decoded_photos_lie_changes_nothing(train: Train, tmp_path: Path) -> None:
    for name, megabytes in (("memory", "1000"), ("disk", "1")):
        knobs = ("--recipe", "thesis", "--epochs", 1, "--augment")
        train(tmp_path / name, *knobs, LANDMARKS_CACHE=megabytes, TMPDIR=str(tmp_path))
    for made in ("model.weights.h5", "predictions.parquet"):
        assert (tmp_path / "memory" / made).read_bytes() == (tmp_path / "disk" / made).read_bytes()
    left = {
        path.name for path in tmp_path.iterdir() if "autograph" not in path.name
    }  # TensorFlow's, when it is first used
    assert left == {"memory", "disk"}


@pytest.mark.slow
def test_a_disk_that_fills_up_is_one_line_and_leaves_no_model(photos: Path, split: Path, tmp_path: Path) -> None:
    arguments = [photos / "images", split, *outputs(tmp_path), *PLAIN, "--recipe", "thesis", "--epochs", 1]
    done = subprocess.run(
        [sys.executable, "src/cnn.py", *map(str, arguments)], cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, "LANDMARKS_CACHE": "1", "TMPDIR": str(tmp_path)},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (10**6, 10**6)),  # 36 photos take 1.8 MB
    )  # fmt: skip
    fails_in_one_line(done, str(tmp_path), "36 photos take 0.0 GB there", "TMPDIR")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"landmark_id": "1"}, "they are all of one landmark"),
        ({"split": "train"}, "no photo is for validation"),
        ({"split": "test"}, "landmark 1 has none"),
    ],
)
@pytest.mark.slow
def test_photos_that_cannot_teach_are_an_error_that_says_why(
    cnn: Train, split: Path, tmp_path: Path, change: dict[str, str], said: str
) -> None:
    rows = pd.read_csv(split, dtype=str).assign(**change)
    rows.to_csv(tmp_path / "split.csv", index=False)
    fails_in_one_line(cnn(tmp_path / "out", table=tmp_path / "split.csv"), said, "params.yaml")
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.slow
def test_a_landmark_with_a_single_photo_is_learnt_with_the_others(train: Train, split: Path, tmp_path: Path) -> None:
    rows = pd.read_csv(split, dtype=str)
    rows = rows[(rows["landmark_id"] != "3") | (rows["id"] == "p3_00")]
    rows.to_csv(tmp_path / "split.csv", index=False)
    train(tmp_path, table=tmp_path / "split.csv")
    said = pd.read_parquet(tmp_path / "predictions.parquet").set_index("id")
    assert said.loc["p3_00", "predicted"] == "3"


def test_a_view_depends_on_photo_and_number_alone(photos: Path) -> None:
    picture = recipe(size=96).preprocessing.read(photos / "images" / "p1_00.jpg")
    first = augmentation.view(picture, "p1_00", 3, RANGES, 0)
    augmentation.view(picture, "other", 1, RANGES, 0)
    np.testing.assert_array_equal(augmentation.view(picture, "p1_00", 3, RANGES, 0), first)
    for key in (("p1_01", 3, RANGES, 0), ("p1_00", 4, RANGES, 0), ("p1_00", 3, RANGES, 1)):
        assert (augmentation.view(picture, *key) != first).any()
    assert first.shape == picture.shape
    assert first.dtype == np.uint8


def test_ranges_of_nothing_leave_the_photo_as_it_is(photos: Path) -> None:
    picture = recipe(size=96).preprocessing.read(photos / "images" / "p1_00.jpg")
    nothing: dict[str, Any] = {"rotation": 0, "shift": 0, "shear": 0, "zoom": 0}
    still, flipped = (recipe(**nothing, flip=flip).training.augmentation for flip in (False, True))
    np.testing.assert_array_equal(augmentation.view(picture, "x", 0, still, 0), picture)
    mirrored = {augmentation.view(picture, "x", n, flipped, 0).tobytes() for n in range(12)}
    assert mirrored == {picture.tobytes(), np.ascontiguousarray(picture[:, ::-1]).tobytes()}
