"""Protection against untrusted clients: API key, rate limit, bounds on the size and duration of a request."""

import asyncio
import hmac
import time

import h11
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from landmarks.serving.limits import RequestLimits
from landmarks.serving.metrics import ServerMetrics

# No key and no rate limit for these: an orchestrator would take a refused health check for a dead server
OPEN_PATHS = ("/", "/openapi.json", "/health/live", "/health/ready")
CLIENT_LEFT = 499  # nginx's code for a client that hung up before it was answered


def error_response(error: HTTPException) -> JSONResponse:
    """The response to a request that is refused: JSON with ``error``, as all errors of the server."""
    return JSONResponse({"error": str(error.detail)}, error.status_code, error.headers)


class LimitMiddleware:
    """ASGI middleware that passes a request on once its key is right and its whole body has arrived within the limits."""

    def __init__(self, app: ASGIApp, limits: RequestLimits, key: str, metrics: ServerMetrics) -> None:
        """An empty ``key`` turns the check of API keys off."""
        self.app, self.limits, self.metrics = app, limits, metrics
        self._key = key.encode()
        self._in_flight = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on or refuse it; count it and its duration."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begin, code = time.monotonic(), CLIENT_LEFT

        async def send_and_note_code(message: Message) -> None:
            nonlocal code
            code = message.get("status", code)
            await send(message)

        self._in_flight += 1
        self.metrics.in_flight.set(self._in_flight)
        try:
            await self._handle(scope, receive, send_and_note_code)
        finally:
            self._in_flight -= 1
            self.metrics.in_flight.set(self._in_flight)
            path = getattr(scope.get("route"), "path", "none")  # the route, never the text that a client sent
            self.metrics.requests.labels(path, code).inc()
            self.metrics.seconds.labels(path).observe(time.monotonic() - begin)

    async def _handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        try:
            self._check_key(scope["path"], headers)
            self._check_rate(scope["path"], headers)
            body = await self._read_body(receive, headers)
        except HTTPException as refusal:
            await error_response(refusal)(scope, receive, send)
            return
        if body is None:
            return
        messages = [{"type": "http.request", "body": body, "more_body": False}]

        async def replay() -> Message:
            return messages.pop() if messages else await receive()

        await self.app(scope, replay, send)

    def _check_key(self, path: str, headers: dict[bytes, bytes]) -> None:
        if not self._key or path in OPEN_PATHS:
            return
        given = headers.get(b"x-api-key") or headers.get(b"authorization", b"").removeprefix(b"Bearer ")
        if not hmac.compare_digest(given, self._key):
            reason = "an API key is needed: Authorization: Bearer KEY, or X-API-Key: KEY"
            raise HTTPException(401, reason, {"WWW-Authenticate": "Bearer"})

    def _check_rate(self, path: str, headers: dict[bytes, bytes]) -> None:
        has_body = bool({b"content-length", b"transfer-encoding"} & headers.keys())
        if self._in_flight > self.limits.requests and (has_body or path not in OPEN_PATHS):
            reason = f"{self.limits.requests} requests are in progress; try again"
            raise HTTPException(429, reason, {"Retry-After": "1"})

    async def _read_body(self, receive: Receive, headers: dict[bytes, bytes]) -> bytes | None:
        """The whole body; None if the client has hung up.

        A body above the limit is received to its end and discarded: most clients read the answer only after sending everything.
        """
        most, size, body = int(self.limits.megabytes * 1e6), 0, bytearray()
        reason = f"the body is larger than {self.limits.megabytes:g} MB, the most that is read"
        too_large = HTTPException(413, reason, {"Connection": "close"})
        announced = headers.get(b"content-length", b"")
        if b"expect" in headers and announced.isdigit() and int(announced) > most:
            raise too_large  # this client waits for permission to send
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
            raise _timed_out(self.limits.seconds) if size <= most else too_large from None
        if size > most:
            raise too_large
        return bytes(body)


def _timed_out(seconds: float) -> HTTPException:
    return HTTPException(408, f"the request did not arrive within {seconds:g} seconds", {"Connection": "close"})


def http_protocol(seconds: float) -> type[H11Protocol]:
    """uvicorn's HTTP/1.1 protocol with a timeout: the head of each request has to arrive within ``seconds``.

    Single bytes do not extend the time (the Slowloris attack). ``LimitMiddleware`` bounds the time of the body.
    """

    class HeadTimeoutProtocol(H11Protocol):
        _timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # the signature of uvicorn
            super().connection_made(transport)
            self._update_timer()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._update_timer()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_timer()
            super().connection_lost(exc)

        def _update_timer(self) -> None:
            if self.conn.their_state is not h11.IDLE:
                self._stop_timer()
            elif not self._timer:
                self._timer = self.loop.call_later(seconds, self._close_late)

        def _stop_timer(self) -> None:
            if self._timer:
                self._timer.cancel()
                self._timer = None

        def _close_late(self) -> None:
            if self.transport.is_closing() or self.conn.their_state is not h11.IDLE:
                return
            response = error_response(_timed_out(seconds))
            head = "".join(f"{name}: {value}\r\n" for name, value in response.headers.items())
            self.transport.write(f"HTTP/1.1 408 Request Timeout\r\n{head}\r\n".encode() + response.body)
            self.transport.close()

    return HeadTimeoutProtocol
