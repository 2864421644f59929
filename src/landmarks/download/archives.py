"""TAR archives on web hosts: each is fetched whole, once, and of it only the photos that are wanted are kept.

Google Landmarks v2 lies in 500 archives of a gigabyte. The processes, or the workers of a cluster, share them out; what each keeps is
a small archive, which ``storage.Tars`` reads like any other. It is no output: deleting it costs time and changes no result.
"""

import hashlib
import re
import shutil
import tarfile
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import requests
from urllib3.exceptions import HTTPError

from landmarks.common import parallel
from landmarks.common.errors import InputError
from landmarks.common.files import whole
from landmarks.common.result_cache import fingerprint
from landmarks.images.folders import ENDINGS

HTTP = ("http://", "https://")
SUM = "#md5="  # after the address of an archive: its MD5, or the address of a file that begins with it
RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
SECONDS = 60  # without a byte
BYTES = 2**20  # read at once


def kept(patterns: Sequence[str], wanted: Iterable[str], folder: Path) -> list[str]:
    """The ``patterns`` of ``storage.Tars``, those on web hosts replaced by archives in ``folder`` of the ids ``wanted`` alone.

    ``{000..499}`` in an address stands for so many archives. One that was fetched before for the same ids is not fetched
    again; those of other ids are removed. Raises ``InputError`` of an archive that cannot be fetched, is not whole, or has
    another MD5; what was fetched by then is kept.
    """
    addresses = [name for pattern in patterns for name in _each(pattern) if name.startswith(HTTP)]
    ids = sorted(set(wanted)) if addresses else []
    own = folder / fingerprint(ids)
    for other in set(folder.glob("*")) - {own}:
        shutil.rmtree(other)
    if ids:
        with whole(own / "wanted.txt") as listing:  # not handed to each worker
            listing.write_text("\n".join(ids), encoding="utf-8")
    keep = partial(_keep, listing=own / "wanted.txt")
    small = dict(zip(addresses, parallel.sound(parallel.each(keep, addresses, "archives", "archive")), strict=True))
    return [small.get(name, name) for pattern in patterns for name in _each(pattern)]


def _each(pattern: str) -> list[str]:
    """The addresses that one with a range such as ``{000..499}`` stands for, which may occur in it more than once."""
    found = RANGE.search(pattern)
    if not found or not pattern.startswith(HTTP):
        return [pattern]
    first, last = found.groups()
    return [pattern.replace(found[0], f"{number:0{len(first)}}") for number in range(int(first), int(last) + 1)]


def _keep(address: str, listing: Path) -> str:
    """Fetch an archive, and return the path of that of its photos whose ids are in ``listing``, beside which it lies."""
    url, _, checksum = address.partition(SUM)
    target = listing.with_name(f"{PurePosixPath(urlsplit(url).path).stem}-{fingerprint(address)[:8]}.tar")
    if target.is_file():
        return str(target)
    wanted = set(listing.read_text(encoding="utf-8").split("\n"))
    try:
        expected = _expected(checksum)
        with requests.get(url, stream=True, timeout=SECONDS) as answer, whole(target) as partial:
            answer.raise_for_status()
            body = _Hashed(answer.raw)
            _copy(body, partial, wanted)
            while body.read(BYTES):  # what follows the end of the archive counts for its MD5
                pass
            if expected not in ("", found := body.md5.hexdigest()):
                raise InputError(
                    f"{url}: its MD5 is {found}, not {expected}; run: dvc repro (or correct download.tars)"
                )
    except (requests.RequestException, HTTPError) as error:
        raise InputError(f"{url}: cannot be fetched ({error}); run: dvc repro; whole archives are kept") from None
    except (tarfile.TarError, EOFError) as error:
        raise InputError(f"{url}: not a whole uncompressed TAR ({error}); run: dvc repro") from None
    return str(target)


def _expected(checksum: str) -> str:
    """The MD5 that an address asks for, empty if none: given as such, or by a file in the form of ``md5sum``."""
    if not checksum.startswith(HTTP):
        return checksum.lower()
    answer = requests.get(checksum, timeout=SECONDS)
    answer.raise_for_status()
    return (answer.text.split() or [""])[0].lower()


class _Hashed:
    """A stream whose MD5 is known when it was read."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self.md5 = hashlib.md5(usedforsecurity=False)

    def read(self, size: int) -> bytes:
        content = bytes(self.stream.read(size))
        self.md5.update(content)
        return content


def _copy(body: _Hashed, target: Path, wanted: set[str]) -> None:
    """Write the photos ``wanted`` of a TAR to another one, as they come; a photo that is a link there is left out."""
    with tarfile.open(fileobj=body, mode="r|") as archive, tarfile.open(target, "w") as small:  # type: ignore[call-overload]  # it reads, and that is enough
        for member in archive:
            name = PurePosixPath(member.name)
            if member.isreg() and name.suffix.lower() in ENDINGS and not wanted.isdisjoint((name.stem, name.name)):
                entry = tarfile.TarInfo(member.name)
                entry.size = member.size
                small.addfile(entry, archive.extractfile(member))
            archive.members = []  # the list would grow with the archive
