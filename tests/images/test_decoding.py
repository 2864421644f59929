"""Photos are decoded upright in every accepted format, and hashed by what they show."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from support import turned

from landmarks.common.errors import InputError
from landmarks.dataset import splitting
from landmarks.demo import renderer
from landmarks.images import decoding


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "MPO"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_accepted_format_is_read_upright(tmp_path: Path, kind: str, orientation: int) -> None:
    upright = np.zeros((40, 64, 3), np.uint8)
    upright[:20, :32] = (255, 0, 0)
    upright[20:, 32:] = (0, 0, 255)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(turned(upright, orientation)).save(tmp_path / "p.jpg", kind, exif=exif, quality=95)
    read = decoding.read(tmp_path / "p.jpg")[..., ::-1].astype(int)
    assert read.shape == upright.shape
    assert np.abs(read - upright).mean() < 8


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "JPEG2000", "PCX"])
def test_another_format_is_refused(tmp_path: Path, kind: str) -> None:
    Image.new("RGB", (40, 40)).save(tmp_path / "p.jpg", kind)
    with pytest.raises(InputError, match=r"p\.jpg: does not decode as a photo"):
        decoding.read(tmp_path / "p.jpg")


def test_a_photo_uploaded_again_is_a_near_duplicate_and_another_view_is_not() -> None:
    shots = [renderer.photo(7, n, view, copy) for n in range(1, 11) for view in range(3) for copy in (0, 1)]
    decoded = [cv2.imdecode(np.frombuffer(shot, np.uint8), cv2.IMREAD_COLOR) for shot in shots]
    groups = splitting.near_duplicates(np.array([decoding.perceptual_hash(picture) for picture in decoded]), 40)
    np.testing.assert_array_equal(groups[::2], groups[1::2])
    assert len(set(groups)) == 30
