"""Dynamic batching: photos of concurrent requests pass the network together."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

Pictures = NDArray[np.uint8]
Forward = Callable[[Pictures], tuple[NDArray[Any], ...]]
Row = tuple[NDArray[Any], ...]

MAX_WAIT = 0.01  # seconds, enough to decode a few photos: a batch does not wait for a huge one


class Batcher:
    """Collects pictures of several requests into batches and runs a function on each batch.

    A batch holds what arrived while the batch before it ran. If other pictures are being decoded at that moment, which
    uses the same cores, it waits for them, at most ``MAX_WAIT``. A single picture does not wait.
    """

    def __init__(self, forward: Forward, workers: int, max_size: int, on_batch: Callable[[int], None]) -> None:
        """Set up ``workers`` threads, each of which runs one batch at a time, once ``running`` is entered.

        ``forward`` takes pictures (n, ...), n from 1 to ``max_size``, and returns arrays (n, ...). ``on_batch`` is called
        with the n of each batch.
        """
        self._forward, self._workers, self._max_size, self._on_batch = forward, workers, max_size, on_batch
        self._executor = ThreadPoolExecutor(workers, "network")
        self._tasks: list[asyncio.Task[None]] = []
        self._in_preparation = 0
        self._queue: asyncio.Queue[tuple[Pictures, asyncio.Future[Row]]] = asyncio.Queue()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Process the queue while the block runs; at its end, finish the batches in progress."""
        self._tasks = [asyncio.create_task(self._process_queue()) for _ in range(self._workers)]
        try:
            yield
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            self._executor.shutdown()

    @property
    def alive(self) -> bool:
        """Whether the queue is processed."""
        return not all(task.done() for task in self._tasks)

    @contextlib.contextmanager
    def preparing(self) -> Iterator[None]:
        """Announce that a picture is being decoded while the block runs."""
        self._in_preparation += 1
        try:
            yield
        finally:
            self._in_preparation -= 1

    async def __call__(self, picture: Pictures) -> Row:
        """The rows of ``forward``'s arrays that belong to one picture. Raises what ``forward`` raises."""
        row: asyncio.Future[Row] = asyncio.get_running_loop().create_future()
        self._queue.put_nowait((picture, row))
        return await row

    async def _process_queue(self) -> None:
        while True:
            batch = [await self._queue.get()]
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(MAX_WAIT):
                    while len(batch) < self._max_size and (self._in_preparation or not self._queue.empty()):
                        batch.append(await self._queue.get())
            batch = [(picture, row) for picture, row in batch if not row.done()]  # done: its client has hung up
            if batch:
                await self._run(batch)

    async def _run(self, batch: list[tuple[Pictures, asyncio.Future[Row]]]) -> None:
        try:
            self._on_batch(len(batch))
            pictures = np.stack([picture for picture, _ in batch])
            arrays = await asyncio.get_running_loop().run_in_executor(self._executor, self._forward, pictures)
            for (_, row), values in zip(batch, zip(*arrays, strict=True), strict=True):
                if not row.done():
                    row.set_result(values)
        except Exception as error:  # every request of the batch gets it, and the next batch is processed
            for _, row in batch:
                if not row.done():
                    row.set_exception(error)
