"""Paths of files on this machine, from the ways in which URLs write them."""

import sys
from pathlib import Path
from urllib.parse import unquote


def local_path(url: str) -> Path:
    """Return the path that a ``file:`` URL or a bare path names, whether such a file exists or not.

    After ``file:`` stands what ``Path.as_uri`` writes, with percent signs, also with the host ``localhost``; or the plain
    path, which is taken where there is a file of that name and none of the decoded one. A bare path is taken as it is.
    """
    if url[:5].lower() != "file:":
        return Path(url)
    plain = url[len("file:") :]
    plain = plain[len("//localhost") :] if plain[:12].lower() == "//localhost/" else plain.removeprefix("//")
    decoded = Path(unquote(plain, sys.getfilesystemencoding(), "surrogateescape"))
    return Path(plain) if _is_file(Path(plain)) and not _is_file(decoded) else decoded


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # in a folder that may not be searched, or a name longer than names can be
        return False
