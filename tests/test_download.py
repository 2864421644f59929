"""The download stage gets every photo that can be got, with manners, and says why of every one that can't."""

import csv
import hashlib
import io
import ipaddress
import itertools
import json
import os
import random
import resource
import signal
import socket
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from conftest import ROOT, Host, Script, fails_in_one_line, serving
from hypothesis import given, settings
from hypothesis import strategies as st

from landmarks.demo import renderer
from landmarks.download import fetcher, politeness, safe_http

Rows = list[tuple[str, str, Any, int]]  # id, url, landmark_id, reserve


def sample(folder: Path, rows: Rows) -> Path:
    pd.DataFrame(rows, columns=["id", "url", "landmark_id", "reserve"]).to_csv(folder / "sample.csv", index=False)
    return folder / "sample.csv"


def outputs(folder: Path) -> list[Path]:
    return [folder / name for name in ("images", "download.csv", "photos.csv", "counts.json")]


def fetch(
    script: Script, folder: Path, rows: Rows, *knobs: object, **environment: str
) -> "subprocess.CompletedProcess[str]":
    return script("download", sample(folder, rows), *outputs(folder), "--loopback", *knobs, **environment)


def collect(folder: Path, rows: Rows, connections: int = 16, **knobs: object) -> dict[str, str]:
    """The same in this process: the status of each photo."""
    os.environ["LANDMARKS_CONNECTIONS"] = str(connections)
    collection = fetcher.Collection(pd.read_csv(sample(folder, rows), dtype=str))
    asked = fetcher.Settings(loopback=True, **knobs)  # type: ignore[arg-type] # the tests give what --help allows
    try:
        collection.collect(folder / "images", folder / "journal", [], asked)
    finally:
        del os.environ["LANDMARKS_CONNECTIONS"]
    return {answer.id: answer.status for answer in collection.result()}


def hear_ctrl_c() -> None:
    """A shell starts what it puts in the background deaf to Ctrl-C; pytest may be such a thing."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def start(folder: Path, *knobs: str, **environment: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "src/download.py", str(folder / "sample.csv"), *map(str, outputs(folder)), "--loopback"]
    return subprocess.Popen(
        [*command, *knobs], cwd=ROOT, env={**os.environ, **environment}, stderr=subprocess.PIPE, text=True,
        preexec_fn=hear_ctrl_c,
    )  # fmt: skip


def answers(folder: Path) -> dict[str, dict[str, str]]:
    """The table, by id."""
    with (folder / "download.csv").open(newline="") as file:
        return {row["id"]: row for row in csv.DictReader(file)}


def column(folder: Path, name: str) -> dict[str, str]:
    return {photo: row[name] for photo, row in answers(folder).items()}


def photos(folder: Path) -> list[str]:
    return sorted(path.stem for path in (folder / "images").iterdir())


# What becomes of each URL


def test_each_fault_of_the_web_has_its_status_and_costs_no_more_requests_than_it_must(
    script: Script, host: Host, tmp_path: Path
) -> None:
    kinds = {
        "photo": ("ok", 4), "moved": ("ok", 1), "busy": ("ok", 2), "unavailable": ("ok", 2), "png": ("ok", 1),
        "gone": ("gone", 1), "missing": ("gone", 1), "refused": ("refused", 1), "teapot": ("unexpected answer", 1),
        "html": ("html", 1), "pdf": ("mislabelled", 1), "half": ("truncated", 1), "cut": ("truncated", 2),
        "broken": ("server error", 2), "loop": ("redirect loop", 1), "far": ("too many redirects", 6), "noai": ("opted out", 1),
        "slow": ("too slow", 1), "drip": ("too slow", 1), "huge": ("too large", 1), "garbage": ("truncated", 2),
        "later": ("server error", 2), "chunks": ("truncated", 2), "endless": ("too large", 1), "accent": ("ok", 1),
    }  # fmt: skip
    rows = [(kind, f"{host.url}/{kind}/1-{n}.jpg", 1, 0) for n, kind in enumerate(kinds)]
    others = {
        "nowhere": ("http://127.0.0.1:9/x.jpg", "unreachable"), "noscheme": ("gopher://x/y.jpg", "scheme not allowed"),
        "file": ("/etc/hostname", "scheme not allowed"), "away": (f"{host.url}/to/file//etc/hostname", "scheme not allowed"),
        "inward": (f"{host.url}/to/http/10.0.0.1/x.jpg", "private address"), "odd": ("http://[x/y", "bad url"),
        "password": ("http://a:b@127.0.0.1/x", "bad url"), "paper": (f"{host.url}/pdf/honest.pdf", "not a photo"),
        "tar": ("tar://x", "scheme not allowed"), "far_away": ("http://example.invalid./x.jpg", "unreachable"),
        "hop": (f"{host.url}/to/{host.url.replace('://', '/')}/photo/2-1.jpg", "ok"),
    }  # fmt: skip
    rows += [(name, url, 1, 0) for name, (url, _) in others.items()]
    begin = time.monotonic()
    done = fetch(script, tmp_path, rows, "--attempts", 2, "--seconds", 1.5)
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - begin < 20  # the slow ones would drip for 30 s each
    expected = {kind: status for kind, (status, _) in kinds.items()} | {k: status for k, (_, status) in others.items()}
    assert column(tmp_path, "status") == expected
    assert photos(tmp_path) == sorted(name for name, status in expected.items() if status == "ok")
    asked = {kind: times for kind, (_, times) in kinds.items()}
    assert host.kinds() == asked | {"to": 3, "pdf": 2}  # moved and hop lead to a photo


def test_the_table_says_where_each_photo_came_from_and_what_it_is(script: Script, host: Host, tmp_path: Path) -> None:
    rows = [("a", f"{host.url}/moved/1-0.jpg", 1, 0), ("b", f"{host.url}/png/1-0.jpg", 1, 0)]
    assert fetch(script, tmp_path, rows).returncode == 0
    found = answers(tmp_path)
    body = renderer.photo(7, 1, 0)
    assert [found["a"][name] for name in ("status", "http", "url", "source", "format", "asked")] == [
        "ok", "200", f"{host.url}/photo/1-0.jpg", "origin", "JPEG", f"{host.url}/moved/1-0.jpg",
    ]  # fmt: skip
    assert int(found["a"]["bytes"]) == len(body)
    kept = (tmp_path / "images" / "a.jpg").read_bytes()
    assert found["a"]["sha256"] == hashlib.sha256(kept).hexdigest()
    assert found["b"]["format"] == "PNG"
    assert [found["b"][name] for name in ("width", "height")] == [found["a"][name] for name in ("width", "height")]
    assert min(float(row["seconds"]) for row in found.values()) > 0
    listed = pd.read_csv(tmp_path / "photos.csv", dtype=str)
    assert listed.values.tolist() == [["a", "1", found["a"]["sha256"]], ["b", "1", found["b"]["sha256"]]]


def test_an_expired_photo_is_replaced_from_the_reserve_of_its_landmark(
    script: Script, host: Host, tmp_path: Path
) -> None:
    rows = [("a", f"{host.url}/photo/1-0.jpg", 1, 0), ("b", f"{host.url}/gone/1-1.jpg", 1, 0), ("c", f"{host.url}/missing/1-2.jpg", 1, 1),
            ("d", f"{host.url}/slowly/1-3.jpg", 1, 1), ("e", f"{host.url}/photo/1-4.jpg", 1, 1), ("f", f"{host.url}/gone/2-0.jpg", 2, 0),
            ("g", f"{host.url}/photo/2-1.jpg", 2, 0)]  # fmt: skip
    assert fetch(script, tmp_path, rows).returncode == 0
    assert column(tmp_path, "replaces") == {"a": "", "b": "", "c": "", "d": "b", "f": "", "g": ""}
    assert json.loads((tmp_path / "counts.json").read_text()) == {
        "asked": 6, "ok": 3, "failed": {"gone": 3}, "from": {"origin": 3}, "replaced": 1, "short": 1, "same_bytes": 0,
        "link_rot": {"1": {"gone": 2}, "2": {"gone": 1}},
    }  # fmt: skip


@pytest.mark.parametrize("connections", ["1", "3", "16"])
def test_who_replaces_whom_does_not_depend_on_who_answers_first(
    script: Script, host: Host, tmp_path: Path, connections: str
) -> None:
    draw = random.Random(5)
    kinds = ["photo", "slowly", "gone", "busy"]
    rows = [
        (f"p{k}{n}", f"{host.url}/{draw.choice(kinds)}/{k}-{n}.jpg", k, int(n >= 5)) for k in (1, 2) for n in range(12)
    ]
    done = fetch(script, tmp_path, rows, "--per-host", connections, LANDMARKS_CONNECTIONS=connections)
    assert done.returncode == 0, done.stderr
    fine = [(k, n) for row in rows for k, n in [(row[2], int(row[0][2:]))] if "/gone/" not in row[1]]
    expected = [f"p{k}{n}" for k in (1, 2) for n in [n for j, n in fine if j == k][:5]]
    assert photos(tmp_path) == sorted(expected)


def test_the_expired_are_looked_for_in_archives_and_the_table_says_so(
    script: Script, host: Host, tmp_path: Path
) -> None:
    with serving() as archive:
        rows = [("a", f"{host.url}/photo/1-0.jpg", 1, 0), ("b", f"{host.url}/gone/1-1.jpg", 1, 0),
                ("c", f"{host.url}/refused/1-2.jpg", 1, 0)]  # fmt: skip
        template = f"{archive.url}/photo/1-3.jpg?of={{url}}"
        assert fetch(script, tmp_path, rows, "--archives", template).returncode == 0
        assert list(archive.asked) == [f"/photo/1-3.jpg?of={host.url}/gone/1-1.jpg"]
    found = answers(tmp_path)
    assert column(tmp_path, "status") == {"a": "ok", "b": "ok", "c": "refused"}  # who refuses, refuses
    assert found["b"]["source"] == f"127.0.0.1:{archive.server_port}"
    assert json.loads((tmp_path / "counts.json").read_text())["from"] == {found["b"]["source"]: 1, "origin": 1}


def test_the_same_bytes_under_several_ids_are_flagged(script: Script, host: Host, tmp_path: Path) -> None:
    rows = [("a", f"{host.url}/photo/1-0.jpg", 1, 0), ("b", f"{host.url}/photo/1-0.jpg?x", 2, 0)]
    host.body = renderer.photo(7, 1, 0)
    rows[1] = ("b", f"{host.url}/body", 2, 0)
    done = fetch(script, tmp_path, rows)
    assert "1 photos have the bytes of another" in done.stderr
    assert column(tmp_path, "same_as") == {"a": "", "b": "a"}
    assert json.loads((tmp_path / "counts.json").read_text())["same_bytes"] == 1


def test_photos_are_kept_as_small_as_asked_and_fetched_again_if_that_changes(
    script: Script, host: Host, tmp_path: Path
) -> None:
    rows = [("a", f"{host.url}/photo/1-0.jpg", 1, 0)]
    assert fetch(script, tmp_path, rows, "--long-side", 200).returncode == 0
    found = answers(tmp_path)["a"]
    assert max(int(found["width"]), int(found["height"])) == 200 < int(found["original_width"])
    assert fetch(script, tmp_path, rows, "--long-side", 200).returncode == 0
    assert host.asked.total() == 1
    assert fetch(script, tmp_path, rows).returncode == 0
    assert host.asked.total() == 2
    assert answers(tmp_path)["a"]["width"] == found["original_width"]


# Where photos come from


def test_photos_come_from_local_files_where_the_scheme_is_allowed(script: Script, tmp_path: Path) -> None:
    (tmp_path / "p.jpg").write_bytes(renderer.photo(7, 1, 0))
    rows = [("a", str(tmp_path / "p.jpg"), 1, 0), ("b", f"file://{tmp_path}/p.jpg", 1, 0),
            ("c", f"{tmp_path}/none.jpg", 1, 0), ("d", str(tmp_path), 1, 0), ("e", f"simplecache::file://{tmp_path}/p.jpg", 1, 0)]  # fmt: skip
    assert fetch(script, tmp_path, rows, "--schemes", "file").returncode == 0
    assert column(tmp_path, "status") == {"a": "ok", "b": "ok", "c": "gone", "d": "gone", "e": "scheme not allowed"}


def test_photos_come_from_any_file_system_of_fsspec(tmp_path: Path) -> None:
    import fsspec

    fsspec.filesystem("memory").pipe_file("/bucket/p.jpg", renderer.photo(7, 1, 0))
    rows = [("a", "memory://bucket/p.jpg", 1, 0), ("b", "memory://bucket/q.jpg", 1, 0)]
    table = pd.read_csv(sample(tmp_path, rows), dtype=str)
    collection = fetcher.Collection(table)
    collection.collect(tmp_path / "images", tmp_path / "journal", [], fetcher.Settings(schemes=("memory",)))
    assert [answer.status for answer in collection.result()] == ["ok", "gone"]


def test_a_file_system_that_is_not_installed_is_an_error_that_says_what_to_install(
    script: Script, tmp_path: Path
) -> None:
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


def test_a_tar_archive_that_is_missing_or_cut_is_an_error_that_names_it(
    script: Script, host: Host, tmp_path: Path
) -> None:
    rows = [("a", f"{host.url}/photo/1-0.jpg", 1, 0)]
    fails_in_one_line(fetch(script, tmp_path, rows, "--tars", tmp_path / "no.tar"), "no.tar", "no such archive")
    whole = make_tar(tmp_path / "x.tar", {"b.jpg": bytes(5000), "a.jpg": bytes(5000)}).read_bytes()
    (tmp_path / "cut.tar").write_bytes(whole[:5000])
    fails_in_one_line(fetch(script, tmp_path, rows, "--tars", tmp_path / "cut.tar"), "cut.tar", "not a whole")


# Manners


def test_one_host_is_asked_no_more_requests_at_a_time_than_granted(host: Host, tmp_path: Path) -> None:
    rows = [(f"p{n}", f"{host.url}/slowly/1-{n}.jpg", 1, 0) for n in range(16)]
    assert set(collect(tmp_path, rows, per_host=3).values()) == {"ok"}
    assert host.peak == 3
    assert [path for _, path, _ in host.log].count("/robots.txt") == 1
    assert host.log[0][1] == "/robots.txt"


def test_a_slow_host_does_not_hold_up_another(host: Host, tmp_path: Path) -> None:
    with serving() as other:
        rows = [("w", f"{host.url}/wait/1-2", 1, 0)]
        rows += [(f"s{n}", f"{host.url}/photo/1-{n}.jpg", 1, 0) for n in range(4)]
        rows += [(f"q{n}", f"{other.url}/photo/2-{n}.jpg", 2, 0) for n in range(8)]
        assert set(collect(tmp_path, rows, connections=2, per_host=1).values()) == {"ok"}
        waited = [moment for moment, path, _ in host.log if path != "/robots.txt"]
        assert max(moment for moment, _, _ in other.log) < waited[0] + 1.9


def test_retry_after_holds_for_the_whole_host(host: Host, tmp_path: Path) -> None:
    rows = [("w", f"{host.url}/wait/1-2", 1, 0)] + [(f"p{n}", f"{host.url}/photo/1-{n}.jpg", 1, 0) for n in range(6)]
    assert set(collect(tmp_path, rows, per_host=1).values()) == {"ok"}
    moments = [moment for moment, path, _ in host.log if path != "/robots.txt"]
    assert moments[1] - moments[0] >= 2
    assert len(moments) == 8


def test_retry_after_holds_though_other_hosts_keep_everybody_busy(host: Host, tmp_path: Path) -> None:
    with serving() as other:
        rows = [("w", f"{host.url}/wait/1-2", 1, 0)]
        rows += [(f"p{n}", f"{host.url}/photo/1-{n}.jpg", 1, 0) for n in range(3)]
        rows += [(f"q{n}", f"{other.url}/slowly/2-{n}.jpg", 2, 0) for n in range(8)]
        collect(tmp_path, rows, connections=2, per_host=2, robots=False)
    asked = [(moment, path) for moment, path, _ in host.log]
    after = [moment for moment, path in asked if moment > asked[0][0] + 0.3]  # what was under way when it answered
    assert min(after) - asked[0][0] >= 1.9


def test_a_host_that_never_stops_being_busy_is_left_alone(host: Host, tmp_path: Path) -> None:
    rows = [(f"w{n}", f"{host.url}/broken/{n}?429", 1, 0) for n in range(40)]
    host.always = 429
    assert set(collect(tmp_path, rows, attempts=2, per_host=1).values()) == {"busy"}
    assert host.asked.total() <= 2 * fetcher.HOPE + 2


def test_a_host_that_asks_for_an_hour_is_left_alone(host: Host, tmp_path: Path) -> None:
    rows = [("w", f"{host.url}/wait/1-3600", 1, 0), ("p", f"{host.url}/photo/1-1.jpg", 1, 0), ("d", "demo://7/photo/1/1.jpg", 1, 0)]  # fmt: skip
    assert collect(tmp_path, rows, per_host=1) == {"w": "busy", "p": "busy", "d": "ok"}
    assert host.asked.total() == 1


def test_what_is_gone_or_refused_is_asked_once_and_what_is_broken_with_growing_pauses(
    host: Host, tmp_path: Path
) -> None:
    rows = [("a", f"{host.url}/broken/1", 1, 0), ("b", f"{host.url}/refused/1", 1, 0), ("c", f"{host.url}/photo/1-1.jpg", 1, 0)]  # fmt: skip
    collect(tmp_path, rows, attempts=3)
    assert host.kinds() == {"broken": 3, "refused": 1, "photo": 1}
    moments = [moment for moment, path, _ in host.log if "broken" in path]
    assert moments[1] - moments[0] >= 0.5  # 1 s and 2 s, half to one and a half times
    assert moments[2] - moments[1] >= 1


def test_a_host_that_is_not_there_is_given_up_after_the_attempts_of_one_photo(script: Script, tmp_path: Path) -> None:
    rows = [("d", "demo://7/photo/1/1.jpg", 1, 0)] + [(f"p{n}", f"http://127.0.0.1:9/{n}.jpg", 1, 0) for n in range(40)]
    begin = time.monotonic()
    done = fetch(script, tmp_path, rows, "--attempts", 2)
    assert done.returncode == 0
    assert time.monotonic() - begin < 12  # 40 photos with a pause of their own each would take a minute
    assert "unreachable 40; to ask again: LANDMARKS_RETRY=1" in done.stderr


def test_bytes_a_second_are_bounded_over_all_connections(host: Host, tmp_path: Path) -> None:
    rows = [(f"p{n}", f"{host.url}/photo/1-{n}.jpg", 1, 0) for n in range(6)]
    sizes = [len(renderer.photo(7, 1, n)) for n in range(6)]
    rate = sum(sizes) / 3 / 1000
    collect(tmp_path, rows, per_host=1, kilobytes_per_second=rate)
    moments = [moment for moment, path, _ in host.log if path != "/robots.txt"]
    assert moments[-1] - moments[0] >= sum(sizes[:-1]) / rate / 1000 - 0.1


@pytest.mark.parametrize(
    ("robots", "status"),
    [
        ((200, "User-agent: *\nDisallow: /photo/"), "disallowed"),
        ((200, "User-agent: *\nAllow: /photo/1-1.jpg\nDisallow: /"), "ok"),
        ((200, "User-agent: landmarks\nDisallow: /\n\nUser-agent: *\nAllow: /"), "disallowed"),
        ((200, "User-agent: *\nDisallow: /*.jpg$"), "disallowed"),
        ((200, "User-agent: *\nCrawl-delay: 86400"), "disallowed"),
        ((200, "\x00\xff nonsense"), "ok"),
        ((403, ""), "ok"),
        ((404, ""), "ok"),
        ((503, ""), "server error"),
        ((302, "http://["), "bad url"),
        ((302, "/robots.txt"), "ok"),
    ],
)
def test_robots_txt_is_obeyed(host: Host, tmp_path: Path, robots: tuple[int, str], status: str) -> None:
    host.robots = robots
    rows = [("a", f"{host.url}/photo/1-1.jpg", 1, 0), ("d", "demo://7/photo/1/1.jpg", 1, 0)]
    assert collect(tmp_path, rows, attempts=1) == {"a": status, "d": "ok"}
    assert host.asked.total() == (status == "ok")


def test_a_crawl_delay_is_kept_between_requests(host: Host, tmp_path: Path) -> None:
    host.robots = (200, "User-agent: *\nCrawl-delay: 0.7")
    rows = [(f"p{n}", f"{host.url}/photo/1-{n}.jpg", 1, 0) for n in range(4)]
    collect(tmp_path, rows)
    moments = [moment for moment, path, _ in host.log if path != "/robots.txt"]
    assert min(b - a for a, b in itertools.pairwise(moments)) > 0.65
    assert host.peak == 1


def test_hosts_see_who_asks_and_how_to_reach_them(host: Host, tmp_path: Path) -> None:
    rows = [("a", f"{host.url}/photo/1-1.jpg", 1, 0)]
    collect(tmp_path, rows, contact="lab@example.org")
    assert {agent.split(" python")[0] for _, _, agent in host.log} == {"landmarks/0.1 (lab@example.org)"}


def test_wikimedia_is_not_asked_without_a_contact(script: Script, tmp_path: Path) -> None:
    rows = [("a", "https://upload.wikimedia.org/wikipedia/commons/a/ab/Ex.jpg", 1, 0)]
    fails_in_one_line(fetch(script, tmp_path, rows), "upload.wikimedia.org", "download.contact")


@pytest.mark.parametrize(
    ("url", "width", "expected"),
    [
        ("https://upload.wikimedia.org/wikipedia/commons/a/ab/Ex.jpg", 1000, ("https://upload.wikimedia.org/wikipedia/commons/thumb/a/ab/Ex.jpg/1280px-Ex.jpg", 1280)),
        ("http://upload.wikimedia.org/wikipedia/commons/a/ab/Ex.tif", 500, ("https://upload.wikimedia.org/wikipedia/commons/thumb/a/ab/Ex.tif/lossy-page1-500px-Ex.tif.jpg", 500)),
        ("https://upload.wikimedia.org/wikipedia/commons/a/ab/Ex.jpg", 9999, ("https://upload.wikimedia.org/wikipedia/commons/thumb/a/ab/Ex.jpg/3840px-Ex.jpg", 3840)),
        ("https://upload.wikimedia.org/wikipedia/commons/a/ab/Ex.jpg", 0, ("", 0)),
        ("https://upload.wikimedia.org/wikipedia/commons/a/ab/Ex.ogv", 500, ("", 0)),
        ("https://upload.wikimedia.org/wikipedia/commons/thumb/a/ab/Ex.jpg/320px-Ex.jpg", 500, ("", 0)),
        ("https://example.org/wikipedia/commons/a/ab/Ex.jpg", 500, ("", 0)),
        ("http://[", 500, ("", 0)),
    ],
)  # fmt: skip
def test_wikimedia_is_asked_for_thumbnails_of_the_widths_it_allows(
    url: str, width: int, expected: tuple[str, int]
) -> None:
    assert politeness.thumbnail(url, width) == expected


def test_wikimedia_is_asked_two_requests_at_a_time() -> None:
    queue: politeness.Queue[int] = politeness.Queue(politeness.Manners(per_host=8, robots=False), 8)
    for n in range(5):
        queue.add("https://upload.wikimedia.org/x", n)
    queue.add("https://example.org/x", 5)
    taken = [queue.take() for _ in range(3)]
    assert sorted(task for _, task in filter(None, taken)) == [0, 1, 5]


@pytest.mark.parametrize(
    ("header", "out"),
    [("noai", True), ("noindex, NoImageAI", True), ("landmarks: noai", True), ("otherbot: noai", False),
     ("otherbot: noindex, noai", True), ("max-image-preview:large, noai", True), ("unavailable_after: 25 Jun 2030 15:00:00 PST, noai", True), ("noindex", False), ("", False)],
)  # fmt: skip
def test_an_opt_out_counts_if_it_is_for_us(header: str, out: bool) -> None:
    assert politeness.opts_out(header) is out


# Safety


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.1", "224.0.0.1",
     "255.255.255.255", "::1", "::", "fe80::1", "fe80::1%1", "fc00::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1",
     "2002:7f00:1::", "64:ff9b::7f00:1", "2001:0:1::1", "fec0::1", "::7f00:1", "::ffff:0:7f00:1", "64:ff9b:1::7f00:1"],
)  # fmt: skip
def test_an_address_inside_is_refused(address: str) -> None:
    with pytest.raises(safe_http.FetchError, match="private address"):
        list(safe_http.public(address, 80, loopback=False))


def test_loopback_opens_loopback_alone() -> None:
    assert list(safe_http.public("127.0.0.1", 80, loopback=True)) == ["127.0.0.1"]
    assert list(safe_http.public("::1", 80, loopback=True)) == ["::1"]
    for address in ("10.1.2.3", "169.254.169.254"):
        with pytest.raises(safe_http.FetchError, match="private address"):
            list(safe_http.public(address, 80, loopback=True))
    assert list(safe_http.public("8.8.8.8", 80, loopback=False)) == ["8.8.8.8"]


def test_without_the_parameter_loopback_is_not_asked(script: Script, host: Host, tmp_path: Path) -> None:
    port = host.server_port
    rows = [("a", f"{host.url}/photo/1-1.jpg", 1, 0), ("b", f"http://localhost:{port}/photo/1-1.jpg", 1, 0),
            ("c", f"http://2130706433:{port}/photo/1-1.jpg", 1, 0), ("d", "demo://7/photo/1/1.jpg", 1, 0)]  # fmt: skip
    assert script("download", sample(tmp_path, rows), *outputs(tmp_path)).returncode == 0
    assert column(tmp_path, "status") == dict.fromkeys("abc", "private address") | {"d": "ok"}
    assert not host.log


def test_a_proxy_in_the_environment_is_not_used(script: Script, host: Host, tmp_path: Path) -> None:
    rows = [("a", f"{host.url}/photo/1-1.jpg", 1, 0)]
    assert (
        fetch(script, tmp_path, rows, HTTP_PROXY="http://127.0.0.1:9", http_proxy="http://127.0.0.1:9").returncode == 0
    )


def test_an_id_that_is_no_file_name_never_reaches_the_disk(script: Script, host: Host, tmp_path: Path) -> None:
    rows = [("../escaped", f"{host.url}/photo/1-0.jpg", 1, 0)]
    fails_in_one_line(fetch(script, tmp_path, rows), "row 2", "'../escaped'")
    assert not (tmp_path / "escaped.jpg").exists()
    assert host.asked.total() == 0


def test_a_bomb_is_refused_by_its_header(host: Host, tmp_path: Path) -> None:
    host.body = renderer.photo(7, 1, 0)
    rows = [("a", f"{host.url}/body", 1, 0), ("d", "demo://7/photo/1/1.jpg", 1, 0)]
    at = host.body.index(b"\xff\xc0")
    host.body = host.body[: at + 5] + b"\xff\xf0\xff\xf0" + host.body[at + 9 :]  # 65520 x 65520
    assert collect(tmp_path, rows) == {"a": "too large", "d": "ok"}


@given(url=st.one_of(st.text(max_size=60), st.from_regex(r"https?://[^ ]{0,30}", fullmatch=True)))
@settings(max_examples=300, deadline=None)
def test_no_url_however_odd_breaks_the_plan(url: str) -> None:
    task = fetcher.Settings().candidates(url)
    assert task[-1] == ("origin", url, 0)
    assert isinstance(politeness.host_of(url), str)


@given(url=st.text(alphabet="htps:/.@[]%#?\\ \t\n\x00é٣ab0127", max_size=40))
@settings(max_examples=200, deadline=None)
def test_no_url_however_odd_breaks_a_request(url: str) -> None:
    session, address = safe_http.session("test", 1, loopback=False), "http://" + url.replace("a", "").replace("b", "")
    try:
        safe_http.get(session, address, 0.2, 1)
    except safe_http.FetchError:
        return
    # http://1.0 is 1.0.0.0: where there is a network, somebody may answer, but nobody inside
    found = socket.getaddrinfo(safe_http.split(address).hostname, 80)
    assert all(ipaddress.ip_address(entry[4][0]).is_global for entry in found)


# Resuming


@pytest.fixture
def rotten(host: Host) -> Rows:
    """40 photos of two landmarks with a reserve, some of them expired."""
    return [
        (f"p{k}{n:02}", f"{host.url}/{'gone' if n % 7 == 3 else 'slowly'}/{k}-{n}.jpg", k, int(n >= 15))
        for k in (1, 2)
        for n in range(20)
    ]


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
    assert "failures that may pass: busy 1; to ask again: LANDMARKS_RETRY=1" in done.stderr
    fetch(script, tmp_path, rows, "--attempts", 1)
    assert host.kinds() == {"photo": 1, "busy": 1, "gone": 1}
    fetch(script, tmp_path, rows, "--attempts", 1, LANDMARKS_RETRY="1")
    assert host.kinds() == {"photo": 1, "busy": 2, "gone": 2}
    assert photos(tmp_path) == ["a", "b"]
    fetch(script, tmp_path, rows, "--attempts", 2)
    assert host.kinds() == {"photo": 1, "busy": 2, "gone": 3}


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
    _, said = run.communicate(timeout=30)
    assert run.returncode == 130
    assert "the same command goes on from here" in said
    part = {photo for photo, status in column(tmp_path, "status").items() if status == "ok"}
    assert part <= set(photos(tmp_path))
    assert len(part) >= 5
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
        run = start(again, "--per-host", str(connections))
        begun = len(host.log)
        while run.poll() is None and len(host.log) == begun:
            time.sleep(0.01)  # until it is at work
        time.sleep(draw.uniform(0, 0.3))
        finished = run.poll() is not None
        run.kill()
        run.communicate()
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
    command = [
        sys.executable,
        "src/download.py",
        str(sample(tmp_path, rows)),
        *map(str, outputs(tmp_path)),
        "--loopback",
    ]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (sizes[-2], sizes[-2])),  # the largest doesn't fit
    )  # fmt: skip
    fails_in_one_line(done, "File too large", "what is fetched is kept", "run the same command")
    there = len(photos(tmp_path))
    assert not (tmp_path / "photos.csv").exists()
    before = host.asked.total()
    assert fetch(script, tmp_path, rows).returncode == 0
    assert len(photos(tmp_path)) == 8
    assert host.asked.total() - before <= 8 - there + 1


# What a person can put right


def test_a_web_that_gives_nothing_is_an_error_not_an_empty_data_set(script: Script, host: Host, tmp_path: Path) -> None:
    rows = [("a", "http://127.0.0.1:9/a.jpg", 1, 0)]
    done = fetch(script, tmp_path, rows, "--attempts", 1)
    fails_in_one_line(done, "landmark 1", "http://127.0.0.1:9/a.jpg", "unreachable", "is the network there?")
    assert not (tmp_path / "download.csv").exists()


def test_no_photo_of_other_landmarks_is_an_error_that_says_how_to_do_without(
    script: Script, host: Host, tmp_path: Path
) -> None:
    rows: Rows = [("a", f"{host.url}/photo/1-0.jpg", 1, 0), ("b", f"{host.url}/gone/2-0.jpg", "unknown", 0)]
    fails_in_one_line(fetch(script, tmp_path, rows), "landmark unknown", "gone", "set sample.unknown to 0")


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


@pytest.mark.parametrize("name", ["LANDMARKS_CONNECTIONS", "LANDMARKS_RETRY"])
def test_an_environment_variable_that_is_no_number_is_an_error_that_names_it(
    script: Script, host: Host, tmp_path: Path, name: str
) -> None:
    rows = [("a", f"{host.url}/photo/1-0.jpg", 1, 0)]
    fails_in_one_line(fetch(script, tmp_path, rows, **{name: "many"}), name, "'many'")


def test_an_archive_without_a_place_for_the_address_is_an_error(script: Script, tmp_path: Path) -> None:
    rows = [("a", "demo://7/photo/1/1.jpg", 1, 0)]
    fails_in_one_line(
        fetch(script, tmp_path, rows, "--archives", "https://web.archive.org/"), "download.archives", "{url}"
    )
