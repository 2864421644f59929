"""Folders of photos: what lies beside the photos stops nothing and is counted."""

import os
from collections import Counter
from pathlib import Path

import pytest

from landmarks.common.errors import InputError
from landmarks.images import folders, formats

LATIN = os.fsdecode(b"caf\xe9.jpg")
PHOTOS = ["DSC1.JPG", "IMG_1.JPG", "a.jpg", "b.jfif", "c.JPE", LATIN, "trip/10:30 a::b [1].webp", "d.e.png"]
OTHERS = [
    "DSC1.ARW",
    "IMG_1.MOV",
    "a.xmp",
    "a.jpg.xmp",
    "notes.txt",
    "README",
    "IMG_2.HEIC",
    "IMG_2.MOV",
    "trip/Thumbs.db",
]
UNSEEN = ["._IMG_1.JPG", ".DS_Store", ".cache/x.jpg", "@eaDir/IMG_1.JPG/x.jpg", "__MACOSX/IMG_1.JPG"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in (*PHOTOS, *OTHERS, *UNSEEN):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.jpg").mkdir()
    return tmp_path


def test_photos_are_listed_and_the_rest_is_counted_by_ending(folder: Path) -> None:
    listing = folders.list_photos(folder)
    assert listing.paths == sorted(folder / name for name in PHOTOS)
    counted = {".xmp": 2, ".mov": 2, ".arw": 1, ".txt": 1, "without ending": 1, ".heic": 1, ".db": 1}
    assert listing.others == Counter(counted)
    line = "not looked at: 2 .mov, 2 .xmp, 1 .arw, 1 .db, 1 .heic, 1 .txt, 1 without ending"
    assert folders.summary(listing.others) == line


def test_a_clip_is_listed_unless_it_is_the_movie_of_a_photo(folder: Path) -> None:
    (folder / "film.avi").touch()
    (folder / "a.avi").touch()  # no phone keeps the movie of a photo so
    clips = set(folders.list_photos(folder, (".mov", ".avi")).paths).difference(folder / name for name in PHOTOS)
    assert clips == {folder / name for name in ("IMG_2.MOV", "film.avi", "a.avi")}


def test_a_folder_without_photos_is_an_error_that_counts_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "DSC1.ARW").touch()
    with pytest.raises(
        InputError, match=r"no photos in there \(\.jpg, .*\); not looked at: 1 \.arw; give another folder"
    ):
        folders.list_photos(tmp_path)


def test_every_ending_of_a_photo_is_that_of_a_format_that_is_decoded() -> None:
    from PIL import Image

    Image.init()
    assert {Image.EXTENSION[ending] for ending in folders.ENDINGS} == set(formats.READ)
