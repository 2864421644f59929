"""Preprocessed photos, each decoded once: in memory while they are few, on disk when they are many."""

import errno
import os
import tempfile
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from landmarks.common import parallel, progress
from landmarks.common.errors import InputError
from landmarks.images.photo_store import PhotoStore
from landmarks.images.preprocessing import Preprocessing

Pictures = NDArray[np.uint8]
MEGABYTES = "LANDMARKS_CACHE"  # an environment variable: where the photos lie can't change a result
DEFAULT = 1024


def preprocessed(folder: Path, ids: list[str], preprocessing: Preprocessing) -> Pictures:
    """The photos of a ``PhotoStore``, the views of each one below the other, uint8 RGB (n, views * size, size, 3), read-only.

    Above ``LANDMARKS_CACHE`` megabytes (1,024) they lie in a file without a name, which ends with the process.
    Raises ``InputError`` if a photo cannot be read, or the disk is full.
    """
    # threads: processes take twice the time of both cores for 600 photos, since they have to start
    store = PhotoStore(folder)
    read = parallel.threads(lambda photo: preprocessing.read(store[photo]), ids)
    shape = (len(ids), *preprocessing.shape)
    with closing(read):  # or a process that ends with an error would abort in its threads
        pictures = progress.over(read, len(ids), "decode")
        if np.prod(shape, dtype=np.int64) <= (parallel.environment(MEGABYTES) or DEFAULT) * 2**20:
            return np.fromiter(pictures, np.dtype((np.uint8, shape[1:])), len(ids))
        return _on_disk(pictures, shape)


def _on_disk(pictures: Iterable[Pictures], shape: tuple[int, ...]) -> Pictures:
    place = tempfile.gettempdir()
    with tempfile.TemporaryFile(dir=place, buffering=0) as file:
        for picture in pictures:
            try:  # written first, mapped then: on a full disk a map ends the process, a write says so
                if file.write(picture.tobytes()) < picture.nbytes:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            except OSError as error:
                need = np.prod(shape, dtype=np.int64) / 2**30
                room = f"{shape[0]} photos take {need:.1f} GB there"
                raise InputError(
                    f"{place}: {error}; {room}: set TMPDIR to a roomier folder, or cnn.size lower"
                ) from None
        return np.memmap(file, np.uint8, "r", shape=shape)
