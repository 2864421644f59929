"""The HTTP API: TensorFlow Serving's row format, forms, explanations, metrics, health."""

import base64
import json
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import requests
from PIL import Image

from landmarks.demo import renderer

from .server import EXPLAIN, LIVE, MODEL, PHOTOS, PREDICT, READY, predict_body, running_server

if TYPE_CHECKING:
    from landmarks.serving.photo_index import PhotoIndex
    from landmarks.serving.predictor import Predictor


def photo_index_of(predictor: "Predictor", folder: Path, split: Path) -> "PhotoIndex":
    from landmarks.serving import photo_index

    return photo_index.build(predictor, folder, split)


def test_the_row_format_returns_the_predictions(server_url: str, answering: "Predictor", photo: bytes) -> None:
    contents = [photo, renderer.photo(7, 2, 0)]
    reply = requests.post(server_url + PREDICT, json=predict_body(*contents), params={"top": 2}, timeout=30)
    assert reply.status_code == 200, reply.text
    predictions = answering.predict([answering.preprocess(content) for content in contents], 2)
    for answer, wanted in zip(reply.json()["predictions"], predictions, strict=True):
        assert answer["label"] == wanted.label
        assert answer["known"] == wanted.known
        assert [choice["name"] for choice in answer["top"]] == [choice.name for choice in wanted.top]
        assert answer["confidence"] == pytest.approx(wanted.confidence, abs=1e-5)


@pytest.mark.parametrize("version", ["", "/versions/1"])
def test_the_forms_of_tensorflow_serving_get_the_same_predictions(server_url: str, photo: bytes, version: str) -> None:
    rows = predict_body(photo)
    value = rows["instances"][0]
    asked = [
        {"signature_name": "serving_default", **rows},
        {"instances": [{"photo": value}]},
        {"inputs": [value]},
        {"inputs": {"photo": [value]}},
    ]
    wanted = requests.post(server_url + PREDICT, json=rows, timeout=30).json()["predictions"]
    for body in asked:
        reply = requests.post(f"{server_url}{MODEL}{version}:predict", json=body, timeout=30)
        assert reply.status_code == 200, reply.text
        assert reply.json() == {"outputs" if "inputs" in body else "predictions": wanted}


def test_the_content_type_that_curl_sends_is_accepted(server_url: str, photo: bytes) -> None:
    """TensorFlow Serving's own examples are curl -d."""
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    body = json.dumps(predict_body(photo))
    assert requests.post(server_url + PREDICT, data=body, headers=headers, timeout=30).status_code == 200


def test_base64_may_have_line_breaks(server_url: str, photo: bytes) -> None:
    plain, broken = (
        {"instances": [{"b64": encode(photo).decode()}]} for encode in (base64.b64encode, base64.encodebytes)
    )
    wanted, reply = (requests.post(server_url + PREDICT, json=body, timeout=30) for body in (plain, broken))
    assert reply.status_code == 200, reply.text
    assert reply.json() == wanted.json()


@pytest.mark.parametrize("version", ["", "/versions/1"])
def test_status_and_metadata_are_those_of_tensorflow_serving(server_url: str, version: str) -> None:
    (status,) = requests.get(f"{server_url}{MODEL}{version}", timeout=30).json()["model_version_status"]
    assert (status["version"], status["state"]) == ("1", "AVAILABLE")
    described = requests.get(f"{server_url}{MODEL}{version}/metadata", timeout=30).json()
    assert described["model_spec"] == {"name": "landmarks", "signature_name": "", "version": "1"}
    metadata = described["metadata"]
    (signature,) = metadata["signature_def"]["signature_def"].values()
    assert signature["inputs"]["photo"]["dtype"] == "DT_STRING"
    assert metadata["labels"] == ["1", "2", "10"]
    assert metadata["checked"]


def test_health_is_reported(server_url: str) -> None:
    assert requests.get(server_url + LIVE, timeout=30).json() == {"live": True}
    assert requests.get(server_url + READY, timeout=30).json() == {"ready": True}


def test_head_is_answered_where_get_is_without_the_body(server_url: str) -> None:
    for path in ("/", "/openapi.json", "/docs", LIVE, READY, "/metrics", MODEL):
        reply = requests.head(server_url + path, timeout=30)
        assert (reply.status_code, reply.content) == (200, b""), path
    assert requests.head(server_url + PREDICT, timeout=30).status_code == 405


def test_the_docs_need_no_other_host(server_url: str) -> None:
    page = requests.get(f"{server_url}/docs", timeout=30).text
    files = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert len(files) == 3
    for file in files:
        assert requests.get(server_url + file, timeout=30).ok, file


def test_files_of_a_form_stay_in_memory(server_url: str, photo: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (1000, 1000, 3), np.uint8)
    file = BytesIO()
    Image.fromarray(noise).save(file, "PNG")  # 3 MB: by default, a part of a form above 1 MB goes to disk
    import tempfile

    def fail(*_: object, **__: object) -> None:
        raise AssertionError("a photo was written to disk")

    monkeypatch.setattr(tempfile, "TemporaryFile", fail)
    files = [("photo", ("a.jpg", photo)), ("photo", ("b.png", file.getvalue()))]
    reply = requests.post(server_url + PHOTOS, files=files, timeout=30)
    assert reply.status_code == 200, reply.text
    assert len(reply.json()["predictions"]) == 2


def test_an_explanation_has_a_map_and_similar_photos(server_url: str, photos: Path) -> None:
    content = (photos / "images" / "p1_00.jpg").read_bytes()
    explanation = requests.post(server_url + EXPLAIN, files={"photo": content}, timeout=60).json()
    assert np.array(explanation["drops"]).shape == (8, 8)
    assert explanation["label"] == explanation["prediction"]["top"][0]["label"]
    similar = explanation["similar"]
    assert (similar[0]["id"], similar[0]["label"]) == ("p1_00", "1")
    assert similar[0]["cosine"] == pytest.approx(1, abs=0.02)  # the same photo, turned upright and compressed again
    cosines = [neighbour["cosine"] for neighbour in similar]
    assert cosines == sorted(cosines, reverse=True)
    assert max(Image.open(BytesIO(base64.b64decode(similar[0]["jpeg"]))).size) <= 240
    assert (similar[0]["author"], similar[0]["license"]) == ("Ada", "CC BY 4.0")


def test_an_explanation_in_lines_begins_with_the_prediction(server_url: str, photo: bytes) -> None:
    headers = {"Accept": "application/x-ndjson"}
    reply = requests.post(server_url + EXPLAIN, files={"photo": photo}, headers=headers, timeout=60)
    first, second = map(json.loads, reply.text.splitlines())
    assert first == {"predictions": [second["prediction"]]}
    assert second == requests.post(server_url + EXPLAIN, files={"photo": photo}, timeout=60).json()


def test_a_similar_photo_that_has_vanished_is_left_out(
    answering: "Predictor", photos: Path, split: Path, tmp_path: Path
) -> None:
    shutil.copytree(photos / "images", tmp_path / "images")
    index = photo_index_of(answering, tmp_path / "images", split)
    (tmp_path / "images" / "p1_00.jpg").unlink()
    content = (photos / "images" / "p1_00.jpg").read_bytes()
    with running_server(answering, build_index=lambda _: index) as url:
        reply = requests.post(url + EXPLAIN, files={"photo": content}, timeout=60)
    similar = [photo["id"] for photo in reply.json()["similar"]]
    assert len(similar) == 4
    assert "p1_00" not in similar


def test_photos_of_concurrent_requests_share_batches_and_each_gets_its_own_prediction(answering: "Predictor") -> None:
    contents = [renderer.photo(7, landmark, view) for landmark in (1, 2, 3) for view in range(4)] * 2
    pictures = [answering.preprocess(content) for content in contents]
    wanted = [prediction.confidence for prediction in answering.predict(pictures, 1)]
    with running_server(answering) as url, ThreadPoolExecutor(8) as clients:

        def confidence(content: bytes) -> float:
            reply = requests.post(url + PREDICT, json=predict_body(content), timeout=60)
            return float(reply.json()["predictions"][0]["confidence"])

        assert list(clients.map(confidence, contents)) == pytest.approx(wanted, abs=1e-5)
        metrics = requests.get(f"{url}/metrics", timeout=30).text
    counts = dict(re.findall(r"^landmarks_batch_photos_(count|sum) (\S+)", metrics, re.MULTILINE))
    assert float(counts["sum"]) == len(contents)
    assert float(counts["count"]) < len(contents)
    assert f'landmarks_requests_total{{code="200",path="{PREDICT}"}} {len(contents)}.0' in metrics


def test_the_example_in_the_openapi_description_works(server_url: str) -> None:
    description = requests.get(f"{server_url}/openapi.json", timeout=30).json()
    examples = [
        (path, body["example"])
        for path, methods in description["paths"].items()
        for body in methods.get("post", {}).get("requestBody", {}).get("content", {}).values()
        if "example" in body
    ]
    assert [path for path, _ in examples] == [PREDICT, f"{MODEL}/versions/1:predict"]
    for path, example in examples:
        assert requests.post(server_url + path, json=example, timeout=30).status_code == 200
    assert set(description["components"]["schemas"]["Error"]["properties"]) == {"error"}
