"""The server as programs meet it: three protocols, one predictor; whatever is sent, it answers in one line and lives on."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil  # type: ignore[import-untyped]  # comes with DVC; one number is read
import pytest
import requests
import uvicorn
from conftest import ROOT
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from landmarks.demo import renderer
from landmarks.serving import middleware

if TYPE_CHECKING:
    from landmarks.serving.predictor import Predictor

PREDICT, INFER, PHOTOS = "/v1/models/landmarks:predict", "/v2/models/landmarks/infer", "/v1/photos"
LIMITS = middleware.Limits()
CODES = {400, 404, 405, 408, 413, 415, 422}  # what a hostile request may be answered with


@contextlib.contextmanager
def at_work(predictor: Predictor, limits: middleware.Limits = LIMITS, key: str = "", **more: Any) -> Iterator[str]:
    """The address of a server in this process, on loopback, as ``src/serve.py`` runs it."""
    from landmarks.serving import app

    config = uvicorn.Config(
        app.application(predictor, limits, key, **more),
        port=0,
        http=middleware.protocol(limits.seconds),
        log_level="error",
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join(10)
    assert not thread.is_alive()


@pytest.fixture(scope="module")
def url(answering: Predictor, photos: Path, split: Path) -> Iterator[str]:
    from landmarks.serving import similar

    with at_work(answering, learn=partial(similar.learn, answering, photos / "images", split)) as address:
        yield address


def b64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def rows(*contents: bytes) -> dict[str, Any]:
    return {"instances": [{"b64": b64(content)} for content in contents]}


def tensor(*contents: bytes, **more: Any) -> dict[str, Any]:
    data = {"name": "photo", "shape": [len(contents)], "datatype": "BYTES", "data": list(map(b64, contents))}
    return {"inputs": [{**data, **more}]}


def refused(reply: requests.Response, *codes: int) -> str:
    """Assert that a request was refused with one of ``codes``, clearly; the reason."""
    assert reply.status_code in codes, reply.text[:300]
    assert list(reply.json()) == ["error"]
    (reason,) = reply.json().values()
    assert isinstance(reason, str)
    assert 0 < len(reason) < 300
    assert "\n" not in reason
    return reason


def test_the_row_form_answers_as_the_predictor_does(url: str, answering: Predictor, photo: bytes) -> None:
    contents = [photo, renderer.photo(7, 2, 0)]
    reply = requests.post(url + PREDICT, json=rows(*contents), params={"top": 2}, timeout=30)
    assert reply.status_code == 200, reply.text
    said = answering.predict([answering.square(content) for content in contents], 2)
    for answer, wanted in zip(reply.json()["predictions"], said, strict=True):
        assert answer["label"] == wanted.label
        assert answer["known"] == wanted.known
        assert [choice["name"] for choice in answer["top"]] == [choice.name for choice in wanted.top]
        assert answer["confidence"] == pytest.approx(wanted.confidence, abs=1e-5)


def test_the_content_type_that_curl_sends_is_taken(url: str, photo: bytes) -> None:
    """TensorFlow Serving's own examples are curl -d."""
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    assert requests.post(url + PREDICT, data=json.dumps(rows(photo)), headers=headers, timeout=30).status_code == 200


def test_the_v2_protocol_answers_the_same(url: str, photo: bytes) -> None:
    (wanted,) = requests.post(url + PREDICT, json=rows(photo), timeout=30).json()["predictions"]
    reply = requests.post(url + INFER, json={"id": "a7", **tensor(photo, photo)}, timeout=30).json()
    given = {output["name"]: output for output in reply["outputs"]}
    assert (reply["id"], reply["model_name"]) == ("a7", "landmarks")
    assert given["label"]["data"] == [wanted["label"]] * 2
    assert given["confidence"]["data"] == pytest.approx([wanted["confidence"]] * 2, abs=1e-5)
    assert given["probabilities"]["shape"] == [2, 3]
    assert sum(given["probabilities"]["data"]) == pytest.approx(2, abs=1e-4)
    asked = {**tensor(photo), "outputs": [{"name": "known"}]}
    assert [output["name"] for output in requests.post(url + INFER, json=asked, timeout=30).json()["outputs"]] == [
        "known"
    ]
    told = requests.get(f"{url}/v2/models/landmarks", timeout=30).json()
    assert {output["name"] for output in told["outputs"]} == set(given)
    assert told["labels"] == ["1", "2", "10"]
    for path in ("live", "ready"):
        assert requests.get(f"{url}/v2/health/{path}", timeout=30).json() == {path: True}


def test_files_of_a_form_are_answered_and_none_touches_the_disk(
    url: str, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (1000, 1000, 3), np.uint8)
    file = BytesIO()
    Image.fromarray(noise).save(file, "PNG")  # 3 MB: more than a form's part may weigh in memory by default
    import tempfile

    def disk(*_: object, **__: object) -> None:
        raise AssertionError("a photo was written to disk")

    monkeypatch.setattr(tempfile, "TemporaryFile", disk)
    files = [("photo", ("a.jpg", photo)), ("photo", ("b.png", file.getvalue()))]
    reply = requests.post(url + PHOTOS, files=files, timeout=30)
    assert reply.status_code == 200, reply.text
    assert len(reply.json()["predictions"]) == 2


def test_an_explanation_has_a_map_and_the_most_similar_training_photos(url: str, photos: Path) -> None:
    content = (photos / "images" / "p1_00.jpg").read_bytes()
    told = requests.post(f"{url}/v1/explain", files={"photo": content}, timeout=60).json()
    assert np.array(told["drops"]).shape == (8, 8)
    assert told["label"] == told["prediction"]["top"][0]["label"]
    similar = told["similar"]
    assert (similar[0]["id"], similar[0]["label"]) == ("p1_00", "1")
    assert similar[0]["cosine"] == pytest.approx(1, abs=0.02)  # kept upright, its pixels compressed again
    assert [like["cosine"] for like in similar] == sorted((like["cosine"] for like in similar), reverse=True)
    assert max(Image.open(BytesIO(base64.b64decode(similar[0]["jpeg"]))).size) <= 240


def test_photos_of_concurrent_requests_pass_together_and_each_gets_its_own_answer(answering: Predictor) -> None:
    contents = [renderer.photo(7, landmark, view) for landmark in (1, 2, 3) for view in range(4)] * 2
    wanted = [said.confidence for said in answering.predict([answering.square(content) for content in contents], 1)]
    with at_work(answering) as url, ThreadPoolExecutor(8) as clients:

        def ask(content: bytes) -> float:
            return float(
                requests.post(url + PREDICT, json=rows(content), timeout=60).json()["predictions"][0]["confidence"]
            )

        assert list(clients.map(ask, contents)) == pytest.approx(wanted, abs=1e-5)
        told = requests.get(f"{url}/metrics", timeout=30).text
    (batches,), (passed,) = (
        re.findall(rf"^landmarks_batch_photos_{name} (\S+)", told, re.MULTILINE) for name in ("count", "sum")
    )
    assert float(passed) == len(contents)
    assert float(batches) < len(contents)
    assert f'landmarks_requests_total{{code="200",path="{PREDICT}"}} {len(contents)}.0' in told


def test_the_examples_of_the_description_work_as_they_stand(url: str) -> None:
    described = requests.get(f"{url}/openapi.json", timeout=30).json()
    tried = 0
    for path, methods in described["paths"].items():
        for body in methods.get("post", {}).get("requestBody", {}).get("content", {}).values():
            if "example" in body:
                assert requests.post(url + path, json=body["example"], timeout=30).status_code == 200, path
                tried += 1
    assert tried == 2
    assert set(described["components"]["schemas"]["Error"]["properties"]) == {"error"}


def bomb() -> bytes:
    """A PNG of 100 kB that would decode to 400 million pixels."""
    file = BytesIO()
    Image.new("1", (20000, 20000)).save(file, "PNG")
    return file.getvalue()


def hostile(photo: bytes) -> dict[str, tuple[int, str, dict[str, Any]]]:
    """What is sent, by what is wrong with it: the code that answers it, the path, the request."""
    deep = "[" * 1000
    return {
        "no body": (400, PREDICT, {}),
        "no JSON": (400, PREDICT, {"data": b"\xff\xfe{"}),
        "half of it": (400, PREDICT, {"data": json.dumps(rows(photo))[:-5]}),
        "nested": (400, PREDICT, {"data": deep}),
        "a list": (422, PREDICT, {"json": [1, 2]}),
        "no instances": (422, PREDICT, {"json": {"instances": []}}),
        "wrong types": (422, PREDICT, {"json": {"instances": [{"b64": 7}]}}),
        "columns": (422, PREDICT, {"json": {"inputs": {"b64": "aaaa"}}}),
        "bad base64 in a column": (400, INFER, {"json": tensor(b"", shape=[1, 1], data=[["!!!"]])}),
        "bad base64": (400, PREDICT, {"json": {"instances": [{"b64": "%%%="}]}}),
        "base64 that is none": (400, PREDICT, {"json": {"instances": [{"b64": "né"}]}}),
        "a lone surrogate": (400, PREDICT, {"data": b'{"instances": [{"b64": "\\ud800"}]}'}),
        "an empty photo": (415, PREDICT, {"json": rows(b"")}),
        "not an image": (415, PREDICT, {"json": rows(b"%PDF-1.4 hello")}),
        "a page": (415, PREDICT, {"json": rows(b"<html>")}),
        "truncated": (422, PREDICT, {"json": rows(photo[:5000])}),
        "one of two": (422, PREDICT, {"json": rows(photo, photo[:5000])}),
        "a bomb": (413, PREDICT, {"json": rows(bomb())}),
        "1,000 instances": (413, PREDICT, {"json": rows(*[b"x"] * 1000)}),
        "a million instances": (413, PREDICT, {"data": b'{"instances":[' + b'{"b64":""},' * 999_999 + b'{"b64":""}]}'}),
        "a million of nothing": (413, PREDICT, {"data": b'{"instances":[' + b"{}," * 5_000_000 + b"{}]}"}),
        "a million strings": (413, INFER, {"data": json.dumps(tensor(*[b""] * 1_000_000))}),
        "top": (422, PREDICT + "?top=0", {"json": rows(photo)}),
        "another input": (400, INFER, {"json": tensor(photo, name="x")}),
        "another datatype": (400, INFER, {"json": tensor(photo, datatype="FP32")}),
        "another shape": (400, INFER, {"json": tensor(photo, shape=[2])}),
        "a shape of nothing": (422, INFER, {"json": tensor(photo, shape=[])}),
        "a negative shape": (400, INFER, {"json": tensor(photo, shape=[-1])}),
        "an empty tensor": (400, INFER, {"json": tensor()}),
        "another output": (400, INFER, {"json": {**tensor(photo), "outputs": [{"name": "x"}]}}),
        "33 in a tensor": (413, INFER, {"json": tensor(*[b"x"] * 33)}),
        "no form": (415, PHOTOS, {"data": photo, "headers": {"Content-Type": "image/jpeg"}}),
        "a form without end": (400, PHOTOS, {"data": b"--x", "headers": {"Content-Type": "multipart/form-data"}}),
        "another field": (422, PHOTOS, {"files": {"picture": photo}}),
        "text in the field": (422, PHOTOS, {"files": {"photo": (None, "hello")}}),
        "33 files": (400, PHOTOS, {"files": [("photo", ("x", b"x"))] * 33}),
        "two to explain": (413, "/v1/explain", {"files": [("photo", ("x", photo))] * 2}),
        "nothing there": (404, "/v1/models/other:predict", {"json": rows(photo)}),
        "another path": (404, "/../../etc/passwd", {"json": {}}),
        "another method": (405, "/metrics", {"json": {}}),
        "200 MB": (413, PREDICT, {"data": bytes(200_000_000)}),
    }  # fmt: skip


def test_what_is_wrong_with_a_request_is_said_with_the_right_code(url: str, photo: bytes) -> None:
    for case, (code, path, request) in hostile(photo).items():
        reason = refused(requests.post(url + path, timeout=60, **request), code)
        assert "base64" not in reason or "base64" in case, case
    reason = refused(requests.post(url + PREDICT, json=rows(photo, photo[:5000]), timeout=30), 422)
    assert reason.startswith("instances[1]: truncated")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["instances", "b64", "inputs", "name", "shape", "data", "x"]), inner, max_size=3
        )
    ),
    max_leaves=8,
)
SHAPED = st.fixed_dictionaries(
    {"instances": st.lists(st.fixed_dictionaries({"b64": JSON | st.binary().map(b64)}), max_size=3)}
)
TENSORS = st.fixed_dictionaries({
    "inputs": st.lists(
        st.fixed_dictionaries({
            "name": st.just("photo"), "shape": st.lists(st.integers(-2, 3), max_size=3), "datatype": st.just("BYTES"),
            "data": st.lists(st.binary().map(b64), max_size=3) | JSON,
        }), max_size=2),
})  # fmt: skip


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from([PREDICT, INFER]), JSON | SHAPED | TENSORS, st.booleans())
def test_no_json_makes_it_fail(url: str, path: str, body: Any, cut: bool) -> None:
    text = json.dumps(body)
    with requests.Session() as session:
        refused(session.post(url + path, data=text[: len(text) // 2] if cut else text, timeout=30), *CODES)


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_no_damaged_photo_makes_it_fail(url: str, photo: bytes, data: st.DataObject) -> None:
    damaged = bytearray(photo)
    for _ in range(data.draw(st.integers(1, 8))):
        damaged[data.draw(st.integers(0, len(photo) - 1) | st.integers(0, 700))] = data.draw(st.integers(0, 255))
    damaged = damaged[: data.draw(st.just(len(photo)) | st.integers(0, len(photo)))]
    reply = requests.post(url + PHOTOS, files={"photo": bytes(damaged)}, timeout=30)
    if reply.status_code != 200:  # a wrong pixel is still a photo
        refused(reply, *CODES)


def speak(url: str, *parts: bytes, pause: float = 0.2) -> bytes:
    """Send parts with pauses between them; all that is answered until the server hangs up."""
    host, _, port = url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        for part in parts:
            with contextlib.suppress(OSError):  # it may have had enough
                connection.sendall(part)
            time.sleep(pause)
        said = b""
        with contextlib.suppress(ConnectionResetError):
            while piece := connection.recv(65536):
                said += piece
        return said


def test_a_client_that_takes_its_time_is_answered_408_and_hung_up_on(answering: Predictor) -> None:
    head = f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n".encode()
    with at_work(answering, middleware.Limits(seconds=0.6)) as url:
        slow = {
            "nothing": [],
            "half a head": [head],
            "a head that drips": [head[:20], *(b"x" for _ in range(8))],
            "no body": [head + b"\r\n"],
            "a body that drips": [head + b"\r\n", *(b"{" for _ in range(8))],
            "a second request that drips": [b"GET /v2 HTTP/1.1\r\nHost: x\r\n\r\n", *(b"G" for _ in range(8))],
        }
        with ThreadPoolExecutor(len(slow)) as clients:
            said = dict(zip(slow, clients.map(lambda parts: speak(url, *parts), slow.values()), strict=True))
        for case, answer in said.items():
            assert b"HTTP/1.1 408 " in answer, (case, answer)
            assert b'"error": "the request did not arrive within 0.6 seconds"' in answer, case
        assert requests.get(f"{url}/v2/health/live", timeout=5).ok


def test_more_requests_than_there_may_be_are_put_off(answering: Predictor, photo: bytes) -> None:
    with at_work(answering, middleware.Limits(requests=1, seconds=3)) as url, ThreadPoolExecutor(1) as client:
        head = f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n".encode()
        slow = client.submit(speak, url, head)
        while (reply := requests.post(url + PREDICT, json=rows(photo), timeout=5)).ok:
            if slow.done():  # it came while this one was under way, and was put off itself
                slow = client.submit(speak, url, head)
        assert reply.headers["Retry-After"] == "1"
        assert requests.get(f"{url}/v2/health/live", timeout=5).ok
        assert "ask again" in refused(reply, 429)
        assert b" 408 " in slow.result()
        assert requests.post(url + PREDICT, json=rows(photo), timeout=5).ok


def test_a_key_is_asked_of_all_but_the_page_and_the_probes(answering: Predictor, photo: bytes) -> None:
    with at_work(answering, key="sésame") as url:
        for headers in ({}, {"X-API-Key": "wrong"}, {"Authorization": "Bearer "}, {"Authorization": "Basic eA=="}):
            reply = requests.post(url + PREDICT, json=rows(photo), headers=headers, timeout=30)
            assert "API key" in refused(reply, 401)
            assert reply.headers["WWW-Authenticate"] == "Bearer"
        for given in ({"X-API-Key": "sésame".encode()}, {"Authorization": "Bearer sésame".encode()}):
            assert requests.post(url + PREDICT, json=rows(photo), headers=given, timeout=30).ok
        for path, code in {
            "/": 200,
            "/openapi.json": 200,
            "/v2/health/ready": 200,
            "/metrics": 401,
            "/v2": 401,
        }.items():
            assert requests.get(url + path, timeout=30).status_code == code, path


@contextlib.contextmanager
def started(model: Path, *options: object) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """``src/serve.py`` on a free port, ready, and its address."""
    command = [
        sys.executable,
        "src/serve.py",
        "--model",
        model,
        "--unchecked",
        "--threshold",
        "0.4",
        "--port",
        "0",
        *options,
    ]
    process = subprocess.Popen(list(map(str, command)), cwd=ROOT, stderr=subprocess.PIPE, text=True)
    assert process.stderr
    try:
        for line in process.stderr:
            if found := re.search(r"running on (http://127\.0\.0\.1:\d+)", line):
                yield process, found[1]
                break
    finally:
        process.kill()
        process.wait()


def test_similar_photos_come_only_from_the_folder_that_dvc_recorded(
    answering: Predictor, photos: Path, split: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import serve
    from landmarks.serving import dvc_lineage

    folder, parts, lock = tmp_path / "anonymous", tmp_path / "split.csv", tmp_path / "dvc.lock"
    shutil.copytree(photos / "images", folder)
    shutil.copy(split, parts)
    outs = [{"path": path.name, "md5": dvc_lineage.md5(path)} for path in (folder, parts)]
    lock.write_text(json.dumps({"stages": {"anonymize": {"outs": outs}}}))
    known = serve._learn(answering, folder, parts, lock)
    assert known is not None
    one = folder / f"{known.ids[0]}.jpg"
    one.write_bytes(renderer.photo(8, 1, 0))  # one that nobody has anonymized
    assert serve._learn(answering, folder, parts, lock) is None
    assert f"no similar photos are shown: {folder}: its MD5 is" in capsys.readouterr().err
    assert serve._learn(answering, folder, parts, None) is not None


@pytest.mark.slow
def test_two_thousand_hostile_requests_leave_it_as_it_was_and_sigterm_answers_what_is_under_way(
    untrained: Path, photo: bytes
) -> None:
    with started(untrained, "--megabytes", 20) as (process, url):
        requests_of = [(url + path, request) for _, path, request in hostile(photo).values()]
        small = [(at, request) for at, request in requests_of if len(request.get("data", "")) < 1_000_000]
        weighed = psutil.Process(process.pid).memory_info

        def send(number: int) -> int:
            at, request = small[number % len(small)]
            return requests.post(at, timeout=60, **request).status_code

        with ThreadPoolExecutor(4) as clients:
            first = set(clients.map(send, range(200)))
            for at, request in requests_of:
                requests.post(at, timeout=60, **request)
            before = weighed().rss
            codes = first | set(clients.map(send, range(2000)))
        assert codes <= CODES
        assert weighed().rss < before + 50e6
        body = json.dumps(rows(photo)).encode()
        head = f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        with ThreadPoolExecutor(1) as client:
            under_way = client.submit(speak, url, head + body[:1000], body[1000:], pause=1.0)
            time.sleep(0.5)
            os.kill(process.pid, signal.SIGTERM)
            assert b'"predictions"' in under_way.result()
        assert process.wait(10) in (0, -signal.SIGTERM)
