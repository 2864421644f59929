"""Real parts for the tests: the stage scripts as commands, a rotten web host on loopback, photos of the made world."""

from __future__ import annotations

import contextlib
import http.server
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from landmarks import scenery

ROOT = Path(__file__).parent.parent
Script = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def script() -> Script:
    """Run ``src/<name>.py`` as DVC does: from the root, its output kept."""

    def run(name: str, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, f"src/{name}.py", *map(str, arguments)]
        return subprocess.run(
            command,
            cwd=ROOT,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    return run


def fails_in_one_line(done: subprocess.CompletedProcess[str], *parts: str) -> None:
    """Assert that a script ended as a person can read it: exit code 1, one line, no traceback, naming ``parts``."""
    assert done.returncode == 1, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.strip() and "%|" not in line]
    assert len(lines) == 1, done.stderr
    for part in parts:
        assert part in lines[0]


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve photos of each of three landmarks, as the download stage leaves them: ``images/`` and ``download.csv``."""
    folder = tmp_path_factory.mktemp("photos")
    (folder / "images").mkdir()
    rows = []
    for landmark in (1, 2, 3):
        for view in range(12):
            (folder / "images" / f"p{landmark}_{view:02}.jpg").write_bytes(scenery.photo(7, landmark, view))
            rows.append({"id": f"p{landmark}_{view:02}", "landmark_id": landmark, "status": "ok"})
    pd.DataFrame(rows).to_csv(folder / "download.csv", index=False)
    return folder


@pytest.fixture(scope="session")
def split(photos: Path) -> Path:
    """Their split.csv: views 0 to 6 train, 7 and 8 validation, 9 to 11 test."""
    rows = pd.read_csv(photos / "download.csv", dtype=str)
    view = rows["id"].str[-2:].astype(int)
    rows["split"] = np.select([view < 7, view < 9], ["train", "validation"], "test")
    rows["group"] = range(len(rows))
    rows[["id", "landmark_id", "split", "group"]].to_csv(photos / "split.csv", index=False)
    return photos / "split.csv"


class Host(http.server.ThreadingHTTPServer):
    """A host on loopback that answers ``/<kind>/<landmark>-<view>`` as the web does, and keeps count."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.asked: Counter[str] = Counter()
        self.lock = threading.Lock()
        self.url = f"http://127.0.0.1:{self.server_port}"


class Answers(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Host

    def do_GET(self) -> None:
        with self.server.lock:
            self.server.asked[self.path] += 1
            first = self.server.asked[self.path] == 1
        kind, _, name = self.path.strip("/").partition("/")
        landmark, _, view = name.removesuffix(".jpg").partition("-")
        if kind == "file":
            return self._answer(200, b"id,url,landmark_id\na,http://x/a.jpg,1\n", "text/csv")
        if kind in ("gone", "missing", "refused"):
            return self._answer({"gone": 410, "missing": 404, "refused": 403}[kind], b"no")
        if kind == "html":
            return self._answer(200, b"<html>This photo is no longer available.</html>")
        if kind == "moved":
            return self._answer(302, b"", Location=f"/photo/{name}")
        if kind == "loop":
            return self._answer(302, b"", Location=self.path)
        if kind in ("busy", "unavailable") and first:
            return self._answer(429 if kind == "busy" else 503, b"later", Retry_After="0")
        if kind == "broken":
            return self._answer(500, b"never", Retry_After="0")
        if kind == "slow":
            self.send_response(200)
            self.end_headers()
            with contextlib.suppress(OSError):  # the client hangs up, if it is wise
                for _ in range(300):
                    self.wfile.write(b"\xff")
                    self.wfile.flush()
                    time.sleep(0.1)
            self.close_connection = True
            return None
        body = scenery.photo(7, int(landmark), int(view))
        if kind == "slowly":
            time.sleep(0.15)
        if kind == "cut":  # promises more than it sends
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: len(body) // 2])
            self.close_connection = True
            return None
        return self._answer(200, body[: len(body) // 2] if kind == "half" else body)

    def _answer(self, status: int, body: bytes, kind: str = "image/jpeg", **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing: pytest's output is for failures."""


@pytest.fixture
def host() -> Iterator[Host]:
    with Host() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()
