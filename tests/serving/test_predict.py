"""Prediction: preprocessing of uploads, the predictor, its inputs, the command line."""

import base64
import io
import json
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from support import ROOT, Host, Script, fails_in_one_line, fetch_settings, preprocessing, turned

from landmarks.common.errors import InputError
from landmarks.demo import renderer
from landmarks.download.fetcher import HTTP
from landmarks.serving import inputs, messages, uploads

if TYPE_CHECKING:
    from landmarks.serving.predictor import Predictor


def encoded(picture: np.ndarray[Any, Any], kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, kind, **options)
    return file.getvalue()


def test_a_photo_is_preprocessed_as_in_training(photo: bytes, tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(photo)
    for taken in (preprocessing(), preprocessing(views=("squashed", "mirror", "bottom_right"))):
        assert (uploads.preprocess(photo, taken) == taken.read(tmp_path / "photo.jpg")).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_with_exif_orientation_is_turned_upright(orientation: int, photo: bytes) -> None:
    upright = np.asarray(Image.open(io.BytesIO(photo)))
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = encoded(turned(upright, orientation), "JPEG", quality=95, exif=exif)
    upright_again, wanted = (uploads.preprocess(content, preprocessing()).astype(int) for content in (stored, photo))
    assert abs(upright_again - wanted).mean() < 4


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "BMP"])
def test_other_formats_have_the_same_pixels(kind: str, photo: bytes) -> None:
    picture = np.asarray(Image.open(io.BytesIO(photo)))
    stored = encoded(picture, kind, **({"lossless": True} if kind == "WEBP" else {}))
    pixels, wanted = (uploads.preprocess(content, preprocessing()).astype(int) for content in (stored, photo))
    assert abs(pixels - wanted).mean() < 2


def progressive_bomb(photo: bytes) -> bytes:
    """A small progressive JPEG with a thousand scans, each of which costs the decoder a pass."""
    content = encoded(np.asarray(Image.open(io.BytesIO(photo))), "JPEG", progressive=True)
    start = content.rindex(b"\xff\xda")
    return content[:start] + content[start:-2] * 1000 + content[-2:]


def test_a_file_that_is_no_photo_is_an_error_with_its_reason(photo: bytes) -> None:
    wide = encoded(np.zeros((1000, 1000), np.uint8), "PNG")
    cases = {
        b"": "not a photo",
        b"GIF89a": "gif",
        b"<html>": "html",
        photo[: len(photo) // 2]: "truncated",
        wide[: len(wide) // 2]: "truncated",
        progressive_bomb(photo): "too many scans",
    }
    for content, reason in cases.items():
        with pytest.raises(InputError, match=f"^{reason}$"):
            uploads.preprocess(content, preprocessing())
    for content in (photo, wide):
        with pytest.raises(InputError, match=r"^too large$"):
            uploads.preprocess(content, preprocessing(), max_pixels=1000)


@pytest.mark.parametrize(
    "written",
    [
        base64.b64encode,
        base64.encodebytes,
        lambda content: base64.encodebytes(content).replace(b"\n", b"\r\n"),
        base64.urlsafe_b64encode,
        lambda content: base64.b64encode(content).rstrip(b"="),
        lambda content: b"data:image/jpeg;base64," + base64.b64encode(content),
    ],
)
@given(content=st.binary(max_size=200))
def test_base64_is_decoded_as_encoders_write_it(written: Callable[[bytes], bytes], content: bytes) -> None:
    assert uploads.decode_base64(written(content).decode()) == content
    body = json.dumps({"instances": [{"b64": written(content).decode()}]})
    photos = messages.PredictRequest.model_validate_json(body).instances
    assert [photo.b64 for photo in photos or []] == [content]


@pytest.mark.parametrize("text", ["*", "%%%=", "né", "A", "QQ==QQ==", "data:image/png,QUJD", "\ud800"])
def test_what_is_not_base64_is_an_error(text: str) -> None:
    with pytest.raises(InputError, match=r"^not base64$"):
        uploads.decode_base64(text)


def test_below_the_threshold_the_label_is_unknown(answering: "Predictor") -> None:
    rows = np.array([[0.1, 0.1, 0.8], [0.4, 0.35, 0.25]], np.float32)
    sure, unsure = (answering.to_prediction(probabilities, 2) for probabilities in rows)
    assert (sure.label, sure.name, sure.confidence, sure.known) == ("10", "Torre Añil", 0.8, True)
    assert (unsure.label, unsure.name, unsure.confidence, unsure.known) == ("unknown", "unknown", 0.4, False)
    assert [(choice.label, choice.name) for choice in unsure.top] == [("1", "Old Bridge"), ("2", "2")]


def test_a_photo_has_the_same_probabilities_alone_and_in_a_batch(
    answering: "Predictor", untrained: Path, photo: bytes
) -> None:
    from landmarks.deep import classifier

    pictures = [answering.preprocess(content) for content in (photo, renderer.photo(7, 2, 0), renderer.photo(7, 3, 1))]
    together = answering.forward(np.stack(pictures))
    alone = [answering.forward(picture[None]) for picture in pictures]
    for values, singles in zip(together, zip(*alone, strict=True), strict=True):
        assert values == pytest.approx(np.concatenate(singles), abs=1e-5)
    probabilities = classifier.load(untrained).probabilities(np.stack(pictures))
    assert together[1] == pytest.approx(probabilities, abs=1e-5)
    assert together[1].sum(axis=1) == pytest.approx(1, abs=1e-5)


def test_folders_are_searched_without_hidden_files(tmp_path: Path) -> None:
    for name in ("b/2.JPG", "a.png", "notes.txt", ".hidden.jpg", ".git/x.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    names = [str(tmp_path / "a.png"), str(tmp_path / "b" / "2.JPG"), "x.jpg", "http://a/b"]
    assert inputs.expand_folders([str(tmp_path), "x.jpg", "http://a/b"]) == names
    others: Counter[str] = Counter()
    assert inputs.expand_folders([str(tmp_path), "x.jpg"], others) == names[:3]
    assert others == {".txt": 1}
    (tmp_path / "b" / "2.JPG").unlink()
    with pytest.raises(InputError, match=r"b.*: no photos in there"):
        inputs.expand_folders([str(tmp_path / "b")])


def test_urls_are_downloaded_under_the_rules_of_the_download_stage(host: Host) -> None:
    host.robots = (200, "User-agent: *\nDisallow: /missing\n")
    urls = [f"{host.url}/photo/1-0.jpg", f"{host.url}/moved/1-1.jpg", f"{host.url}/gone/1-2.jpg",
            f"{host.url}/missing/1-2.jpg", "http://169.254.169.254/latest", "gopher://x/y"]  # fmt: skip
    results = []
    with inputs.open_sources(urls, fetch_settings(schemes=HTTP, loopback=True)) as sources:
        for source in sources:
            try:
                results.append(cv2.imdecode(np.frombuffer(source.read(), np.uint8), cv2.IMREAD_COLOR).ndim)
            except InputError as error:
                results.append(str(error))
    assert results == [3, 3, "gone", "disallowed", "private address", "scheme not allowed"]
    with inputs.open_sources(urls[:1], fetch_settings(schemes=HTTP, loopback=False)) as sources:
        refused = next(sources)
    with pytest.raises(InputError, match="private"):
        refused.read()


def predicted_by_stage(split: Path, predictions: Path) -> pd.DataFrame:
    """The predictions of the cnn stage for the test photos."""
    rows = pd.read_csv(split, dtype=str).merge(pd.read_parquet(predictions), on="id")
    return rows[rows["split"] == "test"]


@pytest.mark.slow
def test_the_command_predicts_as_the_cnn_stage_did(script: Script, trained: Path, photos: Path, split: Path) -> None:
    rows = predicted_by_stage(split, trained.with_name("predictions.parquet"))
    files = [photos / "images" / f"{photo}.jpg" for photo in rows["id"]]
    done = script("predict", *files, "--model", trained, "--unchecked", "--csv")
    assert done.returncode == 0, done.stderr
    assert f"no threshold was chosen for {trained}" in done.stderr
    predictions = pd.read_csv(io.StringIO(done.stdout), dtype={"label": str})
    assert list(predictions["label"]) == list(rows["predicted"])
    assert list(predictions["confidence"]) == pytest.approx(rows["confidence"].astype(float), abs=1e-5)


@pytest.mark.slow
@pytest.mark.skipif(not (ROOT / "models/plain.json").exists(), reason="models/plain.json is not here: make repro")
def test_the_model_of_the_pipeline_predicts_as_its_cnn_stage_did() -> None:
    from landmarks.serving import predictor

    loaded = predictor.load(ROOT / "models/plain.json", ROOT / "dvc.lock")
    for row in predicted_by_stage(ROOT / "data/split.csv", ROOT / "data/predictions/plain.parquet").itertuples():
        content = (ROOT / f"data/anonymous/{row.id}.jpg").read_bytes()
        (prediction,) = loaded.predict([loaded.preprocess(content)], 1)
        assert prediction.top[0].label == row.predicted
        assert prediction.confidence == pytest.approx(float(str(row.confidence)), abs=1e-5)


def test_the_command_predicts_what_it_can_read(
    script: Script, untrained: Path, photo: bytes, host: Host, tmp_path: Path
) -> None:
    (tmp_path / "1.jpg").write_bytes(photo)
    (tmp_path / "2.jpg").write_bytes(photo[:2000])
    sources = (tmp_path, tmp_path / "3.jpg", f"{host.url}/photo/1-0.jpg")
    options = ("--model", untrained, "--unchecked", "--threshold", 0.1)
    done = script("predict", *sources, *options, "--json", "--loopback")
    assert done.returncode == 1
    printed = json.loads(done.stdout)
    assert (printed["model"]["checked"], printed["model"]["threshold"]) == (False, 0.1)
    first, second, third, fourth = printed["predictions"]
    assert [second["error"], third["error"]] == ["truncated", "no such file"]
    assert first["known"]
    assert first["confidence"] == fourth["confidence"]
    assert len(first["top"]) == 3


def test_what_lies_beside_photos_stops_nothing(process: Script, untrained: Path, photo: bytes, tmp_path: Path) -> None:
    photos = ["DSC1.JPG", "IMG_1.JPG", "a.jfif", "b.jpe", os.fsdecode(b"caf\xe9.jpg"), "10:30 a::b [1].jpg"]
    for name in photos:
        (tmp_path / name).write_bytes(photo)
    for name in ("DSC1.ARW", "IMG_1.MOV", "a.xmp", "notes.txt", "IMG_2.HEIC"):
        (tmp_path / name).write_bytes(b"no photo")
    for form in ("--csv", "--json"):
        done = process("predict", tmp_path, "--model", untrained, "--unchecked", "--threshold", 0.1, form)
        assert done.returncode == 0, done.stderr
        assert done.stderr.splitlines()[-1] == "predict: not looked at: 1 .arw, 1 .heic, 1 .mov, 1 .txt, 1 .xmp"
        assert all(str(tmp_path / name) in done.stdout for name in photos)


def test_mistakes_end_in_one_line(script: Script, tmp_path: Path) -> None:
    fails_in_one_line(script("predict", tmp_path), str(tmp_path), "no photos in there")
    fails_in_one_line(script("predict", "a.jpg", "--csv", "--json"), "one of them")
