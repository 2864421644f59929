"""Boxes of faces are turned and merged, and what they cover becomes unreadable."""

import cv2
import numpy as np
import pytest
from gate_runs import portrait
from hypothesis import given
from hypothesis import strategies as st
from support import gate_settings

from landmarks.demo.renderer import PORTRAITS
from landmarks.privacy import redaction

PLACE, SIDE = st.integers(0, 60), st.integers(1, 60)
BOXES = st.builds(redaction.Face, PLACE, PLACE, SIDE, SIDE, st.floats(0, 1))


@given(st.lists(BOXES, min_size=1, max_size=12))
def test_merged_boxes_carry_the_highest_score_of_what_lies_in_them(found: list[redaction.Face]) -> None:
    merged = redaction.merge(found)
    assert max(face.score for face in merged) == max(face.score for face in found)
    for face in found:
        assert any(
            redaction.lies_in(redaction.box_of(face), redaction.box_of(larger)) and larger.score >= face.score
            for larger in merged
        )


@pytest.mark.parametrize(("method", "shades"), [("pixelate", 25), ("solid", 1)])
def test_no_more_shades_are_left_of_a_face_than_stated(method: redaction.Method, shades: int) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8)
    done = redaction.obscure(noise, [redaction.Face(50, 60, 80, 90, 1.0)], method, margin=0.1, cells=5)
    assert len(np.unique(done[51:159, 42:138].reshape(-1, 3), axis=0)) <= shades
    outside = np.ones((200, 200), bool)
    outside[51:159, 42:138] = False
    np.testing.assert_array_equal(done[outside], noise[outside])


def test_a_face_at_the_edge_of_the_photo_is_obscured_as_far_as_it_is_in_it() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (50, 60, 3), np.uint8)
    faces = [redaction.Face(*box, 1.0) for box in ((-10, -10, 30, 30), (55, 45, 40, 40), (500, 500, 9, 9))]
    done = redaction.obscure(noise, faces, "solid", 0.0, 5)
    assert (done[:20, :20] == done[0, 0]).all()
    assert (done[45:, 55:] == done[-1, -1]).all()


@pytest.mark.parametrize("method", ["pixelate", "solid"])
def test_what_is_left_does_not_depend_on_the_face(method: redaction.Method) -> None:
    draw = np.random.default_rng(0)
    around = draw.integers(0, 256, (80, 80, 3), np.uint8)
    before, left = [], []
    for _ in range(200):
        picture = around.copy()
        picture[20:60, 20:60] = draw.integers(0, 256, 3)  # a face of another colour
        before.append(picture[40, 40].astype(float))
        left.append(redaction.obscure(picture, [redaction.Face(20, 20, 40, 40, 1.0)], method, 0.0, 5))
    after = np.array([done[20:60, 20:60].mean((0, 1)) for done in left])
    for channel in range(3):
        if after[:, channel].std():
            assert abs(np.corrcoef(np.array(before)[:, channel], after[:, channel])[0, 1]) < 0.25
    outside = np.ones((80, 80), bool)
    outside[20:60, 20:60] = False
    assert all((done[outside] == around[outside]).all() for done in left)


def test_an_ellipse_covers_the_middle_and_leaves_the_corners() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (80, 80, 3), np.uint8)
    done = redaction.obscure(noise, [redaction.Face(20, 20, 40, 40, 1.0)], "solid", 0.0, 5, "ellipse")
    assert (done[40, 20:60] == redaction.GREY).all()
    assert (done[20:60, 40] == redaction.GREY).all()
    np.testing.assert_array_equal(done[20:24, 20:24], noise[20:24, 20:24])


@pytest.mark.parametrize("height", [60, 240, 900, 1500])
def test_a_face_is_covered_however_large_it_is(height: int) -> None:
    package, file, (x, y, w, h) = PORTRAITS[0]
    picture = np.asarray(portrait(package, file).crop((x - 60, y - 40, x + w + 60, y + h + 60)))[..., ::-1]
    scale = height / h
    picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    done = redaction.obscure(picture, gate_settings().faces_to_obscure(picture), "solid", 0.15, 5)
    face = np.s_[int(75 * scale) : int(165 * scale), int(85 * scale) : int(150 * scale)]  # from brow to chin
    assert (np.abs(picture[face].astype(int) - done[face]).sum(axis=2) > 0).mean() > 0.9
