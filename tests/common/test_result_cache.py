"""The cache of per-photo results survives kills and damage, and takes no more room than what is kept."""

import multiprocessing
import sqlite3
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import examples

from landmarks.common.result_cache import ArrayCache, ResultCache, code_hash, fingerprint, path_for


def size(path: Path) -> int:
    return sum(file.stat().st_size for file in path.parent.iterdir())


def test_a_value_is_found_under_its_key_by_the_next_run(tmp_path: Path) -> None:
    path = path_for(tmp_path / "data" / "photos.csv")
    assert path == tmp_path / "data" / ".cache" / "photos.sqlite"
    with ResultCache(path) as cache:
        cache.put("a", b"1")
        cache.put("a", b"2")
        cache.put("empty", b"")
    with ResultCache(path) as cache:
        assert [cache.get(key) for key in ("a", "empty", "b")] == [b"2", b"", None]
        cache.delete()
    assert not path.parent.exists()


def test_pruning_keeps_the_keys_that_are_named_and_frees_the_room_of_the_others(tmp_path: Path) -> None:
    with ResultCache(tmp_path / "c.sqlite") as cache:
        for n in range(50):
            cache.put(f"k{n}", bytes([n]) * 20_000)
        full = size(cache.path)
        cache.prune(f"k{n}" for n in range(5))
        assert [n for n in range(50) if cache.get(f"k{n}") is not None] == list(range(5))
        assert size(cache.path) < full / 8
        assert cache.get("k4") == bytes([4]) * 20_000


def test_values_take_little_more_room_than_their_bytes(tmp_path: Path) -> None:
    with ResultCache(tmp_path / "c.sqlite") as cache:
        for n in range(100):
            cache.put(f"k{n}", bytes(60_000))
        assert size(cache.path) < 1.1 * 100 * 60_000


def test_threads_may_put_and_get_at_the_same_time(tmp_path: Path) -> None:
    with ResultCache(tmp_path / "c.sqlite") as cache:

        def work(thread: int) -> None:
            for n in range(40):
                cache.put(f"{thread} {n}", f"{thread} {n}".encode())

        threads = [threading.Thread(target=work, args=(thread,)) for thread in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        keys = [f"{thread} {n}" for thread in range(8) for n in range(40)]
        assert all(cache.get(key) == key.encode() for key in keys)


def put_for_ever(path: Path, done: "multiprocessing.sharedctypes.Synchronized[int]") -> None:
    with ResultCache(path) as cache:
        n = done.value
        while True:
            cache.put(f"k{n}", f"{n} ".encode() * 3000)
            done.value = n = n + 1


def test_a_kill_loses_no_value_that_was_put(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    done = context.Value("i", 0)
    for _ in range(3):
        before = done.value
        process = context.Process(target=put_for_ever, args=(tmp_path / "c.sqlite", done), daemon=True)
        process.start()
        while done.value < before + 20:
            assert process.is_alive()
            time.sleep(0.001)
        process.kill()
        process.join()
        with ResultCache(tmp_path / "c.sqlite") as cache:
            assert all(cache.get(f"k{n}") == f"{n} ".encode() * 3000 for n in range(done.value))
            assert cache.get(f"k{done.value}") in (None, f"{done.value} ".encode() * 3000)


@settings(max_examples=examples(60))
@given(data=st.data())
def test_damage_makes_values_missing_never_wrong_and_the_file_is_used_on(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("cache") / "c.sqlite"
    values = {f"k{n}": bytes([n]) * length for n, length in enumerate((1, 100, 9000) * 3)}
    with ResultCache(path) as cache:
        for key, value in values.items():
            cache.put(key, value)
    content = bytearray(path.read_bytes())
    for place in data.draw(st.lists(st.integers(0, len(content) - 1) | st.integers(0, 99), max_size=40)):
        content[place] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.just(len(content)) | st.integers(0, len(content)))])
    with ResultCache(path) as cache:
        for key, value in values.items():
            assert cache.get(key) in (None, value)
            cache.put(key, value)
            assert cache.get(key) == value
        cache.prune(["k1"])
        assert {key for key in values if cache.get(key)} <= {"k1"}  # gone too if the damage was found only now


def test_a_file_that_cannot_be_written_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "c.sqlite").mkdir()
    with pytest.raises(OSError, match=r"c\.sqlite: unable to open"):
        ResultCache(tmp_path / "c.sqlite").put("a", b"1")


def test_a_file_that_another_process_holds_is_waited_for(tmp_path: Path) -> None:
    with ResultCache(tmp_path / "c.sqlite") as cache:
        cache.put("a", b"1")
        other = sqlite3.connect(tmp_path / "c.sqlite", isolation_level=None, check_same_thread=False)
        other.execute("BEGIN EXCLUSIVE")
        threading.Timer(0.3, other.execute, ("COMMIT",)).start()
        cache.put("b", b"2")
        assert cache.get("b") == b"2"
        other.close()


def test_a_fingerprint_changes_with_every_setting_and_with_the_code(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("a = 1")
    before = code_hash(tmp_path / "a.py")
    identities = [{"x": 1, "y": [2]}, {"x": 1, "y": [3]}, {"x": 1}, {"x": 1, "y": [2], "code": before}]
    assert len({fingerprint(identity) for identity in identities}) == 4
    assert fingerprint({"y": (2,), "x": 1}) == fingerprint(identities[0])
    (tmp_path / "a.py").write_text("a = 2")
    assert code_hash(tmp_path / "a.py") != before


def test_an_array_is_found_by_what_it_is_made_of_until_an_output_is_made_without_it(tmp_path: Path) -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    with ArrayCache(tmp_path / "curve.csv", {"draws": 3}) as cache:
        assert cache.find(["a"]) is None
        cache.keep(["a"], array)
        cache.keep(["b"], array + 1)
    with ArrayCache(tmp_path / "curve.csv", {"draws": 4}) as cache:
        assert cache.find(["a"]) is None
    with ArrayCache(tmp_path / "curve.csv", {"draws": 3}) as cache:
        found = cache.find(["a"])
        assert found is not None
        assert found.dtype == array.dtype
        np.testing.assert_array_equal(found, array)
        cache.forget_others()
    with ArrayCache(tmp_path / "curve.csv", {"draws": 3}) as cache:
        assert cache.find(["a"]) is not None
        assert cache.find(["b"]) is None
