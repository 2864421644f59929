"""The form in which a photo is kept: one whole JPEG, upright, without metadata, no larger than asked."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from landmarks.common.errors import InputError
from landmarks.images import decoding

LONGEST = 65_500  # pixels a side that a JPEG can have
QUALITY = 95  # of what has to be encoded again: a turned, a scaled, a PNG
# What ends a scan when it follows 0xFF: anything but a stuffed zero, a restart or a fill byte
ENDS_SCAN = np.array([byte not in (0x00, *range(0xD0, 0xD8), 0xFF) for byte in range(256)])
FRAMES = (0xC0, 0xC1, 0xC2)  # baseline, extended, progressive: what every decoder reads
OTHER_FRAMES = (0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF)
START_OF_SCAN, END, APP0, APP1, APP14, APP15, COMMENT = 0xDA, 0xD9, 0xE0, 0xE1, 0xEE, 0xEF, 0xFE
HUFFMAN, ARITHMETIC, QUANTISATION, RESTART = 0xC4, 0xCC, 0xDB, 0xDD
# what a picture is drawn from
DRAWN = (*FRAMES, *OTHER_FRAMES, HUFFMAN, ARITHMETIC, QUANTISATION, RESTART, START_OF_SCAN, END)
SIGNATURES = {b"\xff\xd8\xff": "JPEG", b"\x89PNG\r\n\x1a\n": "PNG", b"RIFF": "WEBP", b"BM": "BMP"}


@dataclass(frozen=True)
class Photo:
    """A photo as it is kept. Sizes in pixels, upright; the original ones are those that came."""

    content: bytes
    width: int
    height: int
    original_width: int
    original_height: int
    format: str  # of what came


@dataclass
class _Parts:
    """A JPEG file taken apart."""

    kept: list[memoryview] = field(default_factory=list)
    width: int = 0
    height: int = 0
    frame: int = 0
    precision: int = 0
    orientation: int = 1


def keep(content: bytes, label: str = "", long_side: int = 0, max_pixels: int = decoding.MAX_PIXELS) -> Photo:
    """What is kept of an answer's body. ``label`` is its Content-Type.

    An upright JPEG keeps its pixels bit for bit and loses every segment that does not draw them (EXIF with its place
    and time, XMP, comments, colour profile, thumbnails, whatever follows the end). Anything else is decoded, turned
    upright and encoded again. ``long_side`` above 0 caps the longer side, in pixels.
    Size and wholeness are judged before a pixel is decoded. Raises ``InputError`` whose text is the status:
    ``html``, ``mislabelled`` (called a picture, is none), ``not a photo``, ``truncated`` or ``too large``.
    """
    kind = next((name for start, name in SIGNATURES.items() if content.startswith(start)), "")
    if kind == "JPEG":
        parts = _take_apart(content)
        head = (parts.width, parts.height), parts.orientation
    elif kind:
        head = _header(content, label, max_pixels)
    else:
        raise InputError(_stranger(content, label))
    (width, height), orientation = head
    if width * height > max_pixels or max(width, height) > LONGEST:
        raise InputError("too large")
    if orientation >= 5:
        width, height = height, width
    small = not long_side or max(width, height) <= long_side
    if kind == "JPEG" and small and orientation == 1 and parts.frame in FRAMES and parts.precision == 8:
        bare = sum(map(len, parts.kept)) == len(content)
        return Photo(content if bare else b"".join(parts.kept), width, height, width, height, kind)
    try:
        picture = decoding.decode(content, long_side, head)
    except InputError:
        raise InputError(_stranger(content, label) if kind == "JPEG" else "truncated") from None
    encoded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()
    return Photo(encoded, picture.shape[1], picture.shape[0], width, height, kind)


def _take_apart(content: bytes) -> _Parts:
    """Walk over the segments and scans of a JPEG up to its end, copying nothing."""
    view, parts, at = memoryview(content), _Parts(), 2
    markers = _markers(content)
    parts.kept.append(view[:2])
    while True:
        if len(content) < at + 2 or content[at] != 0xFF:
            raise InputError("truncated")
        marker = content[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        if marker not in DRAWN and not APP0 <= marker <= APP15 and marker != COMMENT:
            raise InputError("truncated")  # nothing that belongs between scans
        if marker == END:
            parts.kept.append(view[at : at + 2])
            break
        end = at + 2 + int.from_bytes(content[at + 2 : at + 4], "big")
        if len(content) < end:
            raise InputError("truncated")
        _note(parts, marker, content[at + 4 : min(end, at + 20)], view[at + 4 : end])
        if marker == START_OF_SCAN:
            index = int(np.searchsorted(markers, end))
            if index == len(markers):
                raise InputError("truncated")
            end = int(markers[index])
        if _draws(marker, view[at + 4 : end]):
            parts.kept.append(view[at:end])
        at = end
    if not parts.width or not parts.height:
        raise InputError("truncated")  # an end, and no picture before it
    return parts


def _markers(content: bytes) -> NDArray[np.intp]:
    """Where 0xFF and a byte stand that would end a scan."""
    data = np.frombuffer(content, np.uint8)
    places = np.flatnonzero(data[:-1] == 0xFF)
    return places[ENDS_SCAN[data[places + 1]]]


def _note(parts: _Parts, marker: int, start: bytes, segment: memoryview) -> None:
    if marker in FRAMES or marker in OTHER_FRAMES:
        if parts.frame or len(start) < 6 or start[5] not in (1, 3, 4) or len(segment) != 6 + 3 * start[5]:
            raise InputError("truncated")
        parts.frame, parts.precision = marker, start[0]
        parts.height, parts.width = int.from_bytes(start[1:3], "big"), int.from_bytes(start[3:5], "big")
    elif marker == APP1 and start.startswith(b"Exif\0\0"):
        parts.orientation = _orientation(bytes(segment))


def _orientation(segment: bytes) -> int:
    exif = Image.Exif()
    try:
        exif.load(segment)
        found = int(exif.get(0x0112, 1))
    except Exception:  # strangers' bytes: then nobody can know the turn
        return 1
    return found if found in decoding.TURNS else 1


def _draws(marker: int, segment: memoryview) -> bool:
    """Does a decoder need this segment? Of the application's own, only what says how colours are coded."""
    if marker == APP0:
        return bytes(segment[:5]) == b"JFIF\0" and len(segment) == 14  # longer: it carries a thumbnail
    if marker == APP14:
        return bytes(segment[:5]) == b"Adobe" and len(segment) == 12
    return marker in DRAWN


def _header(content: bytes, label: str, max_pixels: int) -> decoding.Head:
    try:
        return decoding.header(content, max_pixels)
    except InputError as error:
        raise error if str(error) != "not a photo" else InputError(_stranger(content, label)) from None


def _stranger(content: bytes, label: str) -> str:
    """The status of a body that is no photo."""
    if content.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"<" or label.startswith("text/"):
        return "html"
    return "mislabelled" if label.startswith("image/") else "not a photo"
