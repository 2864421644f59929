"""The form in which photos are stored: one whole JPEG, upright, without metadata, no larger than asked for."""

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from landmarks.common.status import Status, StatusError
from landmarks.images import decoding

LONGEST = 65_500  # pixels a side that a JPEG can have
QUALITY = 95  # of photos that have to be encoded again: turned or scaled ones, other formats
# Bytes that end a scan when they follow 0xFF: all but a stuffed zero, a restart marker or a fill byte
ENDS_SCAN = np.array([byte not in (0x00, *range(0xD0, 0xD8), 0xFF) for byte in range(256)])
FRAMES = (0xC0, 0xC1, 0xC2)  # baseline, extended, progressive: every decoder reads them
OTHER_FRAMES = (0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF)
START_OF_SCAN, END, APP0, APP1, APP14, APP15, COMMENT = 0xDA, 0xD9, 0xE0, 0xE1, 0xEE, 0xEF, 0xFE
HUFFMAN, ARITHMETIC, QUANTISATION, RESTART = 0xC4, 0xCC, 0xDB, 0xDD
# segments that a decoder needs for the pixels
DRAWN = (*FRAMES, *OTHER_FRAMES, HUFFMAN, ARITHMETIC, QUANTISATION, RESTART, START_OF_SCAN, END)
SIGNATURES = {b"\xff\xd8\xff": "JPEG", b"\x89PNG\r\n\x1a\n": "PNG", b"RIFF": "WEBP", b"BM": "BMP"}


@dataclass(frozen=True)
class Photo:
    """A photo as it is stored. Sizes in pixels, upright; ``original_`` and ``format`` describe what was received."""

    content: bytes
    width: int
    height: int
    original_width: int
    original_height: int
    format: str


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
    """Turn the bytes of a photo, untrusted input, into the form that is stored.

    An upright JPEG keeps its pixels bit for bit and loses every segment that does not carry them (EXIF with its place
    and time, XMP, comments, colour profile, thumbnails, whatever follows the end). Any other photo is decoded, turned
    upright and encoded again. Size (above ``max_pixels`` it is refused) and completeness are checked before a pixel is
    decoded. ``label`` is its Content-Type; ``long_side`` caps the longer side, pixels; 0: not at all.

    Raises ``StatusError``: ``HTML``, ``MISLABELLED``, ``NOT_A_PHOTO``, ``TRUNCATED`` or ``TOO_LARGE``.
    """
    kind = next((name for start, name in SIGNATURES.items() if content.startswith(start)), "")
    if kind == "JPEG":
        parts = _take_apart(content)
        head = (parts.width, parts.height), parts.orientation
    elif kind:
        head = _header(content, label, max_pixels)
    else:
        raise StatusError(_other_content(content, label))
    (width, height), orientation = head
    if width * height > max_pixels or max(width, height) > LONGEST:
        raise StatusError(Status.TOO_LARGE)
    if orientation >= 5:
        width, height = height, width
    small = not long_side or max(width, height) <= long_side
    if kind == "JPEG" and small and orientation == 1 and parts.frame in FRAMES and parts.precision == 8:
        bare = sum(map(len, parts.kept)) == len(content)
        return Photo(content if bare else b"".join(parts.kept), width, height, width, height, kind)
    try:
        picture = decoding.decode(content, long_side, head)
    except StatusError:
        raise StatusError(_other_content(content, label) if kind == "JPEG" else Status.TRUNCATED) from None
    encoded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()
    return Photo(encoded, picture.shape[1], picture.shape[0], width, height, kind)


def _take_apart(content: bytes) -> _Parts:
    """Read the segments and scans of a JPEG up to its end, as views into ``content``."""
    view, parts, at = memoryview(content), _Parts(), 2
    markers = _markers(content)
    parts.kept.append(view[:2])
    while True:
        if len(content) < at + 2 or content[at] != 0xFF:
            raise StatusError(Status.TRUNCATED)
        marker = content[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        if marker not in DRAWN and not APP0 <= marker <= APP15 and marker != COMMENT:
            raise StatusError(Status.TRUNCATED)  # no marker that may stand between scans
        if marker == END:
            parts.kept.append(view[at : at + 2])
            break
        end = at + 2 + int.from_bytes(content[at + 2 : at + 4], "big")
        if len(content) < end:
            raise StatusError(Status.TRUNCATED)
        _note(parts, marker, content[at + 4 : min(end, at + 20)], view[at + 4 : end])
        if marker == START_OF_SCAN:
            index = int(np.searchsorted(markers, end))
            if index == len(markers):
                raise StatusError(Status.TRUNCATED)
            end = int(markers[index])
        if _draws(marker, view[at + 4 : end]):
            parts.kept.append(view[at:end])
        at = end
    if not parts.width or not parts.height:
        raise StatusError(Status.TRUNCATED)  # an end marker without a picture before it
    return parts


def _markers(content: bytes) -> NDArray[np.intp]:
    """Find the places where 0xFF and a byte that ends a scan stand."""
    data = np.frombuffer(content, np.uint8)
    places = np.flatnonzero(data[:-1] == 0xFF)
    return places[ENDS_SCAN[data[places + 1]]]


def _note(parts: _Parts, marker: int, start: bytes, segment: memoryview) -> None:
    if marker in FRAMES or marker in OTHER_FRAMES:
        if parts.frame or len(start) < 6 or start[5] not in (1, 3, 4) or len(segment) != 6 + 3 * start[5]:
            raise StatusError(Status.TRUNCATED)
        parts.frame, parts.precision = marker, start[0]
        parts.height, parts.width = int.from_bytes(start[1:3], "big"), int.from_bytes(start[3:5], "big")
    elif marker == APP1 and start.startswith(b"Exif\0\0"):
        parts.orientation = _orientation(bytes(segment))


def _orientation(segment: bytes) -> int:
    exif = Image.Exif()
    try:
        exif.load(segment)
        orientation = int(exif.get(0x0112, 1))
    except Exception:  # untrusted input: with no readable tag the photo counts as upright
        return 1
    return orientation if orientation in decoding.TURNS else 1


def _draws(marker: int, segment: memoryview) -> bool:
    """Return whether a decoder needs this segment; of the application segments, those that say how colours are coded."""
    if marker == APP0:
        return bytes(segment[:5]) == b"JFIF\0" and len(segment) == 14  # longer: it carries a thumbnail
    if marker == APP14:
        return bytes(segment[:5]) == b"Adobe" and len(segment) == 12
    return marker in DRAWN


def _header(content: bytes, label: str, max_pixels: int) -> decoding.Head:
    try:
        return decoding.header(content, max_pixels)
    except StatusError as error:
        raise error if error.status != Status.NOT_A_PHOTO else StatusError(_other_content(content, label)) from None


def _other_content(content: bytes, label: str) -> Status:
    """Return the status of a body that is no photo."""
    if content.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"<" or label.startswith("text/"):
        return Status.HTML
    return Status.MISLABELLED if label.startswith("image/") else Status.NOT_A_PHOTO
