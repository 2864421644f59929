"""The bodies of requests as they arrive: bounded in size, time, and in the memory that all of them take."""

import asyncio
import contextlib
from collections.abc import Iterator

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import Receive

from landmarks.serving.limits import RequestLimits

Headers = dict[bytes, bytes]
CLOSE = {"Connection": "close"}


def error_response(error: HTTPException) -> JSONResponse:
    """The response to a request that is refused: JSON with ``error``, as all errors of the server."""
    return JSONResponse({"error": str(error.detail)}, error.status_code, error.headers)


class BodyReader:
    """Reads the bodies of concurrent requests.

    A body has ``seconds``, and the time that its bytes take at ``kilobytes`` a second. The number of clients is not limited,
    or slow ones would shut out others; if all bodies together exceed ``megabytes_arriving``, the oldest is refused.
    """

    def __init__(self, limits: RequestLimits) -> None:
        self._limits, self._most = limits, int(limits.megabytes * 1e6)
        self._sizes: dict[asyncio.Timeout, int] = {}  # bytes received, by deadline, the oldest first
        self._total = 0

    async def read(self, receive: Receive, headers: Headers) -> bytes | None:
        """The whole body; None if the client has hung up. Raises ``HTTPException``: 408, 413, or 415 if it is compressed.

        A body above the limit is received to its end and discarded: most clients read the answer only after sending everything.
        """
        if headers.get(b"content-encoding", b"identity").lower() != b"identity":
            raise HTTPException(415, "Content-Encoding: compressed bodies are not read; send it as it is", CLOSE)
        reason = f"the body is larger than {self._limits.megabytes:g} MB, the most that is read"
        too_large = HTTPException(413, reason, CLOSE)
        announced = headers.get(b"content-length", b"")
        if b"expect" in headers and announced.isdigit() and int(announced) > self._most:
            raise too_large  # this client waits for permission to send
        body, size, more = bytearray(), 0, True
        try:
            async with asyncio.timeout(self._limits.seconds) as deadline:
                clock = asyncio.get_running_loop().time
                begin = clock()
                with self._counted(deadline):
                    while more:
                        message = await receive()
                        if message["type"] == "http.disconnect":
                            return None
                        more, chunk = message.get("more_body", False), message.get("body", b"")
                        size += len(chunk)
                        if size <= self._most:
                            body += chunk
                            deadline.reschedule(begin + self._limits.seconds + size / self._limits.kilobytes / 1e3)
                            self._count(deadline, size)
                        elif body:
                            body.clear()
                            deadline.reschedule(clock() + self._limits.seconds)
        except TimeoutError:
            time = f"{self._limits.seconds:g} seconds at {self._limits.kilobytes:g} kB a second or more"
            slow = HTTPException(408, f"the request did not arrive within {time}", CLOSE)
            raise slow if size <= self._most else too_large from None
        if size > self._most:
            raise too_large
        return bytes(body)

    @contextlib.contextmanager
    def _counted(self, deadline: asyncio.Timeout) -> Iterator[None]:
        try:
            yield
        finally:
            self._total -= self._sizes.pop(deadline, 0)

    def _count(self, deadline: asyncio.Timeout, size: int) -> None:
        """Note the bytes of a body; end the oldest bodies while all take too much memory."""
        self._total += size - self._sizes.get(deadline, 0)
        self._sizes[deadline] = size
        while self._total > self._limits.megabytes_arriving * 1e6 and len(self._sizes) > 1:
            oldest = next(iter(self._sizes))
            self._total -= self._sizes.pop(oldest)
            oldest.reschedule(0)
