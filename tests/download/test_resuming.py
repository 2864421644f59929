"""A run that was interrupted or killed resumes, and a second run asks only for what changed."""

import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from download_runs import Rows, column, command, fetch, photos, sample, start, start_forked
from support import ROOT, Host, Script, fails_in_one_line

from landmarks.demo import renderer


@pytest.fixture
def rotten(host: Host) -> Rows:
    """40 photos of two landmarks with a reserve, some of them expired."""
    kinds = ["gone" if n % 7 == 3 else "slowly" for n in range(20)]
    return [(f"p{k}{n:02}", f"{host.url}/{kinds[n]}/{k}-{n}.jpg", k, int(n >= 15)) for k in (1, 2) for n in range(20)]


def test_a_second_run_asks_for_nothing_and_a_changed_sample_is_pruned_and_completed(
    script: Script, host: Host, tmp_path: Path
) -> None:
    rows = [(f"p{n}", f"{host.url}/photo/1-{n}.jpg", 1, 0) for n in range(4)] + [("g", f"{host.url}/gone/1-9", 1, 0)]
    assert fetch(script, tmp_path, rows).returncode == 0
    first = (tmp_path / "download.csv").read_bytes()
    assert fetch(script, tmp_path, rows).returncode == 0
    assert (tmp_path / "download.csv").read_bytes() == first
    assert fetch(script, tmp_path, [*rows[:2], rows[4], ("n", f"{host.url}/photo/1-7.jpg", 1, 0)]).returncode == 0
    assert photos(tmp_path) == ["n", "p0", "p1"]
    assert host.asked.total() == 6


def test_failed_photos_are_asked_for_again_when_asked_and_when_the_settings_change(
    script: Script, host: Host, tmp_path: Path
) -> None:
    rows = [("a", f"{host.url}/photo/1-0.jpg", 1, 0), ("b", f"{host.url}/busy/1-1.jpg", 1, 0), ("c", f"{host.url}/gone/1-2.jpg", 1, 0)]  # fmt: skip
    done = fetch(script, tmp_path, rows, "--attempts", 1)
    assert "failures that may be temporary: busy 1; to ask again: LANDMARKS_RETRY=1" in done.stderr
    fetch(script, tmp_path, rows, "--attempts", 1)
    assert host.kinds() == {"photo": 1, "busy": 1, "gone": 1}
    fetch(script, tmp_path, rows, "--attempts", 1, LANDMARKS_RETRY="1")
    assert host.kinds() == {"photo": 1, "busy": 2, "gone": 2}
    assert photos(tmp_path) == ["a", "b"]
    fetch(script, tmp_path, rows, "--attempts", 2)
    assert host.kinds() == {"photo": 1, "busy": 2, "gone": 3}


def test_without_the_cache_the_table_and_the_photos_are_enough(script: Script, host: Host, tmp_path: Path) -> None:
    rows = [("a", f"{host.url}/photo/1-0.jpg", 1, 0), ("b", f"{host.url}/gone/1-1.jpg", 1, 0)]
    assert fetch(script, tmp_path, rows).returncode == 0
    first = (tmp_path / "photos.csv").read_bytes()
    shutil.rmtree(tmp_path / ".cache")
    done = fetch(script, tmp_path, rows)
    assert "1 of 2 addresses asked, 1 were there already" in done.stdout
    assert host.kinds() == {"photo": 1, "gone": 2}
    assert (tmp_path / "photos.csv").read_bytes() == first


def test_a_photo_damaged_on_disk_is_fetched_again(script: Script, host: Host, tmp_path: Path) -> None:
    rows = [("a", f"{host.url}/photo/1-0.jpg", 1, 0)]
    fetch(script, tmp_path, rows)
    whole = (tmp_path / "images" / "a.jpg").read_bytes()
    (tmp_path / "images" / "a.jpg").write_bytes(whole[:-1])
    fetch(script, tmp_path, rows)
    assert (tmp_path / "images" / "a.jpg").read_bytes() == whole


def test_ctrl_c_leaves_a_valid_part_of_the_result_and_says_how_to_go_on(
    script: Script, host: Host, tmp_path: Path, rotten: Rows
) -> None:
    sample(tmp_path, rotten)
    run = start(tmp_path, "--per-host", "2")
    while len(list((tmp_path / "images").glob("p*.jpg"))) < 6:
        assert run.poll() is None
        time.sleep(0.02)
    run.send_signal(signal.SIGINT)
    _, stderr = run.communicate(timeout=30)
    assert run.returncode == 130
    assert "the same command resumes" in stderr
    part = {photo for photo, status in column(tmp_path, "status").items() if status == "ok"}
    assert part <= set(photos(tmp_path))
    assert len(part) >= 5
    assert f"interrupted with {len(part)} photos there" in stderr
    assert not (tmp_path / "photos.csv").exists()
    assert fetch(script, tmp_path, rotten, "--per-host", "2").returncode == 0
    assert len(photos(tmp_path)) == 30
    assert max(host.asked.values()) <= 2
    assert host.asked.total() <= 36 + 2 + 1  # those in flight, and one that answered meanwhile


def test_ctrl_c_keeps_what_an_earlier_run_knew(script: Script, host: Host, tmp_path: Path) -> None:
    rows = [(f"p{n}", f"{host.url}/photo/1-{n}.jpg", 1, 0) for n in range(6)]
    assert fetch(script, tmp_path, rows).returncode == 0
    sample(tmp_path, [("s", f"{host.url}/slow/1-1.jpg", 0, 0), *rows])
    run = start(tmp_path, LANDMARKS_RETRY="1")
    while not host.asked["/slow/1-1.jpg"]:
        assert run.poll() is None
        time.sleep(0.02)
    run.send_signal(signal.SIGINT)
    run.communicate(timeout=30)
    assert run.returncode == 130
    host.asked.clear()
    assert fetch(script, tmp_path, rows).returncode == 0
    assert not host.asked


@pytest.mark.slow
def test_killed_twenty_times_nothing_is_lost_and_nothing_fetched_twice_but_what_was_in_flight(
    script: Script, host: Host, tmp_path: Path, rotten: Rows
) -> None:
    assert fetch(script, tmp_path, rotten).returncode == 0
    whole, expected = (tmp_path / "photos.csv").read_bytes(), sum(host.asked.values())
    again = tmp_path / "again"
    again.mkdir()
    sample(again, rotten)
    host.asked.clear()
    draw, connections, kills = random.Random(0), 2, 0
    while kills < 20:
        run = start_forked(again, "--per-host", str(connections))
        begun = len(host.log)
        while run.is_alive() and len(host.log) == begun:
            time.sleep(0.01)  # until it is at work
        time.sleep(draw.uniform(0, 0.3))
        finished = not run.is_alive()
        run.kill()
        run.join()
        if finished:
            break
        kills += 1
    assert kills >= 5
    assert fetch(script, again, rotten, "--per-host", str(connections)).returncode == 0
    assert (again / "photos.csv").read_bytes() == whole
    assert host.asked.total() <= expected + kills * connections


def test_a_full_disk_is_one_line_and_a_state_to_go_on_from(script: Script, host: Host, tmp_path: Path) -> None:
    rows = [(f"p{n}", f"{host.url}/photo/1-{n}.jpg", 1, 0) for n in range(8)]
    sizes = sorted(len(renderer.photo(7, 1, n)) for n in range(8))
    sample(tmp_path, rows)
    done = subprocess.run(
        [sys.executable, *command(tmp_path)], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (sizes[-2], sizes[-2])),  # the largest doesn't fit
    )  # fmt: skip
    fails_in_one_line(done, "File too large", "what is fetched is kept", "run the same command")
    there = len(photos(tmp_path))
    assert not (tmp_path / "photos.csv").exists()
    before = host.asked.total()
    assert fetch(script, tmp_path, rows).returncode == 0
    assert len(photos(tmp_path)) == 8
    assert host.asked.total() - before <= 8 - there + 1


def test_what_was_fetched_before_an_error_is_not_fetched_again_but_what_failed_is(
    script: Script, host: Host, tmp_path: Path
) -> None:
    rows = [("a", f"{host.url}/photo/1-0.jpg", 1, 0), ("b", f"{host.url}/busy/2-0.jpg", 2, 0)]
    fails_in_one_line(fetch(script, tmp_path, rows, "--attempts", 1), "landmark 2", "busy")
    assert fetch(script, tmp_path, rows, "--attempts", 1).returncode == 0
    assert host.kinds() == {"photo": 1, "busy": 2}


def test_a_stricter_limit_holds_for_photos_of_an_earlier_run_too(script: Script, host: Host, tmp_path: Path) -> None:
    rows = [("a", f"{host.url}/photo/1-0.jpg", 1, 0)]
    assert fetch(script, tmp_path, rows).returncode == 0
    fails_in_one_line(fetch(script, tmp_path, rows, "--megabytes", 0.01), "landmark 1", "too large")
