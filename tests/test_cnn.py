"""Transfer learning from a TF-Hub module: frozen or trainable, plain or augmented, the same bits every time."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, Script

from landmarks import augmentation, networks
from landmarks import photos as pictures

RANGES = augmentation.Ranges()
BACKBONE = ("--module", "data/demo/backbone", "--size", 128)


def outputs(folder: Path) -> list[Path]:
    return [folder / "model.json", folder / "history.csv", folder / "predictions.csv"]


@pytest.fixture(scope="module")
def trained(script: Script, photos: Path, split: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The JSON of a network that knows its landmarks."""
    folder = tmp_path_factory.mktemp("trained")
    done = script("cnn", photos / "images", split, *outputs(folder), *BACKBONE, "--epochs", 8)
    assert done.returncode == 0, done.stderr
    return folder / "model.json"


@pytest.mark.slow
@pytest.mark.parametrize(
    "knobs", [("--no-augment",), ("--augment", "--views", 2), ("--trainable", "--augment", "--learning_rate", 0.005)]
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
    assert list(history.columns) == list(networks.HISTORY)
    assert list(history["epoch"]) == [1, 2, 3, 4, 5, 6]


@pytest.mark.slow
def test_a_saved_model_predicts_what_the_stage_predicted(
    script: Script, photos: Path, split: Path, tmp_path: Path
) -> None:
    done = script("cnn", photos / "images", split, *outputs(tmp_path), *BACKBONE, "--epochs", 5, "--head", 32)
    assert done.returncode == 0, done.stderr
    network = networks.load(tmp_path / "model.json")
    recipe = network.recipe
    rows = pd.read_csv(tmp_path / "predictions.csv", dtype={"predicted": str})
    batch = np.stack(
        [pictures.read_square(photos / "images" / f"{photo}.jpg", recipe.size, recipe.crop) for photo in rows["id"]]
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
    picture = pictures.read_square(photos / "images" / "p1_00.jpg", 96, True)
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
    picture = pictures.read_square(photos / "images" / "p1_00.jpg", 96, True)
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
        (("--module", "data/demo/backbone", "--size", 96), ["does not take RGB photos of 96 pixels", "cnn.size"]),
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
    network = networks.load(trained)
    picture = pictures.read_square(photos / "images" / "p1_00.jpg", 128, True)
    probability, drops = networks.occlusion(network, picture, "1", 4)
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
    assert {"saved_model", "float16.tflite", "labels.json"} <= {path.parts[0] for path in files}
    for path in files:
        assert (tmp_path / "a" / path).read_bytes() == (tmp_path / "b" / path).read_bytes(), path
    told = json.loads((tmp_path / "a.json").read_text())
    assert set(told) == {"keras", "saved_model", "saved_model_jpeg", "float32", "float16", "int8"}
    assert {told[name]["same_top1"] for name in ("saved_model", "float32")} == {1.0}
    assert told["int8"]["bytes"] < told["float16"]["bytes"] < told["float32"]["bytes"]

    import tensorflow as tf

    served = tf.saved_model.load(str(tmp_path / "a" / "saved_model")).signatures["jpeg"]
    content = (photos / "images" / "p2_09.jpg").read_bytes()
    answer = served(bytes=tf.constant([content, content]))
    assert [label.decode() for label in answer["labels"].numpy()[0]] == ["1", "2", "3"]
    network = networks.load(trained)
    picture = pictures.read_square(photos / "images" / "p2_09.jpg", 128, True)
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
@pytest.mark.parametrize("knob", ["--trainable", "--no-trainable"])
def test_a_photo_that_does_not_decode_ends_in_one_line_that_names_it(
    script: Script, photos: Path, split: Path, tmp_path: Path, knob: str
) -> None:
    shutil.copytree(photos / "images", tmp_path / "images")
    (tmp_path / "images" / "p2_03.jpg").write_bytes(b"no photo")
    done = script("cnn", tmp_path / "images", split, *outputs(tmp_path), *BACKBONE, "--epochs", 1, knob)
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("cnn: ")]
    assert "p2_03.jpg: does not decode" in line
    assert "Traceback" not in done.stderr
