"""Shards in an object store, through fsspec: where they lie is said by the environment variable LANDMARKS_STORE.

They lie under the names that a remote of DVC gives them, so that one bucket can be both: what is stored here, `dvc push` finds
there, and what was pushed can be read here.
"""

import hashlib
import os
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import fsspec

from landmarks.common.errors import InputError

STORE = "LANDMARKS_STORE"  # such as s3://bucket/prefix; where photos lie changes no result
TRIES = 5
SECONDS = 0.5  # before the second try; then twice as long each time

Result = TypeVar("Result")


def address() -> str:
    """The store that is named by LANDMARKS_STORE, empty if none is."""
    return os.environ.get(STORE, "").rstrip("/")


def upload(shards: Iterable[Path]) -> int:
    """Put those shards into the store, if one is named, that it lacks; return how many.

    Raises ``InputError`` if it does not take one.
    """
    return sum(_tried(shard, partial(_put, shard=shard)) for shard in shards if address())


def _put(system: Any, key: str, shard: Path) -> bool:
    size = shard.stat().st_size
    if system.exists(key) and system.size(key) == size:
        return False
    system.makedirs(system._parent(key), exist_ok=True)
    system.put_file(str(shard), key)
    system.invalidate_cache()
    if system.size(key) != size:
        raise OSError("it kept another number of bytes")
    return True


def read(shard: Path, offset: int, size: int, sha256: str) -> bytes:
    """So many bytes of a shard in the store. Raises ``InputError`` if they cannot be had, or have another hash."""

    def fetch(system: Any, key: str) -> bytes:
        content = bytes(system.cat_file(key, start=offset, end=offset + size))
        if hashlib.sha256(content).hexdigest() != sha256:
            raise OSError("it gave other bytes than the index of the shard names")
        return content

    return _tried(shard, fetch)


def _tried(shard: Path, work: Callable[[Any, str], Result]) -> Result:
    """``work(file system, key of the shard)``; what fails is tried again, after a pause. Raises ``InputError`` in the end."""
    if not address():
        raise InputError(f"{shard}: no such file; run: dvc checkout (or set {STORE} to the object store that has it)")
    md5 = shard.stem.rpartition("-")[2]
    url = f"{address()}/files/md5/{md5[:2]}/{md5[2:]}"
    for attempt in range(TRIES):
        try:
            system, key = fsspec.core.url_to_fs(url)
            return work(system, key)
        except (FileNotFoundError, ImportError, ValueError) as error:  # of which waiting makes nothing
            problem = f"{type(error).__name__}: {error}"
            break
        except Exception as error:  # each store raises errors of its own
            problem = f"{type(error).__name__}: {error}, {TRIES} times"
            if attempt + 1 < TRIES:
                time.sleep(SECONDS * 2**attempt)
    raise InputError(f"{shard}: {url}: {problem}; mend {STORE} or run: dvc checkout")
