"""A failure of one address is not the end of the photo: originals, archives and the reserve step in."""

import csv
import itertools
import json
import time
from pathlib import Path
from typing import Any

import pytest
import requests
from download_runs import answers, collect, column, fetch, photos
from requests.adapters import HTTPAdapter
from support import Host, Script, self_signed, serving

from landmarks.demo import renderer
from landmarks.download import challenge, safe_http


class ToLoopback(HTTPAdapter):
    """Sends each request to a host on loopback instead, whatever host it names."""

    def __init__(self, host: Host) -> None:
        super().__init__()
        self.host = host
        self.names: list[str] = []

    def send(self, request: requests.PreparedRequest, *arguments: Any, **more: Any) -> requests.Response:
        parts = safe_http.split(str(request.url))
        self.names.append(parts.netloc)
        request.url = f"{self.host.url}{parts.path}"
        return super().send(request, *arguments, **more)


def commons(name: str) -> str:
    return f"https://upload.wikimedia.org/wikipedia/commons/a/ab/{name}"


@pytest.mark.parametrize("code", [429, 500, 503, 400, 404, 403])
def test_a_failing_thumbnail_leads_to_the_original_and_pauses_nothing(host: Host, tmp_path: Path, code: int) -> None:
    host.thumbnails = code
    rows = [(f"p{n:02}", commons(f"1-{n}.jpg"), 1, 0) for n in range(20)]
    begin = time.monotonic()
    found = collect(tmp_path, rows, transports={"https": ToLoopback(host)}, contact="lab@example.org", thumbnail=1000)
    assert time.monotonic() - begin < 60  # seconds; a pause is 180
    assert set(found.values()) == {"ok"}
    assert len(found) == 20
    asked = [path for path in host.asked if "/thumb/" not in path]
    assert sorted(asked) == sorted(f"/wikipedia/commons/a/ab/1-{n}.jpg" for n in (0, 5, 10, 15))
    assert max(host.asked.values()) == 1
    assert host.peak <= 2


def test_the_answer_for_a_photo_is_that_of_its_original_not_of_its_thumbnail(host: Host, tmp_path: Path) -> None:
    host.always = 404
    rows = [("a", commons("1-0.jpg"), 1, 0)]
    settings: dict[str, Any] = {"contact": "lab@example.org", "thumbnail": 1000, "robots": False}
    assert collect(tmp_path, rows, transports={"https": ToLoopback(host)}, **settings) == {"a": "gone"}
    assert list(host.asked) == [
        "/wikipedia/commons/thumb/a/ab/1-0.jpg/1280px-1-0.jpg",
        "/wikipedia/commons/a/ab/1-0.jpg",
    ]


def test_a_redirect_to_wikimedias_other_name_keeps_to_contact_and_widths(host: Host, tmp_path: Path) -> None:
    target = "https/thumb.wikimedia.org/wikipedia/commons/thumb/a/ab/1-1.jpg/1000px-1-1.jpg"
    rows = [("a", f"{host.url}/to/{target}", 1, 0)]
    adapter = ToLoopback(host)
    assert collect(tmp_path, rows, transports={"https": adapter}) == {"a": "disallowed"}
    assert not adapter.names
    found = collect(tmp_path, rows, transports={"https": adapter}, contact="lab@example.org")
    assert found == {"a": "ok"}
    assert adapter.names == ["thumb.wikimedia.org"] * 2  # its robots.txt is read under the name that is asked
    assert host.asked["/wikipedia/commons/thumb/a/ab/1-1.jpg/1280px-1-1.jpg"] == 1


@pytest.mark.parametrize("kind", ["500", "521", "530", "408", "425", "half", "loop", "slow", "cookie"])
def test_what_still_fails_at_the_last_attempt_is_looked_for_in_the_archives(
    host: Host, tmp_path: Path, kind: str
) -> None:
    with serving() as archive:
        template = f"{archive.url}/photo/1-3.jpg?of={{url}}"
        rows = [("a", f"{host.url}/{kind}/1-1.jpg", 1, 0)]
        assert collect(tmp_path, rows, archives=(template,), attempts=2, seconds=1.0) == {"a": "ok"}
    assert host.kinds()[kind] == (2 if kind.isdecimal() else 1)


def test_an_archive_that_fails_leads_to_the_next(host: Host, tmp_path: Path) -> None:
    archives = tuple(f"{host.url}/{kind}/1-3.jpg?of={{url}}" for kind in ("refused", "photo"))
    assert collect(tmp_path, [("a", f"{host.url}/gone/1-1.jpg", 1, 0)], archives=archives) == {"a": "ok"}


# The same bytes again


def test_a_placeholder_under_two_landmarks_counts_under_none(script: Script, host: Host, tmp_path: Path) -> None:
    host.body = renderer.photo(7, 9, 9)
    rows = [(f"p{k}{n}", f"{host.url}/{'dead' if n < 3 else 'photo'}/{k}-{n}.jpg", k, int(n >= 4)) for k in (1, 2) for n in range(7)]  # fmt: skip
    done = fetch(script, tmp_path, rows)
    assert done.returncode == 0, done.stderr
    assert photos(tmp_path) == [f"p{k}{n}" for k in (1, 2) for n in (3, 4, 5, 6)]
    assert "6 photos are left out, they have the bytes of another, the first p10 those of p11" in done.stderr
    assert column(tmp_path, "status") == {row[0]: "duplicate" if "dead" in row[1] else "ok" for row in rows}
    assert column(tmp_path, "replaces")["p24"] == "p20"
    counts = json.loads((tmp_path / "counts.json").read_text())
    assert counts["failed"] == {"duplicate": 6}
    assert [counts[name] for name in ("ok", "short", "same_bytes")] == [8, 0, 6]
    with (tmp_path / "photos.csv").open() as file:
        assert [row["id"] for row in csv.DictReader(file)] == photos(tmp_path)


def test_what_becomes_of_photos_from_elsewhere_changes_nothing_for_the_others(
    script: Script, host: Host, tmp_path: Path
) -> None:
    ours = [("a", f"{host.url}/photo/1-0.jpg", 1, 0), ("b", f"{host.url}/gone/1-1.jpg", 1, 0), ("c", f"{host.url}/photo/1-2.jpg", 1, 1),
            ("d", f"{host.url}/photo/1-3.jpg", 1, 1)]  # fmt: skip
    theirs = [("external.a", f"{host.url}/moved/1-0.jpg", 1, 0), ("external.b", f"{host.url}/moved/1-2.jpg", 2, 0),
              ("external.c", f"{host.url}/gone/1-9.jpg", 1, 0), ("external.d", f"{host.url}/photo/1-7.jpg", 1, 0)]  # fmt: skip
    assert fetch(script, tmp_path, ours).returncode == 0
    before = json.loads((tmp_path / "counts.json").read_text())
    listed = (tmp_path / "photos.csv").read_text()
    assert fetch(script, tmp_path, [*ours, *theirs]).returncode == 0
    after = json.loads((tmp_path / "counts.json").read_text())
    assert after == before | {"external": {"asked": 4, "ok": 1}}
    assert (tmp_path / "photos.csv").read_text().startswith(listed)
    assert photos(tmp_path) == ["a", "c", "external.d"]
    assert column(tmp_path, "same_as")["external.b"] == "c"


def test_a_photo_listed_twice_under_one_landmark_counts_once(script: Script, host: Host, tmp_path: Path) -> None:
    rows = [("a", f"{host.url}/moved/1-0.jpg", 1, 0), ("b", f"{host.url}/photo/1-0.jpg", 1, 0), ("c", f"{host.url}/photo/1-1.jpg", 1, 1)]  # fmt: skip
    assert fetch(script, tmp_path, rows).returncode == 0
    assert column(tmp_path, "status") == {"a": "ok", "b": "duplicate", "c": "ok"}
    assert column(tmp_path, "same_as") == {"a": "", "b": "a", "c": ""}
    assert answers(tmp_path)["c"]["replaces"] == "b"


def test_duplicates_are_the_same_whatever_answers_first(host: Host, tmp_path: Path) -> None:
    host.body = renderer.photo(7, 9, 9)
    kinds = ["dead", "slowly", "photo", "body", "gone", "photo", "slowly", "dead", "photo"]
    rows = [
        (f"p{k}{n}", f"{host.url}/{kind}/{k}-{n}.jpg", k, int(n >= 4)) for k in (1, 2) for n, kind in enumerate(kinds)
    ]
    found = []
    for number, (connections, order) in enumerate(itertools.product((1, 16), (1, -1))):
        folder = tmp_path / str(number)
        folder.mkdir()
        mixed = sorted(rows, key=lambda row: (row[3], order * row[2]))
        found.append(collect(folder, mixed, connections=connections, per_host=connections))
    assert all(statuses == found[0] for statuses in found)
    assert sum(status == "ok" for status in found[0].values()) == 8


def test_a_second_run_asks_for_no_duplicate_and_a_changed_sample_needs_no_request(
    script: Script, host: Host, tmp_path: Path
) -> None:
    host.body = renderer.photo(7, 9, 9)
    rows = [("a", f"{host.url}/body/1", 1, 0), ("b", f"{host.url}/body/2", 2, 0), ("c", f"{host.url}/photo/1-1.jpg", 1, 0), ("d", f"{host.url}/photo/2-1.jpg", 2, 0)]  # fmt: skip
    assert fetch(script, tmp_path, rows).returncode == 0
    first = (tmp_path / "download.csv").read_bytes()
    assert fetch(script, tmp_path, rows).returncode == 0
    assert (tmp_path / "download.csv").read_bytes() == first
    assert fetch(script, tmp_path, [rows[0], *rows[2:]]).returncode == 0
    assert column(tmp_path, "status") == {"a": "ok", "c": "ok", "d": "ok"}
    assert photos(tmp_path) == ["a", "c", "d"]
    assert fetch(script, tmp_path, rows).returncode == 0  # b again, and a duplicate again
    assert photos(tmp_path) == ["c", "d"]
    assert host.kinds() == {"body": 3, "photo": 2}
    assert fetch(script, tmp_path, rows, LANDMARKS_RETRY="1").returncode == 0
    assert host.kinds() == {"body": 5, "photo": 2}


# Pages and certificates

CLOUDFLARE = (
    b"<html><title>Just a moment...</title><noscript>Enable JavaScript and cookies to continue</noscript></html>"
)
WALLS = [
    CLOUDFLARE,
    b"\n<!DOCTYPE html><p>Bitte aktivieren Sie JavaScript und Cookies.",
    b"<html><body onload=\"document.cookie='k=1';location.reload()\"></body></html>",
    b"<html>Cookies must be enabled</html>",
    b"<html>Please solve this CAPTCHA to show that you are a human</html>",
]
NO_WALLS = [
    b"<html>This photo is no longer available.</html>",
    b"<html>Not found. We use cookies. <button>Accept all cookies</button></html>",
    b"<html>" + bytes(20_000) + b"<script>document.cookie='visits=2'; a.location.href='/home'</script></html>",
    b"",
]


@pytest.mark.parametrize(("code", "others"), [(200, "html"), (403, "refused"), (503, "server error"), (429, "busy")])
def test_a_page_that_asks_for_cookies_is_called_so(host: Host, tmp_path: Path, code: int, others: str) -> None:
    for number, (body, status) in enumerate([(CLOUDFLARE, "cookie challenge"), (NO_WALLS[1], others)]):
        host.body = body
        folder = tmp_path / str(number)
        folder.mkdir()
        assert collect(folder, [("a", f"{host.url}/wall/{code}-{number}", 1, 0)], attempts=1) == {"a": status}


def test_challenges_are_told_from_other_pages() -> None:
    def wants(body: bytes, **headers: str) -> bool:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        return challenge.wants_browser(safe_http.Reply(200, requests.structures.CaseInsensitiveDict(given), body))

    assert [wants(page) for page in WALLS] == [True] * len(WALLS)
    assert [wants(page) for page in NO_WALLS] == [False] * len(NO_WALLS)
    assert wants(b"", cf_mitigated="challenge")
    assert not wants(renderer.photo(7, 1, 1) + CLOUDFLARE)


def test_a_certificate_that_nobody_vouches_for_is_called_so_and_asked_once(host: Host, tmp_path: Path) -> None:
    with serving(self_signed(tmp_path)) as secret:
        rows = [("a", f"{secret.url}/photo/1-0.jpg", 1, 0), ("b", f"https{host.url[4:]}/photo/1-1.jpg", 1, 0)]
        assert collect(tmp_path, rows, attempts=1) == {"a": "certificate error", "b": "unreachable"}  # b speaks no TLS
        assert not secret.log


def test_the_formats_that_are_read_are_asked_for_first(host: Host) -> None:
    accepted = safe_http.session("test", 1, loopback=True).headers["Accept"]
    assert str(accepted).startswith("image/jpeg, image/png, image/webp, image/bmp,")
    assert "avif" not in str(accepted)
