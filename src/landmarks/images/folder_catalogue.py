"""A folder of photos as a catalogue: each of its subfolders is a landmark of that name."""

import hashlib
import os
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from landmarks.common.errors import InputError
from landmarks.images.folders import Listing

LONGEST = 80  # letters of an id that come from the names of folder and file


def rows(folder: Path, listing: Listing) -> Iterator[tuple[str, str, str]]:
    """Id, ``file:`` URL and landmark of each photo of ``listing`` that lies in a subfolder of ``folder``.

    Ids come from the path inside ``folder`` and the bytes: they stay as they are when the folder moves or gets more photos,
    and a photo that was edited is another one. URLs are relative where ``folder`` is: a table made from a folder in the
    repository is the same in every clone. Raises ``InputError`` if there is no subfolder with photos, or its name is not text.
    """
    found = False
    for path in listing.paths:
        inside = path.relative_to(folder)
        if len(inside.parts) > 1:
            found = True
            yield _id(inside, path.read_bytes()), f"file:{quote(os.fsencode(path))}", _landmark(folder, inside.parts[0])
    if not found:
        raise InputError(
            f"{folder}: no subfolder with photos; put the photos of each landmark into a subfolder of its name"
        )


def _landmark(folder: Path, name: str) -> str:
    try:
        name.encode()
    except UnicodeEncodeError:
        raise InputError(f"{folder}: the name of the subfolder {name!r} is not UTF-8; rename it") from None
    return unicodedata.normalize("NFC", name)  # as Linux writes ñ; macOS writes it as two letters


def _id(inside: Path, content: bytes) -> str:
    """A name in plain letters that tells folder and file, and a hash that makes it the only one."""
    digest = hashlib.blake2b(os.fsencode(inside) + b"\0" + content, digest_size=6).hexdigest()
    plain = unicodedata.normalize("NFKD", "_".join(inside.with_suffix("").parts)).encode("ascii", "ignore").decode()
    return f"{re.sub('[^A-Za-z0-9_]+', '_', plain).strip('_')[:LONGEST]}_{digest}".lstrip("_")
