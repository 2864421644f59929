"""Photos of concurrent requests pass the network together."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor
from typing import Any

import numpy as np
from numpy.typing import NDArray

Pictures = NDArray[np.uint8]
Run = Callable[[Pictures], tuple[NDArray[Any], ...]]
Row = tuple[NDArray[Any], ...]


class Batcher:
    """Runs a function on what came while it ran the last time: nobody waits for company, and a queue makes its own batches."""

    def __init__(self, run: Run, executor: Executor, largest: int, seen: Callable[[int], None]) -> None:
        """``run`` takes pictures (n, ...) and gives arrays (n, ...), n up to ``largest``; ``seen`` is told every n."""
        self._run, self._executor, self._largest, self._seen = run, executor, largest, seen
        self._waiting: asyncio.Queue[tuple[Pictures, asyncio.Future[Row]]] = asyncio.Queue()

    @contextlib.asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Answer while the block runs."""
        task = asyncio.create_task(self._work())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def __call__(self, picture: Pictures) -> Row:
        """The row of each array that belongs to one picture."""
        answer: asyncio.Future[Row] = asyncio.get_running_loop().create_future()
        self._waiting.put_nowait((picture, answer))
        return await answer

    async def _work(self) -> None:
        while True:
            batch = [await self._waiting.get()]
            while len(batch) < self._largest and not self._waiting.empty():
                batch.append(self._waiting.get_nowait())
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
