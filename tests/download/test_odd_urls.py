"""Every text is a URL with a status: nothing breaks a run, reaches a private address, or is sent to another host."""

import contextlib
import dataclasses
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import Host, fetch_settings, fuzzed

from landmarks.common.status import Status, StatusError
from landmarks.download import politeness, safe_http, storage
from landmarks.download.fetcher import Answer, Fetcher

SCHEMES = st.sampled_from([
    "http://", "https://", "HTTP://", "http:", "http:/", "http:///", "http:\\\\", "https:/\\", " http://", "ht\ntp://", "http ://", "httpx://",
    "//", "", "file://", "file:", "FILE:/", "file://localhost/", "data:", "data:image/png;base64,", "ftp://", "s3://", "demo://", "tar://",
    "javascript:", "blob:http://", "view-source:http://", "simplecache::file://", "memory://", "c:\\", "://", "http://http://",
])  # fmt: skip
USERS = st.sampled_from(["", "", "", "a@", "a:b@", "@", ":@", "a%40b@", "a:b@c@", "é:ñ@", "[@"])
HOSTS = st.sampled_from([  # none of them is a host of somebody's
    "example.invalid", "EXAMPLE.invalid.", "münchen.invalid", "xn--mnchen-3ya.invalid", "xn--a", "xn--" + "z" * 60, "faß.invalid", "\u200b.invalid",
    "127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "127.0.0.1.", "①②⑦.⓪.⓪.①", "%31%32%37.0.0.1", "10.0.0.1", "169.254.169.254", "0", "256.0.0.1",
    "[::1]", "[::1", "::1", "[::1%25lo]", "[fe80::1%1]", "[::ffff:10.0.0.1]", "[v1.x]", "[]", "[", "]", "localhost", "LocalHost.", "a.localhost",
    "a..invalid", ".", "..", "-", "_.invalid", "a" * 64 + ".invalid", "a." * 130 + "invalid", "ex ample.invalid", "ex\tample.invalid", "a\0.invalid",
    "é" * 70 + ".invalid", "", "%", "%00", "\ud800.invalid", "a/b", "a\\b", "a?b", "a#b", "*", "{url}",
])  # fmt: skip
PORTS = st.sampled_from(
    ["", "", "", ":", ":0", ":9", ":80", ":443", ":99999", ":-1", ":8 0", ":٣", ":80a", ":80:80", ": 9"]
)
ODD = st.text("ab/.%?=&#\\ \t\r\n\0;:@ñ٣~", max_size=12) | st.text(max_size=6) | st.sampled_from([
    "/a.jpg", "/%", "/%zz", "/%00", "/%ff", "/../../etc/hostname", "/..%2f..%2fetc", "/a b.jpg", "/a\r\nHost: b", "/\ud800",
    "/wikipedia/commons/a/ab/Ex.jpg", "/wikipedia/commons/thumb/a/ab/Ex.jpg/99999999999px-Ex.jpg", "/wikipedia/commons/thumb/a/ab/Ex.jpg/٣px-Ex.jpg",
]) | st.sampled_from([4000, 70_000]).map("/a".__mul__)  # fmt: skip
URLS = st.builds("{}{}{}{}{}".format, SCHEMES, USERS, HOSTS, PORTS, ODD) | st.text(max_size=60)


@given(url=URLS | ODD.map("https://upload.wikimedia.org".__add__), location=URLS | ODD)
@settings(max_examples=fuzzed())
def test_every_text_has_a_plan_a_host_and_a_scheme(url: str, location: str) -> None:
    plan = fetch_settings(thumbnail=1280, archives=("https://archive.invalid/{url}",)).candidates(url)
    if politeness.host_of(url) != politeness.WIKIMEDIA:
        assert plan[0] == ("origin", url, 0)
    assert storage.scheme_of(url)
    with contextlib.suppress(StatusError):
        assert politeness.standard_width(safe_http.join(url, location))[1] >= 0


@pytest.fixture(scope="module")
def fetcher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fetcher]:
    knobs = {"schemes": ("http", "https", "file"), "attempts": 1, "seconds": 1.0, "megabytes": 0.1, "loopback": False}
    with Fetcher(tmp_path_factory.mktemp("photos"), fetch_settings(**knobs)) as running:
        yield running


@given(url=URLS)
@settings(max_examples=fuzzed())
def test_every_text_gets_an_answer_and_a_row(fetcher: Fetcher, url: str) -> None:
    fetcher.add({"id": "a", "url": url, "landmark_id": "1"})
    answer = fetcher.answers.get(timeout=60)
    assert isinstance(answer, Answer)
    assert answer.status in {
        Status.BAD_URL, Status.SCHEME_NOT_ALLOWED, Status.PRIVATE_ADDRESS, Status.UNREACHABLE, Status.GONE, Status.REFUSED, Status.NOT_A_PHOTO,
    }  # fmt: skip
    assert Answer.from_values(json.loads(json.dumps(dataclasses.asdict(answer)))) == answer


@given(tail=ODD)
@settings(max_examples=fuzzed(), suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_follows_the_host_reaches_that_host_alone(host: Host, tail: str) -> None:
    host.log.clear()
    host.always = 404
    code = answered(f"{host.url}/{tail}")
    assert (code, len(host.log)) in [(404, 1), (400, 0), (414, 0), (Status.BAD_URL, 0)]
    assert all(path.isascii() and path.isprintable() and " " not in path for _, path, _ in host.log)


def answered(url: str) -> int | Status:
    try:
        return safe_http.get(safe_http.session("test", 1, loopback=True), url, 5, 1).code
    except StatusError as error:
        return error.status


@given(rest=ODD | st.text("/localhost%0aF~.:?#\\é\0 ", max_size=30))
@settings(max_examples=fuzzed())
def test_every_file_url_without_a_file_is_gone(rest: str) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.raises(StatusError) as raised:
        storage.read(f"file:{Path(folder)}/{rest}/no such photo", megabytes=1)
    assert raised.value.status in (Status.GONE, Status.BAD_URL)  # the second: two colons in a row
