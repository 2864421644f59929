"""Shards in an object store: photos are read in place, what fails is tried again, and what comes is checked."""

import http.server
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from landmarks.common.errors import InputError
from landmarks.images import object_store, photo_store
from landmarks.images.photo_store import PhotoStore

PHOTOS = {f"p{n}": bytes([n]) * (700 + n) for n in range(7)}


class Store(http.server.ThreadingHTTPServer):
    """A folder served by ranges, as object stores do; the next answers may be ``faults``: 503, cut, or other bytes."""

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.folder = folder
        self.faults: list[str] = []
        self.asked: list[str] = []  # ranges

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Answers(http.server.BaseHTTPRequestHandler):
    server: Store

    def do_GET(self) -> None:
        fault = self.server.faults.pop() if self.server.faults else ""
        self.server.asked.append(self.headers["Range"])
        path = self.server.folder / self.path.lstrip("/")
        if fault == "503" or not path.is_file():
            self.send_error(503 if fault else 404)
            return
        first, last = map(int, re.findall(r"\d+", self.headers["Range"]))
        content = path.read_bytes()[first : last + 1]
        self.send_response(206)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(b"?" * len(content) if fault == "other" else content[: 9 if fault == "cut" else None])

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of shards whose TARs are in the store alone, ``tmp_path/store``; tries follow each other at once."""
    monkeypatch.setattr(object_store, "SECONDS", 0.001)
    monkeypatch.setenv(object_store.STORE, f"file://{tmp_path}/store")
    folder = tmp_path / "anonymous"
    folder.mkdir()
    for photo, content in PHOTOS.items():
        (folder / f"{photo}.jpg").write_bytes(content)
    photo_store.arrange(folder, list(PHOTOS), 3)
    assert object_store.upload(PhotoStore(folder).shards) == 3
    assert object_store.upload(PhotoStore(folder).shards) == 0
    for shard in folder.glob("*.tar"):
        shard.unlink()
    return folder


@pytest.fixture
def store(shards: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    server = Store(shards.with_name("store"))
    threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
    monkeypatch.setenv(object_store.STORE, server.address)
    yield server
    server.shutdown()
    server.server_close()


def read(folder: Path) -> dict[str, bytes]:
    found = PhotoStore(folder)
    return {photo: found[photo].read_bytes() for photo in found}


def test_a_photo_is_one_range_of_its_shard(shards: Path, store: Store) -> None:
    assert read(shards) == PHOTOS
    assert len(store.asked) == len(PHOTOS)
    assert store.asked[0] == f"bytes=512-{512 + len(PHOTOS['p0']) - 1}"


@pytest.mark.parametrize("fault", ["503", "cut", "other"])
def test_what_fails_is_tried_again(fault: str, shards: Path, store: Store) -> None:
    store.faults = [fault] * (object_store.TRIES - 1)
    assert read(shards) == PHOTOS
    assert len(store.asked) == len(PHOTOS) + object_store.TRIES - 1


@pytest.mark.parametrize(
    ("fault", "reason"), [("503", "503"), ("cut", "ContentLengthError|ClientPayloadError"), ("other", "other bytes")]
)
def test_a_store_that_keeps_failing_is_one_line_that_names_shard_and_way_out(
    fault: str, reason: str, shards: Path, store: Store
) -> None:
    store.faults = [fault] * object_store.TRIES
    with pytest.raises(InputError) as failed:
        PhotoStore(shards)["p0"].read_bytes()
    (line,) = str(failed.value).splitlines()
    assert re.search(rf"anonymous/00000-\w+\.tar: {store.address}/files/md5/.*({reason}).*5 times; .* run: dvc", line)


def test_a_shard_that_the_store_lacks_is_not_waited_for(shards: Path, store: Store) -> None:
    shutil.rmtree(store.folder)
    with pytest.raises(InputError, match="FileNotFoundError"):
        PhotoStore(shards)["p0"].read_bytes()
    assert len(store.asked) == 1


def test_a_store_that_takes_nothing_or_is_unknown_is_one_line(shards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (shards / "00000-0123.tar").write_bytes(b"x")
    for address in ("file:///proc/no", "nonsense://x"):
        monkeypatch.setenv(object_store.STORE, address)
        with pytest.raises(InputError, match=rf"00000-0123\.tar: {address}/files/md5/01/23: .*; mend LANDMARKS_STORE"):
            object_store.upload([shards / "00000-0123.tar"])


@pytest.mark.slow
def test_what_dvc_pushed_is_read_from_its_remote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, remote = tmp_path / "anonymous", tmp_path / "remote"
    folder.mkdir()
    for photo, content in PHOTOS.items():
        (folder / f"{photo}.jpg").write_bytes(content)
    photo_store.arrange(folder, list(PHOTOS), 3)
    for command in ("init -q --no-scm", f"remote add -q -d home {remote}", "add -q anonymous", "push -q"):
        subprocess.run([sys.executable, "-m", "dvc", *command.split()], cwd=tmp_path, check=True)
    for shard in folder.glob("*.tar"):
        shard.unlink()
    monkeypatch.setenv(object_store.STORE, f"file://{remote}")
    assert read(folder) == PHOTOS


def test_originals_are_never_there_and_an_index_that_was_being_written_counts_for_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LANDMARKS_STORE", f"file://{tmp_path}/store")
    folder = tmp_path / "images"
    folder.mkdir()
    for photo, content in PHOTOS.items():
        (folder / f"{photo}.jpg").write_bytes(content)
    photo_store.arrange(folder, list(PHOTOS), 7)
    (folder / ".host7.00000-0123.index").write_text('{"p1": ')
    next(folder.glob("*.tar")).unlink()
    assert list(PhotoStore(folder)) == sorted(PHOTOS)
    assert list(PhotoStore(folder, remote=False)) == []
