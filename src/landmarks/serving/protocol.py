"""HTTP/1.1 of uvicorn with a time limit for heads: single bytes do not extend it (the Slowloris attack)."""

import asyncio

import h11
from starlette.exceptions import HTTPException
from uvicorn.protocols.http.h11_impl import H11Protocol

from landmarks.serving.bodies import CLOSE, error_response


def http_protocol(seconds: float) -> type[H11Protocol]:
    """The protocol class that answers 408 if the head of a request has not arrived within ``seconds``."""

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
            reason = f"the request did not arrive within {seconds:g} seconds"
            response = error_response(HTTPException(408, reason, CLOSE))
            head = "".join(f"{name}: {value}\r\n" for name, value in response.headers.items())
            self.transport.write(f"HTTP/1.1 408 Request Timeout\r\n{head}\r\n".encode() + response.body)
            self.transport.close()

    return HeadTimeoutProtocol
