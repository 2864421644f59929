"""The photos and clips that a command line names: files, folders, URLs."""

import contextlib
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from landmarks.common.errors import InputError
from landmarks.common.status import Status, StatusError
from landmarks.download import fetcher
from landmarks.images import folders
from landmarks.serving import video


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


def expand_folders(names: Sequence[str], others: Counter[str] | None = None) -> list[str]:
    """The paths and URLs in ``names`` without duplicates; in place of a folder, the photos and clips in it, sorted.

    ``others`` gets the other files of the folders, counted by ending. Raises ``InputError`` if a folder has no photo and no clip.
    """
    expanded: list[str] = []
    for name in names:
        folder = Path(name)
        if is_url(name) or not folder.is_dir():
            expanded.append(name)
            continue
        listing = folders.list_photos(folder, video.ENDINGS)
        expanded += map(str, listing.paths)
        if others is not None:
            others.update(listing.others)
    return list(dict.fromkeys(expanded))


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
    """The bytes of a file. Its name is taken as it is, whatever it looks like: ``a::b.jpg``, ``10:30.jpg``."""
    path, most = Path(name), int(megabytes * 1e6)
    if not path.is_file():  # also a pipe, which might never end
        raise InputError("no such file")
    try:
        with path.open("rb") as file:
            content = file.read(most + 1)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}") from None
    if len(content) > most:
        raise StatusError(Status.TOO_LARGE)
    return content


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
