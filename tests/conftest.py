"""Real parts for the tests: stage scripts as commands, a rotten web host on loopback, photos of the made world, a small clone."""

from __future__ import annotations

import contextlib
import http.server
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pandas as pd
import pytest
import yaml
from numpy.typing import NDArray

from landmarks.deep.augmentation import Ranges
from landmarks.deep.config import Recipe
from landmarks.demo import renderer
from landmarks.images import jpeg
from landmarks.serving import dvc_lineage

if TYPE_CHECKING:
    from landmarks.serving.predictor import Predictor

SIDE = 128  # pixels of a photo that the network of the tests takes
ROOT = Path(__file__).parent.parent
TENSORFLOW = re.compile(r"WARNING: All log messages|[IWE]0000 ")  # what it says at its start, whatever it is told
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
            errors="surrogateescape",
            check=False,
            timeout=300,
        )

    return run


def fails_in_one_line(done: subprocess.CompletedProcess[str], *parts: str) -> None:
    """Assert that a script ended as a person can read it: exit code 1, one line, no traceback, naming ``parts``."""
    assert done.returncode == 1, done.stderr
    lines = [
        line for line in done.stderr.splitlines() if line.strip() and "%|" not in line and not TENSORFLOW.match(line)
    ]
    assert len(lines) == 1, done.stderr
    for part in parts:
        assert part in lines[0]


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve photos of each of three landmarks, as the download stage leaves them: ``images/`` and ``photos.csv``."""
    folder = tmp_path_factory.mktemp("photos")
    (folder / "images").mkdir()
    rows = []
    for landmark in (1, 2, 3):
        for view in range(12):
            (folder / "images" / f"p{landmark}_{view:02}.jpg").write_bytes(renderer.photo(7, landmark, view))
            rows.append({"id": f"p{landmark}_{view:02}", "landmark_id": landmark, "status": "ok"})
    pd.DataFrame(rows).to_csv(folder / "photos.csv", index=False)
    return folder


@pytest.fixture(scope="session")
def split(photos: Path) -> Path:
    """Their split.csv: views 0 to 6 train, 7 and 8 validation, 9 to 11 test."""
    rows = pd.read_csv(photos / "photos.csv", dtype=str)
    view = rows["id"].str[-2:].astype(int)
    rows["split"] = np.select([view < 7, view < 9], ["train", "validation"], "test")
    rows["group"] = range(len(rows))
    rows[["id", "landmark_id", "split", "group"]].to_csv(photos / "split.csv", index=False)
    return photos / "split.csv"


@pytest.fixture(scope="session")
def strangers(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The photos, and four of each of three landmarks that are in no split: ``images/`` and ``unknown.csv``."""
    folder = tmp_path_factory.mktemp("strangers")
    shutil.copytree(photos / "images", folder / "images")
    ids = [f"u{landmark}_{view}" for landmark in (100, 101, 102) for view in range(4)]
    for photo in ids:
        landmark, view = photo[1:].split("_")
        (folder / "images" / f"{photo}.jpg").write_bytes(renderer.photo(7, int(landmark), int(view)))
    pd.DataFrame({"id": ids}).to_csv(folder / "unknown.csv", index=False)
    return folder


@pytest.fixture(scope="session")
def trained(script: Script, photos: Path, split: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The JSON of a network that knows its landmarks; its predictions.csv beside it."""
    folder = tmp_path_factory.mktemp("trained")
    out = [folder / name for name in ("model.json", "history.csv", "predictions.csv")]
    done = script("cnn", photos / "images", split, *out, "--module", "data/demo/backbone", "--epochs", 8)
    assert done.returncode == 0, done.stderr
    return folder / "model.json"


SMALL = (  # the real pipeline, smaller
    ("per_class: 60", "per_class: 12"), ("reserve: 30", "reserve: 12"), ("unknown: 60", "unknown: 6"), ("classes: 10", "classes: 3"), ("start: 10", "start: 2"),
    ("stop: 200", "stop: 8"), ("folds: 5", "folds: 2"), ("n: 10", "n: 6"), ("epochs: 40", "epochs: 3"),
    ("long_side: 400", "long_side: 200"), ("views: 8", "views: 1"), ("words: 64", "words: 8"), ("sample: 60000", "sample: 5000"),
)  # fmt: skip


class Clone:
    """A clone, and DVC and git to run in it, as somebody called test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, *command: str, **environment: str) -> str:
        """What the command printed; both outputs if it fails."""
        who = {f"GIT_{role}_{what}": "test@localhost" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        path = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
        done = subprocess.run(
            command,
            cwd=self.folder,
            env={**os.environ, **who, **path, **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done.stdout

    def dvc(self, *arguments: str) -> str:
        return self.run("dvc", *arguments)

    def git(self, *arguments: str) -> str:
        return self.run("git", *arguments)

    def commit(self, message: str) -> None:
        self.git("add", "-A")
        self.git("commit", "-qm", message)


def small_clone(folder: Path) -> Clone:
    """The working tree with smaller parameters, on a branch main, before its first run."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    params = (folder / "params.yaml").read_text()
    for before, after in SMALL:
        assert before in params
        params = params.replace(before, after)
    (folder / "params.yaml").write_text(params)
    (folder / "dvc.lock").unlink(missing_ok=True)
    made = Clone(folder)
    made.git("init", "-q", "-b", "main")
    made.commit("small")
    return made


@pytest.fixture(scope="session")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A small clone that ran the pipeline once. It is dear: a test leaves it as it was."""
    made = small_clone(tmp_path_factory.mktemp("clone"))
    made.dvc("repro")
    made.commit("first run")
    return made


RECIPE = Recipe(
    module="data/demo/backbone", size=SIDE, low=0, high=1, crop=True, kind="frozen", augment=False, views=1, head=(8,),
    dropout=0.2, l2=1e-4, epochs=1, batch=32, learning_rate=0.02, cosine=True, momentum=0.9, label_smoothing=0.0,
    restore_best=True, patience=0, tuned=0.2, tuning_rate=0.0005, tuning_epochs=1, ranges=Ranges(), seed=0,
)  # fmt: skip


@pytest.fixture(scope="session")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The JSON of a network of three landmarks that has learnt nothing; DVC recorded it, and a threshold chosen on it."""
    import tensorflow as tf

    from landmarks.deep import classifier

    folder = tmp_path_factory.mktemp("untrained")
    tf.keras.utils.set_random_seed(0)
    model = classifier.build(RECIPE, classifier.load_module(RECIPE), 3)
    classifier.save(folder / "plain.json", classifier.Network(model, RECIPE, ["1", "2", "10"], 1.5))
    (folder / "threshold.json").write_text('{"confidence": 0.5}')
    (folder / "names.csv").write_text("id,name\n1,Old Bridge\n10,Torre Añil\n999,Elsewhere\n")
    record(folder)
    return folder / "plain.json"


def record(folder: Path) -> None:
    """The dvc.lock of a plain.json and the threshold chosen on it."""
    entries = {
        name: {"path": name, "hash": "md5", "md5": dvc_lineage.md5(folder / name)}
        for name in ("plain.json", "plain.weights.h5", "threshold.json")
    }
    model = [entries["plain.json"], entries["plain.weights.h5"]]
    stages = {
        "cnn@plain": {"cmd": "x", "outs": model},
        "reject": {"cmd": "x", "deps": model, "outs": [entries["threshold.json"]]},
    }
    (folder / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": stages}))


@pytest.fixture(scope="session")
def answering(untrained: Path) -> Predictor:
    from landmarks.serving import predictor

    return predictor.load(untrained, untrained.with_name("dvc.lock"), untrained.with_name("names.csv"))


@pytest.fixture(scope="session")
def photo() -> bytes:
    """A JPEG that lies upright and carries nothing else, as the download stage keeps them."""
    return jpeg.keep(renderer.photo(7, 1, 0)).content


def turned(upright: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """A picture as a camera stores it that lay so when it was taken: the EXIF orientation, 1 to 8, makes it upright again."""
    quarter = np.rot90(upright)
    stored = [upright, upright[:, ::-1], upright[::-1, ::-1], upright[::-1], upright.transpose(1, 0, 2),
              quarter, np.rot90(upright, 2).transpose(1, 0, 2), np.rot90(upright, -1)]  # fmt: skip
    return np.ascontiguousarray(stored[orientation - 1])


class Host(http.server.ThreadingHTTPServer):
    """A host on loopback that answers ``/<kind>/<landmark>-<view>`` as the web does, and keeps a log."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.asked: Counter[str] = Counter()  # by path, without the robots.txt
        self.log: list[tuple[float, str, str]] = []  # when, path, User-Agent: of all
        self.lock = threading.Lock()
        self.active = self.peak = 0  # requests at a time
        self.robots = (404, "")
        self.always = 0  # the code of every answer, 0: as asked
        self.body = b""  # of /body
        self.url = f"http://127.0.0.1:{self.server_port}"

    def kinds(self) -> Counter[str]:
        """How often each kind was asked for."""
        found: Counter[str] = Counter()
        for path, times in self.asked.items():
            found[path.split("/")[1]] += times
        return found


class Answers(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Host

    def do_GET(self) -> None:
        with self.server.lock:
            self.server.log.append((time.monotonic(), self.path, self.headers["User-Agent"]))
            self.server.active += 1
            self.server.peak = max(self.server.peak, self.server.active)
        try:
            self._play()
        finally:
            with self.server.lock:
                self.server.active -= 1

    def _play(self) -> None:
        if self.path == "/robots.txt":
            code, text = self.server.robots
            return (
                self._answer(code, b"", Location=text)
                if code == 302
                else self._answer(code, text.encode(), "text/plain")
            )
        with self.server.lock:
            self.server.asked[self.path] += 1
            first = self.server.asked[self.path] == 1
        if self.server.always:
            return self._answer(self.server.always, b"no", Retry_After="0")
        kind, _, name = self.path.strip("/").partition("/")
        landmark, _, view = name.partition("?")[0].removesuffix(".jpg").partition("-")
        codes = {"gone": 410, "missing": 404, "refused": 403, "teapot": 418}
        if kind in codes:
            return self._answer(codes[kind], b"no")
        if (first and kind in ("busy", "unavailable")) or kind == "broken":
            return self._answer({"busy": 429, "unavailable": 503, "broken": 500}[kind], b"later")
        if kind == "wait" and first:
            return self._answer(429, b"later", Retry_After=name.split("-")[-1])
        if kind == "file":
            return self._answer(200, b"id,url,landmark_id\na,http://x/a.jpg,1\n", "text/csv")
        if kind == "html":
            return self._answer(200, b"<html>This photo is no longer available.</html>")
        if kind == "pdf":
            return self._answer(200, b"%PDF-1.4", "application/pdf" if "honest" in name else "image/jpeg")
        if kind == "moved":
            return self._answer(302, b"", Location=f"/photo/{name}")
        if kind == "loop":
            return self._answer(302, b"", Location=self.path)
        if kind == "far":  # every answer leads further
            return self._answer(302, b"", Location=f"/far/{landmark}-{int(view) + 1}.jpg")
        if kind == "to":  # /to/<scheme>/<rest>
            scheme, _, rest = name.partition("/")
            return self._answer(302, b"", Location=f"{scheme}://{rest}")
        if kind == "later":  # at a date that no calendar has
            return self._answer(503, b"later", Retry_After="Mon, 01 Jan 99999999999 00:00:00 GMT")
        if kind == "chunks":  # says 5 bytes, and then a chunk of more than there is
            self.wfile.write(
                b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n7fffffffffffff\r\nab"
            )
            self.close_connection = True
            return None
        if kind == "endless":  # in chunks, for as long as anybody reads
            with contextlib.suppress(OSError):
                self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n")
                while True:
                    self.wfile.write(b"10000\r\n" + bytes(65536) + b"\r\n")
            self.close_connection = True
            return None
        if kind == "accent":
            self.wfile.write("HTTP/1.1 302 x\r\nLocation: /photo/1-1.jpg?é\r\nContent-Length: 0\r\n\r\n".encode())
            return None
        if kind == "body":
            return self._answer(200, self.server.body)
        if kind in ("drip", "slow"):  # a byte now and then, of the head or of the body, for ever
            return self._drip(b"HTTP/1.1 200 OK\r\nX-Long: " if kind == "drip" else b"HTTP/1.1 200 OK\r\n\r\n")
        if kind == "huge":  # says that it has more than anybody wants
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\n")
            self.close_connection = True
            return None
        if kind == "garbage":
            self.wfile.write(b"\x00\x01 what is this\r\n\r\n")
            self.close_connection = True
            return None
        body = renderer.photo(7, int(landmark), int(view))
        if kind == "slowly":
            time.sleep(0.15)
        if kind == "cut":  # promises more than it sends
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: len(body) // 2])
            self.close_connection = True
            return None
        if kind == "noai":
            return self._answer(200, body, X_Robots_Tag="noindex, noai")
        if kind == "png":
            picture = cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_COLOR)
            return self._answer(200, cv2.imencode(".png", picture)[1].tobytes())
        return self._answer(200, body[: len(body) // 2] if kind == "half" else body)

    def _drip(self, start: bytes) -> None:
        with contextlib.suppress(OSError):  # the client hangs up, if it is wise
            self.wfile.write(start)
            for _ in range(300):
                self.wfile.write(b"\xff")
                self.wfile.flush()
                time.sleep(0.1)
        self.close_connection = True

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


@contextlib.contextmanager
def serving() -> Iterator[Host]:
    """A host at work."""
    with Host() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def host() -> Iterator[Host]:
    with serving() as server:
        yield server
