"""The hash of a copy differs in few bits, that of another photo in many; the mirrored photo's follows from the photo's."""

import cv2
import numpy as np
import pytest

from landmarks.dataset import near_duplicates
from landmarks.demo import renderer
from landmarks.images import decoding
from landmarks.images.perceptual_hash import perceptual_hash

DISTANCE = 40
Picture = decoding.Picture


@pytest.fixture(scope="module")
def shots() -> list[Picture]:
    """Three views of each of ten landmarks."""
    return [decoding.decode(renderer.photo(7, landmark, view)) for landmark in range(1, 11) for view in range(3)]


def hashed(pictures: list[Picture]) -> near_duplicates.Hashes:
    return np.frombuffer(bytes.fromhex("".join(map(perceptual_hash, pictures))), np.uint8).reshape(-1, 32)


def compressed(picture: Picture, quality: int) -> Picture:
    return decoding.decode(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes())


COPIES = {
    "compressed": lambda picture: compressed(picture, 30),
    "scaled": lambda picture: cv2.resize(picture, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA),
    "brighter": lambda picture: (255 * (picture / 255) ** 0.7).astype(np.uint8),
    "grey": lambda picture: cv2.cvtColor(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR),
    "mirrored": lambda picture: compressed(np.ascontiguousarray(picture[:, ::-1]), 80),
}


@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
def test_a_copy_is_a_near_duplicate_of_its_photo_alone(shots: list[Picture], copied) -> None:  # type: ignore[no-untyped-def]
    groups = near_duplicates.groups(hashed([*shots, *map(copied, shots)]), DISTANCE)
    np.testing.assert_array_equal(groups[: len(shots)], groups[len(shots) :])
    assert len(set(groups)) == len(shots)


def test_the_hash_of_the_mirrored_photo_follows_from_the_hash(shots: list[Picture]) -> None:
    mirrored = hashed([np.ascontiguousarray(shot[:, ::-1]) for shot in shots])
    differ = np.bitwise_count(hashed(shots) ^ near_duplicates.MIRROR ^ mirrored).sum(axis=1)
    assert differ.max() <= 6  # frequencies of about 0


def test_exposure_does_not_count(shots: list[Picture]) -> None:
    flat = [np.full((40, 60, 3), value, np.uint8) for value in (0, 90, 255)]
    assert len({perceptual_hash(picture) for picture in flat}) == 1
