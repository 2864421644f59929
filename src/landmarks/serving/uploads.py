"""Photos from untrusted input: checked as the download stage checks them, decoded as in training."""

from landmarks.common.errors import InputError
from landmarks.common.status import Status, StatusError
from landmarks.images import decoding, jpeg
from landmarks.images.preprocessing import Preprocessing

SCAN = b"\xff\xda"  # the marker before each scan of a JPEG
MAX_SCANS = 500  # of a progressive JPEG: each costs a pass over the whole picture, and encoders write about ten


def preprocess(content: bytes, preprocessing: Preprocessing, max_pixels: int = decoding.MAX_PIXELS) -> decoding.Picture:
    """A photo as a network takes it, uint8 RGB (size, size, 3): the pixels of the file that the download stage would keep.

    ``content`` is a JPEG, PNG, WebP or BMP; above ``max_pixels``, width times height, nothing is decoded. Raises
    ``StatusError``: ``NOT_A_PHOTO``, ``HTML``, ``TRUNCATED``, ``TOO_LARGE``, ``TOO_MANY_SCANS`` or ``DOES_NOT_DECODE``.
    """
    if content.startswith(decoding.JPEG) and content.count(SCAN) > MAX_SCANS:
        raise StatusError(Status.TOO_MANY_SCANS)
    kept = jpeg.keep(content, max_pixels=max_pixels).content
    try:
        return preprocessing.decode(kept)
    except InputError:
        raise StatusError(Status.DOES_NOT_DECODE) from None
