"""A trained network explained and exported."""

import json
from pathlib import Path

import numpy as np
import pytest
from support import Script, fails_in_one_line

from landmarks.deep import classifier, occlusion


@pytest.fixture
def names(tmp_path: Path) -> Path:
    """A CSV of the places stage, in which one landmark has no name."""
    table = tmp_path / "landmarks.csv"
    table.write_text("id,name\n1,Old Bridge\n3,Torre Añil\n")
    return table


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
    picture = network.preprocessing.read(photos / "images" / "p1_00.jpg")
    probability, drops = occlusion.drops(network.probabilities, picture, network.labels.index("1"), 4)
    picture = picture[:128]  # the first view
    assert probability == network.probabilities(picture[None])[0, 0]
    row, column = (int(i) for i in np.unravel_index(drops.argmax(), drops.shape))
    covered = picture.copy()
    covered[max(32 * row - 16, 0) : 32 * row + 48, max(32 * column - 16, 0) : 32 * column + 48] = picture.mean((0, 1))
    assert probability - network.probabilities(covered[None])[0, 0] == pytest.approx(drops.max(), abs=1e-5)
    assert drops.max() > drops.min()


@pytest.mark.nightly
def test_two_exports_are_the_same_to_the_byte(
    process: Script, photos: Path, split: Path, trained: Path, names: Path, tmp_path: Path
) -> None:
    for name in "ab":  # in processes of their own, like the stage: TensorFlow numbers the functions that it saves
        out = [tmp_path / name, tmp_path / f"{name}.json"]
        done = process("export", photos / "images", split, trained, names, *out, "--examples", 12)
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""  # TensorFlow Lite says things while it converts
    files = [path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file()]
    assert len(files) > 5
    for path in files:
        assert (tmp_path / "a" / path).read_bytes() == (tmp_path / "b" / path).read_bytes(), path


@pytest.mark.slow
def test_every_exported_form_gives_what_the_network_gives(
    script: Script, photos: Path, split: Path, trained: Path, names: Path, tmp_path: Path
) -> None:
    out = tmp_path / "a", tmp_path / "a.json"
    done = script("export", photos / "images", split, trained, names, *out, "--examples", 12)
    assert done.returncode == 0, done.stderr
    files = {path.name for path in (tmp_path / "a").iterdir()}
    assert files >= {"model.keras", "saved_model", "float16.tflite", "labels.json"}
    assert [path.name for path in (tmp_path / "a" / "saved_model").iterdir()] == [
        "1"
    ]  # as TensorFlow Serving expects it
    told = json.loads((tmp_path / "a.json").read_text())
    assert set(told) == {"trained", "keras", "saved_model", "saved_model_jpeg", "float32", "float16", "int8"}
    assert {told[name]["same_top1"] for name in ("keras", "saved_model", "float32")} == {1.0}
    assert told["int8"]["bytes"] < told["float16"]["bytes"] < told["float32"]["bytes"]

    import tensorflow as tf

    served = tf.saved_model.load(str(tmp_path / "a" / "saved_model" / "1")).signatures["jpeg"]
    content = (photos / "images" / "p2_09.jpg").read_bytes()
    answer = served(bytes=tf.constant([content, content]))
    assert [label.decode() for label in answer["labels"].numpy()[0]] == ["1", "2", "3"]
    called = ["Old Bridge", "2", "Torre Añil"]
    assert [[name.decode() for name in row] for row in answer["names"].numpy()] == [called, called]
    assert json.loads((tmp_path / "a" / "names.json").read_text()) == called
    network = classifier.load(trained)
    picture = network.preprocessing.read(photos / "images" / "p2_09.jpg")
    expected = np.repeat(network.probabilities(picture[None]), 2, axis=0)
    np.testing.assert_allclose(answer["probabilities"].numpy(), expected, atol=0.05)


def test_a_model_that_is_missing_or_none_is_an_error_that_names_it(script: Script, split: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.json").write_text("{")
    for name in ("none.json", "broken.json"):
        done = script("explain", tmp_path, split, tmp_path / name, tmp_path / "e.npz")
        fails_in_one_line(done, name, "dvc repro")
