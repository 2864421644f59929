"""Arrays that may be larger than the memory, and work on them by blocks."""

import os
import tempfile
from collections.abc import Callable, Iterator
from math import prod
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from landmarks.common.errors import InputError

BLOCK = 4096  # rows worked on at once
HELD = 2**28  # bytes that memory holds; more is in a file, whose pages the system writes out and drops as it needs


def zeros(shape: tuple[int, ...], dtype: DTypeLike, large: DTypeLike | None = None) -> NDArray[Any]:
    """``numpy.zeros``; where that would be large, in a file in the folder of temporary files (TMPDIR), which is gone with the array.

    Such an array has the dtype ``large``, if given. Raises ``InputError`` if the folder has no room for it.
    """
    if prod(shape) * np.dtype(dtype).itemsize <= HELD:
        return np.zeros(shape, dtype)
    kind, place = np.dtype(large or dtype), tempfile.gettempdir()
    size = prod(shape) * kind.itemsize
    try:
        with tempfile.TemporaryFile(dir=place) as file:
            os.posix_fallocate(file.fileno(), 0, size)  # on a full disk a map would end the process, without a word
            return np.memmap(file, kind, "r+", shape=shape)
    except OSError as error:
        need = f"{size / 1e9:.1f} GB are needed there; set TMPDIR to a folder that has them"
        raise InputError(f"{place}: {error.strerror}; {need}") from None


def taken(rows: NDArray[Any], chosen: NDArray[np.bool_]) -> NDArray[Any]:
    """``rows[chosen]``, of ``rows`` (n, …) and a mask (n,), in memory or in a file as ``zeros`` decides."""
    places = np.flatnonzero(chosen)
    made = zeros((len(places), *rows.shape[1:]), rows.dtype)
    for block in blocks(len(places)):
        made[block] = rows[places[block]]
    return made


def blocks(count: int) -> Iterator[slice]:
    """Cover ``count`` rows by slices of ``BLOCK`` rows, the last one perhaps shorter."""
    return (slice(start, start + BLOCK) for start in range(0, count, BLOCK))


def by_blocks(function: Callable[[Any], Any], items: NDArray[Any], columns: int) -> NDArray[Any]:
    """What ``function`` makes of items (n, …), (n, columns), a block at a time; where it is large, float32 in a file."""
    if len(items) <= BLOCK:
        return np.asarray(function(items))
    made = None
    for block in blocks(len(items)):
        part = np.asarray(function(items[block]))
        made = zeros((len(items), columns), part.dtype, np.float32) if made is None else made
        made[block] = part
    return np.asanyarray(made)
