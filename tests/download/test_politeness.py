"""Hosts are asked within their limits: rate, Retry-After, robots.txt, opt-outs."""

import itertools
import time
from pathlib import Path

import pytest
from download_runs import collect, fetch
from support import Host, Script, fails_in_one_line, fetch_settings, serving

from landmarks.demo import renderer
from landmarks.download import fetcher, politeness


def test_one_host_is_asked_no_more_requests_at_a_time_than_granted(host: Host, tmp_path: Path) -> None:
    rows = [(f"p{n}", f"{host.url}/slowly/1-{n}.jpg", 1, 0) for n in range(16)]
    assert set(collect(tmp_path, rows, per_host=3).values()) == {"ok"}
    assert host.peak == 3
    assert [path for _, path, _ in host.log].count("/robots.txt") == 1
    assert host.log[0][1] == "/robots.txt"


def test_a_slow_host_does_not_hold_up_another(host: Host, tmp_path: Path) -> None:
    with serving() as other:
        rows = [("w", f"{host.url}/wait/3-2", 1, 0)]
        rows += [(f"s{n}", f"{host.url}/photo/1-{n}.jpg", 1, 0) for n in range(4)]
        rows += [(f"q{n}", f"{other.url}/photo/2-{n}.jpg", 2, 0) for n in range(8)]
        assert set(collect(tmp_path, rows, connections=2, per_host=1).values()) == {"ok"}
        waited = [moment for moment, path, _ in host.log if path != "/robots.txt"]
        assert max(moment for moment, _, _ in other.log) < waited[0] + 1.9


def test_retry_after_holds_for_the_whole_host(host: Host, tmp_path: Path) -> None:
    rows = [("w", f"{host.url}/wait/3-2", 1, 0)] + [(f"p{n}", f"{host.url}/photo/1-{n}.jpg", 1, 0) for n in range(6)]
    assert set(collect(tmp_path, rows, per_host=1).values()) == {"ok"}
    moments = [moment for moment, path, _ in host.log if path != "/robots.txt"]
    assert moments[1] - moments[0] >= 2
    assert len(moments) == 8


def test_retry_after_holds_while_other_hosts_keep_all_threads_busy(host: Host, tmp_path: Path) -> None:
    with serving() as other:
        rows = [("w", f"{host.url}/wait/3-2", 1, 0)]
        rows += [(f"p{n}", f"{host.url}/photo/1-{n}.jpg", 1, 0) for n in range(3)]
        rows += [(f"q{n}", f"{other.url}/slowly/2-{n}.jpg", 2, 0) for n in range(8)]
        collect(tmp_path, rows, connections=2, per_host=2, robots=False)
    asked = [(moment, path) for moment, path, _ in host.log]
    after = [moment for moment, path in asked if moment > asked[0][0] + 0.3]  # what was under way when it answered
    assert min(after) - asked[0][0] >= 1.9


def test_a_host_that_stays_busy_is_given_up(host: Host, tmp_path: Path) -> None:
    rows = [(f"w{n}", f"{host.url}/broken/{n}?429", 1, 0) for n in range(40)]
    host.always = 429
    assert set(collect(tmp_path, rows, attempts=2, per_host=1).values()) == {"busy"}
    assert host.asked.total() <= 2 * fetcher.KNOWN_HOST + 2


def test_a_host_that_asks_for_an_hour_is_given_up(host: Host, tmp_path: Path) -> None:
    rows = [("w", f"{host.url}/wait/1-3600", 1, 0), ("p", f"{host.url}/photo/1-1.jpg", 1, 0), ("d", "demo://7/photo/1/2.jpg", 1, 0)]  # fmt: skip
    assert collect(tmp_path, rows, per_host=1) == {"w": "busy", "p": "busy", "d": "ok"}
    assert host.asked.total() == 1


def test_what_is_refused_is_asked_once_and_what_is_broken_with_growing_pauses(host: Host, tmp_path: Path) -> None:
    rows = [("a", f"{host.url}/broken/1", 1, 0), ("b", f"{host.url}/refused/1", 1, 0), ("c", f"{host.url}/photo/1-1.jpg", 1, 0)]  # fmt: skip
    collect(tmp_path, rows, attempts=3)
    assert host.kinds() == {"broken": 3, "refused": 1, "photo": 1}
    moments = [moment for moment, path, _ in host.log if "broken" in path]
    assert moments[1] - moments[0] >= 0.5  # 1 s and 2 s, half to one and a half times
    assert moments[2] - moments[1] >= 1


def test_a_host_that_is_not_there_is_given_up_after_the_attempts_of_one_photo(script: Script, tmp_path: Path) -> None:
    rows = [("d", "demo://7/photo/1/2.jpg", 1, 0)] + [(f"p{n}", f"http://127.0.0.1:9/{n}.jpg", 1, 0) for n in range(40)]
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
        ((200, "\ufeffUser-agent: *\nDisallow: /"), "disallowed"),
        ((200, "User-agent: landmarks/0.1\nDisallow: /\n\nUser-agent: *\nAllow: /"), "disallowed"),
        ((200, "user-agent : Landmarks/2 (any)  # us\rDisallow: /"), "disallowed"),
        ((200, "User-agent: otherbot\nUser-agent: landmarks/*\nDisallow: /"), "disallowed"),
        ((200, "User-agent: landmarks/0.1\nAllow: /\n\nUser-agent: *\nDisallow: /"), "ok"),
        ((200, "User-agent: mark\nDisallow: /"), "ok"),
        ((200, "User-agent: land\nAllow: /\n\nUser-agent: *\nDisallow: /"), "disallowed"),
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
    rows = [("a", f"{host.url}/photo/1-1.jpg", 1, 0), ("d", "demo://7/photo/1/2.jpg", 1, 0)]
    assert collect(tmp_path, rows, attempts=1) == {"a": status, "d": "ok"}
    assert host.asked.total() == (status == "ok")


def test_a_crawl_delay_is_kept_between_requests(host: Host, tmp_path: Path) -> None:
    host.robots = (200, "User-agent: *\nCrawl-delay: 0.7")
    rows = [(f"p{n}", f"{host.url}/photo/1-{n}.jpg", 1, 0) for n in range(4)]
    collect(tmp_path, rows)
    moments = [moment for moment, path, _ in host.log if path != "/robots.txt"]
    assert min(b - a for a, b in itertools.pairwise(moments)) > 0.65
    assert host.peak == 1


def test_the_user_agent_names_program_version_and_contact(host: Host, tmp_path: Path) -> None:
    rows = [("a", f"{host.url}/photo/1-1.jpg", 1, 0)]
    collect(tmp_path, rows, contact="lab@example.org")
    assert {agent.split(" python")[0] for _, _, agent in host.log} == {"landmarks/0.1 (lab@example.org)"}


@pytest.mark.parametrize("name", ["upload.wikimedia.org", "thumb.wikimedia.org", "THUMB.wikimedia.org.:443"])
def test_wikimedia_is_not_asked_without_a_contact(script: Script, tmp_path: Path, name: str) -> None:
    rows = [("a", f"https://{name}/wikipedia/commons/a/ab/Ex.jpg", 1, 0)]
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
def test_wikimedia_is_asked_for_thumbnails_of_widths_it_allows(url: str, width: int, expected: tuple[str, int]) -> None:
    assert politeness.thumbnail(url, width) == expected


@pytest.mark.parametrize("name", ["upload.wikimedia.org", "thumb.wikimedia.org"])
def test_a_thumbnail_in_the_catalogue_is_asked_in_a_width_that_is_allowed_and_then_its_original(name: str) -> None:
    page = f"https://{name}/wikipedia/commons/thumb/a/ab/Ex.tif"
    asked = fetch_settings(thumbnail=1280).candidates(f"{page}/lossy-page1-800px-Ex.tif.jpg")
    original = ("origin", "https://upload.wikimedia.org/wikipedia/commons/a/ab/Ex.tif", 0)
    assert asked == [("origin", f"{page}/lossy-page1-960px-Ex.tif.jpg", 960), original]


def test_wikimedia_is_asked_two_requests_at_a_time() -> None:
    queue: politeness.Queue[int] = politeness.Queue(8, per_host=8, robots=False)
    for n in range(5):
        queue.add(f"https://{'upload' if n % 2 else 'thumb'}.wikimedia.org/x", n)
    queue.add("https://example.org/x", 5)
    taken = [queue.take() for _ in range(3)]
    assert sorted(task for _, task in filter(None, taken)) == [0, 1, 5]


@pytest.mark.parametrize(
    ("header", "out"),
    [("noai", True), ("noindex, NoImageAI", True), ("landmarks: noai", True), ("otherbot: noai", False),
     ("otherbot: noindex, noai", True), ("max-image-preview:large, noai", True), ("unavailable_after: 25 Jun 2030 15:00:00 PST, noai", True), ("noindex", False), ("", False)],
)  # fmt: skip
def test_an_opt_out_counts_if_it_is_for_this_robot(header: str, out: bool) -> None:
    assert politeness.opts_out(header) is out
