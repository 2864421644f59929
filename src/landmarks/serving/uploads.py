"""Photos from untrusted input: checked as the download stage checks them, decoded as in training."""

import binascii
import contextlib
from functools import partial

from landmarks.common.errors import InputError
from landmarks.images import decoding, jpeg
from landmarks.images.preprocessing import Preprocessing, long_side

URL_SAFE = bytes.maketrans(b"-_", b"+/")
BLANKS = b" \t\r\n"  # encoders break lines after 64 or 76 letters
DATA_URL = ";base64,"  # what a browser's FileReader writes before the base64


def decode_base64(text: str) -> bytes:
    """The bytes of a photo from its base64: either alphabet, with or without padding, line breaks and ``data:…;base64,``.

    Raises ``InputError`` if it is something else.
    """
    with contextlib.suppress(ValueError):  # as most write it, without copies of a text that is as large as the photo
        return binascii.a2b_base64(text, strict_mode=True)
    if text[:5].lower() == "data:" and DATA_URL in text[:100]:
        text = text.partition(DATA_URL)[2]
    try:
        letters = text.encode("ascii").translate(URL_SAFE, BLANKS).rstrip(b"=")
        return binascii.a2b_base64(letters + b"=" * (-len(letters) % 4), strict_mode=True)
    except ValueError:  # also of encode
        raise InputError("not base64") from None


def preprocess(content: bytes, preprocessing: Preprocessing, max_pixels: int = decoding.MAX_PIXELS) -> decoding.Picture:
    """A photo as a network takes it, uint8 RGB (views * size, size, 3): the pixels of the file that the download stage would keep.

    ``content`` is a JPEG, PNG, WebP or BMP; above ``max_pixels``, width times height, nothing is decoded. Raises
    ``StatusError`` as ``jpeg.decode`` does.
    """
    return preprocessing.fit(jpeg.decode(content, partial(long_side, preprocessing), max_pixels))
