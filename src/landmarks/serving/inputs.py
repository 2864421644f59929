"""The photos and clips that somebody asks about: files, folders of them, addresses."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from landmarks.common.errors import InputError
from landmarks.download import fetcher, safe_http, storage
from landmarks.serving import video

SHOWN = (*storage.ENDINGS, *video.ENDINGS)
MEGABYTES = 32.0  # of one photo, as in the download stage


@dataclass(frozen=True)
class Content:
    """A photo by the name it was asked for, and how to get its bytes. ``read`` raises ``InputError`` where there are none."""

    source: str
    read: Callable[[], bytes]


def is_address(source: str) -> bool:
    """Is it a URL, and not a path?"""
    return "://" in source


def is_clip(source: str) -> bool:
    """Is it a video, by its name?"""
    return not is_address(source) and source.lower().endswith(video.ENDINGS)


def listed(asked: Sequence[str]) -> list[str]:
    """Paths and addresses: folders are replaced by the photos and clips in them, sorted, hidden ones left out; each once.

    Raises ``InputError`` if a folder has none.
    """
    found: list[str] = []
    for source in asked:
        folder = Path(source)
        if is_address(source) or not folder.is_dir():
            found.append(source)
            continue
        inside = sorted(path for path in folder.rglob("*") if _is_shown(path.relative_to(folder)) and path.is_file())
        if not inside:
            raise InputError(f"{source}: no photos in there ({', '.join(SHOWN)}); give another folder")
        found += map(str, inside)
    return list(dict.fromkeys(found))


def _is_shown(path: Path) -> bool:
    return path.suffix.lower() in SHOWN and not any(part.startswith(".") for part in path.parts)


@contextlib.contextmanager
def opened(asked: Sequence[str], contact: str, loopback: bool, robots: bool) -> Iterator[Iterator[Content]]:
    """Each photo of ``listed``, in order. Addresses are asked first, as the download stage asks them, and forgotten at the end."""
    addresses = [source for source in asked if is_address(source)]
    with tempfile.TemporaryDirectory() as folder:
        fetched = _fetch(addresses, Path(folder), contact, loopback, robots) if addresses else {}
        yield (fetched.get(source) or Content(source, partial(_read, source)) for source in asked)


def _read(source: str) -> bytes:
    try:
        return storage.read(source, MEGABYTES)
    except safe_http.FetchError as error:
        raise InputError("no such file" if str(error) == "gone" else str(error)) from None


def _fetch(addresses: list[str], folder: Path, contact: str, loopback: bool, robots: bool) -> dict[str, Content]:
    settings = fetcher.Settings(contact=contact, loopback=loopback, robots=robots, megabytes=MEGABYTES, attempts=2)
    numbers = {str(number): address for number, address in enumerate(dict.fromkeys(addresses))}
    found = {}
    with fetcher.Fetcher(folder, folder / "journal", settings, storage.Tars((), ())) as working:
        for number, address in numbers.items():
            working.add({"id": number, "url": address, "landmark_id": ""})
        for _ in numbers:
            answer = working.answers.get()
            if isinstance(answer, BaseException):
                raise answer
            found[numbers[answer.id]] = Content(
                numbers[answer.id], partial(_kept, folder / f"{answer.id}.jpg", answer.status)
            )
    return found


def _kept(file: Path, status: str) -> bytes:
    if status != "ok":
        raise InputError(status)
    return file.read_bytes()
