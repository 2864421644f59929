"""Each photo of the sample ends as a stored file, or with the status that says why there is none."""

import hashlib
import json
import random
import time
from pathlib import Path

import pandas as pd
import pytest
from download_runs import Rows, answers, column, fetch, photos
from support import Host, Script, fails_in_one_line, serving

from landmarks.demo import renderer
from landmarks.images import decoding


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
        "hints": ("ok", 1), "many": ("ok", 1), "colonless": ("ok", 1), "cookie": ("cookie challenge", 1),
        "ticket": ("cookie challenge", 1), "408": ("server error", 2), "425": ("server error", 2), "521": ("server error", 2),
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
    assert host.kinds() == asked | {"to": 3, "pdf": 2, "back": 1}  # moved, hop and accent lead to a photo


def test_the_table_says_where_each_photo_came_from_and_what_it_is(script: Script, host: Host, tmp_path: Path) -> None:
    rows = [("a", f"{host.url}/moved/1-0.jpg", 1, 0), ("b", f"{host.url}/png/1-1.jpg", 1, 0)]
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
    height, width, _ = decoding.decode(renderer.photo(7, 1, 1)).shape
    assert [found["b"][name] for name in ("width", "height")] == [str(width), str(height)]
    assert min(float(row["seconds"]) for row in found.values()) > 0
    listed = pd.read_csv(tmp_path / "photos.csv", dtype=str)
    assert listed.values.tolist() == [["a", "1", found["a"]["sha256"]], ["b", "1", found["b"]["sha256"]]]


def test_an_expired_photo_is_replaced_from_its_landmarks_reserve(script: Script, host: Host, tmp_path: Path) -> None:
    rows = [("a", f"{host.url}/photo/1-0.jpg", 1, 0), ("b", f"{host.url}/gone/1-1.jpg", 1, 0), ("c", f"{host.url}/missing/1-2.jpg", 1, 1),
            ("d", f"{host.url}/slowly/1-3.jpg", 1, 1), ("e", f"{host.url}/photo/1-4.jpg", 1, 1), ("f", f"{host.url}/gone/2-0.jpg", 2, 0),
            ("g", f"{host.url}/photo/2-1.jpg", 2, 0)]  # fmt: skip
    assert fetch(script, tmp_path, rows).returncode == 0
    assert column(tmp_path, "replaces") == {"a": "", "b": "", "c": "", "d": "b", "f": "", "g": ""}
    assert json.loads((tmp_path / "counts.json").read_text()) == {
        "asked": 6, "ok": 3, "failed": {"gone": 3}, "from": {"origin": 3}, "replaced": 1, "short": 1, "same_bytes": 0,
        "link_rot": {"1": {"gone": 2}, "2": {"gone": 1}}, "external": {"asked": 0, "ok": 0},
    }  # fmt: skip


@pytest.mark.parametrize("connections", ["1", "3", "16"])
def test_who_replaces_whom_does_not_depend_on_who_answers_first(
    script: Script, host: Host, tmp_path: Path, connections: str
) -> None:
    draw = random.Random(5)
    kinds = ["photo", "slowly", "gone", "busy"]
    photos_ = [(k, n) for k in (1, 2) for n in range(12)]
    rows = [(f"p{k}{n}", f"{host.url}/{draw.choice(kinds)}/{k}-{n}.jpg", k, int(n >= 5)) for k, n in photos_]
    done = fetch(script, tmp_path, rows, "--per-host", connections, LANDMARKS_CONNECTIONS=connections)
    assert done.returncode == 0, done.stderr
    fine = [(k, n) for row in rows for k, n in [(row[2], int(row[0][2:]))] if "/gone/" not in row[1]]
    expected = [f"p{k}{n}" for k in (1, 2) for n in [n for j, n in fine if j == k][:5]]
    assert photos(tmp_path) == sorted(expected)


def test_the_expired_are_looked_for_in_archives_as_the_table_says(script: Script, host: Host, tmp_path: Path) -> None:
    with serving() as archive:
        rows = [("a", f"{host.url}/photo/1-0.jpg", 1, 0), ("b", f"{host.url}/gone/1-1.jpg", 1, 0),
                ("c", f"{host.url}/refused/1-2.jpg", 1, 0)]  # fmt: skip
        template = f"{archive.url}/photo/1-3.jpg?of={{url}}"
        assert fetch(script, tmp_path, rows, "--archives", template).returncode == 0
        assert list(archive.asked) == [f"/photo/1-3.jpg?of={host.url}/gone/1-1.jpg"]
    found = answers(tmp_path)
    assert column(tmp_path, "status") == {"a": "ok", "b": "ok", "c": "refused"}  # refused: archives are not asked
    assert found["b"]["source"] == f"127.0.0.1:{archive.server_port}"
    assert json.loads((tmp_path / "counts.json").read_text())["from"] == {found["b"]["source"]: 1, "origin": 1}


def test_photos_are_as_small_as_asked_and_fetched_again_for_another(script: Script, host: Host, tmp_path: Path) -> None:
    rows = [("a", f"{host.url}/photo/1-0.jpg", 1, 0)]
    assert fetch(script, tmp_path, rows, "--long-side", 200).returncode == 0
    found = answers(tmp_path)["a"]
    assert max(int(found["width"]), int(found["height"])) == 200 < int(found["original_width"])
    assert fetch(script, tmp_path, rows, "--long-side", 200).returncode == 0
    assert host.asked.total() == 1
    assert fetch(script, tmp_path, rows).returncode == 0
    assert host.asked.total() == 2
    assert answers(tmp_path)["a"]["width"] == found["original_width"]


# Errors that a user can fix


def test_a_web_that_gives_nothing_is_an_error_not_an_empty_data_set(script: Script, host: Host, tmp_path: Path) -> None:
    rows = [("a", "http://127.0.0.1:9/a.jpg", 1, 0)]
    done = fetch(script, tmp_path, rows, "--attempts", 1)
    fails_in_one_line(done, "landmark 1", "http://127.0.0.1:9/a.jpg", "unreachable", "is the network there?")
    assert not (tmp_path / "download.csv").exists()


@pytest.mark.parametrize(("kind", "knobs", "status", "remedy"), [
    ("ftp://example.org/a.jpg", (), "scheme not allowed", "add the scheme to download.schemes; or raise"),
    ("photo", ("--no-loopback",), "private address", "download.loopback"),
    ("gone", (), "gone", "set download.archives"),
    ("refused", (), "refused", "set download.contact"),
    ("broken", ("--attempts", 1), "server error", "LANDMARKS_RETRY=1"),
    ("far", ("--redirects", 2), "too many redirects", "raise download.redirects"),
    ("photo", ("--megabytes", 0.002), "too large", "raise download.megabytes"),
    ("noai", (), "opted out", "does not give its photos for machine learning"),
    ("html", (), "html", "look at the address in a browser"),
    ("teapot", (), "unexpected answer", ""),
])  # fmt: skip
def test_the_remedy_for_a_landmark_without_a_photo_fits_what_its_urls_gave(
    script: Script, host: Host, tmp_path: Path, kind: str, knobs: tuple[object, ...], status: str, remedy: str
) -> None:
    urls = [kind if "://" in kind else f"{host.url}/{kind}/1-{view}.jpg" for view in range(2)]
    rows: Rows = [("z", f"{host.url}/missing/1-9.jpg", 1, 0), ("a", urls[0], 1, 0), ("b", urls[1], 1, 0)]
    done = fetch(script, tmp_path, rows, *knobs)
    fails_in_one_line(done, "landmark 1", f": {status})", remedy)
    assert "is the network there?" not in done.stderr


def test_no_photo_of_other_landmarks_is_an_error_with_a_remedy(script: Script, host: Host, tmp_path: Path) -> None:
    rows: Rows = [("a", f"{host.url}/photo/1-0.jpg", 1, 0), ("b", f"{host.url}/gone/2-0.jpg", "unknown", 0)]
    fails_in_one_line(fetch(script, tmp_path, rows), "landmark unknown", "gone", "set sample.unknown to 0")


@pytest.mark.parametrize("name", ["LANDMARKS_CONNECTIONS", "LANDMARKS_RETRY"])
def test_an_environment_variable_that_is_no_number_is_an_error_that_names_it(
    script: Script, host: Host, tmp_path: Path, name: str
) -> None:
    rows = [("a", f"{host.url}/photo/1-0.jpg", 1, 0)]
    fails_in_one_line(fetch(script, tmp_path, rows, **{name: "many"}), name, "'many'")


def test_an_archive_without_a_place_for_the_address_is_an_error(script: Script, tmp_path: Path) -> None:
    rows = [("a", "demo://7/photo/1/1.jpg", 1, 0)]
    done = fetch(script, tmp_path, rows, "--archives", "https://web.archive.org/")
    fails_in_one_line(done, "download.archives", "{url}")
