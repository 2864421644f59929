"""Photos of concurrent requests pass the network together."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

Pictures = NDArray[np.uint8]
Run = Callable[[Pictures], tuple[NDArray[Any], ...]]
Row = tuple[NDArray[Any], ...]

PATIENCE = 0.01  # seconds: a few photos are decoded in them, a huge one is not waited for


class Batcher:
    """Runs a function on pictures of several requests together: on those that came while it ran the last time, and those in the making.

    A picture that is alone waits for nobody. While others are being made ready, which takes the same cores, it waits for
    them, though not for long.
    """

    def __init__(self, run: Run, workers: int, largest: int, seen: Callable[[int], None]) -> None:
        """``run`` takes pictures (n, ...) and gives arrays (n, ...), n up to ``largest``; ``seen`` is told every n.

        ``workers`` batches are under way at once, each on a thread.
        """
        self._run, self._workers, self._largest, self._seen = run, workers, largest, seen
        self._executor = ThreadPoolExecutor(workers, "network")
        self._coming = 0
        self._waiting: asyncio.Queue[tuple[Pictures, asyncio.Future[Row]]] = asyncio.Queue()

    @contextlib.asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Answer while the block runs."""
        tasks = [asyncio.create_task(self._work()) for _ in range(self._workers)]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._executor.shutdown()

    @contextlib.contextmanager
    def coming(self) -> Iterator[None]:
        """A picture is being made ready while the block runs."""
        self._coming += 1
        try:
            yield
        finally:
            self._coming -= 1

    async def __call__(self, picture: Pictures) -> Row:
        """The row of each array that belongs to one picture."""
        answer: asyncio.Future[Row] = asyncio.get_running_loop().create_future()
        self._waiting.put_nowait((picture, answer))
        return await answer

    async def _work(self) -> None:
        while True:
            batch = [await self._waiting.get()]
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PATIENCE):
                    while len(batch) < self._largest and (self._coming or not self._waiting.empty()):
                        batch.append(await self._waiting.get())
            batch = [(picture, answer) for picture, answer in batch if not answer.done()]  # who has gone needs none
            if batch:
                await self._answer(batch)

    async def _answer(self, batch: list[tuple[Pictures, asyncio.Future[Row]]]) -> None:
        self._seen(len(batch))
        pictures = np.stack([picture for picture, _ in batch])
        try:
            arrays = await asyncio.get_running_loop().run_in_executor(self._executor, self._run, pictures)
        except Exception as error:  # each of them asked, each of them is told
            for _, answer in batch:
                if not answer.done():
                    answer.set_exception(error)
            return
        for (_, answer), row in zip(batch, zip(*arrays, strict=True), strict=True):
            if not answer.done():
                answer.set_result(row)
