"""What a server does not put up with: bodies too large, clients too slow, too many at once, strangers without a key."""

from __future__ import annotations

import asyncio
import hmac
import json
import time
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

import h11
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from uvicorn.protocols.http.h11_impl import H11Protocol

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

OPEN = (
    "/",
    "/openapi.json",
    "/v2/health/live",
    "/v2/health/ready",
)  # for everybody at any time: without a body they cost nothing
SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)


@dataclass(frozen=True)
class Limits:
    """What one request may cost, and how many there may be. ``python src/serve.py --help`` explains each."""

    megabytes: float = 16.0
    megapixels: float = 50.0
    instances: int = 32
    seconds: float = 10.0
    requests: int = 64


class Metrics:
    """What Prometheus is told. No photo, no address of a client."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        made: dict[str, Any] = {"registry": self.registry}
        self.requests = Counter("landmarks_requests", "Requests answered", ["path", "code"], **made)
        self.seconds = Histogram("landmarks_request_seconds", "From head to answer", ["path"], buckets=SECONDS, **made)
        self.busy = Gauge("landmarks_requests_in_flight", "Requests being read or answered", **made)
        self.photos = Counter("landmarks_photos", "Photos by what became of them", ["outcome"], **made)
        self.batch = Histogram("landmarks_batch_photos", "Photos a batch", buckets=(1, 2, 4, 8, 16), **made)


class RefusalError(Exception):
    """A request that is not let through: its status code, and why in one line."""

    def __init__(self, code: int, reason: str, **headers: str) -> None:
        super().__init__(reason)
        self.code, self.headers = code, headers


class Guard:
    """An ASGI middleware: whoever passes has shown the key and handed in a whole body of bounded size in bounded time."""

    def __init__(self, app: App, limits: Limits, key: str, metrics: Metrics) -> None:
        """``key`` empty: none is asked for."""
        self.app, self.limits, self.metrics = app, limits, metrics
        self._key = key.encode()
        self._busy = 0

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Pass one request on, or answer that it is refused."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begin, code = time.monotonic(), 499  # nobody was there any more to be answered

        async def noted(message: Message) -> None:
            nonlocal code
            code = message.get("status", code)
            await send(message)

        self._busy += 1
        self.metrics.busy.set(self._busy)
        try:
            await self._pass(scope, receive, noted)
        finally:
            self._busy -= 1
            self.metrics.busy.set(self._busy)
            path = getattr(scope.get("route"), "path", "none")  # never what a stranger wrote
            self.metrics.requests.labels(path, code).inc()
            self.metrics.seconds.labels(path).observe(time.monotonic() - begin)

    async def _pass(self, scope: Message, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        try:
            self._check_key(scope["path"], headers)
            probe = scope["path"] in OPEN and not {b"content-length", b"transfer-encoding"} & headers.keys()
            if self._busy > self.limits.requests and not probe:  # which would think it dead
                raise RefusalError(429, f"{self.limits.requests} requests are under way; ask again", retry_after="1")
            body = await self._body(receive, headers)
        except RefusalError as refusal:
            await answer(send, refusal)
            return
        if body is None:
            return
        held = [{"type": "http.request", "body": body, "more_body": False}]

        async def replay() -> Message:
            return held.pop() if held else await receive()

        await self.app(scope, replay, send)

    def _check_key(self, path: str, headers: dict[bytes, bytes]) -> None:
        if not self._key or path in OPEN:
            return
        shown = headers.get(b"x-api-key") or headers.get(b"authorization", b"").removeprefix(b"Bearer ")
        if not hmac.compare_digest(shown, self._key):
            raise RefusalError(
                401, "an API key is needed: Authorization: Bearer KEY, or X-API-Key: KEY", www_authenticate="Bearer"
            )

    async def _body(self, receive: Receive, headers: dict[bytes, bytes]) -> bytes | None:
        """The whole body; None if the client has gone. What is too much is read and forgotten: else nobody hears the answer."""
        most, size, body = int(self.limits.megabytes * 1e6), 0, bytearray()
        large = RefusalError(
            413, f"the body is larger than {self.limits.megabytes:g} MB, the most that is read", connection="close"
        )
        promised = headers.get(b"content-length", b"")
        if b"expect" in headers and promised.isdigit() and int(promised) > most:
            raise large
        try:
            async with asyncio.timeout(self.limits.seconds):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return None
                    chunk = message.get("body", b"")
                    size += len(chunk)
                    if size <= most:
                        body += chunk
                    if not message.get("more_body", False):
                        break
        except TimeoutError:
            raise slow(self.limits.seconds) if size <= most else large from None
        if size > most:
            raise large
        return bytes(body)


def slow(seconds: float) -> RefusalError:
    """Of a client that takes its time."""
    return RefusalError(408, f"the request did not arrive within {seconds:g} seconds", connection="close")


async def answer(send: Send, refusal: RefusalError) -> None:
    """Send a refusal as everything else is answered: JSON with ``error``."""
    body, headers = _spelt(refusal)
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": refusal.code, "headers": raw})
    await send({"type": "http.response.body", "body": body})


def _spelt(refusal: RefusalError) -> tuple[bytes, dict[str, str]]:
    body = json.dumps({"error": str(refusal)}).encode()
    more = {name.replace("_", "-"): value for name, value in refusal.headers.items()}
    return body, {"content-type": "application/json", "content-length": str(len(body)), **more}


def protocol(seconds: float) -> type[H11Protocol]:
    """uvicorn's HTTP that grants a request ``seconds`` for its head, too: a byte now and then does not buy more."""

    class Impatient(H11Protocol):
        _due: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
            super().connection_made(transport)
            self._watch()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._watch()

        def connection_lost(self, exc: Exception | None) -> None:
            self._forget()
            super().connection_lost(exc)

        def _watch(self) -> None:
            if self.conn.their_state is not h11.IDLE:
                self._forget()
            elif not self._due:
                self._due = self.loop.call_later(seconds, self._give_up)

        def _forget(self) -> None:
            if self._due:
                self._due.cancel()
                self._due = None

        def _give_up(self) -> None:
            if self.transport.is_closing() or self.conn.their_state is not h11.IDLE:
                return
            body, headers = _spelt(slow(seconds))
            head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
            self.transport.write(f"HTTP/1.1 408 Request Timeout\r\n{head}\r\n".encode() + body)
            self.transport.close()

    return Impatient
