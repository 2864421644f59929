"""The download stage gets every photo that can be got, and says why of every one that can't."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
from conftest import ROOT, Host, Script, fails_in_one_line


def sample(folder: Path, rows: list[tuple[str, str, int, int]]) -> Path:
    pd.DataFrame(rows, columns=["id", "url", "landmark_id", "reserve"]).to_csv(folder / "sample.csv", index=False)
    return folder / "sample.csv"


def outputs(folder: Path) -> list[Path]:
    return [folder / "images", folder / "download.csv", folder / "counts.json"]


def hear_ctrl_c() -> None:
    """A shell starts what it puts in the background deaf to Ctrl-C; pytest may be such a thing."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def answers(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "download.csv", dtype=str, keep_default_na=False).set_index("id")


def test_each_fault_of_the_web_has_its_status(script: Script, host: Host, tmp_path: Path) -> None:
    kinds = {
        "photo": "ok", "moved": "ok", "busy": "ok", "unavailable": "ok", "gone": "gone", "missing": "gone", "refused": "refused",
        "html": "not a photo", "half": "truncated", "cut": "truncated", "broken": "server error", "loop": "bad url", "slow": "too slow",
    }  # fmt: skip
    rows = [(kind, f"{host.url}/{kind}/1-{n}.jpg", 1, 0) for n, kind in enumerate(kinds)]
    rows += [("nowhere", "http://127.0.0.1:9/x.jpg", 1, 0), ("noscheme", "gopher://x/y.jpg", 1, 0)]
    start = time.monotonic()
    done = script("download", sample(tmp_path, rows), *outputs(tmp_path), "--attempts", 2, "--seconds", 1.5)
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - start < 15  # the slow one would drip for 30 s
    assert answers(tmp_path)["status"].to_dict() == {**kinds, "nowhere": "unreachable", "noscheme": "bad url"}
    assert sorted(path.stem for path in (tmp_path / "images").iterdir()) == ["busy", "moved", "photo", "unavailable"]
    asked: Counter[str] = Counter()
    for path, times in host.asked.items():
        asked[path.split("/")[1]] += times
    once = dict.fromkeys(("gone", "missing", "refused", "html", "half", "slow", "moved"), 1)
    assert asked == {
        **once,
        "photo": 2,
        "busy": 2,
        "unavailable": 2,
        "broken": 2,
        "cut": 2,
        "loop": 6,
    }  # moved leads to a photo


def test_an_expired_photo_is_replaced_from_the_reserve_of_its_landmark(
    script: Script, host: Host, tmp_path: Path
) -> None:
    rows = [("a", f"{host.url}/photo/1-0.jpg", 1, 0), ("b", f"{host.url}/gone/1-1.jpg", 1, 0), ("c", f"{host.url}/missing/1-2.jpg", 1, 1),
            ("d", f"{host.url}/slowly/1-3.jpg", 1, 1), ("e", f"{host.url}/photo/1-4.jpg", 1, 1), ("f", f"{host.url}/gone/2-0.jpg", 2, 0),
            ("g", f"{host.url}/photo/2-1.jpg", 2, 0)]  # fmt: skip
    assert script("download", sample(tmp_path, rows), *outputs(tmp_path)).returncode == 0
    found = answers(tmp_path)
    assert found["replaces"].to_dict() == {"a": "", "b": "", "c": "", "d": "b", "f": "", "g": ""}
    assert json.loads((tmp_path / "counts.json").read_text()) == {
        "asked": 6, "ok": 3, "failed": {"gone": 3}, "replaced": 1, "short": 1,
    }  # fmt: skip


def test_a_second_run_asks_for_nothing_and_a_smaller_sample_is_pruned(
    script: Script, host: Host, tmp_path: Path
) -> None:
    rows = [(f"p{n}", f"{host.url}/photo/1-{n}.jpg", 1, 0) for n in range(4)]
    assert script("download", sample(tmp_path, rows), *outputs(tmp_path)).returncode == 0
    first = (tmp_path / "download.csv").read_bytes()
    assert script("download", sample(tmp_path, rows), *outputs(tmp_path)).returncode == 0
    assert (tmp_path / "download.csv").read_bytes() == first
    assert script("download", sample(tmp_path, rows[:2]), *outputs(tmp_path)).returncode == 0
    assert sorted(path.name for path in (tmp_path / "images").iterdir()) == ["p0.jpg", "p1.jpg"]
    assert host.asked.total() == 4


def test_a_photo_damaged_on_disk_is_fetched_again(script: Script, host: Host, tmp_path: Path) -> None:
    rows = [("a", f"{host.url}/photo/1-0.jpg", 1, 0)]
    script("download", sample(tmp_path, rows), *outputs(tmp_path))
    whole = (tmp_path / "images" / "a.jpg").read_bytes()
    (tmp_path / "images" / "a.jpg").write_bytes(whole[:-1])
    script("download", sample(tmp_path, rows), *outputs(tmp_path))
    assert (tmp_path / "images" / "a.jpg").read_bytes() == whole


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_run_is_taken_up_where_it_stopped(
    script: Script, host: Host, tmp_path: Path, end: signal.Signals
) -> None:
    rows = [(f"p{n}", f"{host.url}/slowly/1-{n}.jpg", 1, 0) for n in range(12)]
    command = [sys.executable, "src/download.py", str(sample(tmp_path, rows)), *map(str, outputs(tmp_path))]
    environment = {**os.environ, "LANDMARKS_CONNECTIONS": "2"}
    run = subprocess.Popen(
        command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True, preexec_fn=hear_ctrl_c
    )
    while len(list((tmp_path / "images").glob("p*.jpg"))) < 5:
        assert run.poll() is None
        time.sleep(0.02)
    run.send_signal(end)
    _, said = run.communicate(timeout=30)
    assert run.returncode == (-9 if end == signal.SIGKILL else 130)
    assert end == signal.SIGKILL or "goes on from here" in said
    assert not (tmp_path / "download.csv").exists()
    assert script("download", tmp_path / "sample.csv", *outputs(tmp_path)).returncode == 0
    assert len(list((tmp_path / "images").iterdir())) == 12
    assert host.asked.total() <= 12 + 2 + 1  # the two in flight, and one whose line was not yet in the journal


def test_a_web_that_gives_nothing_is_an_error_not_an_empty_data_set(script: Script, tmp_path: Path) -> None:
    rows = [("a", "http://127.0.0.1:9/a.jpg", 1, 0)]
    done = script("download", sample(tmp_path, rows), *outputs(tmp_path), "--attempts", 1)
    fails_in_one_line(done, "landmark 1", "http://127.0.0.1:9/a.jpg", "unreachable", "is the network there?")
    assert not (tmp_path / "download.csv").exists()


def test_an_id_that_is_no_file_name_never_reaches_the_disk(script: Script, host: Host, tmp_path: Path) -> None:
    rows = [("../escaped", f"{host.url}/photo/1-0.jpg", 1, 0)]
    fails_in_one_line(script("download", sample(tmp_path, rows), *outputs(tmp_path)), "row 2", "'../escaped'")
    assert not (tmp_path / "escaped.jpg").exists()
    assert host.asked.total() == 0


def test_what_was_fetched_before_an_error_is_not_fetched_again(script: Script, host: Host, tmp_path: Path) -> None:
    rows = [("a", f"{host.url}/photo/1-0.jpg", 1, 0), ("b", f"{host.url}/gone/2-0.jpg", 2, 0)]
    fails_in_one_line(script("download", sample(tmp_path, rows), *outputs(tmp_path)), "landmark 2", "gone")
    rows.append(("c", f"{host.url}/photo/2-1.jpg", 2, 1))
    assert script("download", sample(tmp_path, rows), *outputs(tmp_path)).returncode == 0
    assert host.asked["/photo/1-0.jpg"] == 1


def test_a_stricter_limit_holds_for_photos_of_an_earlier_run_too(script: Script, host: Host, tmp_path: Path) -> None:
    rows = [("a", f"{host.url}/photo/1-0.jpg", 1, 0)]
    assert script("download", sample(tmp_path, rows), *outputs(tmp_path)).returncode == 0
    done = script("download", tmp_path / "sample.csv", *outputs(tmp_path), "--megabytes", 0.01)
    fails_in_one_line(done, "landmark 1", "too large")


def test_an_environment_variable_that_is_no_number_is_an_error_that_names_it(
    script: Script, host: Host, tmp_path: Path
) -> None:
    rows = [("a", f"{host.url}/photo/1-0.jpg", 1, 0)]
    done = script("download", sample(tmp_path, rows), *outputs(tmp_path), LANDMARKS_CONNECTIONS="many")
    fails_in_one_line(done, "LANDMARKS_CONNECTIONS", "'many'")
