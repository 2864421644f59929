"""Photos that strangers hand in: judged as the download stage judges them, decoded as in training."""

from __future__ import annotations

from landmarks.common.errors import InputError
from landmarks.images import decoding, jpeg

SCAN = b"\xff\xda"
SCANS = 500  # of a progressive JPEG; each costs a pass over all of it, and encoders write about ten


def square(content: bytes, side: int, crop: bool, max_pixels: int = decoding.MAX_PIXELS) -> decoding.Picture:
    """A photo as a network sees it, uint8 RGB (side, side, 3): kept as the download stage would, read as in training.

    Args:
        content: the bytes of a JPEG, PNG, WebP or BMP.
        side: pixels.
        crop: the middle square, or all of it squashed.
        max_pixels: width times height above which nothing is decoded.

    Raises ``InputError`` whose text is the reason: ``not a photo``, ``html``, ``truncated``, ``too large``,
    ``too many scans`` or ``does not decode``.
    """
    if content.startswith(decoding.JPEG) and content.count(SCAN) > SCANS:
        raise InputError("too many scans")
    kept = jpeg.keep(content, max_pixels=max_pixels).content
    try:
        return decoding.square(kept, side, crop)
    except InputError:
        raise InputError("does not decode") from None
