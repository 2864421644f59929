"""Photos that lie in files: on this machine, in an object store, inside TAR archives."""

import errno
import posixpath
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import fsspec

from landmarks.common import progress
from landmarks.common.errors import InputError
from landmarks.common.file_urls import local_path
from landmarks.common.status import Status, StatusError
from landmarks.download import safe_http
from landmarks.images.folders import ENDINGS

LINKS = 8  # followed from one member of a TAR archive to the next
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
    try:
        with _opened(url) as file:
            content = file.read(cap + 1)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        raise StatusError(Status.GONE) from None
    except PermissionError:
        raise StatusError(Status.REFUSED) from None
    except ValueError:
        raise StatusError(Status.BAD_URL) from None
    except Exception as error:  # each store raises errors of its own
        is_too_long = isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG
        raise StatusError(Status.GONE if is_too_long else Status.UNREACHABLE) from None
    if len(content) > cap:
        raise StatusError(Status.TOO_LARGE)
    return bytes(content)


def _opened(url: str) -> Any:
    """Open a file to read. Raises ``FileNotFoundError`` for what is no plain file on this machine: a pipe might never end."""
    if scheme_of(url) != "file":
        return fsspec.open(url, "rb")
    path = local_path(url)
    if not path.is_file():
        raise FileNotFoundError(path)
    return path.open("rb")


class Place(NamedTuple):
    """Where the bytes of a photo lie inside a TAR archive."""

    system: Any  # a file system of fsspec
    path: str
    member: str
    start: int
    size: int


class Tars:
    """Photos inside uncompressed TAR archives, found by file name: ``<id>.jpg`` in any folder, or ``<id>`` if that has an ending.

    The headers of the archives are read once to find the photos that are wanted, and again where one is a link to a file of
    another name; each photo is then read in place, without unpacking. Of several copies in an archive the last counts, as
    for ``tar``: a newer one was appended. Archives that were joined by ``cat`` are read to the end.
    """

    def __init__(self, patterns: Sequence[str], wanted: Iterable[str]) -> None:
        """Look for the ids ``wanted`` in the archives named by ``patterns`` (paths or URLs, ``*`` allowed), in order.

        Raises ``InputError`` if a pattern matches no archive or one is not complete.
        """
        self._places: dict[str, Place] = {}
        missing = set(wanted)
        archives = [file for pattern in patterns for file in _expand(pattern)]
        for file in progress.over(iter(archives), len(archives), "index", "archive") if archives else ():
            if missing:
                found = _find(file, missing)
                self._places |= found
                missing -= set(found)

    def __contains__(self, photo: str) -> bool:
        """Return whether there is a file of that id."""
        return photo in self._places

    def read(self, photo: str, megabytes: float) -> tuple[str, bytes]:
        """Return ``archive::member`` and the bytes of a photo. Raises ``StatusError``: ``TOO_LARGE`` or ``UNREACHABLE``."""
        place = self._places[photo]
        if place.size > megabytes * 1e6:
            raise StatusError(Status.TOO_LARGE)
        try:
            content = place.system.cat_file(place.path, start=place.start, end=place.start + place.size)
            return f"{place.path}::{place.member}", bytes(content)
        except Exception:  # each store raises errors of its own
            raise StatusError(Status.UNREACHABLE) from None


def _find(file: Any, wanted: set[str]) -> dict[str, Place]:
    """Return where the photos ``wanted`` lie in an archive, by id. Links are followed, those to other links too."""
    found: dict[str, Place | str] = {}  # a place, or the name of the member that the photo is a link to
    for member in _members(file):
        name = PurePosixPath(member.name)
        if name.suffix.lower() in ENDINGS and (target := _target(file, member)):
            found |= dict.fromkeys({name.stem, name.name} & wanted, target)
    named: dict[str, Place | str | None] = {_normal(p.member): p for p in found.values() if isinstance(p, Place)}
    for _ in range(LINKS):
        if unknown := {target for target in found.values() if isinstance(target, str)}.difference(named):
            named |= dict.fromkeys(unknown)  # in case that there is no such member
            for member in _members(file):
                if (normal := _normal(member.name)) in unknown:
                    named[normal] = _target(file, member)
        followed = {photo: named[place] if isinstance(place, str) else place for photo, place in found.items()}
        found = {photo: place for photo, place in followed.items() if place}
    return {photo: place for photo, place in found.items() if isinstance(place, Place)}


def _members(file: Any) -> Iterator[tarfile.TarInfo]:
    """Yield the headers of an archive. Raises ``InputError`` if it is not whole, or no TAR."""
    try:
        with file as opened:
            first = opened.read(tarfile.BLOCKSIZE)
            if first.strip(b"\0"):  # else it is empty, or begins with the end of another
                tarfile.TarInfo.frombuf(
                    first, tarfile.ENCODING, "surrogateescape"
                )  # later, what is no header is passed over
            opened.seek(0)
            with tarfile.open(fileobj=opened, mode="r:", ignore_zeros=True) as archive:
                for member in archive:
                    yield member
                    archive.members = []  # type: ignore[attr-defined] # the list would grow with the archive
    except (tarfile.TarError, EOFError) as error:
        raise InputError(f"{file.path}: not a whole uncompressed TAR ({error}); fetch or unpack it again") from None


def _target(file: Any, member: tarfile.TarInfo) -> Place | str | None:
    """Return where the bytes of a member lie, the name of the member that it is a link to, or None for a folder and such."""
    if member.islnk():
        return _normal(member.linkname)
    if member.issym():
        return _normal(posixpath.join(posixpath.dirname(member.name), member.linkname))
    if member.isreg() and not member.issparse():
        return Place(file.fs, file.path, member.name, member.offset_data, member.size)
    return None


def _normal(name: str) -> str:
    return posixpath.normpath(name).lstrip("/")


def _expand(pattern: str) -> list[Any]:
    try:
        found = list(fsspec.open_files(pattern, "rb", expand=True))
    except ImportError:
        require(scheme_of(pattern))
        raise
    if not found or not all(file.fs.exists(file.path) for file in found):
        raise InputError(f"{pattern}: no such archive; set download.tars to the path of your TAR files, or to []")
    return found
