"""Transfer learning from a TF-Hub module: frozen or trainable, plain or augmented, the same bits every time."""

import contextlib
import json
import os
import resource
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, Script, fails_in_one_line

from landmarks.deep import augmentation, classifier, occlusion, training
from landmarks.images import decoding

RANGES = augmentation.Ranges()
BACKBONE = ("--module", "data/demo/backbone")


def outputs(folder: Path) -> list[Path]:
    return [folder / "model.json", folder / "history.csv", folder / "predictions.csv"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "knobs",
    [("--no-augment",), ("--augment", "--views", 2), ("--recipe", "thesis", "--augment", "--learning_rate", 0.005)],
)
def test_two_runs_give_the_same_bits_and_learn(
    script: Script, photos: Path, split: Path, tmp_path: Path, knobs: tuple[object, ...]
) -> None:
    for run in "ab":
        (tmp_path / run).mkdir()
        done = script("cnn", photos / "images", split, *outputs(tmp_path / run), *BACKBONE, "--epochs", 6, *knobs)
        assert done.returncode == 0, done.stderr
    for name in ("model.json", "model.weights.h5", "history.csv", "predictions.csv"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name
    rows = pd.read_csv(tmp_path / "a" / "predictions.csv")
    train = (pd.read_csv(split)["split"] == "train").to_numpy()
    assert (rows["actual"] == rows["predicted"])[train].mean() > 0.7
    history = pd.read_csv(tmp_path / "a" / "history.csv")
    assert list(history.columns) == list(training.HISTORY)
    assert list(history["epoch"]) == [1, 2, 3, 4, 5, 6]


@pytest.mark.slow
def test_a_saved_model_predicts_what_the_stage_predicted(
    script: Script, photos: Path, split: Path, tmp_path: Path
) -> None:
    done = script("cnn", photos / "images", split, *outputs(tmp_path), *BACKBONE, "--epochs", 5, "--head", 32)
    assert done.returncode == 0, done.stderr
    network = classifier.load(tmp_path / "model.json")
    recipe = network.recipe
    rows = pd.read_csv(tmp_path / "predictions.csv", dtype={"predicted": str})
    batch = np.stack(
        [decoding.read_square(photos / "images" / f"{photo}.jpg", recipe.size, recipe.crop) for photo in rows["id"]]
    )
    shares = network.probabilities(batch)
    assert [network.labels[best] for best in shares.argmax(axis=1)] == list(rows["predicted"])
    np.testing.assert_allclose(shares.max(axis=1), rows["confidence"], atol=1e-4)
    assert json.loads((tmp_path / "model.json").read_text())["recipe"]["head"] == [32]


@pytest.mark.slow
@pytest.mark.parametrize("trainable", [False, True])
def test_the_backbone_is_a_module_with_batch_norm_in_both_modes(trainable: bool) -> None:
    import tensorflow_hub as hub

    layer = hub.KerasLayer(str(ROOT / "data" / "demo" / "backbone"), trainable=trainable)
    shots = np.random.default_rng(0).random((4, 128, 128, 3)).astype(np.float32)
    before = [variable.numpy() for variable in layer.variables]
    assert layer(shots, training=False).shape == (4, 1280)
    training = layer(shots, training=True).numpy()
    moved = sum(not np.array_equal(a, b.numpy()) for a, b in zip(before, layer.variables, strict=True))
    assert (moved > 0) == trainable
    assert np.allclose(training, layer(shots, training=False).numpy()) != trainable
    assert len(layer.trainable_variables) == (156 if trainable else 0)


def test_a_view_depends_on_photo_and_number_alone(photos: Path) -> None:
    picture = decoding.read_square(photos / "images" / "p1_00.jpg", 96, True)
    first = augmentation.view(picture, "p1_00", 3, RANGES, 0)
    augmentation.view(picture, "other", 1, RANGES, 0)
    np.testing.assert_array_equal(augmentation.view(picture, "p1_00", 3, RANGES, 0), first)
    others = [
        augmentation.view(picture, *key)
        for key in (("p1_01", 3, RANGES, 0), ("p1_00", 4, RANGES, 0), ("p1_00", 3, RANGES, 1))
    ]
    assert all((other != first).any() for other in others)
    assert first.shape == picture.shape
    assert first.dtype == np.uint8


def test_ranges_of_nothing_leave_the_photo_as_it_is(photos: Path) -> None:
    picture = decoding.read_square(photos / "images" / "p1_00.jpg", 96, True)
    still = augmentation.Ranges(rotation=0, shift=0, shear=0, zoom=0, flip=False)
    np.testing.assert_array_equal(augmentation.view(picture, "x", 0, still, 0), picture)
    mirrored = {
        augmentation.view(picture, "x", n, augmentation.Ranges(0, 0, 0, 0, True), 0).tobytes() for n in range(12)
    }
    assert mirrored == {picture.tobytes(), np.ascontiguousarray(picture[:, ::-1]).tobytes()}


@pytest.mark.parametrize(
    ("knobs", "parts"),
    [
        (("--module", "data/demo/nowhere"), ["cnn.module data/demo/nowhere", "cannot be loaded", "params.yaml"]),
        (
            ("--module", "http://127.0.0.1:9/feature_vector/4"),
            ["cnn.module http://127.0.0.1:9", "cannot be loaded", "without a network"],
        ),
        (
            ("--module", "data/demo/backbone", "--size", 96),
            ["takes photos of 128 x 128 pixels, not of 96", "cnn.size to 128 or 0"],
        ),
    ],
)
def test_a_module_that_cannot_be_used_is_an_error_that_names_it(
    script: Script, photos: Path, split: Path, tmp_path: Path, knobs: tuple[object, ...], parts: list[str]
) -> None:
    done = script("cnn", photos / "images", split, *outputs(tmp_path), *knobs)
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("cnn: ")]
    assert all(part in line for part in parts), line
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_covering_what_the_network_looks_at_lowers_the_probability(
    script: Script, photos: Path, split: Path, trained: Path, tmp_path: Path
) -> None:
    made = []
    for name in "ab":
        done = script("explain", photos / "images", split, trained, tmp_path / name, "--cells", 4)
        assert done.returncode == 0, done.stderr
        made.append((tmp_path / name).read_bytes())
    assert made[0] == made[1]
    network = classifier.load(trained)
    picture = decoding.read_square(photos / "images" / "p1_00.jpg", 128, True)
    probability, drops = occlusion.drops(network.probabilities, picture, network.labels.index("1"), 4)
    assert probability == network.probabilities(picture[None])[0, 0]
    row, column = (int(i) for i in np.unravel_index(drops.argmax(), drops.shape))
    covered = picture.copy()
    covered[max(32 * row - 16, 0) : 32 * row + 48, max(32 * column - 16, 0) : 32 * column + 48] = picture.mean((0, 1))
    assert probability - network.probabilities(covered[None])[0, 0] == pytest.approx(drops.max(), abs=1e-5)
    assert drops.max() > drops.min()


@pytest.mark.slow
def test_every_exported_form_gives_what_the_network_gives(
    script: Script, photos: Path, split: Path, trained: Path, tmp_path: Path
) -> None:
    for name in "ab":
        out = [tmp_path / name, tmp_path / f"{name}.json"]
        done = script("export", photos / "images", split, trained, *out, "--examples", 12)
        assert done.returncode == 0, done.stderr
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*.*") if path.is_file())
    assert {"model.keras", "saved_model", "float16.tflite", "labels.json"} <= {path.parts[0] for path in files}
    for path in files:
        assert (tmp_path / "a" / path).read_bytes() == (tmp_path / "b" / path).read_bytes(), path
    told = json.loads((tmp_path / "a.json").read_text())
    assert set(told) == {"trained", "keras", "saved_model", "saved_model_jpeg", "float32", "float16", "int8"}
    assert {told[name]["same_top1"] for name in ("keras", "saved_model", "float32")} == {1.0}
    assert told["int8"]["bytes"] < told["float16"]["bytes"] < told["float32"]["bytes"]

    import tensorflow as tf

    served = tf.saved_model.load(str(tmp_path / "a" / "saved_model")).signatures["jpeg"]
    content = (photos / "images" / "p2_09.jpg").read_bytes()
    answer = served(bytes=tf.constant([content, content]))
    assert [label.decode() for label in answer["labels"].numpy()[0]] == ["1", "2", "3"]
    network = classifier.load(trained)
    picture = decoding.read_square(photos / "images" / "p2_09.jpg", 128, True)
    expected = np.repeat(network.probabilities(picture[None]), 2, axis=0)
    np.testing.assert_allclose(answer["probabilities"].numpy(), expected, atol=0.05)


def test_a_model_that_is_not_there_or_is_none_is_an_error_that_names_it(
    script: Script, split: Path, tmp_path: Path
) -> None:
    (tmp_path / "broken.json").write_text("{")
    for name in ("none.json", "broken.json"):
        done = script("explain", tmp_path, split, tmp_path / name, tmp_path / "e.png")
        assert done.returncode == 1
        assert name in done.stderr
        assert "dvc repro" in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_loss_that_is_no_number_stops_the_training_and_says_at_which_rate(
    script: Script, photos: Path, split: Path, tmp_path: Path
) -> None:
    done = script(
        "cnn", photos / "images", split, *outputs(tmp_path), *BACKBONE, "--learning_rate", 1e30, "--epochs", 9
    )
    assert done.returncode == 1
    assert "the loss is" in done.stderr
    assert "1e+30" in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_test_photos_change_nothing_that_is_learnt(script: Script, photos: Path, split: Path, tmp_path: Path) -> None:
    upset = tmp_path / "upset"
    shutil.copytree(photos / "images", upset)
    for photo in pd.read_csv(split).query("split == 'test'")["id"]:
        shutil.copy(photos / "images" / "p1_00.jpg", upset / f"{photo}.jpg")
    for run, folder in {"a": photos / "images", "b": upset}.items():
        (tmp_path / run).mkdir()
        done = script(
            "cnn", folder, split, *outputs(tmp_path / run), *BACKBONE, "--epochs", 4, "--augment", "--views", 1
        )
        assert done.returncode == 0, done.stderr
    for name in ("model.weights.h5", "history.csv"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert (tmp_path / "a" / "predictions.csv").read_bytes() != (tmp_path / "b" / "predictions.csv").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["thesis", "frozen"])
def test_a_photo_that_does_not_decode_ends_in_one_line_that_names_it(
    script: Script, photos: Path, split: Path, tmp_path: Path, recipe: str
) -> None:
    shutil.copytree(photos / "images", tmp_path / "images")
    (tmp_path / "images" / "p2_03.jpg").write_bytes(b"no photo")
    done = script("cnn", tmp_path / "images", split, *outputs(tmp_path), *BACKBONE, "--epochs", 1, "--recipe", recipe)
    fails_in_one_line(done, "cnn: ", "p2_03.jpg: does not decode")


@pytest.mark.slow
def test_two_phases_change_the_last_layers_alone_and_keep_no_epoch_that_is_worse(
    script: Script, photos: Path, split: Path, tmp_path: Path
) -> None:
    knobs = (*BACKBONE, "--recipe", "two-phase", "--epochs", 4, "--tuning_epochs", 3, "--tuned", 0.2)
    kept = []
    for name, rate in (("gentle", 0.001), ("wild", 3.0)):
        (tmp_path / name).mkdir()
        out = outputs(tmp_path / name)
        done = script("cnn", photos / "images", split, *out, *knobs, "--tuning_rate", rate, "--patience", 1)
        assert done.returncode == 0, done.stderr
        kept.append(classifier.load(out[0]).model)
        history = pd.read_csv(out[1])
        assert list(history["phase"][:4]) == ["head"] * 4
        if name == "wild":  # the first epoch of the second phase is worse, so it is the last
            assert len(history) == 5
    gentle, wild = (model.layers[0] for model in kept)
    published = classifier.load_module(classifier.load(tmp_path / "wild" / "model.json").recipe).layer
    for weight, other in zip(wild.layer.weights, published.weights, strict=True):  # its epoch was not kept
        np.testing.assert_array_equal(weight.numpy(), other.numpy())
    learning = {weight.name for weight in gentle.trainable_weights}
    changed = {
        weight.name
        for weight, other in zip(gentle.layer.weights, published.weights, strict=True)
        if (weight.numpy() != other.numpy()).any()
    }
    assert changed
    assert changed <= learning


@pytest.mark.slow
def test_where_the_decoded_photos_lie_changes_nothing(
    script: Script, photos: Path, split: Path, tmp_path: Path
) -> None:
    for name, megabytes in (("memory", "1000"), ("disk", "1")):
        (tmp_path / name).mkdir()
        done = script(
            "cnn", photos / "images", split, *outputs(tmp_path / name), *BACKBONE, "--recipe", "thesis", "--epochs", 1,
            "--augment", LANDMARKS_CACHE=megabytes, TMPDIR=str(tmp_path),
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    for made in ("model.weights.h5", "predictions.csv"):
        assert (tmp_path / "memory" / made).read_bytes() == (tmp_path / "disk" / made).read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {"memory", "disk"}


@pytest.mark.slow
def test_a_disk_that_is_full_while_photos_are_cached_is_one_line_and_leaves_no_model(
    photos: Path, split: Path, tmp_path: Path
) -> None:
    arguments = [photos / "images", split, *outputs(tmp_path), *BACKBONE, "--recipe", "thesis", "--epochs", 1]
    done = subprocess.run(
        [sys.executable, "src/cnn.py", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "LANDMARKS_CACHE": "1", "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (10**6, 10**6)),  # 36 photos take 1.8 MB
    )
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
    script: Script, photos: Path, split: Path, tmp_path: Path, change: dict[str, str], said: str
) -> None:
    rows = pd.read_csv(split, dtype=str).assign(**change)
    rows.to_csv(tmp_path / "split.csv", index=False)
    (tmp_path / "out").mkdir()
    done = script("cnn", photos / "images", tmp_path / "split.csv", *outputs(tmp_path / "out"), *BACKBONE)
    fails_in_one_line(done, said, "params.yaml")
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.slow
def test_a_landmark_with_a_single_photo_is_learnt_with_the_others(
    script: Script, photos: Path, split: Path, tmp_path: Path
) -> None:
    rows = pd.read_csv(split, dtype=str)
    rows = rows[(rows["landmark_id"] != "3") | (rows["id"] == "p3_00")]
    rows.to_csv(tmp_path / "split.csv", index=False)
    done = script(
        "cnn",
        photos / "images",
        tmp_path / "split.csv",
        *outputs(tmp_path),
        *BACKBONE,
        "--epochs",
        40,
        "--no-restore_best",
    )
    assert done.returncode == 0, done.stderr
    said = pd.read_csv(tmp_path / "predictions.csv", dtype=str).set_index("id")
    assert said.loc["p3_00", "predicted"] == "3"


def _together(photos: Path, split: Path, folder: Path, *knobs: object) -> list[subprocess.CompletedProcess[str]]:
    """Two processes on loopback that train one network."""
    with contextlib.ExitStack() as open_:
        ports = []
        for _ in range(2):
            listener = open_.enter_context(socket.socket())
            listener.bind(("127.0.0.1", 0))
            ports.append(f"127.0.0.1:{listener.getsockname()[1]}")
    running = []
    for index in range(2):
        (folder / str(index)).mkdir()
        team = {"cluster": {"worker": ports}, "task": {"type": "worker", "index": index}}
        command = [
            sys.executable,
            "src/cnn.py",
            photos / "images",
            split,
            *outputs(folder / str(index)),
            *BACKBONE,
            *knobs,
        ]
        env = {**os.environ, "TF_CONFIG": json.dumps(team), "LANDMARKS_WORKERS": "1"}
        running.append(
            subprocess.Popen(
                [*map(str, command)], cwd=ROOT, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
            )
        )
    said = [process.communicate(timeout=240)[1] for process in running]
    return [subprocess.CompletedProcess(p.args, p.returncode, "", text) for p, text in zip(running, said, strict=True)]


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["frozen", "two-phase"])
def test_two_machines_train_one_network_together(
    script: Script, photos: Path, split: Path, tmp_path: Path, recipe: str
) -> None:
    knobs = ("--recipe", recipe, "--epochs", 6, "--tuning_epochs", 1, "--dropout", 0)
    for done in _together(photos, split, tmp_path, *knobs):
        assert done.returncode == 0, done.stderr
    for name in ("model.json", "model.weights.h5", "history.csv", "predictions.csv"):
        assert (tmp_path / "0" / name).read_bytes() == (tmp_path / "1" / name).read_bytes(), name
    (tmp_path / "alone").mkdir()
    done = script("cnn", photos / "images", split, *outputs(tmp_path / "alone"), *BACKBONE, *knobs)
    assert done.returncode == 0, done.stderr
    together, alone = (pd.read_csv(tmp_path / name / "history.csv") for name in ("0", "alone"))
    np.testing.assert_allclose(together["loss"], alone["loss"], rtol=0.02, atol=0.002)
    np.testing.assert_allclose(together["validation_loss"], alone["validation_loss"], rtol=0.02, atol=0.002)


@pytest.mark.slow
@pytest.mark.parametrize(
    "team", ["{", '{"cluster": {"worker": ["127.0.0.1:1"]}, "task": {"type": "worker", "index": 3}}']
)
def test_a_team_that_is_none_is_an_error_that_names_the_variable(
    script: Script, photos: Path, split: Path, tmp_path: Path, team: str
) -> None:
    done = script("cnn", photos / "images", split, *outputs(tmp_path), *BACKBONE, TF_CONFIG=team)
    fails_in_one_line(done, "cnn: ", "TF_CONFIG")


@pytest.mark.slow
def test_fused_is_the_mean_of_what_two_models_say(
    script: Script, photos: Path, split: Path, trained: Path, tmp_path: Path
) -> None:
    pd.read_csv(split, dtype=str)[["id", "landmark_id"]].to_csv(tmp_path / "photos.csv", index=False)
    sift, model = tmp_path / "sift.arrow", tmp_path / "fisher.skops"
    for name, *arguments in (
        ("keypoints", tmp_path / "photos.csv", photos / "images", sift, tmp_path / "k.png", tmp_path / "k.json", "--detector", "sift"),
        ("baseline", sift, split, model, tmp_path / "b.csv", "--encoding", "fisher", "--kind", "svm", "--words", 4, "--components", 8),
        ("fuse", photos / "images", sift, split, trained, model, tmp_path / "fused.csv"),
    ):  # fmt: skip
        done = script(str(name), *arguments)
        assert done.returncode == 0, done.stderr
    one, other, fused = (
        pd.read_csv(path, dtype={"predicted": str}).set_index("id").sort_index()
        for path in (trained.with_name("predictions.csv"), tmp_path / "b.csv", tmp_path / "fused.csv")
    )
    agreed = one["predicted"] == other["predicted"]
    assert agreed.any()
    assert (fused["predicted"][agreed] == one["predicted"][agreed]).all()
    mean = (one["confidence"] + other["confidence"]) / 2
    np.testing.assert_allclose(fused["confidence"][agreed], mean[agreed], atol=1e-4)
    assert (fused["confidence"] <= np.maximum(one["confidence"], other["confidence"]) + 1e-6).all()
