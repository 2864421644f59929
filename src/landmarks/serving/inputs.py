"""The photos and clips that a command line names: files, folders, URLs."""

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from landmarks.common.errors import InputError
from landmarks.common.status import Status, StatusError
from landmarks.download import fetcher, storage
from landmarks.serving import video

ENDINGS = (*storage.ENDINGS, *video.ENDINGS)


class PhotoSource(NamedTuple):
    """A photo under the name that the command line gave it. ``read`` returns its bytes; raises ``InputError`` if it has none."""

    name: str
    read: Callable[[], bytes]


def is_url(name: str) -> bool:
    """Whether ``name`` is a URL and not a path."""
    return "://" in name


def is_clip(name: str) -> bool:
    """Whether ``name`` is a path that ends as a video does."""
    return not is_url(name) and name.lower().endswith(video.ENDINGS)


def expand_folders(names: Sequence[str]) -> list[str]:
    """The paths and URLs in ``names`` without duplicates; in place of a folder, the photos and clips in it, sorted.

    Hidden files are left out. Raises ``InputError`` if a folder has no photo and no clip.
    """
    expanded: list[str] = []
    for name in names:
        folder = Path(name)
        if is_url(name) or not folder.is_dir():
            expanded.append(name)
            continue
        inside = sorted(path for path in folder.rglob("*") if _is_input(path.relative_to(folder)) and path.is_file())
        if not inside:
            raise InputError(f"{name}: no photos in there ({', '.join(ENDINGS)}); give another folder")
        expanded += map(str, inside)
    return list(dict.fromkeys(expanded))


def _is_input(path: Path) -> bool:
    return path.suffix.lower() in ENDINGS and not any(part.startswith(".") for part in path.parts)


@contextlib.contextmanager
def open_sources(names: Sequence[str], settings: fetcher.FetchSettings) -> Iterator[Iterator[PhotoSource]]:
    """Each of ``names``, from ``expand_folders``, in order.

    URLs are downloaded first, under ``settings``, into a folder that is deleted when the block ends.
    """
    urls = [name for name in names if is_url(name)]
    with tempfile.TemporaryDirectory() as folder:
        downloaded = _download(urls, Path(folder), settings) if urls else {}
        yield (downloaded.get(name) or PhotoSource(name, partial(_read, name, settings.megabytes)) for name in names)


def _read(name: str, megabytes: float) -> bytes:
    try:
        return storage.read(name, megabytes)
    except StatusError as error:
        raise InputError("no such file" if error.status == Status.GONE else str(error)) from None


def _download(urls: list[str], folder: Path, settings: fetcher.FetchSettings) -> dict[str, PhotoSource]:
    url_of = {str(number): url for number, url in enumerate(dict.fromkeys(urls))}
    sources = {}
    with fetcher.Fetcher(folder, settings) as downloads:
        for number, url in url_of.items():
            downloads.add({"id": number, "url": url, "landmark_id": ""})
        for _ in url_of:
            answer = downloads.answers.get()
            if isinstance(answer, BaseException):
                raise answer
            url = url_of[answer.id]
            sources[url] = PhotoSource(url, partial(_read_download, folder / f"{answer.id}.jpg", answer.status))
    return sources


def _read_download(file: Path, status: Status) -> bytes:
    if status != Status.OK:
        raise StatusError(status)
    return file.read_bytes()
