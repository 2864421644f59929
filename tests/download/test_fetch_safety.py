"""Untrusted URLs and answers reach no private address, no file and no memory beyond the limits."""

import contextlib
import ipaddress
import socket
import threading
from pathlib import Path

import pytest
from download_runs import collect, column, fetch, outputs, sample
from hypothesis import given, settings
from hypothesis import strategies as st
from support import Host, Script, examples, fails_in_one_line

from landmarks.common.status import StatusError
from landmarks.demo import renderer
from landmarks.download import safe_http


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.1", "224.0.0.1",
     "255.255.255.255", "::1", "::", "fe80::1", "fe80::1%1", "fc00::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1",
     "2002:7f00:1::", "64:ff9b::7f00:1", "2001:0:1::1", "fec0::1", "::7f00:1", "::ffff:0:7f00:1", "64:ff9b:1::7f00:1"],
)  # fmt: skip
def test_an_address_inside_is_refused(address: str) -> None:
    with pytest.raises(StatusError, match="private address"):
        list(safe_http.public(address, 80, loopback=False))


def test_loopback_opens_loopback_alone() -> None:
    assert list(safe_http.public("127.0.0.1", 80, loopback=True)) == ["127.0.0.1"]
    assert list(safe_http.public("::1", 80, loopback=True)) == ["::1"]
    for address in ("10.1.2.3", "169.254.169.254"):
        with pytest.raises(StatusError, match="private address"):
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
    proxy = dict.fromkeys(("HTTP_PROXY", "http_proxy"), "http://127.0.0.1:9")
    assert fetch(script, tmp_path, rows, **proxy).returncode == 0


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


@given(headers=st.lists(st.binary(max_size=12), max_size=120), code=st.sampled_from([b"200", b"103", b"403", b"302"]))
@settings(max_examples=examples(60))
def test_no_headers_however_odd_break_a_request(headers: list[bytes], code: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        answer = b"HTTP/1.1 " + code + b" x\r\n" + b"\r\n".join(headers) + b"\r\n\r\nbody"
        thread = threading.Thread(target=_answer_once, args=(server, answer))
        thread.start()
        session = safe_http.session("test", 1, loopback=True)
        with contextlib.suppress(StatusError):
            safe_http.get(session, f"http://127.0.0.1:{server.getsockname()[1]}/a", 2, 1)
        thread.join()


def _answer_once(server: socket.socket, answer: bytes) -> None:
    connection, _ = server.accept()
    with connection:
        connection.recv(4096)
        connection.sendall(answer)


@given(url=st.text(alphabet="htps:/.@[]%#?\\ \t\n\x00é٣ab0127", max_size=40))
@settings(max_examples=examples(200))
def test_no_url_however_odd_breaks_a_request(url: str) -> None:
    session, address = safe_http.session("test", 1, loopback=False), "http://" + url.replace("a", "").replace("b", "")
    try:
        safe_http.get(session, address, 0.2, 1)
    except StatusError:
        return
    # http://1.0 is 1.0.0.0: where there is a network, a public host may answer, but no private one
    found = socket.getaddrinfo(safe_http.split(address).hostname, 80)
    assert all(ipaddress.ip_address(entry[4][0]).is_global for entry in found)
