"""The cascade covers every face of a crowd, small or lying, in photos of any size."""

from pathlib import Path

import crowds
import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from support import gate_settings

from landmarks.demo import renderer
from landmarks.images import decoding
from landmarks.privacy import cascade, gate


@given(st.integers(1, 9000))
def test_tiles_cover_a_side_and_share_enough_for_a_face_that_is_seen_in_one_size_only(side: int) -> None:
    starts = cascade._starts(side)
    ends = [min(start + cascade.TILE, side) for start in starts]
    assert (starts[0], ends[-1]) == (0, side)
    assert all(end - start >= cascade.SHARED for start, end in zip(starts[1:], ends, strict=False))


def background(width: int, height: int) -> crowds.Picture:
    """A building of the synthetic demo dataset, without passers-by."""
    photo = decoding.decode(renderer.photo(0, 1, 3))
    assert not gate_settings().faces_to_obscure(photo)
    return np.asarray(cv2.resize(photo, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


def still_readable(photo: crowds.Crowd, tmp_path: Path, **settings: object) -> int:
    """The number of heads in the middle of which a pixel in ten is as before in what the gate wrote."""
    Image.fromarray(photo.picture[..., ::-1]).save(tmp_path / "crowd.jpg", quality=98)
    gate.examine(tmp_path / "crowd.jpg", tmp_path / "done.jpg", gate_settings(**settings))
    done, readable = decoding.read(tmp_path / "done.jpg").astype(int), 0
    for x, y, w, h in photo.boxes:
        middle = np.s_[int(y + h / 4) : int(y + 3 * h / 4), int(x + w / 4) : int(x + 3 * w / 4)]
        readable += (np.abs(done[middle] - photo.picture[middle]).max(axis=2) > 12).mean() < 0.9
    return readable


@pytest.mark.parametrize("turns", range(4))
def test_small_and_large_faces_of_a_crowd_are_covered_in_all_four_turns(turns: int, tmp_path: Path) -> None:
    photo = crowds.crowd(background(1280, 960), crowds.portraits(), [32, 40, 48, 56, 64, 80, 96, 128] * 2, seed=1)
    for _ in range(turns):
        photo = crowds.lying(photo)
    assert still_readable(photo, tmp_path) == 0


@pytest.mark.parametrize("tilt", [20.0, 45.0])
def test_tilted_faces_are_covered_where_one_is_sure(tilt: float, tmp_path: Path) -> None:
    photo = crowds.crowd(background(1024, 768), crowds.portraits(), [48, 64, 80, 96] * 2, seed=2, tilt=tilt)
    assert still_readable(photo, tmp_path) == 0


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["upright", "lying"])
def test_forty_small_faces_of_a_photo_of_24_megapixels_are_covered(kind: str, tmp_path: Path) -> None:
    photo = crowds.crowd(background(6000, 4000), crowds.portraits(), [36] * 40, seed=36)
    assert still_readable(crowds.lying(photo) if kind == "lying" else photo, tmp_path) == 0


def test_a_photo_without_faces_is_not_changed_by_the_looks_closer() -> None:
    for detector in ("cascade", "yunet"):
        assert gate_settings(detector=detector).faces_to_obscure(background(640, 480)) == []
