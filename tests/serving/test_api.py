"""The HTTP API: TensorFlow Serving's row format, forms, explanations, metrics, health."""

import base64
import json
import re
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
    from landmarks.serving.predictor import Predictor


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


def test_status_metadata_and_health_are_reported(server_url: str) -> None:
    (version,) = requests.get(server_url + MODEL, timeout=30).json()["model_version_status"]
    assert version["state"] == "AVAILABLE"
    metadata = requests.get(f"{server_url}{MODEL}/metadata", timeout=30).json()["metadata"]
    assert metadata["labels"] == ["1", "2", "10"]
    assert metadata["checked"]
    assert requests.get(server_url + LIVE, timeout=30).json() == {"live": True}
    assert requests.get(server_url + READY, timeout=30).json() == {"ready": True}


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
    assert [path for path, _ in examples] == [PREDICT]
    for path, example in examples:
        assert requests.post(server_url + path, json=example, timeout=30).status_code == 200
    assert set(description["components"]["schemas"]["Error"]["properties"]) == {"error"}
