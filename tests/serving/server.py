"""Helpers: a server in this process or in one of its own, and requests to it."""

import base64
import contextlib
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvicorn
from support import ROOT

from landmarks.serving import protocol
from landmarks.serving.limits import RequestLimits

if TYPE_CHECKING:
    from landmarks.serving.predictor import Predictor

MODEL = "/v1/models/landmarks"
PREDICT, PHOTOS, EXPLAIN, LIVE, READY = f"{MODEL}:predict", "/v1/photos", "/v1/explain", "/health/live", "/health/ready"
DEFAULTS = RequestLimits()


@contextlib.contextmanager
def running_server(
    predictor: "Predictor", limits: RequestLimits = DEFAULTS, key: str = "", **more: Any
) -> Iterator[str]:
    """The address of a server in this process, on loopback, configured as by ``src/serve.py``."""
    from landmarks.serving import app

    config = uvicorn.Config(
        app.create_app(predictor, limits, key=key, **more),
        port=0,
        http=protocol.http_protocol(limits.seconds),
        timeout_graceful_shutdown=2,
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


@contextlib.contextmanager
def serve_process(model: Path, *options: object) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """``src/serve.py`` on a free port, ready, and its address."""
    command = [sys.executable, "src/serve.py", "--model", model, "--unchecked", "--threshold", 0.4, "--port", 0]
    process = subprocess.Popen(list(map(str, [*command, *options])), cwd=ROOT, stderr=subprocess.PIPE, text=True)
    assert process.stderr
    try:
        for line in process.stderr:
            if match := re.search(r"running on (https?://(?:127|0)\.0\.0\.\d:\d+)", line):
                yield process, match[1]
                break
    finally:
        process.kill()
        process.wait()


def predict_body(*contents: bytes) -> dict[str, Any]:
    """Photos in TensorFlow Serving's row format."""
    return {"instances": [{"b64": base64.b64encode(content).decode()} for content in contents]}
