"""TAR archives on a web host: each is fetched once, checked, and only the photos that are wanted stay."""

import hashlib
import io
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from download_runs import answers, fetch
from support import Script

from landmarks.common.errors import InputError
from landmarks.demo import renderer
from landmarks.download import archives, storage


class Archives(SimpleHTTPRequestHandler):
    """Files of a folder; which were asked for is in ``asked`` of the class."""

    asked: list[str] = []  # noqa: RUF012 - emptied by the fixture

    def do_GET(self) -> None:
        self.asked.append(self.path)
        super().do_GET()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, str]]:
    """A folder with three archives of two photos each and their sums, and its address."""
    monkeypatch.setenv("LANDMARKS_WORKERS", "1")
    Archives.asked.clear()
    folder = tmp_path / "site"
    folder.mkdir()
    for number in range(3):
        content = tar({f"{number}/a{number}.jpg": b"a" * 30_000, f"{number}/b{number}.jpg": b"b" * 1000})
        (folder / f"images_{number:03}.tar").write_bytes(content)
        (folder / f"md5.images_{number:03}.txt").write_text(f"{hashlib.md5(content).hexdigest()}  images\n")  # noqa: S324
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Archives, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield folder, f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def tar(members: dict[str, bytes]) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return made.getvalue()


def all_of(address: str) -> str:
    return f"{address}/images_{{000..002}}.tar#md5={address}/md5.images_{{000..002}}.txt"


def test_only_the_wanted_photos_of_each_archive_stay_and_none_is_fetched_twice(
    site: tuple[Path, str], tmp_path: Path
) -> None:
    wanted, cache = ["a0", "b2", "elsewhere"], tmp_path / "tars"
    patterns = archives.kept([all_of(site[1])], wanted, cache)
    found = storage.Tars(patterns, wanted)
    assert {photo: found.read(photo, 1)[1][:1] for photo in wanted if photo in found} == {"a0": b"a", "b2": b"b"}
    assert len(Archives.asked) == 6
    assert sum(path.stat().st_size for path in cache.rglob("*.tar")) < 70_000  # of 123,000
    assert archives.kept([all_of(site[1])], wanted, cache) == patterns
    assert len(Archives.asked) == 6


def test_other_photos_are_fetched_anew_and_what_was_kept_for_the_earlier_ones_goes(
    site: tuple[Path, str], tmp_path: Path
) -> None:
    archives.kept([all_of(site[1])], ["a0"], tmp_path / "tars")
    patterns = archives.kept([all_of(site[1])], ["a1"], tmp_path / "tars")
    assert "a1" in storage.Tars(patterns, ["a1"])
    assert len(list((tmp_path / "tars").iterdir())) == 1


def test_an_archive_of_another_md5_is_an_error_and_the_whole_ones_are_kept(
    site: tuple[Path, str], tmp_path: Path
) -> None:
    folder, address = site
    (folder / "images_001.tar").write_bytes(tar({"a1.jpg": b"other"}))
    with pytest.raises(InputError, match=r"images_001\.tar: its MD5 is \w+, not \w+; run: dvc repro"):
        archives.kept([all_of(address)], ["a0"], tmp_path / "tars")
    there = {path.name[:10] for path in (tmp_path / "tars").rglob("*.tar")}
    assert "images_000" in there
    assert "images_001" not in there


@pytest.mark.parametrize(("content", "problem"), [
    (tar({"a1.jpg": b"a" * 30_000})[:9000], "not a whole uncompressed TAR"),
    (b"<html>moved</html>" * 100, "not a whole uncompressed TAR"),
    (None, "cannot be fetched"),
])  # fmt: skip
def test_an_archive_that_is_cut_or_is_none_is_an_error_that_names_it(
    site: tuple[Path, str], tmp_path: Path, content: bytes | None, problem: str
) -> None:
    folder, address = site
    (folder / "images_001.tar").unlink()
    if content:
        (folder / "images_001.tar").write_bytes(content)
    with pytest.raises(InputError, match=rf"images_001\.tar: {problem}"):
        archives.kept([f"{address}/images_001.tar"], ["a1"], tmp_path / "tars")


def test_a_range_stands_for_all_its_numbers_and_archives_on_disk_are_read_where_they_lie(tmp_path: Path) -> None:
    wanted = ["http://x/08#md5=y/08", "http://x/09#md5=y/09", "http://x/10#md5=y/10"]
    assert archives._each("http://x/{08..10}#md5=y/{08..10}") == wanted
    local = ["/a/*{0..1}.tar", "s3://b/c.tar"]
    assert archives.kept(local, ["p"], tmp_path / "tars") == local
    assert not (tmp_path / "tars").exists()


def test_the_stage_takes_photos_from_archives_on_a_host_before_their_urls(
    site: tuple[Path, str], script: Script, tmp_path: Path
) -> None:
    folder, address = site
    content = tar({"1/a.jpg": renderer.photo(7, 1, 0), "1/b.jpg": renderer.photo(7, 1, 1), "x.jpg": b"unwanted"})
    (folder / "images_001.tar").write_bytes(content)
    rows = [(photo, f"{address}/gone/{photo}.jpg", 1, 0) for photo in "ab"]
    pattern = f"{address}/images_{{001..001}}.tar#md5={hashlib.md5(content).hexdigest()}"  # noqa: S324
    assert fetch(script, tmp_path, rows, "--tars", pattern).returncode == 0
    assert {(row["source"], row["status"]) for row in answers(tmp_path).values()} == {("tar", "ok")}
    assert Archives.asked == ["/images_001.tar"]
