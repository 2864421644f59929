"""Folders of photos as people have them: RAW files, movies of Live Photos, sidecars and notes lie beside the photos."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from landmarks.common.errors import InputError

ENDINGS = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp")  # of the formats that decoding reads
LIVE = (".mov", ".mp4")  # the second of movie that a phone keeps beside a photo of the same name
SYSTEM = ("@eadir", "__macosx", "$recycle.bin")  # folders of thumbnails and of deleted files, visible to programs only


@dataclass(frozen=True)
class Listing:
    """What is to be looked at in a folder and its subfolders, sorted; and how many other files there are, by ending."""

    paths: list[Path]
    others: Counter[str]


def summary(others: Counter[str]) -> str:
    """One line about files that are neither photos nor clips: ``not looked at: 2 .arw, 1 .xmp``."""
    counts = sorted(others.items(), key=lambda row: (-row[1], row[0]))
    return f"not looked at: {', '.join(f'{count} {ending}' for ending, count in counts)}"


def list_photos(folder: Path, clips: Sequence[str] = ()) -> Listing:
    """The photos in a folder and its subfolders, told by their endings, and the files that end as ``clips``.

    Hidden files and folders are left out uncounted; the movie of a Live Photo (``a.mov`` beside ``a.jpg``) is no clip.
    Raises ``InputError`` if there is no photo and no clip.
    """
    files = [path for path in folder.rglob("*") if _is_visible(path.relative_to(folder)) and path.is_file()]
    photos = [path for path in files if path.suffix.lower() in ENDINGS]
    live = {path.with_suffix("") for path in photos}
    paths = photos + [
        path
        for path in files
        if path.suffix.lower() in clips and not (path.suffix.lower() in LIVE and path.with_suffix("") in live)
    ]
    others = Counter(path.suffix.lower() or "without ending" for path in set(files).difference(paths))
    if not paths:
        seen = f"; {summary(others)}" if others else ""
        raise InputError(f"{folder}: no photos in there ({', '.join((*ENDINGS, *clips))}){seen}; give another folder")
    return Listing(paths=sorted(paths), others=others)


def _is_visible(path: Path) -> bool:
    return not any(part.startswith(".") or part.lower() in SYSTEM for part in path.parts)
