"""Photos that lie in files: on this machine, in an object store, inside TAR archives."""

import tarfile
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import fsspec

from landmarks.common import progress
from landmarks.common.errors import InputError
from landmarks.common.status import Status, StatusError
from landmarks.download import safe_http

ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
EXTRAS = {"s3": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "abfs": "adlfs", "abfss": "adlfs", "az": "adlfs"}


def scheme_of(url: str) -> str:
    """Return the scheme of a URL in lower case; ``file`` for a bare path, ``bad`` if it cannot be parsed."""
    return safe_http.split(url).scheme or "file"


def require(scheme: str) -> None:
    """Raise ``InputError`` if no file system for ``scheme`` is installed."""
    try:
        fsspec.get_filesystem_class(scheme)
    except ImportError:
        package = EXTRAS.get(scheme, "its fsspec package")
        raise InputError(f"{scheme}:// needs a package: pip install {package}, or leave those rows out") from None
    except ValueError:
        raise InputError(f"download.schemes: {scheme!r} is no scheme that fsspec knows; remove it") from None


def read(url: str, megabytes: float) -> bytes:
    """Return the bytes of a file. Raises ``StatusError``: ``GONE``, ``REFUSED``, ``TOO_LARGE``, ``UNREACHABLE`` or ``BAD_URL``."""
    if "::" in url:
        raise StatusError(Status.BAD_URL)  # fsspec would chain file systems; no photo needs that
    cap = int(megabytes * 1e6)
    if scheme_of(url) == "file" and not Path(url.removeprefix("file://")).is_file():
        raise StatusError(Status.GONE)  # also a pipe, which might never end
    try:
        with fsspec.open(url, "rb") as file:
            content = file.read(cap + 1)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        raise StatusError(Status.GONE) from None
    except PermissionError:
        raise StatusError(Status.REFUSED) from None
    except ValueError:
        raise StatusError(Status.BAD_URL) from None
    except Exception:  # each store raises errors of its own
        raise StatusError(Status.UNREACHABLE) from None
    if len(content) > cap:
        raise StatusError(Status.TOO_LARGE)
    return bytes(content)


class Tars:
    """Photos inside uncompressed TAR archives, found by file name: ``<id>.jpg`` in any folder.

    The headers of the archives are read once to find the photos that are wanted; each is then read in place, without
    unpacking.
    """

    def __init__(self, patterns: Sequence[str], wanted: Iterable[str]) -> None:
        """Look for the ids ``wanted`` in the archives named by ``patterns`` (paths or URLs, ``*`` allowed), in order.

        Raises ``InputError`` if a pattern matches no archive or one is not complete.
        """
        self._places: dict[str, tuple[Any, str, str, int, int]] = {}
        missing = set(wanted)
        archives = [file for pattern in patterns for file in _expand(pattern)]
        for file in progress.over(iter(archives), len(archives), "index", "archive") if archives else ():
            if missing:
                self._index(file, missing)

    def __contains__(self, photo: str) -> bool:
        """Return whether there is a file of that id."""
        return photo in self._places

    def read(self, photo: str, megabytes: float) -> tuple[str, bytes]:
        """Return ``archive::member`` and the bytes of a photo. Raises ``StatusError``: ``TOO_LARGE`` or ``UNREACHABLE``."""
        system, path, member, start, size = self._places[photo]
        if size > megabytes * 1e6:
            raise StatusError(Status.TOO_LARGE)
        try:
            return f"{path}::{member}", bytes(system.cat_file(path, start=start, end=start + size))
        except Exception:  # each store raises errors of its own
            raise StatusError(Status.UNREACHABLE) from None

    def _index(self, file: Any, missing: set[str]) -> None:
        try:
            with file as opened, tarfile.open(fileobj=opened, mode="r:") as archive:
                for member in archive:
                    photo, ending = PurePosixPath(member.name).stem, PurePosixPath(member.name).suffix.lower()
                    if member.isreg() and photo in missing and ending in ENDINGS:
                        self._places[photo] = (file.fs, file.path, member.name, member.offset_data, member.size)
                        missing.remove(photo)
                    archive.members = []  # type: ignore[attr-defined] # the list would grow with the archive
        except (tarfile.TarError, EOFError) as error:
            raise InputError(f"{file.path}: not a whole uncompressed TAR ({error}); fetch or unpack it again") from None


def _expand(pattern: str) -> list[Any]:
    try:
        found = list(fsspec.open_files(pattern, "rb", expand=True))
    except ImportError:
        require(scheme_of(pattern))
        raise
    if not found or not all(file.fs.exists(file.path) for file in found):
        raise InputError(f"{pattern}: no such archive; set download.tars to the path of your TAR files, or to []")
    return found
