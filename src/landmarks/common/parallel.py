"""Work on single photos: in parallel, with a progress bar, errors as values."""

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

import cv2
import joblib
from threadpoolctl import threadpool_limits

from landmarks.common import progress
from landmarks.common.errors import InputError

Item = TypeVar("Item")
Result = TypeVar("Result")

BLOCK = 16  # items per worker that are handed out at once
WORKERS = "LANDMARKS_WORKERS"  # an environment variable: the number of processes changes no result


@dataclass(frozen=True)
class Failure:
    """The error that took the place of a result."""

    error: Exception


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
    function: Callable[[Item], Result], items: Sequence[Item], label: str, unit: str = "photo"
) -> Generator[Result | Failure]:
    """Yield ``function(item)`` in the order of ``items``; an exception is yielded as a ``Failure``.

    Each call runs on one thread, so that results do not depend on the number of workers. Memory holds one block of results,
    however slowly they are consumed.
    """
    yield from progress.over(_blocks(function, items), len(items), label, unit)


def _blocks(function: Callable[[Item], Result], items: Sequence[Item]) -> Generator[Result | Failure]:
    size = BLOCK * workers()
    with joblib.Parallel(n_jobs=min(workers(), max(len(items), 1)), return_as="generator") as parallel:
        for start in range(0, len(items), size):
            results = parallel(joblib.delayed(_one)(function, item) for item in items[start : start + size])
            try:
                for result in results:  # noqa: UP028 - `yield from` would close `results` before the block below
                    yield result
            finally:
                deque(results, maxlen=0)  # after an early stop: joblib warns of results that are not consumed


def threads(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Yield ``function(item)`` in the order of ``items``, on threads: for work that releases the GIL, as a network does.

    Exceptions are raised here.
    """
    cv2.setNumThreads(1)
    with joblib.Parallel(n_jobs=workers(), backend="threading", return_as="generator") as parallel:
        yield from parallel(joblib.delayed(function)(item) for item in items)


def batched(results: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Yield lists of ``size`` results, the last one perhaps shorter: ``itertools.batched`` of Python 3.12."""
    rest = iter(results)
    while block := list(islice(rest, size)):
        yield block


def sound(results: Generator[Result | Failure]) -> Iterator[Result]:
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
