"""One request to a stranger: to public addresses only, in bounded time and bytes; what goes wrong has a name."""

from __future__ import annotations

import functools
import http.client
import io
import ipaddress
import socket
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

from landmarks.common.errors import InputError

CONNECT = 10.0  # seconds until a host must have accepted a connection
CHUNK = 1 << 16
BAD = urlsplit("bad:")
# What a public name may not lead to, beyond ipaddress' own judgement: old site-local addresses, and those that carry an
# IPv4 address inside (compatible, translated, NAT64, Teredo, 6to4)
CLOSED = tuple(
    ipaddress.ip_network(network)
    for network in ("fec0::/10", "::/96", "::ffff:0:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48", "2001::/32", "2002::/16")
)


class FetchError(InputError):
    """There is no photo behind this URL; the text says why, in the words of the table of downloads."""


@dataclass(frozen=True)
class Reply:
    """An answer. ``content`` is empty unless the code is 200."""

    code: int
    headers: requests.structures.CaseInsensitiveDict[str]
    content: bytes = b""

    @property
    def location(self) -> str:
        """Where a redirect leads, as the host wrote it; empty if this is none."""
        raw = self.headers.get("Location", "") if self.code in (301, 302, 303, 307, 308) else ""
        try:
            return raw.encode("latin-1").decode()  # what http.client reads byte by byte is UTF-8 to most hosts
        except UnicodeError:
            return raw


def session(user_agent: str, connections: int, loopback: bool) -> requests.Session:
    """A session with kept-alive connections that go to public addresses only, never through a proxy.

    ``loopback`` opens this machine's own addresses; private and link-local ones stay closed.
    """
    made = requests.Session()
    made.trust_env = False  # a proxy would resolve names behind our back; .netrc holds passwords
    made.headers.update({"User-Agent": user_agent, "Accept": "image/*,*/*;q=0.5", "Accept-Encoding": "identity"})
    adapter = _Guarded(connections, loopback)
    made.mount("http://", adapter)
    made.mount("https://", adapter)
    return made


def split(url: str) -> SplitResult:
    """The parts of a URL; of one that has none, the scheme ``bad``."""
    try:
        parts = urlsplit(url)
        return parts if parts.port != 0 else BAD
    except ValueError:
        return BAD


def join(url: str, location: str) -> str:
    """Where a redirect leads. Raises ``FetchError``: ``bad url``."""
    try:
        return urljoin(url, location)
    except ValueError:
        raise FetchError("bad url") from None


def get(session: requests.Session, url: str, seconds: float, megabytes: float) -> Reply:
    """Ask once, follow nothing. ``seconds`` bounds the whole answer, not only its silences.

    Raises ``FetchError``: ``bad url``, ``private address``, ``unreachable``, ``too slow``, ``too large`` or ``truncated``.
    """
    end = time.monotonic() + seconds
    try:
        if "@" in split(url).netloc:
            raise FetchError("bad url")  # no password travels, least of all one from a table
        request = requests.PreparedRequest()  # by hand: no cookies, no .netrc, no hooks
        request.prepare_method("GET")
        request.prepare_url(url, None)
        request.headers = requests.structures.CaseInsensitiveDict({k: str(v) for k, v in session.headers.items()})
        adapter = session.get_adapter(str(request.url))
        with adapter.send(request, stream=True, timeout=(min(CONNECT, seconds), seconds)) as response:
            content = _body(response, end, megabytes) if response.status_code == 200 else b""
            return Reply(response.status_code, response.headers, content)
    except (TimeoutError, urllib3.exceptions.ReadTimeoutError, requests.ReadTimeout):
        raise FetchError("too slow") from None
    except (urllib3.exceptions.ProtocolError, urllib3.exceptions.DecodeError):
        raise FetchError("too slow" if time.monotonic() >= end else "truncated") from None
    except requests.ConnectionError as error:
        cause = error.args[0] if error.args else None
        slow = time.monotonic() >= end or isinstance(cause, urllib3.exceptions.ReadTimeoutError)
        broke = isinstance(cause, urllib3.exceptions.ProtocolError)  # it was there, and hung up or spoke no HTTP
        raise FetchError("too slow" if slow else "truncated" if broke else "unreachable") from None
    except requests.Timeout:
        raise FetchError("unreachable") from None
    except (requests.RequestException, urllib3.exceptions.HTTPError, http.client.HTTPException, UnicodeError):
        raise FetchError("bad url") from None
    except ValueError as error:
        raise error if isinstance(error, FetchError) else FetchError("bad url") from None


def _body(response: requests.Response, end: float, megabytes: float) -> bytes:
    cap, promised = int(megabytes * 1e6), response.headers.get("Content-Length", "")
    if promised.isdecimal() and int(promised) > cap:
        raise FetchError("too large")
    coded = "Content-Encoding" in response.headers or "Transfer-Encoding" in response.headers
    if promised.isdecimal() and not coded:
        content = response.raw.read()
    else:
        pieces, size = [], 0
        while piece := response.raw.read1(CHUNK, decode_content=True):
            pieces.append(piece)
            size += len(piece)
            if size > cap:
                raise FetchError("too large")
            if time.monotonic() > end:
                raise FetchError("too slow")
        content = b"".join(pieces)
    if promised.isdecimal() and not coded and len(content) < int(promised):
        raise FetchError("truncated")
    return content


def public(host: str, port: int, loopback: bool) -> Iterator[str]:
    """The addresses of ``host`` that may be spoken to. Raises ``FetchError`` if one of them may not, ``OSError`` if none is known.

    One private address among public ones is enough to refuse: that is how a name is pointed inwards.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    for address in addresses:
        if not _allowed(address, loopback):
            raise FetchError("private address")
    yield from addresses


def _allowed(address: str, loopback: bool) -> bool:
    parsed: Any = ipaddress.ip_address(address.partition("%")[0])
    parsed = getattr(parsed, "ipv4_mapped", None) or parsed
    if parsed.is_loopback:
        return loopback
    closed = parsed.version == 6 and any(parsed in network for network in CLOSED)
    return bool(parsed.is_global and not parsed.is_multicast and not closed)


class _Timed(io.RawIOBase):
    """What a host sends, until its time is up: a byte now and then doesn't buy more."""

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


class _Response(http.client.HTTPResponse):
    """A response, headers and body, within the connection's read timeout altogether."""

    def __init__(self, sock: socket.socket, *arguments: Any, **more: Any) -> None:
        super().__init__(sock, *arguments, **more)
        end = time.monotonic() + (sock.gettimeout() or 0)
        self.fp: Any = io.BufferedReader(_Timed(self.fp.detach(), sock, end), CHUNK)


class _Pinned(HTTPConnection):
    """A connection to an address that was looked at: the name is not resolved a second time."""

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
    """The same under TLS, where the certificate is still held against the name."""


class _Pools(urllib3.PoolManager):
    """Pools of pinned connections."""

    loopback = False

    def _new_pool(self, scheme: str, *arguments: Any, **more: Any) -> Any:
        pool = super()._new_pool(scheme, *arguments, **more)
        kind = _PinnedTLS if scheme == "https" else _Pinned
        pool.ConnectionCls = functools.partial(kind, loopback=self.loopback)  # type: ignore[assignment] # called, no more
        return pool


class _Guarded(HTTPAdapter):
    """The transport of ``http`` and ``https``."""

    def __init__(self, connections: int, loopback: bool) -> None:
        super().__init__(pool_connections=64, pool_maxsize=connections)
        self.poolmanager.loopback = loopback

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **more: Any) -> None:
        self.poolmanager: Any = _Pools(connections, maxsize=maxsize, block=block, **more)
