"""Results of single photos, kept between runs in one SQLite file: a killed run resumes, a photo is processed once.

The file lies in a folder ``.cache`` beside the output that it serves; DVC and git ignore it. It is no output: deleting it
costs time and changes no result. A key names all that decides on a result (``fingerprint``) and the input.
"""

import contextlib
import hashlib
import io
import json
import sqlite3
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

import landmarks

Result = TypeVar("Result")

CHECKSUM = 8  # bytes in front of each value
SECONDS = 30.0  # that a write waits for another process which writes to the same file
# Errors of the disk, of the folder or of another process; all others come from a damaged file
SURROUNDINGS = (
    sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL, sqlite3.SQLITE_CANTOPEN,
)  # fmt: skip
SETUP = (
    "PRAGMA auto_vacuum = FULL",  # the file shrinks when it is pruned
    "PRAGMA synchronous = OFF",  # a kill loses nothing all the same; what a power cut damages is computed again
    "CREATE TABLE IF NOT EXISTS results (key TEXT PRIMARY KEY, value BLOB NOT NULL)",
)


def path_for(output: Path) -> Path:
    """Where the cache of ``output`` lies."""
    return output.parent / ".cache" / f"{output.stem}.sqlite"


def code_hash(*files: str | Path | None) -> str:
    """The hexadecimal SHA-256 of source files (``module.__file__``), in the order given."""
    code = hashlib.sha256()
    for file in files:
        code.update(Path(str(file)).read_bytes())
    return code.hexdigest()


def package_hash() -> str:
    """The same of all modules of this package."""
    return code_hash(*sorted(Path(landmarks.__file__).parent.rglob("*.py")))


def fingerprint(identity: Any) -> str:
    """A short name of ``identity``, a JSON value: settings, hashes of code and models, versions of libraries."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:32]


class ResultCache:
    """Bytes by key in one file; usable from several threads.

    Each ``put`` is a transaction: after a kill the file holds every value that was put, whole. A damaged value counts as
    missing, a damaged file is replaced by an empty one. Methods raise ``OSError`` if the file cannot be read or written.
    """

    def __init__(self, path: Path) -> None:
        """Open the file ``path``, which is created with its folder if it is missing."""
        self.path = path
        self._lock = threading.Lock()
        self._database: sqlite3.Connection | None = None

    def __enter__(self) -> Self:
        """Return the cache."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        with self._lock:
            self._close()

    def get(self, key: str) -> bytes | None:
        """Return the value put last under ``key``, None if there is none or it is damaged."""
        query = "SELECT value FROM results WHERE key = ?"
        rows = self._run(lambda database: database.execute(query, (key,)).fetchall())
        stored = bytes(rows[0][0]) if rows else b""
        value = stored[CHECKSUM:]
        return value if stored and stored[:CHECKSUM] == _checksum(value) else None

    def put(self, key: str, value: bytes) -> None:
        """Store ``value`` under ``key``; it is in the file when this returns."""
        row = key, _checksum(value) + value
        self._run(lambda database: database.execute("INSERT OR REPLACE INTO results VALUES (?, ?)", row))

    def prune(self, kept: Iterable[str]) -> None:
        """Remove every key that is not in ``kept``; the file shrinks accordingly."""
        wanted = set(kept)

        def delete(database: sqlite3.Connection) -> None:
            keys = database.execute("SELECT key FROM results").fetchall()
            with database:  # one transaction
                database.execute("BEGIN")
                database.executemany("DELETE FROM results WHERE key = ?", (row for row in keys if row[0] not in wanted))

        self._run(delete)

    def delete(self) -> None:
        """Delete the file, and its folder if nothing else is in it."""
        with self._lock:
            self._delete()
        with contextlib.suppress(OSError):
            self.path.parent.rmdir()

    def _run(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        with self._lock:
            try:
                try:
                    return work(self._open())
                except (sqlite3.Error, UnicodeError) as error:  # Unicode: sqlite3 quotes what it read in its message
                    if getattr(error, "sqlite_errorcode", 0) & 0xFF in SURROUNDINGS:
                        raise
                    self._delete()
                    return work(self._open())
            except sqlite3.Error as error:
                raise OSError(f"{self.path}: {error}") from None

    def _open(self) -> sqlite3.Connection:
        if self._database is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(self.path, timeout=SECONDS, isolation_level=None, check_same_thread=False)
            for statement in SETUP:
                self._database.execute(statement)
        return self._database

    def _close(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None

    def _delete(self) -> None:
        self._close()
        for file in (self.path, self.path.with_name(f"{self.path.name}-journal")):  # a leftover would be played back
            file.unlink(missing_ok=True)


class ArrayCache(ResultCache):
    """What each of several models gave for an output, kept beside it: one model that changes does not ask the others again."""

    def __init__(self, output: Path, identity: Any) -> None:
        """Serve ``output``. ``identity``, a JSON value, is what all arrays depend on, beside the code of this package."""
        super().__init__(path_for(output))
        self._identity = [identity, package_hash()]
        self._asked: set[str] = set()

    def find(self, made_of: Any) -> NDArray[Any] | None:
        """The array that was kept under ``made_of``, a JSON value; None if there is none."""
        value = self.get(self._key(made_of))
        return None if value is None else np.load(io.BytesIO(value), allow_pickle=False)

    def keep(self, made_of: Any, array: NDArray[Any]) -> None:
        """Store ``array`` under ``made_of``."""
        value = io.BytesIO()
        np.save(value, array, allow_pickle=False)
        self.put(self._key(made_of), value.getvalue())

    def forget_others(self) -> None:
        """Remove what this object was not asked for."""
        self.prune(self._asked)

    def _key(self, made_of: Any) -> str:
        key = fingerprint([self._identity, made_of])
        self._asked.add(key)
        return key


def _checksum(value: bytes) -> bytes:
    return hashlib.blake2b(value, digest_size=CHECKSUM).digest()
