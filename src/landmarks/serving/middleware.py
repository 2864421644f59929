"""Protection against untrusted clients: API key, the time and the number of requests that are answered."""

import asyncio
import hmac
import time

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from landmarks.serving import memory
from landmarks.serving.bodies import CLOSE, BodyReader, Headers, error_response
from landmarks.serving.limits import RequestLimits
from landmarks.serving.metrics import ServerMetrics

OPEN_PATHS = ("/", "/openapi.json", "/health/live", "/health/ready", "/docs")  # without a key
DOCS_FILES = "/static-offline-docs/"  # … and scripts and styles of /docs
CLIENT_LEFT = 499  # nginx's code for a client that hung up before it was answered


class LimitMiddleware:
    """ASGI middleware that passes a request on once its key is right and its whole body has arrived within the limits.

    Only a POST is work: it has a body and a place among the ``requests`` that are answered at once. Everything else is answered
    at any time; an orchestrator would take a refused health check for a dead server. HEAD is answered where GET is.
    """

    def __init__(self, app: ASGIApp, limits: RequestLimits, key: str, metrics: ServerMetrics) -> None:
        """An empty ``key`` turns the check of API keys off."""
        self.app, self.limits, self.metrics = app, limits, metrics
        self._key, self._bodies = key.encode(), BodyReader(limits)
        self._received = self._working = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on or refuse it; count it and its duration."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begin, code = time.monotonic(), 0

        async def send_and_note_code(message: Message) -> None:
            nonlocal code
            code = message.get("status", code)
            await send(message)

        scope = {**scope, "method": "GET"} if scope["method"] == "HEAD" else scope  # uvicorn leaves the body out
        self._received += 1
        self.metrics.in_flight.set(self._received)
        try:
            await self._handle(scope, receive, send_and_note_code)
        except HTTPException as refusal:
            if not code:  # else the response has begun, and ends here
                await error_response(refusal)(scope, receive, send_and_note_code)
        except asyncio.CancelledError:  # by uvicorn, which ends
            if not code:
                ending = HTTPException(503, "the server ends; try again", {"Retry-After": "1", **CLOSE})
                await error_response(ending)(scope, receive, send_and_note_code)
        except Exception:
            code = 500
            raise
        finally:
            self._received -= 1
            self.metrics.in_flight.set(self._received)
            path = getattr(scope.get("route"), "path", "none")  # the route, never the text that a client sent
            self.metrics.requests.labels(path, code or CLIENT_LEFT).inc()
            self.metrics.seconds.labels(path).observe(time.monotonic() - begin)

    async def _handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        self._check_key(scope["path"].removeprefix(scope.get("root_path", "")), headers)
        if scope["method"] != "POST":
            await self.app(scope, receive, send)
        elif (body := await self._bodies.read(receive, headers)) is not None:
            await self._work(body, scope, receive, send)

    def _check_key(self, path: str, headers: Headers) -> None:
        if not self._key or path in OPEN_PATHS or path.startswith(DOCS_FILES):
            return
        scheme, _, bearer = headers.get(b"authorization", b"").partition(b" ")
        given = headers.get(b"x-api-key") or (bearer.strip() if scheme.lower() == b"bearer" else b"")
        if not hmac.compare_digest(given, self._key):
            reason = "an API key is needed: Authorization: Bearer KEY, or X-API-Key: KEY"
            raise HTTPException(401, reason, {"WWW-Authenticate": "Bearer"})

    async def _work(self, body: bytes, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request whose ``body`` is there; stop when its client hangs up or its time is over."""
        if self._working >= self.limits.requests:
            reason = f"{self.limits.requests} requests are in progress; try again"
            raise HTTPException(429, reason, {"Retry-After": "1"})
        messages = [{"type": "http.request", "body": body, "more_body": False}]

        async def replay() -> Message:
            return messages.pop() if messages else await receive()

        self._working += 1
        work = asyncio.ensure_future(self.app(scope, replay, send))
        hang_up = asyncio.ensure_future(receive())  # the next message after the whole body
        try:
            seconds = self.limits.seconds_of_work
            done, _ = await asyncio.wait({work, hang_up}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            if work in done:
                work.result()
            elif not done:
                reason = f"the answer takes more than {seconds:g} seconds; send fewer or smaller photos, or try again"
                raise HTTPException(503, reason, {"Retry-After": "1"})
        finally:
            self._working -= 1
            hang_up.cancel()
            work.cancel()
            await asyncio.wait({work})
            if len(body) > memory.LARGE_BODY:
                asyncio.get_running_loop().call_later(0.1, memory.give_back)  # when nothing refers to it any more
