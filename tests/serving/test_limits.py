"""Untrusted input: whatever a client sends, it is refused with one line of reason, and the server goes on."""

import base64
import contextlib
import gzip
import json
import os
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from support import examples

from landmarks.serving.limits import RequestLimits

from .server import EXPLAIN, LIVE, MODEL, PHOTOS, PREDICT, READY, predict_body, running_server, serve_process

if TYPE_CHECKING:
    from landmarks.serving.predictor import Predictor

REFUSALS = {400, 404, 405, 408, 413, 415, 422}  # status codes with which a hostile request may be refused


def predict_head(length: int, *more: str) -> bytes:
    lines = [f"POST {PREDICT} HTTP/1.1", "Host: localhost", f"Content-Length: {length}", *more]
    return "\r\n".join([*lines, "", ""]).encode()


def error_of(reply: requests.Response, *codes: int) -> str:
    """Assert that a request was refused with one of ``codes``, as JSON with one line of reason; the reason."""
    assert reply.status_code in codes, reply.text[:300]
    assert list(reply.json()) == ["error"]
    (reason,) = reply.json().values()
    assert isinstance(reason, str)
    assert 0 < len(reason) < 300
    assert "\n" not in reason
    return reason


def send_slowly(url: str, *parts: bytes, pause: float = 0.2) -> bytes:
    """Send parts with pauses between them; everything that the server sends until it closes the connection."""
    host, _, port = url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        for part in parts:
            with contextlib.suppress(OSError):  # the server may have closed it by now
                connection.sendall(part)
            time.sleep(pause)
        received = b""
        with contextlib.suppress(ConnectionResetError):
            while piece := connection.recv(65536):
                received += piece
        return received


def decompression_bomb() -> bytes:
    """A PNG of 100 kB that would decode to 400 million pixels."""
    file = BytesIO()
    Image.new("1", (20000, 20000)).save(file, "PNG")
    return file.getvalue()


@cache
def blank(megapixels: int) -> bytes:
    """A small PNG of so many pixels, all of one colour."""
    file = BytesIO()
    Image.new("1", (1000, 1000 * megapixels)).save(file, "PNG")
    return file.getvalue()


def hostile_requests(photo: bytes) -> dict[str, tuple[int, str, dict[str, Any]]]:
    """By what is wrong with a request: the status code of the refusal, the path, the arguments of ``requests.post``."""
    return {
        "no body": (400, PREDICT, {}),
        "no JSON": (400, PREDICT, {"data": b"\xff\xfe{"}),
        "half of it": (400, PREDICT, {"data": json.dumps(predict_body(photo))[:-5]}),
        "nested": (400, PREDICT, {"data": "[" * 1000}),
        "a list": (422, PREDICT, {"json": [1, 2]}),
        "no instances": (422, PREDICT, {"json": {"instances": []}}),
        "wrong types": (422, PREDICT, {"json": {"instances": [{"b64": 7}]}}),
        "the column format": (422, PREDICT, {"json": {"inputs": {"b64": "aaaa"}}}),
        "bad base64": (400, PREDICT, {"json": {"instances": [{"b64": "%%%="}]}}),
        "letters outside base64": (400, PREDICT, {"json": {"instances": [{"b64": "né"}]}}),
        "a lone surrogate": (400, PREDICT, {"data": b'{"instances": [{"b64": "\\ud800"}]}'}),
        "an empty photo": (415, PREDICT, {"json": predict_body(b"")}),
        "not an image": (415, PREDICT, {"json": predict_body(b"%PDF-1.4 hello")}),
        "a page": (415, PREDICT, {"json": predict_body(b"<html>")}),
        "truncated": (422, PREDICT, {"json": predict_body(photo[:5000])}),
        "one of two": (422, PREDICT, {"json": predict_body(photo, photo[:5000])}),
        "a decompression bomb": (413, PREDICT, {"json": predict_body(decompression_bomb())}),
        "1,000 instances": (413, PREDICT, {"json": predict_body(*[b"x"] * 1000)}),
        "a million instances": (413, PREDICT, {"data": b'{"instances":[' + b'{"b64":""},' * 999_999 + b'{"b64":""}]}'}),
        "5 million empty objects": (413, PREDICT, {"data": b'{"instances":[' + b"{}," * 5_000_000 + b"{}]}"}),
        "a million strings": (422, PREDICT, {"data": b'{"instances":[' + b'"",' * 1_000_000 + b'""]}'}),
        "top": (422, PREDICT + "?top=0", {"json": predict_body(photo)}),
        "no form": (415, PHOTOS, {"data": photo, "headers": {"Content-Type": "image/jpeg"}}),
        "a form without end": (400, PHOTOS, {"data": b"--x", "headers": {"Content-Type": "multipart/form-data"}}),
        "another field": (422, PHOTOS, {"files": {"picture": photo}}),
        "text in the field": (422, PHOTOS, {"files": {"photo": (None, "hello")}}),
        "33 files": (400, PHOTOS, {"files": [("photo", ("x", b"x"))] * 33}),
        "millions of comments": (413, PHOTOS, {"files": {"photo": photo[:2] + b"\xff\xfe\0\4ab" * 2_000_000 + photo[2:]}}),
        "too many pixels together": (413, PHOTOS, {"files": [("photo", ("x", blank(24)))] * 5}),
        "too many pixels in a PNG": (413, PHOTOS, {"files": {"photo": blank(26)}}),
        "a compressed body": (415, PREDICT, {"data": gzip.compress(b"{}"), "headers": {"Content-Encoding": "gzip"}}),
        "both forms": (422, PREDICT, {"json": {"instances": [{"b64": ""}], "inputs": [{"b64": ""}]}}),
        "another signature": (422, PREDICT, {"json": {**predict_body(photo), "signature_name": "classify"}}),
        "another version": (404, f"{MODEL}/versions/2:predict", {"json": predict_body(photo)}),
        "a slash too many": (404, f"{PHOTOS}/", {"files": {"photo": photo}}),
        "two to explain": (413, EXPLAIN, {"files": [("photo", ("x", photo))] * 2}),
        "another model": (404, "/v1/models/other:predict", {"json": predict_body(photo)}),
        "another path": (404, "/../../etc/passwd", {"json": {}}),
        "another method": (405, "/metrics", {"json": {}}),
        "200 MB": (413, PREDICT, {"data": bytes(200_000_000)}),
    }  # fmt: skip


def test_each_mistake_in_a_request_has_its_status_code_and_reason(server_url: str, photo: bytes) -> None:
    for case, (code, path, request) in hostile_requests(photo).items():
        reason = error_of(requests.post(server_url + path, timeout=60, **request), code)
        assert "base64" not in reason or "base64" in case, case
    reply = requests.post(server_url + PREDICT, json=predict_body(photo, photo[:5000]), timeout=30)
    assert error_of(reply, 422).startswith("instances[1]: truncated")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["instances", "b64", "inputs", "x"]), inner, max_size=3)
    ),
    max_leaves=8,
)
BASE64 = st.binary().map(lambda content: base64.b64encode(content).decode())
ROWS = st.fixed_dictionaries({"instances": st.lists(st.fixed_dictionaries({"b64": JSON | BASE64}), max_size=3)})


@settings(max_examples=examples(100), suppress_health_check=list(HealthCheck))
@given(JSON | ROWS, st.booleans())
def test_any_json_is_refused_and_none_makes_the_server_fail(server_url: str, body: Any, cut: bool) -> None:
    text = json.dumps(body)
    with requests.Session() as session:
        data = text[: len(text) // 2] if cut else text
        error_of(session.post(server_url + PREDICT, data=data, timeout=30), *REFUSALS)


@settings(max_examples=examples(100), suppress_health_check=list(HealthCheck))
@given(st.data())
def test_no_damaged_photo_makes_the_server_fail(server_url: str, photo: bytes, data: st.DataObject) -> None:
    damaged = bytearray(photo)
    for _ in range(data.draw(st.integers(1, 8))):
        damaged[data.draw(st.integers(0, len(photo) - 1) | st.integers(0, 700))] = data.draw(st.integers(0, 255))
    damaged = damaged[: data.draw(st.just(len(photo)) | st.integers(0, len(photo)))]
    reply = requests.post(server_url + PHOTOS, files={"photo": bytes(damaged)}, timeout=30)
    if reply.status_code != 200:  # a photo with a wrong pixel is still a photo
        error_of(reply, *REFUSALS)


def test_a_slow_client_is_answered_408_and_its_connection_is_closed(answering: "Predictor") -> None:
    head = predict_head(1000)
    with running_server(answering, RequestLimits(seconds=0.6)) as url:
        slow = {
            "nothing": [],
            "half a head": [head[:-2]],
            "a head in single bytes": [head[:20], *[b"x"] * 8],
            "no body": [head],
            "a body in single bytes": [head, *[b"{"] * 8],
            "a second request in single bytes": [
                f"GET {LIVE} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode(),
                *[b"G"] * 8,
            ],
        }
        with ThreadPoolExecutor(len(slow)) as clients:
            received = dict(zip(slow, clients.map(lambda parts: send_slowly(url, *parts), slow.values()), strict=True))
        for case, answer in received.items():
            assert b"HTTP/1.1 408 " in answer, (case, answer)
            assert b'"error":"the request did not arrive within 0.6 seconds' in answer, case
        assert requests.get(url + LIVE, timeout=5).ok


def test_a_key_is_required_except_for_the_page_the_docs_and_health_checks(answering: "Predictor", photo: bytes) -> None:
    with running_server(answering, key="sésame") as url:
        for headers in ({}, {"X-API-Key": "wrong"}, {"Authorization": "Bearer "}, {"Authorization": "Basic eA=="}):
            reply = requests.post(url + PREDICT, json=predict_body(photo), headers=headers, timeout=30)
            assert "API key" in error_of(reply, 401)
            assert reply.headers["WWW-Authenticate"] == "Bearer"
        for name, scheme in (("X-API-Key", ""), ("Authorization", "Bearer "), ("authorization", "bearer ")):
            given_key = {name: f"{scheme}sésame".encode()}
            assert requests.post(url + PREDICT, json=predict_body(photo), headers=given_key, timeout=30).ok
        codes = {"/": 200, "/openapi.json": 200, "/docs": 200, LIVE: 200, READY: 200, "/metrics": 401, MODEL: 401}
        for path, code in codes.items():
            assert requests.get(url + path, timeout=30).status_code == code, path
        operations = requests.get(f"{url}/openapi.json", timeout=30).json()
        assert set(operations["components"]["securitySchemes"]) == {"HTTPBearer", "APIKeyHeader"}
        assert operations["paths"][PREDICT]["post"]["security"] == [{"HTTPBearer": []}, {"APIKeyHeader": []}]
        assert "security" not in operations["paths"][READY]["get"]


@pytest.mark.slow
def test_hostile_requests_leak_no_memory_and_sigterm_is_graceful(untrained: Path, photo: bytes) -> None:
    with serve_process(untrained, "--megabytes", 20) as (process, url):
        all_requests = [(url + path, request) for _, path, request in hostile_requests(photo).values()]
        small = [
            (target, request)
            for target, request in all_requests
            if len(requests.Request("POST", target, **request).prepare().body or "") < 1_000_000
        ]
        memory = psutil.Process(process.pid).memory_info

        def send(number: int) -> int:
            target, request = small[number % len(small)]
            return requests.post(target, timeout=60, **request).status_code

        with ThreadPoolExecutor(4) as clients:
            codes = set(clients.map(send, range(200)))
            for target, request in all_requests:
                requests.post(target, timeout=60, **request)
            before = memory().rss
            codes |= set(clients.map(send, range(1000)))
        assert codes <= REFUSALS
        assert memory().rss < before + 25e6
        body = json.dumps(predict_body(photo)).encode()
        with ThreadPoolExecutor(1) as client:
            head = predict_head(len(body))
            in_progress = client.submit(send_slowly, url, head + body[:1000], body[1000:], pause=1.0)
            time.sleep(0.5)
            os.kill(process.pid, signal.SIGTERM)
            assert b'"predictions"' in in_progress.result()
        assert process.wait(10) in (0, -signal.SIGTERM)
