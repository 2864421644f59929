"""The real photos in git: which they are, who took them, and that one may publish them."""

import csv

import pytest
from PIL import Image
from support import ROOT

from landmarks.common.files import sha256
from landmarks.dataset import catalogues
from landmarks.dataset.table_files import TableFile
from landmarks.reporting import cards

FOLDER = ROOT / "data" / "examples"
TABLE = FOLDER / "photos.csv"
FREE = {"Public domain", "CC0 1.0"}


@pytest.fixture(scope="module")
def rows() -> list[dict[str, str]]:
    with TABLE.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_table_lists_every_file_to_the_byte_and_no_other(rows: list[dict[str, str]]) -> None:
    assert {row["id"]: row["sha256"] for row in rows} == {path.stem: sha256(path) for path in FOLDER.glob("*.jpg")}
    assert {path.name for path in FOLDER.iterdir()} == {"photos.csv", *(f"{row['id']}.jpg" for row in rows)}


def test_every_photo_is_in_the_public_domain_or_under_cc0_and_names_author_and_source(
    rows: list[dict[str, str]],
) -> None:
    assert {row["license"] for row in rows} <= FREE
    for row in rows:
        assert row["source"].startswith("https://commons.wikimedia.org/wiki/File:")
        assert row["author"]
        assert row["name"]
        assert row["faces_obscured"].isdigit()


def test_the_photos_are_few_and_small_and_carry_no_metadata(rows: list[dict[str, str]]) -> None:
    assert 20 <= len(rows) <= 40
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 3_000_000
    for path in FOLDER.glob("*.jpg"):
        with Image.open(path) as photo:
            assert max(photo.size) == 512
            assert not photo.getexif()
            assert not {"icc_profile", "comment", "photoshop"} & photo.info.keys()


def test_the_table_is_a_catalogue_and_an_attribution(rows: list[dict[str, str]]) -> None:
    listed = catalogues.read(TABLE)
    assert all((ROOT / url.removeprefix("file:")).is_file() for url in listed["url"].to_pylist())
    credits = cards.attributions(TableFile(TABLE, str(TABLE)), [row["id"] for row in rows])
    assert list(credits["author"]) == [row["author"] for row in rows]
