"""Photos come from files, from object stores and from TAR archives too."""

import gzip
import io
import os
import subprocess
import tarfile
from pathlib import Path

import fsspec
import pytest
from download_runs import answers, collect, column, fetch
from support import Host, Script, fails_in_one_line

from landmarks.common.status import StatusError
from landmarks.demo import renderer
from landmarks.download import storage


def test_photos_come_from_local_files_where_the_scheme_is_allowed(script: Script, tmp_path: Path) -> None:
    (tmp_path / "p.jpg").write_bytes(renderer.photo(7, 1, 0))
    (tmp_path / "q.jpg").write_bytes(renderer.photo(7, 1, 1))
    rows = [("a", str(tmp_path / "p.jpg"), 1, 0), ("b", f"file://{tmp_path}/q.jpg", 1, 0),
            ("c", f"{tmp_path}/none.jpg", 1, 0), ("d", str(tmp_path), 1, 0), ("e", f"simplecache::file://{tmp_path}/p.jpg", 1, 0)]  # fmt: skip
    assert fetch(script, tmp_path, rows, "--schemes", "file").returncode == 0
    assert column(tmp_path, "status") == {"a": "ok", "b": "ok", "c": "gone", "d": "gone", "e": "scheme not allowed"}


@pytest.mark.parametrize("name", ["p q.jpg", "50%.jpg", "p%20q.jpg", "a#b?c.jpg", "añil.jpg", b"caf\xe9.jpg"])
def test_a_file_is_read_under_the_uri_that_python_writes_for_it(tmp_path: Path, name: str | bytes) -> None:
    path = tmp_path / os.fsdecode(name)
    path.write_bytes(renderer.photo(7, 1, 0))
    uri = path.as_uri()
    for url in (
        uri,
        uri.replace("file:///", "file://localhost/"),
        uri.replace("file:///", "FILE:/"),
        f"file://{path}",
        str(path),
    ):
        assert storage.read(url, megabytes=1) == path.read_bytes(), url


@pytest.mark.parametrize(
    "url",
    [
        "file:///no%00thing.jpg",
        "file://elsewhere/p.jpg",
        "file://",
        "file:",
        "file:///dev/zero",
        "file:///\ud800",
        "/" + 300 * "x",
    ],
)
def test_a_uri_without_a_file_is_gone(url: str) -> None:
    with pytest.raises(StatusError, match="gone"):
        storage.read(url, megabytes=1)


def test_photos_come_from_any_file_system_of_fsspec(tmp_path: Path) -> None:
    fsspec.filesystem("memory").pipe_file("/bucket/p.jpg", renderer.photo(7, 1, 0))
    rows = [("a", "memory://bucket/p.jpg", 1, 0), ("b", "memory://bucket/q.jpg", 1, 0)]
    assert collect(tmp_path, rows, schemes=("memory",)) == {"a": "ok", "b": "gone"}


def test_a_file_system_that_is_not_installed_is_an_error_that_says_how(script: Script, tmp_path: Path) -> None:
    done = fetch(script, tmp_path, [("a", "gs://bucket/a.jpg", 1, 0)], "--schemes", "gs")
    fails_in_one_line(done, "gs://", "pip install gcsfs")


def make_tar(path: Path, photos: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, content in photos.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def test_photos_come_from_tar_archives_without_being_unpacked(script: Script, host: Host, tmp_path: Path) -> None:
    (tmp_path / "tars").mkdir()
    make_tar(tmp_path / "tars" / "images_000.tar", {"0/0/a.jpg": renderer.photo(7, 1, 0), "0/1/x.jpg": b"unwanted"})
    make_tar(tmp_path / "tars" / "images_001.tar", {"1/b.jpg": renderer.photo(7, 1, 1)[:5000]})
    rows = [("a", f"{host.url}/gone/a.jpg", 1, 0), ("b", f"{host.url}/gone/b.jpg", 1, 0), ("c", f"{host.url}/photo/1-2.jpg", 1, 0)]  # fmt: skip
    assert fetch(script, tmp_path, rows, "--tars", tmp_path / "tars" / "*.tar").returncode == 0
    found = answers(tmp_path)
    assert column(tmp_path, "status") == {"a": "ok", "b": "truncated", "c": "ok"}
    assert [found["a"][name] for name in ("source", "url")] == ["tar", f"{tmp_path}/tars/images_000.tar::0/0/a.jpg"]
    assert sorted(path.name for path in (tmp_path / "tars").iterdir()) == ["images_000.tar", "images_001.tar"]


def test_a_damaged_member_of_a_tar_leads_to_its_url(script: Script, host: Host, tmp_path: Path) -> None:
    archive = make_tar(tmp_path / "x.tar", {"a.jpg": renderer.photo(7, 1, 0)[:5000], "b.jpg": renderer.photo(7, 1, 1)})
    content = bytearray(archive.read_bytes())
    at = content.index(b"b.jpg")
    content[at + 124 : at + 136] = b"not a number"  # the size in its header
    archive.write_bytes(content)
    rows = [("a", f"{host.url}/photo/1-0.jpg", 1, 0), ("b", f"{host.url}/photo/1-1.jpg", 1, 0)]
    assert fetch(script, tmp_path, rows, "--tars", archive).returncode == 0
    assert column(tmp_path, "status") == {"a": "ok", "b": "ok"}
    assert column(tmp_path, "source") == {"a": "origin", "b": "origin"}


def found_in(archive: Path, *photos: str) -> dict[str, bytes]:
    tars = storage.Tars([str(archive)], photos)
    return {photo: tars.read(photo, 1)[1] for photo in photos if photo in tars}


def test_of_several_copies_in_a_tar_the_last_counts_and_joined_archives_are_read_to_the_end(tmp_path: Path) -> None:
    first = make_tar(tmp_path / "first.tar", {"0/a.jpg": b"old", "0/b.jpg": b"b"})
    with tarfile.open(first, "a") as archive:
        newer = tarfile.TarInfo("0/a.jpg")
        newer.size = 3
        archive.addfile(newer, io.BytesIO(b"new"))
    second = make_tar(tmp_path / "second.tar", {"0/c.jpg": b"c", "0/b.jpg": b"newer"})
    assert found_in(first, "a", "b") == {"a": b"new", "b": b"b"}
    (tmp_path / "joined.tar").write_bytes(first.read_bytes() + second.read_bytes())
    assert found_in(tmp_path / "joined.tar", "a", "b", "c") == {"a": b"new", "b": b"newer", "c": b"c"}


def test_links_inside_a_tar_are_followed_and_ids_may_have_an_ending(tmp_path: Path) -> None:
    (tmp_path / "0").mkdir()
    (tmp_path / "0" / "0001.jpg").write_bytes(b"one")
    (tmp_path / "0" / "copy.jpg").hardlink_to(tmp_path / "0" / "0001.jpg")
    (tmp_path / "link.jpg").symlink_to("0/other.jpg")
    (tmp_path / "0" / "other.jpg").symlink_to("./0001.jpg")
    (tmp_path / "loop.jpg").symlink_to("pool.jpg")
    (tmp_path / "pool.jpg").symlink_to("loop.jpg")
    (tmp_path / "lost.jpg").symlink_to("nowhere.jpg")
    names = ["./0/0001.jpg", "./0/copy.jpg", "./link.jpg", "./0/other.jpg", "./loop.jpg", "./pool.jpg", "./lost.jpg"]
    subprocess.run(["tar", "cf", "x.tar", *names], cwd=tmp_path, check=True)
    wanted = ["0001.jpg", "copy", "link", "loop", "lost"]
    assert found_in(tmp_path / "x.tar", *wanted) == dict.fromkeys(["0001.jpg", "copy", "link"], b"one")
    assert found_in(tmp_path / "x.tar", "copy") == {"copy": b"one"}


def test_a_tar_that_is_missing_or_cut_is_an_error_that_names_it(script: Script, host: Host, tmp_path: Path) -> None:
    rows = [("a", f"{host.url}/photo/1-0.jpg", 1, 0)]
    fails_in_one_line(fetch(script, tmp_path, rows, "--tars", tmp_path / "no.tar"), "no.tar", "no such archive")
    whole = make_tar(tmp_path / "x.tar", {"b.jpg": bytes(5000), "a.jpg": bytes(5000)}).read_bytes()
    (tmp_path / "cut.tar").write_bytes(whole[:5000])
    fails_in_one_line(fetch(script, tmp_path, rows, "--tars", tmp_path / "cut.tar"), "cut.tar", "not a whole")
    (tmp_path / "packed.tar").write_bytes(gzip.compress(whole))
    fails_in_one_line(fetch(script, tmp_path, rows, "--tars", tmp_path / "packed.tar"), "packed.tar", "not a whole")
