"""The fixed views of a photo, by which a network sees it."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import preprocessing

from landmarks.common.errors import InputError
from landmarks.images.preprocessing import View

VIEWS: tuple[View, ...] = ("middle", "squashed", "top_left", "bottom_right", "mirror")


def test_each_view_is_the_square_that_its_name_says() -> None:
    """In a photo that grows brighter to the right, each square has the mean of the columns that it shows."""
    photo = np.repeat(np.tile(np.arange(200, dtype=np.uint8), (100, 1))[..., None], 3, axis=2)
    squares = preprocessing(50, VIEWS).fit(photo).reshape(5, 50, 50, 3)
    assert [round(float(square.mean())) for square in squares] == [100, 100, 40, 160, 100]
    left, right = squares[:, :, 0].mean(axis=(1, 2)), squares[:, :, -1].mean(axis=(1, 2))
    assert (left < right).tolist() == [True, True, True, True, False]
    np.testing.assert_array_equal(squares[4], squares[0][:, ::-1])
    upright = preprocessing(50, VIEWS).fit(np.ascontiguousarray(photo.transpose(1, 0, 2))).reshape(5, 50, 50, 3)
    np.testing.assert_array_equal(upright[2], squares[2].transpose(1, 0, 2))


@given(views=st.permutations(VIEWS), count=st.integers(1, 5), height=st.integers(20, 90), width=st.integers(20, 90))
def test_a_view_is_the_same_beside_any_others_and_the_file_as_the_picture(
    views: list[View], count: int, height: int, width: int
) -> None:
    picture = np.random.default_rng(height * width).integers(0, 256, (height, width, 3)).astype(np.uint8)
    chosen: tuple[View, ...] = ("squashed", *[view for view in views if view != "squashed"][: count - 1])
    taken = preprocessing(16, chosen)
    strip = taken.decode(cv2.imencode(".png", picture)[1].tobytes())
    assert strip.shape == taken.shape == (16 * len(chosen), 16, 3)
    for place, view in enumerate(chosen):
        beside: tuple[View, ...] = ("squashed",) if view == "squashed" else ("squashed", view)
        alone = preprocessing(16, beside).fit(picture)[-16:]
        np.testing.assert_array_equal(strip[16 * place : 16 * (place + 1)], alone)


@pytest.mark.parametrize(
    ("views", "said"),
    [
        ((), "give each view once"),
        (("mirror",), "middle or squashed first"),
        (("middle", "middle"), "give each view once"),
        (("middle", "left"), "'left' is none"),
    ],
)
def test_views_that_are_none_are_an_error(views: tuple[View, ...], said: str) -> None:
    with pytest.raises(InputError, match=said):
        preprocessing(16, views)
