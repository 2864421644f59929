"""The form in which photos are stored: one whole JPEG, upright, without metadata, no larger than asked for."""

import io
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image

from landmarks.common.status import Status, StatusError
from landmarks.images import decoding, formats, segments

LONGEST = 65_500  # pixels a side that a JPEG can have
SHORTEST = 8  # pixels a side: one block of a JPEG
QUALITY = 95  # of photos that have to be encoded again: turned or scaled ones, other formats
# Data behind the last scan, which nothing reads if the scan is whole: other than the zeros that libjpeg puts where data
# lack, and again after each restart marker that it may wait for
NOISE = [bytes((7 * number + 37 * at * at) % 251 for at in range(64)) for number in range(8)]
AFTER_SCAN = b"".join(noise + bytes([0xFF, 0xD0 + number]) for number, noise in enumerate(NOISE))
# By frame, the scale (1:8, 1:2) at which the noise still shows: in a sequential scan it moves the means of blocks, in
# the last scan of a progressive JPEG their detail
SCALES = {0xC0: 8, 0xC1: 8, 0xC2: 2}


@dataclass(frozen=True)
class Photo:
    """A photo as it is stored. Sizes in pixels, upright; ``original_`` and ``format`` describe what was received."""

    content: bytes
    width: int
    height: int
    original_width: int
    original_height: int
    format: str


def keep(content: bytes, label: str = "", long_side: int = 0, max_pixels: int = decoding.MAX_PIXELS) -> Photo:
    """Turn the bytes of a photo, untrusted input, into the form that is stored.

    An upright JPEG keeps its pixels bit for bit and loses every segment that does not carry them (EXIF with its place
    and time, XMP, comments, colour profile, thumbnails, whatever follows the end or stands between segments). Any other
    photo is decoded, on white where it is transparent, turned upright and encoded again. Size (above ``max_pixels`` it
    is refused) is checked before a pixel is decoded. ``label`` is its Content-Type; ``long_side`` caps the longer side,
    pixels; 0: not at all.

    Raises ``StatusError``: ``TRUNCATED``, ``DOES_NOT_DECODE``, ``TOO_SMALL``, ``TOO_LARGE``, ``TOO_MANY_SCANS``, ``HTML``,
    ``MISLABELLED``, ``NOT_A_PHOTO``, or the name of a format that is not read (``status.OTHER_FORMATS``).
    """
    kind, found = formats.read_format(content), None
    if kind == "JPEG":
        found = segments.take_apart(content)
        content = b"".join(found.kept)
        head = decoding.Head((found.width, found.height), found.orientation, content)
    else:
        head = decoding.header(content, max_pixels, label)
    (width, height), orientation, _ = head
    if width * height > max_pixels or max(width, height) > LONGEST:
        raise StatusError(Status.TOO_LARGE)
    if min(width, height) < SHORTEST:
        raise StatusError(Status.TOO_SMALL)
    if orientation >= 5:
        width, height = height, width
    if found:
        _check_scans(content, found)
        small = not long_side or max(width, height) <= long_side
        if small and orientation == 1 and found.frame in segments.FRAMES:
            return Photo(content, width, height, width, height, kind)
    try:
        picture = decoding.decode(head, long_side)
    except StatusError as error:
        raise error if found else StatusError(Status.TRUNCATED) from None
    encoded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()
    return Photo(encoded, picture.shape[1], picture.shape[0], width, height, kind)


def decode(
    content: bytes, enough: Callable[[int, int], int], max_pixels: int = decoding.MAX_PIXELS
) -> decoding.Picture:  # fmt: skip
    """Decode the photo that ``keep`` would store of the bytes of one: uint8 BGR (height, width, 3), upright.

    Its longer side has ``enough(longer, shorter)`` pixels or more, where the photo has them. A usual JPEG is decoded once
    less than by ``keep`` and then ``decoding.decode``. Raises ``StatusError`` as these do.
    """
    picture = _decode_and_check(content, enough, max_pixels)
    if picture is not None:
        return picture
    head = decoding.header(keep(content, max_pixels=max_pixels).content)
    return decoding.decode(head, enough(max(head.size), min(head.size)), exact=False)


def _decode_and_check(content: bytes, enough: Callable[[int, int], int], max_pixels: int) -> decoding.Picture | None:
    """The picture of an upright JPEG if ``keep`` stores its pixels as they are; None if that cannot be told in this way.

    OpenCV decodes the photo, Pillow the same with data behind its last scan: their pixels are the same if the scan is whole.
    """
    if formats.read_format(content) != "JPEG":
        return None
    found = segments.take_apart(content)
    longer, shorter, kept = max(found.width, found.height), min(found.width, found.height), b"".join(found.kept)
    if longer > LONGEST or shorter < SHORTEST or longer * shorter > max_pixels:
        return None
    least = enough(longer, shorter)
    scale = next((factor for factor, _ in decoding.REDUCED if longer >= factor * least), 1)
    if found.orientation != 1 or not found.has_all_scans or scale > SCALES.get(found.frame, 0):
        return None
    try:
        picture = decoding.decode(decoding.Head((found.width, found.height), 1, kept), least, exact=False)
        with _opened(_followed(kept), found, scale) as followed:
            same = np.array_equal(picture, np.asarray(followed.convert("RGB"))[..., ::-1])
    except Exception:  # untrusted input: Pillow raises errors of any type
        return None
    return picture if same else None


def _check_scans(content: bytes, found: segments.Segments) -> None:
    """Raise ``StatusError`` if a JPEG of clean segments does not decode, or if its last scan ends before its last block.

    libjpeg fills the rest with grey, without an error: then, and only then, other data at the end change the picture. So
    it does if scans are missing.
    """
    if found.frame in segments.FRAMES and not found.has_all_scans:
        raise StatusError(Status.TRUNCATED)
    if _checksum(content, found) != _checksum(_followed(content), found):
        raise StatusError(Status.TRUNCATED)


def _checksum(content: bytes, found: segments.Segments) -> int:
    try:
        with _opened(content, found, SCALES.get(found.frame, 1)) as opened:
            return zlib.crc32(opened.tobytes())
    except Exception:  # untrusted input: Pillow raises errors of any type
        raise StatusError(Status.DOES_NOT_DECODE) from None


def _followed(content: bytes) -> bytes:
    """A JPEG with data between its last scan and its end."""
    return content[:-2] + AFTER_SCAN + content[-2:]


def _opened(content: bytes, found: segments.Segments, scale: int) -> Image.Image:
    """A JPEG as Pillow will decode it, at 1:``scale``."""
    opened = Image.open(io.BytesIO(content), formats=["JPEG"])
    if scale > 1:
        opened.draft(None, (found.width // scale, found.height // scale))
    return opened
