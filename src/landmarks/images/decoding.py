"""Photos: decoded upright and no larger than needed, hashed by what they show."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from landmarks.common.errors import InputError
from landmarks.common.files import whole

Picture = NDArray[np.uint8]
Head = tuple[tuple[int, int], int]  # width and height as stored, EXIF orientation

HASH_SIDE = 16  # a hash of 16 x 16 = 256 bits
MAX_PIXELS = 80_000_000  # more than any camera of the catalogue; a decompression bomb beyond
JPEG = b"\xff\xd8\xff"
FORMATS = ("JPEG", "PNG", "WEBP", "BMP")  # what both libraries read, and nothing that starts another program
Image.MAX_IMAGE_PIXELS = None  # each header is held against MAX_PIXELS here; Pillow would print its own warning
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
        raise _unreadable(path) from None


def decode(content: bytes, long_side: int = 0, head: Head | None = None, exact: bool = True) -> Picture:
    """The same for a photo in memory; ``head`` spares a second look at what ``header`` told.

    Not ``exact``, the longer side is at least ``long_side``, or what the photo has: for who scales it anyhow.
    """
    (width, height), orientation = head or header(content)
    if width * height > MAX_PIXELS:
        raise InputError("too large")
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
        raise InputError("does not decode")
    flip, turns = TURNS.get(orientation, (False, 0))  # by hand: OpenCV knows the tag in some formats only
    picture = np.rot90(picture[:, ::-1] if flip else picture, turns)
    size = scaled_size(*((height, width) if orientation >= 5 else (width, height)), long_side)
    if exact and (picture.shape[1], picture.shape[0]) != size:
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(picture, np.uint8)


def _decode_other(content: bytes) -> Picture | None:
    """PNG, WebP, BMP: OpenCV would believe whatever length a chunk claims, and take a cut file for a whole one."""
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as opened:
            deep = opened.mode.startswith("I")  # 16 bits a pixel, grey
            picture = np.asarray(opened, np.uint32) >> 8 if deep else np.asarray(opened.convert("RGB"))
    except Exception:  # strangers' bytes: Pillow's plugins raise what they like
        return None
    return np.asarray(np.dstack([picture] * 3) if deep else picture[..., ::-1], np.uint8)


def scaled_size(width: int, height: int, long_side: int) -> tuple[int, int]:
    """Width and height, pixels, of a photo whose longer side is capped at ``long_side`` (0: not at all)."""
    scale = min(long_side / max(width, height), 1) if long_side else 1
    return max(round(width * scale), 1), max(round(height * scale), 1)


def header(content: bytes, max_pixels: int = MAX_PIXELS) -> Head:
    """Width and height as stored, and the EXIF orientation, 1 to 8.

    Raises ``InputError`` saying ``not a photo``, ``too large``, or ``truncated`` where it starts like one.
    """
    try:
        opened = Image.open(io.BytesIO(content), formats=FORMATS)
    except Exception:  # strangers' bytes: Pillow's plugins raise what they like
        raise InputError("truncated" if _short_webp(content) else "not a photo") from None
    if opened.width * opened.height > max_pixels:
        raise InputError("too large")  # before the EXIF is asked for: in a PNG that decodes all of it
    try:
        orientation = int(opened.getexif().get(0x0112, 1))
    except Exception:
        raise InputError("truncated") from None
    return opened.size, orientation if orientation in TURNS else 1


def _short_webp(content: bytes) -> bool:
    """Does it promise more bytes than there are? Pillow opens whole ones only."""
    return content[8:12] == b"WEBP" and len(content) < int.from_bytes(content[4:8], "little") + 8


def _unreadable(path: Path) -> InputError:
    return InputError(
        f"{path}: does not decode as a photo ({', '.join(FORMATS)}); remove it and run dvc repro to make it anew"
    )


def read_square(path: Path, side: int, crop: bool) -> Picture:
    """Decode a photo as a network sees it: uint8 RGB (side, side, 3).

    ``crop`` takes the largest square in its middle; else the whole photo is squashed, as in the thesis.
    """
    try:
        return square(path.read_bytes(), side, crop)
    except InputError:
        raise _unreadable(path) from None


def square(content: bytes, side: int, crop: bool) -> Picture:
    """The same of a photo in memory. Raises ``InputError`` as ``header`` and ``decode`` do."""
    (width, height), _ = head = header(content)
    least = -(-side * max(width, height) // min(width, height)) if crop else side
    return fit(decode(content, least, head, exact=False), side, crop)


def fit(picture: Picture, side: int, crop: bool) -> Picture:
    """The same of a picture decoded by now, uint8 BGR (height, width, 3)."""
    if crop:
        height, width = picture.shape[:2]
        short = min(height, width)
        top, left = (height - short) // 2, (width - short) // 2
        picture = picture[top : top + short, left : left + short]
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
