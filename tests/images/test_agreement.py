"""Ingest, decoding, Pillow and OpenCV show the same picture, whatever stands between the segments of a JPEG."""

import io
from typing import Any

import cv2
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageOps
from support import examples

from landmarks.common.status import StatusError
from landmarks.demo import renderer
from landmarks.images import decoding, jpeg, segments

FORMS: list[dict[str, Any]] = [
    {}, {"progressive": True}, {"subsampling": 0}, {"restart_marker_blocks": 5}, {"restart_marker_rows": 1, "progressive": True},
]  # fmt: skip
SHOWN = Image.open(io.BytesIO(renderer.photo(7, 1, 0))).resize((56, 40))


EXAMPLES = 100 if examples(1) == 1 else 10_000  # under the nightly profile


def saved(mode: str, options: dict[str, Any]) -> bytes:
    out = io.BytesIO()
    SHOWN.convert(mode).save(out, "JPEG", quality=80, **options)
    return out.getvalue()


WHOLE = [
    saved(mode, options)
    for mode in ("RGB", "L", "CMYK")
    for options in FORMS
    if mode != "L" or "subsampling" not in options
]


def segment(marker: int, data: bytes, longer: int = 0) -> bytes:
    """A segment; its length field says ``longer`` bytes more than it has, or fewer."""
    return bytes([0xFF, marker]) + max(len(data) + 2 + longer, 0).to_bytes(2, "big") + data


def exif(orientation: int, kind: int, order: str) -> bytes:
    """An EXIF segment whose orientation has the TIFF type ``kind``: 1 byte, 3 short, 4 long, 6 to 9 their signed kin."""
    byte_order: Any = order
    width = {1: 1, 6: 1, 3: 2, 8: 2}.get(kind, 4)
    head = (b"II*\0" if order == "little" else b"MM\0*") + (8).to_bytes(4, byte_order)
    tag = b"".join(number.to_bytes(size, byte_order) for number, size in ((1, 2), (0x0112, 2), (kind, 2), (1, 4)))
    return segment(0xE1, b"Exif\0\0" + head + tag + orientation.to_bytes(width, byte_order).ljust(4, b"\0") + bytes(4))


words = st.binary(max_size=40).map(lambda data: data.replace(b"\xff", b"\xfe"))
ODDITIES = st.one_of(
    words,  # junk between segments
    st.just(b"\xff\x00"),
    st.integers(1, 9).map(lambda count: b"\xff" * count),  # fill bytes
    st.integers(0xD0, 0xD7).map(lambda marker: bytes([0xFF, marker])),  # a stray restart
    st.builds(segment, st.integers(0xE0, 0xEF), words),
    st.integers(0xE0, 0xEF).map(lambda marker: bytes([0xFF, marker, 0, 0])),  # a length of 0
    st.builds(segment, st.just(0xFE), words, st.integers(-40, 0)),  # a comment longer than it says
    st.builds(segment, st.just(0xDC), words),  # number of lines
    st.builds(exif, st.integers(1, 8), st.sampled_from([3]), st.sampled_from(["little", "big"])),
    st.builds(
        segment, st.just(0xE0), words.map(lambda data: b"JFIF\0\1\1\0\0\1\0\1" + data)
    ),  # with a thumbnail, or cut
    st.builds(segment, st.just(0xEE), st.builds(lambda end: b"Adobe\0d\0\0\0\0" + end, words)),  # a transform, and more
    st.sampled_from([b"\xff\x01", b"\xff\x02", b"\xff\xd8", b"\xff\xc8", b"\xff\xf0"]),  # the first alone is allowed
)


def places(content: bytes) -> list[int]:
    """Where the segments before the first scan of a well-formed JPEG start, and that of the scan."""
    found, at = [], 2
    while content[at + 1] != 0xDA:
        found.append(at)
        at += 2 + int.from_bytes(content[at + 2 : at + 4], "big")
    return [*found, at]


@st.composite
def odd_jpegs(draw: st.DrawFn) -> bytes:
    content = draw(st.sampled_from(WHOLE))
    where = draw(st.lists(st.sampled_from(places(content)[1:]), max_size=5))
    for at in sorted(where, reverse=True):
        content = content[:at] + draw(ODDITIES) + content[at:]
    return content


def by_pillow(content: bytes) -> NDArray[np.uint8] | None:
    try:
        opened = Image.open(io.BytesIO(content), formats=["JPEG"])
    except OSError:  # a segment that libjpeg skips and Pillow alone cannot read, as a JFIF of 4 bytes: without it then
        return by_pillow_without_oddities(content)
    try:
        return np.asarray(ImageOps.exif_transpose(opened).convert("RGB"))[..., ::-1]
    except OSError:
        return None


def by_pillow_without_oddities(content: bytes) -> NDArray[np.uint8] | None:
    try:
        found = segments.take_apart(content)
        picture = np.asarray(Image.open(io.BytesIO(b"".join(found.kept))).convert("RGB"))[..., ::-1]
    except (StatusError, OSError):
        return None
    flip, turns = decoding.TURNS.get(found.orientation, (False, 0))
    return np.rot90(picture[:, ::-1] if flip else picture, turns)


def by_opencv(content: bytes) -> NDArray[np.uint8] | None:
    return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)


def by_ingest(content: bytes) -> NDArray[np.uint8] | None:
    try:
        return decoding.decode(jpeg.keep(content).content)
    except StatusError:
        return None


def by_decoding(content: bytes) -> NDArray[np.uint8] | None:
    try:
        return decoding.decode(content)
    except StatusError:
        return None


def encoded_again(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """What becomes of a photo that had to be turned."""
    again = by_opencv(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, jpeg.QUALITY])[1].tobytes())
    assert again is not None
    return again


@given(odd_jpegs())
@settings(max_examples=EXAMPLES)
def test_two_paths_and_two_libraries_agree_on_every_jpeg(content: bytes) -> None:
    shown = by_opencv(content)
    readers = {"ingest": by_ingest(content), "decoding": by_decoding(content), "pillow": by_pillow(content)}
    for name, picture in readers.items():
        assert (picture is None) == (shown is None), name
        if picture is not None and shown is not None:
            assert picture.shape == shown.shape, name
            wanted = encoded_again(shown) if name == "ingest" and decoding.header(content)[1] != 1 else shown
            assert np.abs(picture.astype(int) - wanted).mean() <= 2, name
