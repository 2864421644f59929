"""Decoding on threads, bounded by the number of pixels that are decoded at once."""

import asyncio
import contextlib
import heapq
import itertools
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from landmarks.serving import memory

Decoded = TypeVar("Decoded")


class DecodingQueue:
    """Runs decoders on threads. The smallest photos go first, so that one user's huge ones do not delay all others."""

    def __init__(self, workers: int, pixels: int) -> None:
        """``workers`` threads decode photos of at most ``pixels`` together; a larger one is decoded alone."""
        self._executor = ThreadPoolExecutor(workers, "decode")
        self._capacity = self._free = pixels
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Decode while the block runs; at its end, finish what has begun."""
        try:
            yield
        finally:
            self._executor.shutdown(cancel_futures=True)

    async def __call__(self, pixels: int, decode: Callable[[], Decoded]) -> Decoded:
        """What ``decode`` returns for a photo of so many ``pixels``; raises what it raises.

        Cancelled, it gives up its place; a thread that has begun keeps its share of the pixels until it has ended.
        """
        share = min(pixels, self._capacity)
        await self._take(share)

        def decode_and_trim() -> Decoded:
            try:
                return decode()
            finally:
                memory.give_back()

        loop, work = (
            asyncio.get_running_loop(),
            self._executor.submit(decode_and_trim if pixels > memory.LARGE_PHOTO else decode),
        )
        work.add_done_callback(lambda _: loop.call_soon_threadsafe(self._give_back, share))
        return await asyncio.wrap_future(work)

    async def _take(self, share: int) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (share, next(self._order), turn))
        self._start_next()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # its turn came at the same moment
                self._give_back(share)
            raise

    def _give_back(self, share: int) -> None:
        self._free += share
        self._start_next()

    def _start_next(self) -> None:
        while self._waiting and (self._waiting[0][2].done() or self._waiting[0][0] <= self._free):
            share, _, turn = heapq.heappop(self._waiting)
            if not turn.done():  # done: cancelled
                self._free -= share
                turn.set_result(None)
