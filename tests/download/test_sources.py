"""Photos come from files, from object stores and from TAR archives too."""

import io
import tarfile
from pathlib import Path

import fsspec
from download_runs import answers, collect, column, fetch
from support import Host, Script, fails_in_one_line

from landmarks.demo import renderer


def test_photos_come_from_local_files_where_the_scheme_is_allowed(script: Script, tmp_path: Path) -> None:
    (tmp_path / "p.jpg").write_bytes(renderer.photo(7, 1, 0))
    rows = [("a", str(tmp_path / "p.jpg"), 1, 0), ("b", f"file://{tmp_path}/p.jpg", 1, 0),
            ("c", f"{tmp_path}/none.jpg", 1, 0), ("d", str(tmp_path), 1, 0), ("e", f"simplecache::file://{tmp_path}/p.jpg", 1, 0)]  # fmt: skip
    assert fetch(script, tmp_path, rows, "--schemes", "file").returncode == 0
    assert column(tmp_path, "status") == {"a": "ok", "b": "ok", "c": "gone", "d": "gone", "e": "scheme not allowed"}


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


def test_a_tar_that_is_missing_or_cut_is_an_error_that_names_it(script: Script, host: Host, tmp_path: Path) -> None:
    rows = [("a", f"{host.url}/photo/1-0.jpg", 1, 0)]
    fails_in_one_line(fetch(script, tmp_path, rows, "--tars", tmp_path / "no.tar"), "no.tar", "no such archive")
    whole = make_tar(tmp_path / "x.tar", {"b.jpg": bytes(5000), "a.jpg": bytes(5000)}).read_bytes()
    (tmp_path / "cut.tar").write_bytes(whole[:5000])
    fails_in_one_line(fetch(script, tmp_path, rows, "--tars", tmp_path / "cut.tar"), "cut.tar", "not a whole")
