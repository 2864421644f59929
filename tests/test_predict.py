"""A photo goes in, the name of the place comes out: by the model that DVC recorded, by the code that trained it."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import ROOT, SIDE, Host, Script, fails_in_one_line, turned
from PIL import Image

from landmarks.common.errors import InputError
from landmarks.demo import renderer
from landmarks.images import decoding
from landmarks.serving import dvc_lineage, inputs, uploads

if TYPE_CHECKING:
    from landmarks.serving.predictor import Predictor


def encoded(picture: np.ndarray[Any, Any], kind: str, **options: Any) -> bytes:
    """RGB as a file."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, kind, **options)
    return file.getvalue()


def test_a_photo_is_seen_as_in_training(photo: bytes, tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(photo)
    for crop in (True, False):
        assert (uploads.square(photo, SIDE, crop) == decoding.read_square(tmp_path / "photo.jpg", SIDE, crop)).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_photo_is_seen_upright(orientation: int, photo: bytes) -> None:
    upright = np.asarray(Image.open(io.BytesIO(photo)))
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = encoded(turned(upright, orientation), "JPEG", quality=95, exif=exif)
    seen, wanted = (uploads.square(content, SIDE, True).astype(int) for content in (stored, photo))
    assert abs(seen - wanted).mean() < 4


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "BMP"])
def test_other_formats_are_seen_alike(kind: str, photo: bytes) -> None:
    picture = np.asarray(Image.open(io.BytesIO(photo)))
    stored = encoded(picture, kind, **({"lossless": True} if kind == "WEBP" else {}))
    assert abs(uploads.square(stored, SIDE, True).astype(int) - uploads.square(photo, SIDE, True)).mean() < 2


def progressive_bomb(photo: bytes) -> bytes:
    """A small progressive JPEG with a thousand scans: each costs the decoder a pass."""
    content = encoded(np.asarray(Image.open(io.BytesIO(photo))), "JPEG", progressive=True)
    start = content.rindex(uploads.SCAN)
    return content[:start] + content[start:-2] * 1000 + content[-2:]


def test_what_is_no_photo_is_refused_with_its_reason(photo: bytes) -> None:
    wide = encoded(np.zeros((1000, 1000), np.uint8), "PNG")
    cases = {
        b"": "not a photo",
        b"GIF89a": "not a photo",
        b"<html>": "html",
        photo[: len(photo) // 2]: "truncated",
        wide[: len(wide) // 2]: "truncated",
        progressive_bomb(photo): "too many scans",
    }
    for content, reason in cases.items():
        with pytest.raises(InputError, match=f"^{reason}$"):
            uploads.square(content, SIDE, True)
    for content in (photo, wide):
        with pytest.raises(InputError, match=r"^too large$"):
            uploads.square(content, SIDE, True, max_pixels=1000)


def test_below_the_threshold_a_place_is_unknown_and_the_guess_is_told(answering: Predictor) -> None:
    sure, torn = (answering.answer(np.array(shares, np.float32), 2) for shares in ([0.1, 0.1, 0.8], [0.4, 0.35, 0.25]))
    assert (sure.label, sure.name, sure.confidence, sure.known) == ("10", "Torre Añil", 0.8, True)
    assert (torn.label, torn.name, torn.confidence, torn.known) == ("unknown", "unknown", 0.4, False)
    assert [(choice.label, choice.name) for choice in torn.top] == [("1", "Old Bridge"), ("2", "2")]


def test_a_photo_gets_the_same_answer_alone_and_among_others(answering: Predictor, photo: bytes) -> None:
    squares = [answering.square(content) for content in (photo, renderer.photo(7, 2, 0), renderer.photo(7, 3, 1))]
    together = answering.run(np.stack(squares))
    alone = [answering.run(square[None]) for square in squares]
    for values, singles in zip(together, zip(*alone, strict=True), strict=True):
        assert values == pytest.approx(np.concatenate(singles), abs=1e-5)
    shares = answering.network.probabilities(np.stack(squares))
    assert together[1] == pytest.approx(shares, abs=1e-5)
    assert together[1].sum(axis=1) == pytest.approx(1, abs=1e-5)


def test_provenance_tells_the_files_the_threshold_and_the_parameters(answering: Predictor, untrained: Path) -> None:
    told = answering.provenance
    assert set(told.md5) == {"plain.json", "plain.weights.h5"}
    assert (told.checked, told.threshold, told.temperature, told.commit) == (True, 0.5, 1.5, None)
    assert told.parameters["module"] == "data/demo/backbone"
    commit = dvc_lineage.commit(ROOT)
    assert commit is None or len(commit.removesuffix("-dirty")) == 40


@pytest.mark.parametrize("name", ["plain.json", "plain.weights.h5", "threshold.json"])
def test_a_model_that_is_not_the_recorded_one_is_refused(name: str, untrained: Path, tmp_path: Path) -> None:
    from landmarks.serving import predictor

    folder = shutil.copytree(untrained.parent, tmp_path / "models")
    (folder / name).write_bytes((folder / name).read_bytes() + b"\n")
    with pytest.raises(InputError, match=rf"{name}: its MD5 is .*, .*dvc.lock says .*; run: dvc checkout"):
        predictor.load(folder / "plain.json", folder / "dvc.lock")


def test_a_model_outside_dvc_is_taken_only_when_told_so_and_brings_no_threshold(
    untrained: Path, tmp_path: Path
) -> None:
    from landmarks.serving import predictor

    folder = shutil.copytree(untrained.parent, tmp_path / "models")
    lock = yaml.safe_load((folder / "dvc.lock").read_text())
    del lock["stages"]["cnn@plain"]
    (folder / "dvc.lock").write_text(yaml.safe_dump(lock))
    with pytest.raises(InputError, match=r"plain.json: .*knows no such output.*--unchecked"):
        predictor.load(folder / "plain.json", folder / "dvc.lock")
    free = predictor.load(folder / "plain.json", None)
    assert (free.provenance.checked, free.provenance.threshold) == (False, None)
    assert free.answer(np.array([0.4, 0.3, 0.3], np.float32), 1).known
    assert not predictor.load(folder / "plain.json", None, threshold=0.6).answer(np.full(3, 1 / 3), 1).known


def test_a_threshold_chosen_on_another_model_does_not_count(untrained: Path, tmp_path: Path) -> None:
    from landmarks.serving import predictor

    folder = shutil.copytree(untrained.parent, tmp_path / "models")
    lock = yaml.safe_load((folder / "dvc.lock").read_text().replace("plain", "augmented"))
    for suffix in (".json", ".weights.h5"):
        shutil.move(folder / f"plain{suffix}", folder / f"augmented{suffix}")
    lock["stages"]["reject"]["deps"] = [{"path": "plain.json", "md5": "0" * 32}]
    (folder / "dvc.lock").write_text(yaml.safe_dump(lock))
    assert predictor.load(folder / "augmented.json", folder / "dvc.lock").provenance.threshold is None


def test_folders_are_searched_and_hidden_files_left_out(tmp_path: Path) -> None:
    for name in ("b/2.JPG", "a.png", "notes.txt", ".hidden.jpg", ".git/x.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert inputs.listed([str(tmp_path), "x.jpg", "http://a/b"]) == [
        str(tmp_path / "a.png"),
        str(tmp_path / "b" / "2.JPG"),
        "x.jpg",
        "http://a/b",
    ]
    (tmp_path / "b" / "2.JPG").unlink()
    with pytest.raises(InputError, match=r"b.*: no photos in there"):
        inputs.listed([str(tmp_path / "b")])


def test_an_address_is_asked_as_the_download_stage_asks(host: Host) -> None:
    host.robots = (200, "User-agent: *\nDisallow: /missing\n")
    urls = [f"{host.url}/photo/1-0.jpg", f"{host.url}/moved/1-1.jpg", f"{host.url}/gone/1-2.jpg",
            f"{host.url}/missing/1-2.jpg", "http://169.254.169.254/latest", "gopher://x/y"]  # fmt: skip
    said = []
    with inputs.opened(urls, "", loopback=True, robots=True) as contents:
        for content in contents:
            try:
                said.append(cv2.imdecode(np.frombuffer(content.read(), np.uint8), cv2.IMREAD_COLOR).ndim)
            except InputError as error:
                said.append(str(error))
    assert said == [3, 3, "gone", "disallowed", "private address", "scheme not allowed"]
    with (
        inputs.opened(urls[:1], "", loopback=False, robots=True) as contents,
        pytest.raises(InputError, match="private"),
    ):
        next(contents).read()


@pytest.mark.slow
def test_predictions_are_those_of_the_cnn_stage_on_every_test_photo(
    trained: Path, photos: Path, split: Path, script: Script
) -> None:
    """By the command that people use."""
    rows = pd.read_csv(split, dtype=str).merge(pd.read_csv(trained.with_name("predictions.csv"), dtype=str), on="id")
    rows = rows[rows["split"] == "test"]
    files = [photos / "images" / f"{photo}.jpg" for photo in rows["id"]]
    done = script("predict", *files, "--model", trained, "--unchecked", "--csv")
    assert done.returncode == 0, done.stderr
    found = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [row["label"] for row in found] == list(rows["predicted"])
    assert [float(row["confidence"]) for row in found] == pytest.approx(rows["confidence"].astype(float), abs=1e-5)


@pytest.mark.slow
@pytest.mark.skipif(not (ROOT / "models/plain.json").exists(), reason="models/plain.json is not here: make repro")
def test_the_committed_model_predicts_as_the_evaluate_stage_read_it() -> None:
    from landmarks.serving import predictor

    loaded = predictor.load(ROOT / "models/plain.json", ROOT / "dvc.lock")
    rows = pd.read_csv(ROOT / "data/split.csv", dtype=str).merge(
        pd.read_csv(ROOT / "plots/predictions/plain.csv", dtype=str), on="id"
    )
    rows = rows[rows["split"] == "test"]
    for row in rows.itertuples():
        (said,) = loaded.predict([loaded.square((ROOT / f"data/anonymous/{row.id}.jpg").read_bytes())], 1)
        assert said.top[0].label == row.predicted
        assert said.confidence == pytest.approx(float(str(row.confidence)), abs=1e-5)


@pytest.mark.slow
def test_the_command_answers_what_it_can_and_says_what_it_could_not(
    script: Script, untrained: Path, photo: bytes, tmp_path: Path
) -> None:
    (tmp_path / "1.jpg").write_bytes(photo)
    (tmp_path / "2.jpg").write_bytes(photo[:2000])
    given = (tmp_path, tmp_path / "3.jpg", "demo://7/photo/1/0.jpg")
    options = ("--model", untrained, "--unchecked", "--names", untrained.with_name("names.csv"), "--threshold", 0)
    done = script("predict", *given, *options, "--json")
    assert done.returncode == 1
    told = json.loads(done.stdout)
    assert not told["model"]["checked"]
    first, second, third, fourth = told["predictions"]
    assert [second["error"], third["error"]] == ["truncated", "no such file"]
    assert first["known"]
    assert first["confidence"] == fourth["confidence"]
    assert len(first["top"]) == 3


def test_mistakes_end_in_one_line(script: Script, tmp_path: Path) -> None:
    fails_in_one_line(script("predict", tmp_path), str(tmp_path), "no photos in there")
    fails_in_one_line(script("predict", "a.jpg", "--csv", "--json"), "one of them")
