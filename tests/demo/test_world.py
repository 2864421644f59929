"""The synthetic demo dataset answers like the web; its photos are varied, show people, and are the same on every run."""

import hashlib
import io

import numpy as np
import pytest
import requests
from PIL import Image

from landmarks.demo import renderer, world


@pytest.fixture(scope="module")
def web() -> requests.Session:
    session = requests.Session()
    session.mount(world.SCHEME, world.WorldAdapter())
    return session


def test_a_photo_is_the_same_bytes_every_time_and_another_from_elsewhere() -> None:
    key = (7, 3, 4)
    assert renderer.photo(*key) == renderer.photo(*key)
    others = [(8, 3, 4), (7, 4, 4), (7, 3, 5)]
    assert len({hashlib.sha256(renderer.photo(*k)).digest() for k in (key, *others)}) == 4


def test_photos_have_the_sizes_of_real_ones_and_some_lie_on_their_side() -> None:
    turned, sizes = 0, set()
    for view in range(60):
        with Image.open(io.BytesIO(renderer.photo(7, 1, view))) as photo:
            turned += photo.getexif().get(0x0112, 1) != 1
            sizes.add(photo.size)
    assert 1 <= turned <= 12
    assert {(1024, 693), (512, 384), (500, 750)} <= sizes
    assert max(max(size) for size in sizes) == 1024


def test_a_copy_is_the_same_picture_in_other_bytes() -> None:
    contents = [renderer.photo(7, 1, 2, copy) for copy in (0, 1)]
    assert contents[0] != contents[1]
    first, again = (Image.open(io.BytesIO(content)).convert("L").resize((32, 32)) for content in contents)
    assert np.abs(np.asarray(first, float) - np.asarray(again, float)).mean() < 6


@pytest.mark.parametrize(
    ("url", "status"),
    [("demo://7/photo/1/2.jpg", 200), ("demo://7/moved/1/2.jpg", 200), ("demo://7/gone/1/2.jpg", 410), ("demo://7/missing/1/2.jpg", 404),
     ("demo://7/html/1/2.jpg", 200), ("demo://elsewhere", 404), ("demo://7/photo/../../etc", 404)],
)  # fmt: skip
def test_every_address_has_its_answer(web: requests.Session, url: str, status: int) -> None:
    assert web.get(url).status_code == status


def test_a_busy_host_answers_the_second_time(web: requests.Session) -> None:
    assert [web.get("demo://7/busy/1/9.jpg").status_code for _ in range(2)] == [429, 200]
    assert [web.get("demo://7/unavailable/1/9.jpg").status_code for _ in range(2)] == [503, 200]


def test_half_a_photo_is_half_a_photo(web: requests.Session) -> None:
    whole, half = web.get("demo://7/photo/1/2.jpg").content, web.get("demo://7/half/1/2.jpg").content
    assert half == whole[: len(whole) // 2]


def test_the_same_landmarks_from_elsewhere_are_other_photos_but_for_copies(web: requests.Session) -> None:
    listed = world.elsewhere(seed=7, landmarks=2, photos=2, rare=1, copies=1)
    assert [landmark for _, _, landmark in listed] == ["1", "1", "2", "2", "100"]
    assert len({photo for photo, _, _ in listed}) == len(listed)
    ours = world.rows(7, landmarks=2, photos=9, rare=1, rare_photos=1, copies=0, nulls=0, expired=0, broken=0)
    assert not {photo for photo, _, _ in listed} & {photo for photo, _, _ in ours}

    def thumbnail(url: str) -> np.ndarray:
        return np.asarray(Image.open(io.BytesIO(web.get(url).content)).convert("L").resize((32, 32)), float)

    (_, copy, _), (_, other, _) = listed[:2]
    first = thumbnail("demo://7/photo/1/0.jpg")
    assert np.abs(thumbnail(copy) - first).mean() < 6
    assert np.abs(thumbnail(other) - first).mean() > 12
