"""Work on single photos: in parallel, with a progress bar, errors as values."""

import os
import platform
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TypeVar

import cv2
import joblib
from joblib.externals.loky import ProcessPoolExecutor
from joblib.externals.loky.process_executor import TerminatedWorkerError
from threadpoolctl import threadpool_limits

from landmarks.common import progress
from landmarks.common.errors import InputError

Item = TypeVar("Item")
Result = TypeVar("Result")

BLOCK = 16  # items per worker that are handed out at once
KILLED = "the process that worked on it alone was killed; is the memory too small for it?"
# Environment variables: neither the number of processes nor where they run changes a result
WORKERS = "LANDMARKS_WORKERS"
CLUSTER = "LANDMARKS_CLUSTER"  # tcp://host:8786, the scheduler of a Dask cluster; or local


@dataclass(frozen=True)
class Failure:
    """The error that took the place of a result."""

    error: Exception


class KilledError(InputError):
    """The process that worked on an item, and on no other, was killed, most often for memory."""


def workers() -> int:
    """Return the number of processes: ``LANDMARKS_WORKERS``, by default one per core."""
    return environment(WORKERS) or joblib.cpu_count()


def environment(name: str) -> int:
    """Return the whole number in an environment variable, 0 if it is not set. Raises ``InputError`` if it is no number."""
    value = os.environ.get(name, "0")
    if not value.isdecimal():
        raise InputError(f"the environment variable {name} is {value!r}; give a whole number, or unset it")
    return int(value)


def each(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    label: str | None,
    unit: str = "photo",
    shared: bool = True,
) -> Generator[Result | Failure]:
    """Yield ``function(item)`` in the order of ``items``; an exception is yielded as a ``Failure``.

    Each call runs on one thread, so that results do not depend on the number of workers. Memory holds one block of results,
    however slowly they are consumed. Where ``LANDMARKS_CLUSTER`` names a scheduler, its workers do it: see ``cluster.each``;
    without ``shared`` they need no folder of this machine.

    If a worker process is killed, the block's items that are still missing are done one at a time in a single new process;
    the ``Failure`` of an item that ends that one too holds a ``KilledError``. With one worker the items are
    worked on in this process. Without a ``label`` the caller shows progress.
    """
    results = _on_cluster(function, items, unit, shared) if on_cluster() else _blocks(function, items, unit)
    with closing(results):
        yield from results if label is None else progress.over(results, len(items), label, unit)


def on_cluster() -> bool:
    """Whether ``each`` asks the workers of a cluster."""
    return bool(os.environ.get(CLUSTER))


def _on_cluster(
    function: Callable[[Item], Result], items: Sequence[Item], unit: str, shared: bool
) -> Generator[Result | Failure]:
    from landmarks.common import cluster  # here: who works on this machine needs no Dask

    def killed(place: int) -> Result | Failure:
        return Failure(KilledError(f"{_name(items[place], unit, place)}: {KILLED}"))

    yield from cluster.each(os.environ[CLUSTER], partial(_there, function), items, workers(), killed, shared)


def _blocks(function: Callable[[Item], Result], items: Sequence[Item], unit: str) -> Generator[Result | Failure]:
    count = workers()
    processes = max(min(count, len(items)), 2) if count > 1 else 1  # not 1 for a lone item: it may end its process
    for start in range(0, len(items), BLOCK * count):
        block, yielded = items[start : start + BLOCK * count], 0
        try:
            with closing(_together(function, block, processes)) as results:
                for result in results:
                    yielded += 1
                    yield result
        except TerminatedWorkerError:
            missing = [(item, _name(item, unit, start + place)) for place, item in enumerate(block)][yielded:]
            yield from _alone(function, missing)


def _together(function: Callable[[Item], Result], items: Sequence[Item], processes: int) -> Generator[Result | Failure]:
    results = joblib.Parallel(processes, return_as="generator")(joblib.delayed(_one)(function, item) for item in items)
    try:
        for result in results:  # noqa: UP028 - `yield from` would close `results` before the block below
            yield result
    finally:
        with suppress(TerminatedWorkerError):  # after an early stop: joblib warns of results that are not consumed
            deque(results, maxlen=0)


def _alone(function: Callable[[Item], Result], items: Iterable[tuple[Item, str]]) -> Generator[Result | Failure]:
    """The result of each of ``items``, which come with their names; after a process was killed, the next item has a new one."""
    pool = ProcessPoolExecutor(1)
    try:
        for item, name in items:
            try:
                yield pool.submit(_one, function, item).result()
            except TerminatedWorkerError:
                pool = ProcessPoolExecutor(1)
                yield Failure(KilledError(f"{name}: {KILLED}"))
    finally:
        pool.shutdown()


def _name(item: object, unit: str, place: int) -> str:
    known = getattr(item, "id", item)
    return f"{unit} {known}" if isinstance(known, str | int | os.PathLike) else f"{unit} {place + 1}"


def threads(function: Callable[[Item], Result], items: Iterable[Item]) -> Generator[Result]:
    """Yield ``function(item)`` in the order of ``items``, on threads: for work that releases the GIL, as a network does.

    Exceptions are raised here. No thread is left behind: one in the middle of C++ code would abort a process that ends.
    """
    cv2.setNumThreads(1)
    pool = ThreadPoolExecutor(workers())
    ahead: deque[Future[Result]] = deque()
    try:
        for item in items:
            ahead.append(pool.submit(function, item))
            if len(ahead) > 2 * workers():
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def batched(results: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Yield lists of ``size`` results, the last one perhaps shorter: ``itertools.batched`` of Python 3.12."""
    rest = iter(results)
    while block := list(islice(rest, size)):
        yield block


def sound(results: Generator[Result | Failure]) -> Generator[Result]:
    """Yield the results; raise the error of the first ``Failure``: for work that needs all results."""
    for result in results:
        if isinstance(result, Failure):
            results.close()
            raise result.error
        yield result


def _one(function: Callable[[Item], Result], item: Item) -> Result | Failure:
    cv2.setNumThreads(1)
    with threadpool_limits(1):
        try:
            return function(item)
        except Exception as error:  # the caller decides what a failure means
            return Failure(error)


def _there(function: Callable[[Item], Result], item: Item) -> Result | Failure:
    """On a worker of a cluster: an error of its disk names its machine."""
    made = _one(function, item)
    if isinstance(made, Failure) and isinstance(made.error, OSError) and made.error.strerror:
        error = made.error
        return Failure(OSError(error.errno, f"{error.strerror} on {platform.node()}", error.filename))
    return made
