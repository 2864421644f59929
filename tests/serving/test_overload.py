"""What costs much, comes slowly or fails: it delays and hangs nobody else."""

import contextlib
import signal
import socket
import time
import urllib.parse
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
import requests
from PIL import Image

from landmarks.serving.limits import RequestLimits

from .server import EXPLAIN, LIVE, PHOTOS, PREDICT, READY, predict_body, running_server, serve_process
from .test_limits import error_of, predict_head, send_slowly

if TYPE_CHECKING:
    from landmarks.serving.predictor import Predictor


@cache
def one_colour(side: int, kind: str = "WEBP") -> bytes:
    """A photo of ``side`` pixels a side in a few kilobytes."""
    file = BytesIO()
    Image.new("RGB", (side, side), "teal").save(
        file, kind, **({"lossless": True, "quality": 0} if kind == "WEBP" else {})
    )
    return file.getvalue()


def changed(predictor: "Predictor", **methods: Any) -> "Predictor":
    """The predictor with other methods."""
    kind = type("Changed", (type(predictor),), methods)
    copy: Predictor = kind(network=predictor.network, places=predictor.places, record=predictor.record)
    return copy


def slow_preprocess(predictor: "Predictor", seconds: float, begun: list[float]) -> "Predictor":
    def preprocess(self: Any, content: bytes, max_pixels: int) -> Any:
        begun.append(time.monotonic())
        time.sleep(seconds)
        return type(predictor).preprocess(predictor, content, max_pixels)

    return changed(predictor, preprocess=preprocess)


def test_work_that_takes_too_long_is_answered_503(answering: "Predictor", photo: bytes) -> None:
    slow = slow_preprocess(answering, 1.5, [])
    with running_server(slow, RequestLimits(seconds_of_work=0.3)) as url:
        reply = requests.post(url + PREDICT, json=predict_body(photo), timeout=30)
        assert "more than 0.3 seconds" in error_of(reply, 503)
        assert requests.get(url + READY, timeout=30).ok


def test_the_work_for_a_client_that_has_hung_up_is_not_begun(answering: "Predictor", photo: bytes) -> None:
    begun: list[float] = []
    with running_server(slow_preprocess(answering, 0.3, begun), RequestLimits(megapixels_at_once=0.01)) as url:
        with contextlib.suppress(requests.Timeout):
            requests.post(url + PREDICT, json=predict_body(*[photo] * 8), timeout=0.5)
        assert requests.post(url + PREDICT, json=predict_body(photo), timeout=30).ok
    assert len(begun) < 6  # one at a time: two or three of the first request, then the second


def test_a_small_photo_overtakes_the_large_ones_that_wait(answering: "Predictor", photo: bytes) -> None:
    order: list[int] = []

    def preprocess(self: Any, content: bytes, max_pixels: int) -> Any:
        order.append(len(content))
        time.sleep(0.2)
        return type(answering).preprocess(answering, content, max_pixels)

    large = one_colour(2000, "JPEG")
    limits = RequestLimits(megapixels_at_once=4)
    with running_server(changed(answering, preprocess=preprocess), limits) as url, ThreadPoolExecutor(1) as client:
        first = client.submit(requests.post, url + PREDICT, json=predict_body(*[large] * 6), timeout=60)
        while not order:
            time.sleep(0.01)
        assert requests.post(url + PREDICT, json=predict_body(photo), timeout=30).ok
        assert first.result().ok
    assert order.index(len(photo)) <= 2
    assert len(order) == 7


def test_more_requests_than_can_be_worked_on_are_answered_429_and_the_rest_works(
    answering: "Predictor", photo: bytes
) -> None:
    slow = slow_preprocess(answering, 1.0, [])
    with running_server(slow, RequestLimits(requests=2)) as url, ThreadPoolExecutor(2) as clients:
        working = [clients.submit(requests.post, url + PREDICT, json=predict_body(photo), timeout=30) for _ in range(2)]
        time.sleep(0.5)
        reply = requests.post(url + PREDICT, json=predict_body(photo), timeout=5)
        assert "try again" in error_of(reply, 429)
        assert reply.headers["Retry-After"] == "1"
        for path in (LIVE, READY, "/metrics", "/"):
            assert requests.get(url + path, timeout=5).ok
        assert all(client.result().ok for client in working)


def test_connections_that_drip_shut_nobody_out(answering: "Predictor", photo: bytes) -> None:
    with running_server(answering) as url:
        host, port = url.removeprefix("http://").split(":")
        with contextlib.ExitStack() as stack:
            for _ in range(200):
                connection = stack.enter_context(socket.create_connection((host, int(port))))
                connection.sendall(predict_head(1000) + b"{")
            assert requests.post(url + PREDICT, json=predict_body(photo), timeout=10).ok
            for path in (READY, "/metrics"):
                assert requests.get(url + path, timeout=10).ok


def test_a_body_has_the_time_that_a_slow_uplink_needs(answering: "Predictor") -> None:
    """3 MB at 2 Mbit/s in short: twice the seconds of the limit, at a rate above the slowest."""
    with running_server(answering, RequestLimits(seconds=1, kilobytes=20)) as url:
        pieces = [b"x" * 25_000] * 10
        body = b"".join(pieces)
        assert b" 400 " in send_slowly(url, predict_head(len(body), "Connection: close"), *pieces, pause=0.25)
        assert b" 408 " in send_slowly(url, predict_head(len(body)), *[piece[:100] for piece in pieces], pause=0.25)


def test_when_bodies_that_arrive_fill_the_memory_the_oldest_ends(answering: "Predictor", photo: bytes) -> None:
    limits = RequestLimits(megabytes_arriving=1, seconds=3, kilobytes=1000)
    with running_server(answering, limits) as url, ThreadPoolExecutor(2) as clients:
        half = b"x" * 600_000
        first = clients.submit(send_slowly, url, predict_head(700_000), half, pause=1)
        time.sleep(0.5)
        begin = time.monotonic()
        clients.submit(send_slowly, url, predict_head(700_000), half, pause=1)
        assert b" 408 " in first.result()
        assert time.monotonic() - begin < 3
        assert requests.post(url + PREDICT, json=predict_body(photo), timeout=10).ok


@pytest.mark.parametrize("failure", ["raises", "another shape", "too few rows"])
def test_a_batch_that_fails_answers_its_callers_and_the_next_one_works(
    answering: "Predictor", photo: bytes, failure: str
) -> None:
    failures = [failure]

    def forward(self: Any, pictures: Any) -> Any:
        vectors, probabilities = type(answering).forward(answering, pictures)
        if not failures:
            return vectors, probabilities
        failures.pop()
        if failure == "raises":
            raise MemoryError
        return (vectors, probabilities[:-1]) if failure == "too few rows" else (vectors, None)

    with running_server(changed(answering, forward=forward)) as url:
        reply = requests.post(url + PREDICT, json=predict_body(photo), timeout=10)
        assert error_of(reply, 500) == "the server failed; its log says why"
        for _ in range(4):  # as many as there are workers, and more
            assert requests.post(url + PREDICT, json=predict_body(photo), timeout=10).ok
        assert requests.get(url + READY, timeout=10).ok


@pytest.mark.slow
def test_huge_photos_leave_the_server_small_and_others_served(untrained: Path, photo: bytes) -> None:
    bombs = [("photo", ("x", one_colour(7000)))] * 8
    largest = [("photo", ("x", one_colour(5000)))] * 4  # the most of them that a request may have
    with serve_process(untrained, "--threshold", 0.4) as (process, url), ThreadPoolExecutor(8) as clients:
        server = psutil.Process(process.pid)
        before = server.cpu_times().user
        assert "25 in others" in error_of(requests.post(url + PHOTOS, files=bombs, timeout=60), 413)
        assert server.cpu_times().user - before < 1
        asked = [clients.submit(requests.post, url + PHOTOS, files=largest, timeout=60) for _ in range(8)]
        time.sleep(1)
        assert requests.post(url + PHOTOS, files={"photo": photo}, timeout=15).ok
        assert {client.result().status_code for client in asked} <= {200, 503}
        end = time.monotonic() + 20
        while server.memory_info().rss > 1.1e9:  # a photo is still being decoded for a client that was answered 503
            assert time.monotonic() < end, server.memory_info()
            time.sleep(0.1)


@pytest.mark.slow
def test_sigterm_ends_the_server_in_time_while_a_client_drips(untrained: Path) -> None:
    with serve_process(untrained) as (process, url), ThreadPoolExecutor(1) as client:
        dripping = client.submit(send_slowly, url, predict_head(1000), *[b"{"] * 40, pause=0.1)
        time.sleep(0.5)
        begin = time.monotonic()
        process.terminate()
        assert process.wait(10) in (0, -signal.SIGTERM)
        assert time.monotonic() - begin < 3.5  # 2 of --graceful
        assert b" 503 " in dripping.result()
        assert process.stderr
        assert "Traceback" not in process.stderr.read()


@pytest.mark.slow
def test_no_client_writes_a_line_of_the_log(untrained: Path, photo: bytes) -> None:
    forged = "\r\nERROR: forged\n\x1b[2K"
    escaped = urllib.parse.quote(forged)
    with serve_process(untrained) as (process, url):
        for file in (photo, photo[:5000], forged.encode()):
            for path in (PHOTOS, EXPLAIN, f"{PHOTOS}?top={escaped}", f"/{escaped}"):
                requests.post(url + path, files={"photo": (forged, file, forged)}, timeout=30)
        requests.post(url + PREDICT, json={"instances": [{"b64": forged}], forged: forged}, timeout=30)
        boundary = f"multipart/form-data; boundary={escaped}; x={forged!r}"
        requests.post(url + PHOTOS, data=forged, headers={"Content-Type": boundary}, timeout=30)
        for kind in ("\x0bERROR: forged", "\x1b[2K", "multipart/form-data", "x" * 70_000):
            send_slowly(
                url, f"POST {PHOTOS} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n\r\n".encode(), pause=0
            )
        send_slowly(url, b"GET /\nERROR: forged HTTP/1.1\r\n\r\n", pause=0)
        process.terminate()
        log = process.communicate(timeout=20)[1]
    assert "forged" not in log, log
    assert "\x1b[2K" not in log
