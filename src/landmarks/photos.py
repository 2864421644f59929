"""Photos: decoded upright and no larger than needed, hashed by what they show."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from landmarks.errors import InputError
from landmarks.files import whole

Picture = NDArray[np.uint8]

HASH_SIDE = 16  # a hash of 16 x 16 = 256 bits
MAX_PIXELS = 80_000_000  # more than any camera of the catalogue; a decompression bomb beyond
FORMATS = ("JPEG", "PNG", "WEBP", "BMP")  # what both libraries read, and nothing that starts another program
REDUCED = ((8, cv2.IMREAD_REDUCED_COLOR_8), (4, cv2.IMREAD_REDUCED_COLOR_4), (2, cv2.IMREAD_REDUCED_COLOR_2))
# EXIF orientation: mirror first?, then how many quarter turns against the clock
TURNS = {2: (True, 0), 3: (False, 2), 4: (True, 2), 5: (True, 1), 6: (False, 3), 7: (True, 3), 8: (False, 1)}


def check(content: bytes) -> tuple[int, int]:
    """Width and height, pixels, of a picture that decodes to its end.

    Raises ``InputError`` saying ``not a photo``, ``truncated`` or ``too large``.
    """
    try:
        picture = Image.open(io.BytesIO(content), formats=FORMATS)
    except Exception:  # strangers' bytes: Pillow's plugins raise what they like
        raise InputError("not a photo") from None
    if picture.width * picture.height > MAX_PIXELS:
        raise InputError("too large")
    try:
        picture.load()
    except Exception:
        raise InputError("truncated") from None
    if cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_REDUCED_COLOR_8) is None:
        raise InputError("not a photo")  # to OpenCV, which later stages read with
    return picture.size


def read(path: Path, long_side: int = 0) -> Picture:
    """Decode a photo upright (EXIF turn applied): uint8 BGR (height, width, 3).

    ``long_side`` above 0 caps the longer side, in pixels; JPEG is then decoded at the smallest sufficient scale.
    Raises ``InputError`` if the file does not decode.
    """
    (width, height), orientation = _header(path)
    ratio = max(width, height) / long_side if long_side else 1
    flags = next((flag for factor, flag in REDUCED if ratio >= factor), cv2.IMREAD_COLOR)
    try:
        picture = cv2.imread(str(path), flags | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:
        picture = None
    if picture is None:
        raise _unreadable(path)
    flip, turns = TURNS.get(orientation, (False, 0))  # by hand: OpenCV knows the tag in some formats only
    picture = np.rot90(picture[:, ::-1] if flip else picture, turns)
    longest = max(picture.shape[:2])
    if long_side and longest > long_side:
        scale = long_side / longest
        size = (max(round(picture.shape[1] * scale), 1), max(round(picture.shape[0] * scale), 1))
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(picture, np.uint8)


def _header(path: Path) -> tuple[tuple[int, int], int]:
    """Width and height as stored, and the EXIF orientation."""
    try:
        with Image.open(path, formats=FORMATS) as header:
            return header.size, int(header.getexif().get(0x0112, 1))
    except OSError as error:
        if error.errno is not None:  # not the photo's fault: no permission, no file
            raise
        raise _unreadable(path) from None
    except Exception:
        raise _unreadable(path) from None


def _unreadable(path: Path) -> InputError:
    return InputError(
        f"{path}: does not decode as a photo ({', '.join(FORMATS)}); remove it and run dvc repro to make it anew"
    )


def read_square(path: Path, side: int, crop: bool) -> Picture:
    """Decode a photo as a network sees it: uint8 RGB (side, side, 3).

    ``crop`` takes the largest square in its middle; else the whole photo is squashed, as in the thesis.
    """
    size, _ = _header(path)
    picture = read(path, long_side=side * 2 * max(size) // min(size) if crop else side * 2)
    if crop:
        height, width = picture.shape[:2]
        square = min(height, width)
        top, left = (height - square) // 2, (width - square) // 2
        picture = picture[top : top + square, left : left + square]
    return np.ascontiguousarray(cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)[..., ::-1])


def write(path: Path, picture: Picture, quality: int) -> None:
    """Write a JPEG with no metadata, whole or not at all."""
    done, content = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise InputError(f"{path}: cannot be encoded as JPEG")
    with whole(path) as partial:
        partial.write_bytes(content.tobytes())


def perceptual_hash(picture: Picture) -> NDArray[np.bool_]:
    """What a photo looks like from afar: bool (256,), its 16 x 16 lowest frequencies above their median or not.

    A photo that was scaled or compressed again keeps nearly all of them (pHash: Zauner, 2010).
    """
    grey = cv2.resize(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), (64, 64), interpolation=cv2.INTER_AREA)
    low = cv2.dct(grey.astype(np.float32))[:HASH_SIDE, :HASH_SIDE].ravel()
    low[0] = 0  # the mean: exposure, not content
    return np.asarray(low > np.median(low[1:]))


def listed(folder: Path, known: Iterable[str]) -> list[str]:
    """The ids of the photos in ``folder``, sorted. Raises ``InputError`` if there are none or one is not ``known``."""
    ids = sorted(path.stem for path in folder.glob("*.jpg"))
    if not ids:
        raise InputError(f"{folder}: no photos; run the stage that makes it: dvc repro")
    if strangers := set(ids).difference(known):
        raise InputError(
            f"{folder}/{min(strangers)}.jpg: not in the table of downloads; remove it or run: dvc repro anonymize"
        )
    return ids
