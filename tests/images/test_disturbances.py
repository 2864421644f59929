"""What happens to photos: as strong as asked for, and nothing else."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landmarks.images import disturbances
from landmarks.images.decoding import Picture

SIDES = st.integers(2, 400)


@pytest.fixture
def picture() -> Picture:
    rng = np.random.default_rng(0)
    coarse = rng.integers(40, 255, (6, 9, 3), np.uint8)
    return np.asarray(cv2.resize(coarse, (180, 120), interpolation=cv2.INTER_CUBIC), np.uint8)


def error(one: Picture, other: Picture) -> float:
    return float(np.abs(one.astype(int) - other).mean())


@pytest.mark.parametrize(("kind", "weak", "strong"), [("jpeg", 60, 5), ("blur", 5, 30), ("darkness", 1, 3)])
def test_a_stronger_disturbance_changes_a_picture_more_and_keeps_its_size(
    picture: Picture, kind: str, weak: float, strong: float
) -> None:
    weaker, stronger = (disturbances.KINDS[kind](picture, strength) for strength in (weak, strong))
    assert weaker.shape == stronger.shape == picture.shape
    assert 0 < error(picture, weaker) < error(picture, stronger)


def test_a_stop_less_halves_the_light(picture: Picture) -> None:
    light = (disturbances.darkness(picture, 1) / 255.0) ** disturbances.GAMMA
    assert np.allclose(light, ((picture / 255.0) ** disturbances.GAMMA) / 2, atol=0.005)


def test_a_mirror_exchanges_left_and_right(picture: Picture) -> None:
    assert (disturbances.mirror(picture)[:, 0] == picture[:, -1]).all()
    assert (disturbances.mirror(disturbances.mirror(picture)) == picture).all()


def test_a_crop_keeps_the_middle(picture: Picture) -> None:
    assert (disturbances.crop(picture, 0.5) == picture[30:90, 45:135]).all()


def test_a_quarter_turn_loses_nothing(picture: Picture) -> None:
    assert error(disturbances.turn(picture, 90), np.asarray(np.rot90(picture), np.uint8)) < 1


@given(SIDES, SIDES, st.floats(-180, 180))
def test_a_turned_picture_is_cut_to_a_rectangle_that_lies_within_it(width: int, height: int, degrees: float) -> None:
    across, down = disturbances.inner_rectangle(width, height, degrees)
    turned = np.deg2rad(degrees)
    for x, y in ((across / 2, down / 2), (across / 2, -down / 2)):
        inside = abs(x * np.cos(turned) - y * np.sin(turned)), abs(x * np.sin(turned) + y * np.cos(turned))
        assert min(across, down) == 1 or (inside[0] <= width / 2 + 1e-3 and inside[1] <= height / 2 + 1e-3)


def test_the_rectangle_of_an_unturned_picture_is_all_of_it() -> None:
    assert disturbances.inner_rectangle(400, 300, 0) == (400, 300)
    assert disturbances.inner_rectangle(400, 300, 90) == (300, 400)
