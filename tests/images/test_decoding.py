"""Photos are decoded upright in every accepted format."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support import turned

from landmarks.common.errors import InputError
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
