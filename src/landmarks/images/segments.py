"""The segments of a JPEG, read as libjpeg reads them: what Pillow, OpenCV and browsers show is what is found here."""

import warnings
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from landmarks.common.status import Status, StatusError

MAX_SCANS = 500  # of a progressive JPEG: each costs a pass over the whole picture, and encoders write about ten
MAX_SEGMENTS = 10_000  # photos have a few dozen, 65,000 bytes each; a file of nothing but short ones would cost seconds
# libjpeg looks for the next marker at 0xFF and any byte but these: a stuffed zero, a fill byte, or a restart, which in a
# scan belongs to its data and elsewhere stands for nothing. Between segments it skips whatever comes before a marker.
MARKS = np.array([byte not in (0x00, *range(0xD0, 0xD8), 0xFF) for byte in range(256)])
PROGRESSIVE = 0xC2
FRAMES = (0xC0, 0xC1, PROGRESSIVE)  # baseline, extended, progressive: every decoder reads them
OTHER_FRAMES = (0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF)
TEMPORARY, HUFFMAN, ARITHMETIC, END, SCAN, QUANTISATION, RESTART = 0x01, 0xC4, 0xCC, 0xD9, 0xDA, 0xDB, 0xDD
APP0, APP1, APP14, APP15, LINES, COMMENT = 0xE0, 0xE1, 0xEE, 0xEF, 0xDC, 0xFE
# what a decoder needs for the pixels
DRAWN = (*FRAMES, *OTHER_FRAMES, HUFFMAN, ARITHMETIC, QUANTISATION, RESTART, SCAN)
SKIPPED = (*range(APP0, APP15 + 1), LINES, COMMENT)
COLOURS = {APP0: (b"JFIF\0", 14), APP14: (b"Adobe", 12)}  # they say how colours are coded, in so many bytes
MIRROR_OR_TURN = range(2, 9)  # EXIF orientations other than upright
warnings.filterwarnings("ignore", module=r"PIL\.TiffImagePlugin")  # of damaged EXIF: what can be read of it is used


@dataclass
class Segments:
    """A JPEG taken apart: the pieces that carry its pixels, and what they say. Width and height in pixels, as stored."""

    kept: list[bytes | memoryview] = field(default_factory=list)
    width: int = 0
    height: int = 0
    frame: int = 0
    scans: int = 0
    orientation: int = 0  # of EXIF, 1 to 8; 0: none read yet
    components: bytes = b""  # their ids, in the frame
    lowest_bits: dict[int, list[int | None]] = field(default_factory=dict)  # of the 64 coefficients, by component

    @property
    def has_all_scans(self) -> bool:
        """Whether no scan is missing: a progressive JPEG brings the bits of a coefficient in several, the lowest last.

        Coefficients of which no bit came are 0, which is allowed except for all but the mean of each block.
        """
        found = [self.lowest_bits.get(component, [None]) for component in self.components]
        return all(bits[0] == 0 and not any(bits) for bits in found) and set(found[0][1:]) != {None}


def take_apart(content: bytes) -> Segments:
    """Read the segments and scans of a JPEG up to its end, without copying the scans.

    Raises ``StatusError``: ``TRUNCATED`` if a segment or the end is missing or no decoder could go on, ``TOO_MANY_SCANS``
    also for too many segments.
    """
    view, found, places, at = memoryview(content), Segments(), _markers(content), 2
    found.kept.append(view[:2])
    for _ in range(MAX_SEGMENTS):
        index = int(np.searchsorted(places, at))
        if index == len(places):
            raise StatusError(Status.TRUNCATED)
        at = int(places[index])
        marker = content[at + 1]
        if marker == END:
            break
        end = at + 2
        if marker != TEMPORARY:
            end += max(int.from_bytes(content[at + 2 : at + 4], "big"), 2)
        if len(content) < end or marker not in (*DRAWN, *SKIPPED, TEMPORARY):
            raise StatusError(Status.TRUNCATED)
        _note(found, marker, view[at + 4 : end])
        if marker == SCAN:
            index = int(np.searchsorted(places, end))
            end = int(places[index]) if index < len(places) else len(content)
        found.kept.extend(_needed(marker, view[at:end]))
        at = end
    else:
        raise StatusError(Status.TOO_MANY_SCANS)
    found.kept.append(view[at : at + 2])
    if not (found.scans and found.width and found.height):
        raise StatusError(Status.TRUNCATED)  # an end marker without a picture before it
    found.orientation = found.orientation or 1
    return found


def orientation(exif: bytes) -> int:
    """Read the EXIF orientation, 1 to 8, of an EXIF segment or chunk: 1 if no valid one is in it, 0 if no tags can be read.

    That of XMP does not count: browsers, libjpeg and OpenCV turn by EXIF alone, only Pillow's ``getexif`` looks there too.
    """
    tags = Image.Exif()
    if not exif.removeprefix(b"Exif\0\0"):
        return 0
    try:
        tags.load(exif)
    except Exception:  # untrusted input: Pillow raises errors of any type
        return 0
    try:
        value = tags.get(0x0112, 1)
        number = value[0] if isinstance(value, bytes) else int(value)
    except Exception:
        return 1
    return number if number in MIRROR_OR_TURN else 1


def _markers(content: bytes) -> NDArray[np.intp]:
    data = np.frombuffer(content, np.uint8)
    places = np.flatnonzero(data[:-1] == 0xFF)
    return places[MARKS[data[places + 1]]]


def _note(found: Segments, marker: int, body: memoryview) -> None:
    if marker == SCAN:
        found.scans += 1
        if found.scans > MAX_SCANS:
            raise StatusError(Status.TOO_MANY_SCANS)
        _note_scan(found, bytes(body))
    elif marker in FRAMES or marker in OTHER_FRAMES:
        if found.frame or len(body) < 6 or body[5] not in (1, 3, 4) or len(body) != 6 + 3 * body[5]:
            raise StatusError(Status.TRUNCATED)
        found.frame = marker
        found.height, found.width = int.from_bytes(body[1:3], "big"), int.from_bytes(body[3:5], "big")
        found.components = bytes(body[6::3])
    elif marker == APP1 and bytes(body[:6]) == b"Exif\0\0" and not found.orientation and not found.scans:
        found.orientation = orientation(bytes(body))  # the first EXIF segment that can be read counts


def _note_scan(found: Segments, body: bytes) -> None:
    """Note which coefficients of which components a scan brings, down to which bit."""
    if not body or len(body) != 2 * body[0] + 4:
        return  # no decoder reads on
    first, last, lowest = body[-3], min(body[-2], 63), body[-1] & 15
    if found.frame != PROGRESSIVE:  # these bytes mean nothing there, and some encoders write others
        first, last, lowest = 0, 63, 0
    for component in body[1:-3:2]:
        bits = found.lowest_bits.setdefault(component, [None] * 64)
        bits[first : last + 1] = [lowest] * (last + 1 - first)


def _needed(marker: int, segment: memoryview) -> list[bytes | memoryview]:
    """Return what a decoder needs of a segment: all, nothing, or the start that says how colours are coded."""
    if marker in COLOURS:
        start, size = COLOURS[marker]
        data = bytes(segment[4 : 4 + size])
        if len(data) < size or not data.startswith(start):
            return []  # libjpeg takes no notice of it either
        if marker == APP0 and len(segment) > 4 + size:
            data = data[:12] + b"\0\0"  # width and height of the thumbnail, which is left out
        return [bytes(segment[:2]) + (size + 2).to_bytes(2, "big") + data]
    return [segment] if marker in DRAWN else []
