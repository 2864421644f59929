"""Arrays that may be larger than the memory."""

import tempfile
from math import prod
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

BLOCK = 4096  # rows copied at once
HELD = 2**28  # bytes that memory holds; more is in a file, whose pages the system writes out and drops as it needs


def zeros(shape: tuple[int, ...], dtype: DTypeLike, large: DTypeLike | None = None) -> NDArray[Any]:
    """``numpy.zeros``; where that would be large, in a file in the folder of temporary files (TMPDIR), which is gone with the array.

    Such an array has the dtype ``large``, if given.
    """
    if prod(shape) * np.dtype(dtype).itemsize <= HELD:
        return np.zeros(shape, dtype)
    with tempfile.TemporaryFile() as file:
        return np.memmap(file, large or dtype, "w+", shape=shape)


def taken(rows: NDArray[Any], chosen: NDArray[np.bool_]) -> NDArray[Any]:
    """``rows[chosen]``, of ``rows`` (n, …) and a mask (n,), in memory or in a file as ``zeros`` decides."""
    places = np.flatnonzero(chosen)
    made = zeros((len(places), *rows.shape[1:]), rows.dtype)
    for start in range(0, len(places), BLOCK):
        made[start : start + BLOCK] = rows[places[start : start + BLOCK]]
    return made
