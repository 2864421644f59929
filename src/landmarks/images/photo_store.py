"""The photos in a folder by id, whether each is a file ``<id>.jpg`` or lies in a TAR shard, where it is read in place.

From some 50,000 photos on, neither DVC nor a shared file system bears single files. A shard is an uncompressed TAR as
WebDataset reads it, ``<number>-<MD5>.tar``; beside it lies its index, ``.index``: JSON of offset, size and SHA-256 by id.
"""

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple

from landmarks.common import files
from landmarks.common.errors import InputError
from landmarks.images import object_store

SHARD, INDEX, SINGLE = ".tar", ".index", ".jpg"
Index = dict[str, tuple[int, int, str] | None]  # by id offset, size and SHA-256; None: not to be read any more


class Member(NamedTuple):
    """A photo inside a shard, read as a ``Path`` is. It is all that another process needs, and holds no open file."""

    id: str
    shard: Path
    offset: int  # of its first byte
    size: int  # bytes
    sha256: str

    def __str__(self) -> str:
        """Where it lies."""
        return f"{self.shard}::{self.id}{SINGLE}"

    def read_bytes(self) -> bytes:
        """Its bytes, from the object store if the shard is not here. Raises ``InputError`` if they are not those of the index."""
        try:
            with self.shard.open("rb") as file:
                file.seek(self.offset)
                content = file.read(self.size)
        except FileNotFoundError:
            return object_store.read(self.shard, self.offset, self.size, self.sha256)
        if hashlib.sha256(content).hexdigest() != self.sha256:
            raise InputError(f"{self}: not the bytes that its index names; remove that shard and run: dvc checkout")
        return content

    def is_file(self) -> bool:
        """Its shard is here, or in the object store."""
        return True

    def open(self, _: Literal["rb"]) -> BinaryIO:
        """Its bytes as an open file."""
        return io.BytesIO(self.read_bytes())


Photo = Path | Member


def sha256(photo: Photo) -> str:
    """The hexadecimal SHA-256 of a photo: of a member that of the index, against which its bytes are checked when they are read."""
    return photo.sha256 if isinstance(photo, Member) else files.sha256(photo)


class PhotoStore:
    """The photos in a folder: ``store[id].read_bytes()``, ``id in store``, and iteration over the ids, sorted.

    Indices are read once, here; of single files only what is asked for is looked at. A single file stands before a member
    of the same id: it is newer. Raises ``InputError`` if an index cannot be read.
    """

    def __init__(self, folder: Path, remote: bool = True) -> None:
        """Look into the folder; without ``remote``, as for originals, nothing is in the object store."""
        self.folder = folder
        self.shards: dict[Path, list[str]] = {}  # their ids, in order
        self._members: dict[str, Member] = {}
        by_age = sorted(folder.glob(f"[!.]*{INDEX}"), key=lambda path: path.stat().st_mtime_ns)
        for index in by_age:  # after a kill a photo may be in two shards: the newer counts
            shard = index.with_suffix(SHARD)
            if (remote and object_store.address()) or shard.is_file():
                places = _read_index(index)
                self.shards[shard] = list(places)
                self._members |= {photo: Member(photo, shard, *place) for photo, place in places.items() if place}

    @property
    def needs_folder(self) -> bool:
        """Whether other machines have to see the folder: no object store has its photos."""
        return not (self.shards and object_store.address())

    def __getitem__(self, photo: str) -> Photo:
        """Return the photo; the path of one that is not there, so that reading it says so."""
        single = self.folder / f"{photo}{SINGLE}"
        return self._members.get(photo, single) if self.shards and not single.is_file() else single

    def __contains__(self, photo: str) -> bool:
        """Return whether there is a photo of that id."""
        return photo in self._members or (self.folder / f"{photo}{SINGLE}").is_file()

    def __iter__(self) -> Iterator[str]:
        """Yield the ids, sorted."""
        return iter(sorted({*self._members, *(path.stem for path in self.folder.glob(f"[!.]*{SINGLE}"))}))

    def listed(self, known: Iterable[str]) -> list[str]:
        """The ids, sorted. Raises ``InputError`` if there are none or one is not ``known``."""
        ids = list(self)
        if not ids:
            raise InputError(f"{self.folder}: no photos; run the stage that makes it: dvc repro")
        if others := set(ids).difference(known):
            stray = self[min(others)]
            raise InputError(f"{stray}: in no table of downloads; remove it or run: dvc repro anonymize")
        return ids


def _read_index(index: Path) -> Index:
    try:
        return {photo: place and _place(*place) for photo, place in json.loads(index.read_text()).items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{index}: not the index of a shard ({error}); remove it and run: dvc checkout") from None


def forget(folder: Path, ids: Iterable[str]) -> None:
    """Make photos in shards unreadable at once: indices have no place for them. ``arrange`` then writes their shards anew."""
    dropped = set(ids)
    for index in folder.glob(f"[!.]*{INDEX}"):
        places = _read_index(index)
        if not dropped.isdisjoint(photo for photo, place in places.items() if place):
            age = index.stat()
            _write_index(index, {photo: None if photo in dropped else place for photo, place in places.items()})
            os.utime(index, ns=(age.st_atime_ns, age.st_mtime_ns))  # which of two indices is newer stays known


def arrange(folder: Path, ids: Sequence[str], shard: int, remote: bool = True) -> list[Path]:
    """Leave these photos in the folder and no others: ``shard`` of them in a TAR, in this order; 0: each a file. Return the TARs.

    Shards that are as they should be stay untouched. The others are written beside the old ones, under names of their own; a
    single file goes once its shard is whole, old shards at the end. A run that is killed leaves every photo in the folder, and
    the next call goes on.
    """
    store, kept, shards = PhotoStore(folder, remote), set[Path](), list[Path]()
    if dropped := set(store).difference(ids):
        forget(folder, dropped)
        store = PhotoStore(folder, remote)
    for number, start in enumerate(range(0, len(ids), shard) if shard else ()):
        block = ids[start : start + shard]
        written = _unchanged(store, number, block) or _write(folder, number, [(photo, store[photo]) for photo in block])
        shards.append(written)
        kept |= {written, written.with_suffix(INDEX)}
        for photo in block:
            (folder / f"{photo}{SINGLE}").unlink(missing_ok=True)
    for photo in () if shard else ids:
        single, found = folder / f"{photo}{SINGLE}", store[photo]
        if found != single:
            with files.whole(single) as unfinished:
                unfinished.write_bytes(found.read_bytes())
        kept.add(single)
    for path in sorted(folder.iterdir(), key=lambda path: path.suffix != INDEX):  # a shard goes after its index
        if path.suffix in (SHARD, INDEX, SINGLE) and path not in kept:
            path.unlink(missing_ok=True)
    return shards


def _unchanged(store: PhotoStore, number: int, ids: Sequence[str]) -> Path | None:
    """The shard of this number, if it holds exactly these photos, and none of them is there anew."""
    found = [store[photo] for photo in ids]
    shards = {photo.shard if isinstance(photo, Member) else photo for photo in found}
    shard = shards.pop()
    same = not shards and store.shards.get(shard) == list(ids) and shard.name.startswith(f"{number:05}-")
    return shard if same and shard.is_file() else None


def _write(folder: Path, number: int, photos: Sequence[tuple[str, Photo]]) -> Path:
    """Write a shard and its index, the same bytes for the same photos whenever and wherever; return its path."""
    index: Index = {}
    rough = folder / f".{os.getpid()}.{number:05}{SHARD}"
    with files.whole(rough) as unfinished, tarfile.open(unfinished, "w", format=tarfile.PAX_FORMAT) as archive:
        for photo, found in photos:
            content, entry = found.read_bytes(), tarfile.TarInfo(f"{photo}{SINGLE}")  # of mode 644, uid 0, mtime 0
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
            padded = -(-entry.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
            index[photo] = archive.offset - padded, entry.size, hashlib.sha256(content).hexdigest()
            archive.members = []  # type: ignore[attr-defined]  # the list would grow with the archive
    with rough.open("rb") as file:
        md5 = hashlib.file_digest(file, partial(hashlib.md5, usedforsecurity=False)).hexdigest()
    shard = rough.replace(folder / f"{number:05}-{md5}{SHARD}")
    _write_index(shard.with_suffix(INDEX), index)
    return shard


def _place(offset: int, size: int, sha256: str) -> tuple[int, int, str]:
    return offset, size, sha256


def _write_index(path: Path, places: Index) -> None:
    with files.whole(path) as unfinished:
        unfinished.write_text(json.dumps(places))
