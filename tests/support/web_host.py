"""A web server on loopback that answers as the web does: expired, slow, broken and malformed answers included."""

from __future__ import annotations

import contextlib
import datetime
import http.server
import ipaddress
import ssl
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from landmarks.demo import renderer


class Host(http.server.ThreadingHTTPServer):
    """A host on loopback that answers ``/<kind>/<landmark>-<view>`` as the web does, and keeps a log."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.asked: Counter[str] = Counter()  # by path, without the robots.txt
        self.log: list[tuple[float, str, str]] = []  # when, path, User-Agent: of all
        self.lock = threading.Lock()
        self.active = self.peak = 0  # requests at a time
        self.robots = (404, "")
        self.always = 0  # the code of every answer, 0: as asked
        self.body = b""  # of /body and /wall
        self.thumbnails = 429  # the code of a Wikimedia thumbnail that fails
        self.url = f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print nothing about clients that hang up: the stage under test may run in this process, its stderr is read."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    def kinds(self) -> Counter[str]:
        """Requests of each kind."""
        found: Counter[str] = Counter()
        for path, times in self.asked.items():
            found[path.split("/")[1]] += times
        return found


class Request(NamedTuple):
    """``/<kind>/<name>``; the name is ``<landmark>-<view>.jpg`` where a photo is answered."""

    kind: str
    name: str
    first: bool  # this path was not asked for before

    @property
    def photo(self) -> tuple[int, int]:
        """Landmark and view."""
        landmark, _, view = self.name.partition("?")[0].removesuffix(".jpg").partition("-")
        return int(landmark), int(view)


STATUSES = {"gone": 410, "missing": 404, "refused": 403, "teapot": 418, "broken": 500}
BUSY = {"busy": 429, "unavailable": 503}  # at the first request, a photo after that
CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
RAW = {  # written as they are, before the connection is closed
    "chunks": CHUNKED + b"7fffffffffffff\r\nab",  # a chunk of more than there is
    "huge": b"HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\n",
    "garbage": b"\x00\x01 what is this\r\n\r\n",
}
FOREVER = {"drip": b"HTTP/1.1 200 OK\r\nX-Long: ", "slow": b"HTTP/1.1 200 OK\r\n\r\n"}  # a byte now and then follows


class Answers(http.server.BaseHTTPRequestHandler):
    """The answer to each kind of request: a table above, a method ``answer_<kind>``, or else a photo."""

    protocol_version = "HTTP/1.1"
    server: Host

    def do_GET(self) -> None:
        with self.server.lock:
            self.server.log.append((time.monotonic(), self.path, self.headers["User-Agent"]))
            self.server.active += 1
            self.server.peak = max(self.server.peak, self.server.active)
        self.counted = True
        try:
            self._reply()
        finally:
            self._leave()

    def _leave(self) -> None:
        """Count the request as ended: before its last bytes, since the client may send its next at once."""
        with self.server.lock:
            self.server.active -= self.counted
            self.counted = False

    def _reply(self) -> None:
        if self.path == "/robots.txt":
            return self._robots()
        with self.server.lock:
            self.server.asked[self.path] += 1
            first = self.server.asked[self.path] == 1
        if self.server.always:
            return self._answer(self.server.always, b"no", Retry_After="0")
        kind, _, name = self.path.strip("/").partition("/")
        if kind in STATUSES or kind.isdecimal():
            return self._answer(STATUSES.get(kind) or int(kind), b"no")
        if kind in BUSY and first:
            return self._answer(BUSY[kind], b"later")
        if kind in RAW:
            self.wfile.write(RAW[kind])
            self.close_connection = True
            return None
        if kind in FOREVER:
            return self._drip(FOREVER[kind])
        answer: Callable[[Request], None] = getattr(self, f"answer_{kind}", self.answer_photo)
        return answer(Request(kind, name, first))

    def _robots(self) -> None:
        code, text = self.server.robots
        if code == 302:
            self._answer(code, b"", Location=text)
        else:
            self._answer(code, text.encode(), "text/plain")

    def answer_photo(self, request: Request) -> None:
        self._answer(200, renderer.photo(7, *request.photo))

    def answer_wait(self, request: Request) -> None:
        if request.first:
            self._answer(429, b"later", Retry_After=request.name.split("-")[-1])
        else:
            self.answer_photo(request)

    def answer_slowly(self, request: Request) -> None:
        body = renderer.photo(7, *request.photo)
        time.sleep(0.15)
        self._answer(200, body)

    def answer_half(self, request: Request) -> None:
        body = renderer.photo(7, *request.photo)
        self._answer(200, body[: len(body) // 2])

    def answer_cut(self, request: Request) -> None:
        """Fewer bytes than the header promises."""
        body = renderer.photo(7, *request.photo)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2])
        self.close_connection = True

    def answer_noai(self, request: Request) -> None:
        self._answer(200, renderer.photo(7, *request.photo), X_Robots_Tag="noindex, noai")

    def answer_png(self, request: Request) -> None:
        picture = cv2.imdecode(np.frombuffer(renderer.photo(7, *request.photo), np.uint8), cv2.IMREAD_COLOR)
        self._answer(200, cv2.imencode(".png", picture)[1].tobytes())

    def answer_body(self, _: Request) -> None:
        self._answer(200, self.server.body)

    def answer_file(self, _: Request) -> None:
        self._answer(200, b"id,url,landmark_id\na,http://x/a.jpg,1\n", "text/csv")

    def answer_html(self, _: Request) -> None:
        self._answer(200, b"<html>This photo is no longer available.</html>")

    def answer_pdf(self, request: Request) -> None:
        self._answer(200, b"%PDF-1.4", "application/pdf" if "honest" in request.name else "image/jpeg")

    def answer_moved(self, request: Request) -> None:
        self._answer(302, b"", Location=f"/photo/{request.name}")

    def answer_dead(self, _: Request) -> None:
        """A redirect to the one picture that stands for all that is lost."""
        self._answer(302, b"", Location="/body")

    def answer_hints(self, request: Request) -> None:
        """Two interim answers before the final one, as hosts send that speak of style sheets early."""
        self.wfile.write(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n" * 2)
        self.answer_photo(request)

    def answer_many(self, request: Request) -> None:
        """130 headers, one of them longer than http.client reads."""
        headers = {f"X_Trace_{n}": "x" * (70_000 if n == 5 else 9) for n in range(130)}
        self._answer(200, renderer.photo(7, *request.photo), **headers)

    def answer_colonless(self, request: Request) -> None:
        """A line without a colon among the headers, and one that begins with a space; the connection stays open."""
        body = renderer.photo(7, *request.photo)
        start = b"HTTP/1.1 200 OK\r\nServer busy\r\n and so on\r\nX-A: b\r\n c\r\nContent-Length : %d\r\n\r\n"
        self.wfile.write(start % len(body) + body)

    def answer_cookie(self, _: Request) -> None:
        """A redirect to itself for all who bring no cookie."""
        self._answer(302, b"", Location=self.path, Set_Cookie="seen=1")

    def answer_ticket(self, request: Request) -> None:
        """A redirect to a page that sets a cookie and leads back."""
        self._answer(302, b"", Location=f"/back/{request.name}")

    def answer_back(self, request: Request) -> None:
        self._answer(302, b"", Location=f"/ticket/{request.name}", Set_Cookie="seen=1")

    def answer_wall(self, request: Request) -> None:
        """A page in place of a photo: ``/wall/<code>-<n>``."""
        self._answer(request.photo[0], self.server.body, "text/html; charset=utf-8")

    def answer_wikipedia(self, request: Request) -> None:
        """A photo or its thumbnail; of every fifth thumbnail, the answer ``server.thumbnails``."""
        folders, _, name = request.name.rpartition("/")
        if "thumb/" not in folders:
            return self.answer_photo(Request("photo", name, request.first))
        landmark, view = Request("photo", folders.rpartition("/")[2], request.first).photo
        width = int(name.partition("px-")[0])
        if width != 1280:
            return self._answer(400, b"Use thumbnail steps", "text/plain")
        time.sleep(0.05)
        if view % 5 == 0:
            return self._answer(self.server.thumbnails, b"Too many requests", "text/plain", Retry_After="60")
        picture = cv2.imdecode(np.frombuffer(renderer.photo(7, landmark, view), np.uint8), cv2.IMREAD_COLOR)
        smaller = cv2.resize(picture, (128, 96), interpolation=cv2.INTER_AREA)
        return self._answer(200, cv2.imencode(".jpg", smaller)[1].tobytes())

    def answer_loop(self, _: Request) -> None:
        self._answer(302, b"", Location=self.path)

    def answer_far(self, request: Request) -> None:
        """A redirect to another redirect, without end."""
        landmark, view = request.photo
        self._answer(302, b"", Location=f"/far/{landmark}-{view + 1}.jpg")

    def answer_to(self, request: Request) -> None:
        """A redirect of ``/to/<scheme>/<rest>`` to ``<scheme>://<rest>``."""
        self._answer(302, b"", Location=request.name.replace("/", "://", 1))

    def answer_accent(self, _: Request) -> None:
        """A redirect whose header is not ASCII."""
        self.wfile.write("HTTP/1.1 302 x\r\nLocation: /photo/1-91.jpg?é\r\nContent-Length: 0\r\n\r\n".encode())

    def answer_later(self, _: Request) -> None:
        """A Retry-After beyond any calendar."""
        self._answer(503, b"later", Retry_After="Mon, 01 Jan 99999999999 00:00:00 GMT")

    def answer_endless(self, _: Request) -> None:
        """Chunks for as long as the client reads."""
        with contextlib.suppress(OSError):
            self.wfile.write(CHUNKED)
            while True:
                self.wfile.write(b"10000\r\n" + bytes(65536) + b"\r\n")
        self.close_connection = True

    def _drip(self, start: bytes) -> None:
        with contextlib.suppress(OSError):  # the client closes the connection, as it should
            self.wfile.write(start)
            for _ in range(300):
                self.wfile.write(b"\xff")
                self.wfile.flush()
                time.sleep(0.1)
        self.close_connection = True

    def _answer(self, status: int, body: bytes, kind: str = "image/jpeg", **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self._leave()
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Print nothing: pytest's output is for failures."""


@contextlib.contextmanager
def serving(certificate: Path | None = None) -> Iterator[Host]:
    """A running host; with a ``certificate`` (and its key, one file), over TLS."""
    with Host() as server:
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True)
            server.url = server.url.replace("http:", "https:")
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def self_signed(folder: Path) -> Path:
    """A certificate for loopback that nobody vouches for, and its key, in one file."""
    key, name = (
        ec.generate_private_key(ec.SECP256R1()),
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "loopback")]),
    )
    now, address = datetime.datetime.now(datetime.UTC), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "certificate.pem").write_bytes(private + certificate.public_bytes(pem))
    return folder / "certificate.pem"
