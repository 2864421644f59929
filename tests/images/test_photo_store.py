"""Photos are the same whether they are single files or members of TAR shards, and no kill loses one."""

import multiprocessing
import os
import pickle
import sys
import tarfile
import tempfile
from functools import partial
from multiprocessing import forkserver
from pathlib import Path
from unittest import mock

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import examples

from landmarks.common import parallel
from landmarks.common.errors import InputError
from landmarks.images import decoding, photo_store
from landmarks.images.photo_store import Member, PhotoStore
from landmarks.serving import dvc_lineage

Contents = dict[str, bytes]

CONTENTS = st.dictionaries(st.from_regex(r"[a-z0-9]{1,3}", fullmatch=True), st.binary(max_size=1500), max_size=9)
HISTORY = st.lists(st.tuples(CONTENTS, st.integers(0, 4)), min_size=1, max_size=4)
KILLED = 9


def stored(folder: Path) -> Contents:
    store = PhotoStore(folder)
    return {photo: store[photo].read_bytes() for photo in store}


def files(folder: Path) -> Contents:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def arranged(folder: Path, photos: Contents, shard: int) -> None:
    """Put into the folder, as files, what it lacks, as a stage does, and arrange it."""
    store = PhotoStore(folder)
    for photo, content in photos.items():
        if photo not in store or store[photo].read_bytes() != content:
            (folder / f"{photo}.jpg").write_bytes(content)
    photo_store.arrange(folder, list(photos), shard)


@given(history=HISTORY)
@settings(max_examples=examples(60))
def test_a_folder_holds_what_was_put_there_last_and_its_files_do_not_tell_what_was_there_before(
    history: list[tuple[Contents, int]],
) -> None:
    with tempfile.TemporaryDirectory() as changed, tempfile.TemporaryDirectory() as fresh:
        for photos, shard in history:
            arranged(Path(changed), photos, shard)
            assert stored(Path(changed)) == photos
        arranged(Path(fresh), *history[-1])
        assert files(Path(changed)) == files(Path(fresh))


@given(photos=CONTENTS, shard=st.integers(1, 4))
@settings(max_examples=examples(30))
def test_a_shard_is_a_tar_in_the_order_of_the_table_that_names_neither_time_nor_user(
    photos: Contents, shard: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        arranged(Path(folder), photos, shard)
        found = []
        for path in sorted(Path(folder).glob("*.tar")):
            assert path.stem.partition("-")[2] == dvc_lineage.md5(path)
            with tarfile.open(path, "r:") as archive:
                members = archive.getmembers()
                found.append([(member.name, archive.extractfile(member).read()) for member in members])  # type: ignore[union-attr]
                assert {(member.mtime, member.uid, member.gid, member.mode) for member in members} == {(0, 0, 0, 0o644)}
        rows = [(f"{photo}.jpg", content) for photo, content in photos.items()]
        assert found == [rows[start : start + shard] for start in range(0, len(rows), shard)]


def test_shards_without_a_change_stay_untouched(tmp_path: Path) -> None:
    photos = {f"p{n}": bytes([n]) * 900 for n in range(9)}
    arranged(tmp_path, photos, 3)
    before = {path.name: path.stat() for path in tmp_path.iterdir()}
    arranged(tmp_path, {**photos, "p4": b"another"}, 3)
    after = {path.name: path.stat() for path in tmp_path.iterdir()}
    same = [name for name in before.keys() & after if before[name].st_ino == after[name].st_ino]
    assert {name[:5] for name in same} == {"00000", "00002"}
    assert len(after) == len(before) == 6


@given(photos=CONTENTS, shard=st.integers(1, 4), data=st.data())
@settings(max_examples=examples(30))
def test_forgotten_photos_cannot_be_read_and_their_shards_are_written_anew(
    photos: Contents, shard: int, data: st.DataObject
) -> None:
    dropped = data.draw(st.sets(st.sampled_from(sorted(photos)))) if photos else set()
    rest = {photo: content for photo, content in photos.items() if photo not in dropped}
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as fresh:
        arranged(Path(folder), photos, shard)
        photo_store.forget(Path(folder), dropped)
        assert stored(Path(folder)) == rest
        arranged(Path(folder), rest, shard)
        arranged(Path(fresh), rest, shard)
        assert files(Path(folder)) == files(Path(fresh))


def _killed_at(step: int, folder: Path, ids: list[str], shard: int) -> None:
    """Arrange the folder; the process ends before it opens, renames or removes a file there for the ``step``-th time."""
    left = [step]

    def count(event: str, arguments: tuple[object, ...]) -> None:
        if event in ("open", "os.rename", "os.remove") and str(arguments[0]).startswith(str(folder)):
            left[0] -= 1
            if not left[0]:
                os._exit(KILLED)

    sys.addaudithook(count)
    photo_store.arrange(folder, ids, shard)
    os._exit(0)


@pytest.mark.parametrize(("before", "after"), [(0, 3), (2, 0), (2, 3), (3, 3)])
def test_whenever_a_run_is_killed_every_photo_is_there_and_the_next_run_goes_on(
    before: int, after: int, tmp_path: Path
) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    with mock.patch.dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path)):
        forkserver.ensure_running()
    old = {f"p{n}": bytes([n]) * 700 for n in range(5)}
    wanted = {**{name: old[name] for name in ("p1", "p0", "p4")}, "new": b"new", "p2": b"again"}
    whole = tmp_path / "whole"
    whole.mkdir()
    arranged(whole, wanted, after)
    for step in range(1, 100):
        folder = tmp_path / str(step)
        folder.mkdir()
        arranged(folder, old, before)
        for photo in ("new", "p2"):
            (folder / f"{photo}.jpg").write_bytes(wanted[photo])
        process = context.Process(target=partial(_killed_at, step, folder, list(wanted), after))
        process.start()
        process.join()
        assert stored(folder).items() >= wanted.items()
        photo_store.arrange(folder, list(wanted), after)
        assert files(folder) == files(whole)
        if process.exitcode == 0:
            break
        assert process.exitcode == KILLED
    assert step > 5


def test_what_travels_to_another_process_is_small_and_no_file_stays_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = {f"p{n}": bytes([n]) * 900 for n in range(40)}
    arranged(tmp_path, photos, 10)
    store = PhotoStore(tmp_path)
    members = [found for photo in photos if isinstance(found := store[photo], Member)]
    assert len(pickle.dumps(members)) < 200 * len(members)
    monkeypatch.setenv("LANDMARKS_WORKERS", "2")
    assert list(parallel.sound(parallel.each(Member.read_bytes, members, "read"))) == list(photos.values())
    before = psutil.Process().num_fds()
    assert [member.read_bytes() for member in members] == list(photos.values())
    assert psutil.Process().num_fds() == before


def test_a_damaged_shard_or_index_is_one_line_that_names_it_and_the_way_out(tmp_path: Path) -> None:
    arranged(tmp_path, {"a": b"x" * 900, "b": b"not a photo"}, 5)
    (shard,), (index,) = tmp_path.glob("*.tar"), tmp_path.glob("*.index")
    with pytest.raises(InputError, match=r"0{5}-[0-9a-f]{32}\.tar::b\.jpg: does not decode as a photo"):
        decoding.read(PhotoStore(tmp_path)["b"])
    with shard.open("r+b") as file:
        file.seek(600)
        file.write(b"y")
    found = PhotoStore(tmp_path)["a"]
    assert isinstance(found, Member)
    with pytest.raises(InputError, match=r"tar::a\.jpg: not the bytes that its index names; .* dvc checkout"):
        found.read_bytes()
    shard.unlink()
    assert list(PhotoStore(tmp_path)) == []
    with pytest.raises(InputError, match="no such file; run: dvc checkout"):
        found.read_bytes()
    shard.touch()
    index.write_text('{"a": ')
    with pytest.raises(InputError, match=r"\.index: not the index of a shard .*; remove it and run: dvc checkout"):
        PhotoStore(tmp_path)
