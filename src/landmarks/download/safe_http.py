"""One HTTP request to an untrusted host: public addresses only, bounded time and bytes, every failure a ``Status``."""

import contextlib
import functools
import http
import http.client
import io
import ipaddress
import socket
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, urljoin, urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.util.connection import create_connection

from landmarks.common.status import Status, StatusError

CONNECT = 10.0  # seconds within which a host must accept a connection
CHUNK = 1 << 16
ACCEPT = "image/jpeg, image/png, image/webp, image/bmp, */*;q=0.1"  # what can be decoded, then robots.txt and pages
HEADERS_SIZE = 1 << 20  # bytes of the headers of an answer, all together
MOST_HEADERS = 90  # http.client takes 100
HEADERS = {  # that are read here or by http.client and urllib3; the others are dropped, there may be hundreds of them
    b"connection", b"content-encoding", b"content-length", b"content-type", b"keep-alive", b"location", b"retry-after",
    b"set-cookie", b"transfer-encoding", b"x-robots-tag", b"cf-mitigated", b"x-amzn-waf-action",
}  # fmt: skip
PAGES = (202, 401, 403, 405, 429, 503)  # codes of pages that ask for cookies or a person
BAD = urlsplit("bad:")  # stands for a URL that cannot be parsed
# Refused besides what ipaddress calls private: old site-local addresses, and those with an IPv4 address inside
# (compatible, translated, NAT64, Teredo, 6to4)
CLOSED = tuple(
    ipaddress.ip_network(network)
    for network in ("fec0::/10", "::/96", "::ffff:0:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48", "2001::/32", "2002::/16")
)


@dataclass(frozen=True)
class Reply:
    """An answer: status code, headers, body. Unless the code is 200, ``content`` is empty or the start of a page of HTML."""

    code: int
    headers: requests.structures.CaseInsensitiveDict[str]
    content: bytes = b""

    @property
    def location(self) -> str:
        """The target of a redirect as the host wrote it; empty if this is no redirect."""
        raw = self.headers.get("Location", "") if self.code in (301, 302, 303, 307, 308) else ""
        try:
            return raw.encode("latin-1").decode()  # http.client decodes as Latin-1 what most hosts write in UTF-8
        except UnicodeError:
            return raw


def session(user_agent: str, connections: int, loopback: bool) -> requests.Session:
    """Return a session with kept-alive connections to public addresses only, never through a proxy.

    ``loopback`` allows this machine's own addresses; private and link-local ones stay refused.
    """
    made = requests.Session()
    made.trust_env = False  # a proxy would resolve names unchecked; .netrc holds passwords
    made.headers.update({"User-Agent": user_agent, "Accept": ACCEPT, "Accept-Encoding": "identity"})
    adapter = _Guarded(connections, loopback)
    made.mount("http://", adapter)
    made.mount("https://", adapter)
    return made


def split(url: str) -> SplitResult:
    """Return the parts of a URL; if it cannot be parsed, parts with the scheme ``bad``."""
    try:
        parts = urlsplit(url)
        return parts if parts.port != 0 else BAD
    except ValueError:
        return BAD


def join(url: str, location: str) -> str:
    """Return the target of a redirect from ``url``. Raises ``StatusError``: ``BAD_URL``."""
    try:
        return urljoin(url, location)
    except ValueError:
        raise StatusError(Status.BAD_URL) from None


def get(session: requests.Session, url: str, seconds: float, megabytes: float) -> Reply:
    """Send one GET request and follow no redirect. ``seconds`` bound the whole answer, ``megabytes`` its body.

    Raises ``StatusError``: ``BAD_URL``, ``PRIVATE_ADDRESS``, ``UNREACHABLE``, ``CERTIFICATE``, ``TOO_SLOW``, ``TOO_LARGE`` or
    ``TRUNCATED``.
    """
    end = time.monotonic() + seconds
    try:
        if "@" in split(url).netloc:
            raise StatusError(Status.BAD_URL)  # passwords are never sent, least of all one from a table
        request = requests.PreparedRequest()  # not session.prepare_request: no cookies, no .netrc, no hooks
        request.prepare_method("GET")
        request.prepare_url(url, None)
        request.headers = requests.structures.CaseInsensitiveDict({k: str(v) for k, v in session.headers.items()})
        adapter = session.get_adapter(str(request.url))
        with adapter.send(request, stream=True, timeout=(min(CONNECT, seconds), seconds)) as response:
            content = _body(response, end, megabytes) if response.status_code == 200 else _page(response, end)
            return Reply(response.status_code, response.headers, content)
    except (TimeoutError, urllib3.exceptions.ReadTimeoutError, requests.ReadTimeout):
        raise StatusError(Status.TOO_SLOW) from None
    except (urllib3.exceptions.ProtocolError, urllib3.exceptions.DecodeError):
        raise StatusError(Status.TOO_SLOW if time.monotonic() >= end else Status.TRUNCATED) from None
    except requests.ConnectionError as error:
        cause = error.args[0] if error.args else None
        if _is_about_certificate(error):
            raise StatusError(Status.CERTIFICATE) from None
        slow = time.monotonic() >= end or isinstance(cause, urllib3.exceptions.ReadTimeoutError)
        broke = isinstance(cause, urllib3.exceptions.ProtocolError)  # connected, then closed or did not speak HTTP
        raise StatusError(Status.TOO_SLOW if slow else Status.TRUNCATED if broke else Status.UNREACHABLE) from None
    except requests.Timeout:
        raise StatusError(Status.UNREACHABLE) from None
    except (requests.RequestException, urllib3.exceptions.HTTPError, http.client.HTTPException, UnicodeError):
        raise StatusError(Status.BAD_URL) from None
    except ValueError as error:
        raise error if isinstance(error, StatusError) else StatusError(Status.BAD_URL) from None


def _body(response: requests.Response, end: float, megabytes: float) -> bytes:
    cap, promised = int(megabytes * 1e6), response.headers.get("Content-Length", "")
    if promised.isdecimal() and int(promised) > cap:
        raise StatusError(Status.TOO_LARGE)
    coded = "Content-Encoding" in response.headers or "Transfer-Encoding" in response.headers
    if promised.isdecimal() and not coded:
        content = response.raw.read()
    else:
        pieces, size = [], 0
        while piece := response.raw.read1(CHUNK, decode_content=True):
            pieces.append(piece)
            size += len(piece)
            if size > cap:
                raise StatusError(Status.TOO_LARGE)
            if time.monotonic() > end:
                raise StatusError(Status.TOO_SLOW)
        content = b"".join(pieces)
    if promised.isdecimal() and not coded and len(content) < int(promised):
        raise StatusError(Status.TRUNCATED)
    return content


def _page(response: requests.Response, end: float) -> bytes:
    """Return the start of a page that a host shows in place of a photo; empty if it is no HTML."""
    pieces: list[bytes] = []
    if response.status_code in PAGES and "html" in response.headers.get("Content-Type", "").lower():
        with contextlib.suppress(OSError, urllib3.exceptions.HTTPError, http.client.HTTPException):
            while sum(map(len, pieces)) < CHUNK and time.monotonic() < end:
                piece = response.raw.read1(CHUNK, decode_content=True)
                if not piece:
                    break
                pieces.append(piece)
    return b"".join(pieces)


def _is_about_certificate(error: BaseException | None) -> bool:
    """Return whether an error, or one that it came from, says that a certificate does not hold."""
    while error and not isinstance(error, ssl.SSLCertVerificationError):
        error = error.__cause__ or error.__context__
    return error is not None


def public(host: str, port: int, loopback: bool) -> Iterator[str]:
    """Yield the addresses of ``host``, all of which may be connected to.

    Raises ``StatusError``: ``PRIVATE_ADDRESS`` if one of them may not (a single private address among public ones is how an
    attacker points a name at an internal network), ``OSError`` if the name is unknown.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    for address in addresses:
        if not _allowed(address, loopback):
            raise StatusError(Status.PRIVATE_ADDRESS)
    yield from addresses


def _allowed(address: str, loopback: bool) -> bool:
    parsed: Any = ipaddress.ip_address(address.partition("%")[0])
    parsed = getattr(parsed, "ipv4_mapped", None) or parsed
    if parsed.is_loopback:
        return loopback
    closed = parsed.version == 6 and any(parsed in network for network in CLOSED)
    return bool(parsed.is_global and not parsed.is_multicast and not closed)


class _Timed(io.RawIOBase):
    """The bytes that a host sends, with one deadline for all of them: a slow trickle does not extend it."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket, end: float) -> None:
        self.raw, self.sock, self.end = raw, sock, end

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self.end - time.monotonic()
        if left <= 0:
            raise TimeoutError("the answer took too long")
        self.sock.settimeout(left)
        return self.raw.readinto(buffer)

    def close(self) -> None:
        self.raw.close()
        super().close()


class _Replay:
    """A reader with lines put in front of it."""

    def __init__(self, lines: list[bytes], rest: Any) -> None:
        self.lines, self.rest = lines, rest

    def readline(self, limit: int = -1) -> bytes:
        return self.lines.pop(0) if self.lines else bytes(self.rest.readline(limit))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.rest, name)


class _Response(http.client.HTTPResponse):
    """A response whose headers and body together must arrive within the connection's read timeout.

    It reads what ``http.client`` gives up on: interim answers (103 Early Hints), hundreds of headers, lines without a colon.
    """

    def __init__(self, sock: socket.socket, *arguments: Any, **more: Any) -> None:
        super().__init__(sock, *arguments, **more)
        end = time.monotonic() + (sock.gettimeout() or 0)
        self.fp: Any = io.BufferedReader(_Timed(self.fp.detach(), sock, end), CHUNK)

    def _read_status(self) -> tuple[str, int, str]:
        """Return version, code and reason of the final answer, and leave its headers to be read in plain form."""
        while True:
            version, status, reason = super()._read_status()  # type: ignore[misc] # begin calls it, typeshed leaves it out
            lines = _header_lines(self.fp)
            if not 100 <= status < 200 or status == http.HTTPStatus.SWITCHING_PROTOCOLS:
                self.fp = _Replay(lines, self.fp)
                return version, status, reason


def _header_lines(reader: Any) -> list[bytes]:
    """Read the headers of an answer. Return the lines of those in ``HEADERS``, the empty line at their end included."""
    kept, wanted, size = [], False, 0
    while (line := reader.readline(HEADERS_SIZE)) not in (b"\r\n", b"\n", b""):
        size += len(line)
        if size >= HEADERS_SIZE:
            raise http.client.LineTooLong("headers")
        name, colon, value = line.rstrip(b"\r\n").replace(b"\r", b" ").partition(b":")
        if name[:1] in (b" ", b"\t"):  # the line before goes on
            name, text = b"", b" " + (name + colon + value).strip()
        else:
            wanted, text = colon == b":" and name.strip().lower() in HEADERS, value.strip()
        if wanted:
            kept.append((name.strip() + b": " if name else b"") + text + b"\r\n")
    return [*kept[:MOST_HEADERS], b"\r\n"]


class _Pinned(HTTPConnection):
    """A connection to an address that was checked: the name is not resolved a second time."""

    response_class = _Response

    def __init__(self, *arguments: Any, loopback: bool, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.loopback = loopback

    def _new_conn(self) -> socket.socket:
        last: OSError | None = None
        try:
            for address in public(self.host, int(self.port), self.loopback):
                try:
                    return create_connection((address, int(self.port)), self.timeout, None, self.socket_options)
                except OSError as error:
                    last = error
        except (OSError, UnicodeError) as error:
            raise urllib3.exceptions.NewConnectionError(self, f"{self.host} is not known: {error}") from error
        raise urllib3.exceptions.NewConnectionError(self, f"no address of {self.host} answers: {last}")


class _PinnedTLS(_Pinned, HTTPSConnection):
    """The same over TLS; the certificate is still compared with the name."""


class _Pools(urllib3.PoolManager):
    """Pools of pinned connections."""

    loopback = False

    def _new_pool(self, scheme: str, *arguments: Any, **more: Any) -> Any:
        pool = super()._new_pool(scheme, *arguments, **more)
        kind = _PinnedTLS if scheme == "https" else _Pinned
        pool.ConnectionCls = functools.partial(kind, loopback=self.loopback)  # type: ignore[assignment] # it is only called
        return pool


class _Guarded(HTTPAdapter):
    """The transport of ``http`` and ``https``."""

    def __init__(self, connections: int, loopback: bool) -> None:
        super().__init__(pool_connections=64, pool_maxsize=connections)
        self.poolmanager.loopback = loopback

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **more: Any) -> None:
        self.poolmanager: Any = _Pools(connections, maxsize=maxsize, block=block, **more)
