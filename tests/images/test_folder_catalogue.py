"""A folder of photos is a catalogue: each subfolder a landmark of that name."""

import os
import re
import shutil
from pathlib import Path

import pytest
from support import Script, fails_in_one_line

from landmarks.dataset import catalogues, schema
from landmarks.download import storage
from landmarks.images import folder_catalogue, folders

Row = tuple[str, str, str]


@pytest.fixture
def folder(tmp_path: Path, photo: bytes) -> Path:
    made = tmp_path / "mis fotos & más"
    for name in ("Torre Añil/a.jpg", "Torre Añil/2019/a b.JPG", "-x y/1.jpeg", "9/a.jpg"):
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).write_bytes(photo + name.encode())
    return made


def rows(folder: Path) -> list[Row]:
    return list(folder_catalogue.rows(folder, folders.list_photos(folder)))


def test_each_photo_is_a_row_of_its_subfolder_and_its_url_is_read_as_that_file(folder: Path) -> None:
    found = rows(folder)
    assert sorted(landmark for _, _, landmark in found) == ["-x y", "9", "Torre Añil", "Torre Añil"]
    assert {storage.scheme_of(url) for _, url, _ in found} == {"file"}
    contents = {storage.read(url, 1) for _, url, _ in found}
    assert contents == {path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_ids_name_a_file_stay_when_the_folder_moves_or_grows_and_change_with_the_photo(
    folder: Path, photo: bytes
) -> None:
    before = {url: photo_id for photo_id, url, _ in rows(folder)}
    assert len(set(before.values())) == 4
    assert all(re.fullmatch(schema.SAFE_ID, photo_id) for photo_id in before.values())
    moved = folder.rename(folder.with_name("elsewhere"))
    (moved / "9" / "b.jpg").write_bytes(photo)
    assert set(before.values()) < {photo_id for photo_id, _, _ in rows(moved)}
    (moved / "9" / "a.jpg").write_bytes(photo + b"edited")
    assert len(set(before.values()) & {photo_id for photo_id, _, _ in rows(moved)}) == 3


def test_a_relative_folder_gives_relative_urls(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the table of a folder in the repository is the same in every clone, and in the queue's."""
    monkeypatch.chdir(folder.parent)
    urls = [url for _, url, _ in rows(Path(folder.name))]
    assert all(url.startswith("file:mis%20fotos") for url in urls)
    assert all(storage.read(url, 1) for url in urls)


def test_names_that_are_not_utf_8_are_told_for_landmarks_and_taken_for_photos(folder: Path, photo: bytes) -> None:
    odd = os.fsdecode(b"caf\xe9")
    (folder / "9" / f"{odd}.jpg").write_bytes(photo)
    (url,) = [url for _, url, _ in rows(folder) if "caf%E9" in url]
    assert storage.read(url, 1) == photo
    shutil.move(folder / "9", folder / odd)
    with pytest.raises(ValueError, match="not UTF-8; rename it"):
        rows(folder)


def test_the_stage_takes_a_folder_and_says_what_it_leaves_out(script: Script, folder: Path, photo: bytes) -> None:
    (folder / "alone.jpg").write_bytes(photo)
    (folder / "9" / "x.heic").write_bytes(b"x")
    out = [folder.parent / name for name in ("table.csv", "counts.json")]
    done = script("catalogue", *out, "--source", folder)
    assert done.returncode == 0, done.stderr
    assert "1 photos in no subfolder are left out" in done.stderr
    assert "not looked at: 1 .heic" in done.stderr
    assert catalogues.read(out[0]).num_rows == 4


def test_a_folder_without_subfolders_is_told_what_to_do(script: Script, tmp_path: Path, photo: bytes) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(photo)
    done = script("catalogue", tmp_path / "t.csv", tmp_path / "c.json", "--source", tmp_path / "photos")
    fails_in_one_line(done, "photos: no subfolder with photos", "subfolder of its name")
