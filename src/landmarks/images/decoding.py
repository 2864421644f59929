"""Photos: decoded upright and no larger than needed, hashed by what they show."""

import io
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from landmarks.common.errors import InputError
from landmarks.common.files import whole
from landmarks.common.status import Status, StatusError

Picture = NDArray[np.uint8]
Head = tuple[tuple[int, int], int]  # width and height as stored, EXIF orientation

HASH_SIDE = 16  # a hash of 16 x 16 = 256 bits
MAX_PIXELS = 80_000_000  # more than any camera of the catalogue has; a larger header is a decompression bomb
JPEG = b"\xff\xd8\xff"
FORMATS = ("JPEG", "PNG", "WEBP", "BMP")  # both libraries read these, and none of them starts another program
Image.MAX_IMAGE_PIXELS = None  # ``header`` compares with MAX_PIXELS; Pillow would print its own warning
REDUCED = ((8, cv2.IMREAD_REDUCED_COLOR_8), (4, cv2.IMREAD_REDUCED_COLOR_4), (2, cv2.IMREAD_REDUCED_COLOR_2))
# EXIF orientation: mirror first?, then how many quarter turns against the clock
TURNS = {2: (True, 0), 3: (False, 2), 4: (True, 2), 5: (True, 1), 6: (False, 3), 7: (True, 3), 8: (False, 1)}


def read(path: Path, long_side: int = 0) -> Picture:
    """Decode a photo upright (EXIF turn applied): uint8 BGR (height, width, 3).

    ``long_side`` above 0 caps the longer side, in pixels; JPEG is then decoded at the smallest sufficient scale.
    Raises ``InputError`` if the file does not decode.
    """
    try:
        return decode(path.read_bytes(), long_side)
    except InputError:
        raise unreadable(path) from None


def decode(content: bytes, long_side: int = 0, head: Head | None = None, exact: bool = True) -> Picture:
    """Decode a photo in memory as ``read`` does: uint8 BGR (height, width, 3), upright.

    ``head`` is what ``header`` returned, if it was called before. ``exact=False`` leaves the longer side at ``long_side`` or
    above, for callers that scale the photo themselves. Raises ``StatusError`` as ``header`` does, or ``DOES_NOT_DECODE``.
    """
    (width, height), orientation = head or header(content)
    if width * height > MAX_PIXELS:
        raise StatusError(Status.TOO_LARGE)
    ratio = max(width, height) / long_side if long_side else 1
    flags = next((flag for factor, flag in REDUCED if ratio >= factor), cv2.IMREAD_COLOR)
    if content.startswith(JPEG):
        try:
            picture = cv2.imdecode(np.frombuffer(content, np.uint8), flags | cv2.IMREAD_IGNORE_ORIENTATION)
        except cv2.error:
            picture = None
    else:
        picture = _decode_other(content)
    if picture is None:
        raise StatusError(Status.DOES_NOT_DECODE)
    flip, turns = TURNS.get(orientation, (False, 0))  # here, because OpenCV reads the tag in some formats only
    picture = np.rot90(picture[:, ::-1] if flip else picture, turns)
    size = scaled_size(*((height, width) if orientation >= 5 else (width, height)), long_side)
    if exact and (picture.shape[1], picture.shape[0]) != size:
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(picture, np.uint8)


def _decode_other(content: bytes) -> Picture | None:
    """Decode PNG, WebP or BMP; None if that fails. OpenCV would trust any chunk length, and accept a cut file as whole."""
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as opened:
            deep = opened.mode.startswith("I")  # 16 bits a pixel, grey
            picture = np.asarray(opened, np.uint32) >> 8 if deep else np.asarray(opened.convert("RGB"))
    except Exception:  # untrusted input: Pillow's plugins raise errors of any type
        return None
    return np.asarray(np.dstack([picture] * 3) if deep else picture[..., ::-1], np.uint8)


def scaled_size(width: int, height: int, long_side: int) -> tuple[int, int]:
    """Width and height, pixels, of a photo whose longer side is capped at ``long_side`` (0: not at all)."""
    scale = min(long_side / max(width, height), 1) if long_side else 1
    return max(round(width * scale), 1), max(round(height * scale), 1)


def header(content: bytes, max_pixels: int = MAX_PIXELS) -> Head:
    """Read width and height as stored, and the EXIF orientation, 1 to 8.

    Raises ``StatusError``: ``NOT_A_PHOTO``, ``TOO_LARGE``, or ``TRUNCATED`` if the start is that of a photo.
    """
    try:
        opened = Image.open(io.BytesIO(content), formats=FORMATS)
    except Exception:  # untrusted input: Pillow's plugins raise errors of any type
        raise StatusError(Status.TRUNCATED if _short_webp(content) else Status.NOT_A_PHOTO) from None
    if opened.width * opened.height > max_pixels:
        raise StatusError(Status.TOO_LARGE)  # before the EXIF tag is read: in a PNG that decodes the whole photo
    try:
        orientation = int(opened.getexif().get(0x0112, 1))
    except Exception:
        raise StatusError(Status.TRUNCATED) from None
    return opened.size, orientation if orientation in TURNS else 1


def _short_webp(content: bytes) -> bool:
    """Return whether this is a WebP whose header names more bytes than there are; Pillow opens only whole ones."""
    return content[8:12] == b"WEBP" and len(content) < int.from_bytes(content[4:8], "little") + 8


def unreadable(path: Path) -> InputError:
    """The error of a file that does not decode."""
    return InputError(f"{path}: does not decode as a photo ({', '.join(FORMATS)}); remove it and run: dvc repro")


def write(path: Path, picture: Picture, quality: int) -> None:
    """Write a JPEG without metadata, atomically. Raises ``InputError`` if the picture cannot be encoded."""
    done, content = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise InputError(f"{path}: cannot be encoded as JPEG")
    with whole(path) as partial:
        partial.write_bytes(content.tobytes())


def perceptual_hash(picture: Picture) -> NDArray[np.bool_]:
    """Hash a photo by what it shows: bool (256,), whether each of its 16 x 16 lowest frequencies is above their median.

    Scaling or compressing a photo again changes few of the bits (pHash: Zauner, 2010).
    """
    grey = cv2.resize(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), (64, 64), interpolation=cv2.INTER_AREA)
    low = cv2.dct(grey.astype(np.float32))[:HASH_SIDE, :HASH_SIDE].ravel()
    low[0] = 0  # the mean is exposure, not content
    return np.asarray(low > np.median(low[1:]))


def listed(folder: Path, known: Iterable[str]) -> list[str]:
    """List the ids of the photos in ``folder``, sorted. Raises ``InputError`` if there are none or one is not ``known``."""
    ids = sorted(path.stem for path in folder.glob("*.jpg"))
    if not ids:
        raise InputError(f"{folder}: no photos; run the stage that makes it: dvc repro")
    if others := set(ids).difference(known):
        raise InputError(f"{folder}/{min(others)}.jpg: in no table of downloads; remove it or run: dvc repro anonymize")
    return ids
