"""PNG, WebP and BMP of any kind are shown alike by both paths and both libraries; damaged bytes are a photo or have a status."""

import io
import resource
import time
import zlib
from typing import Any

import cv2
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from support import fuzzed

from landmarks.common.status import OTHER_FORMATS, Status, StatusError
from landmarks.demo import renderer
from landmarks.images import decoding, jpeg

SHOWN = Image.open(io.BytesIO(renderer.photo(7, 1, 0))).resize((56, 40))
PIXELS = 1_000_000  # most that the fuzz allows
CLEAR = SHOWN.convert("RGBA")
CLEAR.putalpha(Image.linear_gradient("L").resize(CLEAR.size))


def saved(kind: str, picture: Image.Image = SHOWN, **options: Any) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


PNGS = [saved("PNG", SHOWN.convert(mode)) for mode in ("RGB", "L", "P", "1")]
PNGS += [saved("PNG", CLEAR), saved("PNG", CLEAR.convert("LA")), saved("PNG", SHOWN.convert("P"), transparency=3)]
WEBPS = [
    saved("WEBP", lossless=True),
    saved("WEBP", CLEAR, lossless=True, exact=True),
    saved("WEBP", quality=90),
    saved("WEBP", CLEAR, quality=90),
]
BMPS = [saved("BMP", SHOWN.convert(mode)) for mode in ("RGB", "L", "P", "1")]
READ = [*PNGS, *WEBPS, *BMPS]
OTHERS = [saved(kind) for kind in ("GIF", "TIFF", "JPEG2000", "AVIF")]


def by_ingest(content: bytes) -> NDArray[np.uint8] | Status:
    try:
        return decoding.decode(jpeg.keep(content, max_pixels=PIXELS).content)
    except StatusError as error:
        return error.status


def by_decoding(content: bytes) -> NDArray[np.uint8] | Status:
    try:
        return decoding.decode(decoding.header(content, PIXELS))
    except StatusError as error:
        return error.status


def by_pillow(content: bytes) -> NDArray[np.uint8] | None:
    """Without metadata, on white: uint8 BGR."""
    try:
        with Image.open(io.BytesIO(content), formats=["PNG", "WEBP", "BMP"]) as opened:
            layer = opened.convert("RGBA")
            if opened.format == "BMP" and not layer.getchannel("A").getbbox():
                layer.putalpha(255)  # as every viewer
    except Exception:  # of any type
        return None
    white = Image.new("RGBA", layer.size, "white")
    return np.asarray(Image.alpha_composite(white, layer).convert("RGB"))[..., ::-1]


def encoded(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """What ingest makes of a picture that is no JPEG."""
    return decoding.decode(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, jpeg.QUALITY])[1].tobytes())


def alike(one: NDArray[np.uint8], other: NDArray[np.uint8], most: float) -> bool:
    return one.shape == other.shape and float(np.abs(one.astype(int) - other).mean()) <= most


# Odd chunks between those that carry the pixels


def png_chunk(name: bytes, data: bytes, damage: int) -> bytes:
    return len(data).to_bytes(4, "big") + name + data + (zlib.crc32(name + data) ^ damage).to_bytes(4, "big")


def webp_chunk(name: bytes, data: bytes, _: int) -> bytes:
    return name + len(data).to_bytes(4, "little") + data + bytes(len(data) % 2)


PNG_NAMES = st.sampled_from(
    [
        b"tEXt",
        b"zTXt",
        b"iTXt",
        b"iCCP",
        b"gAMA",
        b"cHRM",
        b"sRGB",
        b"pHYs",
        b"tIME",
        b"eXIf",
        b"acTL",
        b"fcTL",
        b"fdAT",
        b"prVt",
    ]
)
DATA = st.binary(max_size=40) | st.sampled_from(
    [b"a\0\0" + zlib.compress(bytes(99)), b"Raw profile type exif\0\0x\x9c", b"Exif\0\0II*\0\x08\0\0\0", b"MM\0*"]
)


@st.composite
def odd_chunks(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """A whole PNG or WebP, and the same with chunks that change no pixel."""
    damage = st.sampled_from([0, 0, 1])
    if draw(st.booleans()):
        plain = draw(st.sampled_from(PNGS))
        more = b"".join(draw(st.lists(st.builds(png_chunk, PNG_NAMES, DATA, damage), max_size=3)))
        return plain, plain[:33] + more + plain[33:] + draw(st.binary(max_size=9))
    plain = draw(st.sampled_from(WEBPS))
    names = st.sampled_from([b"EXIF", b"XMP ", b"ICCP", b"abcd", b"\0\0\0\0"])
    more = b"".join(draw(st.lists(st.builds(webp_chunk, names, DATA, damage), max_size=3)))
    size = (len(plain) - 8 + len(more)).to_bytes(4, "little")
    return plain, b"RIFF" + size + plain[8:] + more


@given(odd_chunks())
@settings(max_examples=fuzzed())
def test_odd_chunks_change_nothing_in_both_paths(pair: tuple[bytes, bytes]) -> None:
    plain, odd = pair
    wanted, found, ingested = by_pillow(plain), by_decoding(odd), by_ingest(odd)
    assert wanted is not None
    assert not isinstance(found, Status)
    assert not isinstance(ingested, Status)
    assert alike(found, wanted, 1)  # rounding of half-transparent pixels
    np.testing.assert_array_equal(ingested, encoded(found))
    if np.asarray(Image.open(io.BytesIO(plain)).convert("RGBA"))[..., 3].min() == 255:
        shown = cv2.imdecode(np.frombuffer(plain, np.uint8), cv2.IMREAD_COLOR)
        assert shown is not None
        assert alike(found, np.asarray(shown, np.uint8), 1)


# Bytes put in, overwritten, cut off


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    content = draw(st.sampled_from(READ + OTHERS))
    for _ in range(draw(st.integers(1, 4))):
        early = draw(st.booleans())  # in the headers, where lengths and sizes stand
        at = draw(st.integers(0, 80 if early else 1 << 16)) % (len(content) + 1)
        piece = draw(
            st.binary(max_size=6)
            | st.sampled_from([b"\xff\xff\xff\xff", bytes(4), b"\x7f\xff\xff\xff", b"\0\0\xff\xff"])
        )
        content = (
            content[:at]
            + piece
            + content[draw(st.sampled_from([at, at + len(piece), at + len(piece), len(content)])) :]
        )
    return content


@given(mutated())
@settings(max_examples=fuzzed())
def test_damaged_bytes_are_the_same_photo_on_both_paths_or_have_a_status(content: bytes) -> None:
    before, begin = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.thread_time()
    found, ingested = by_decoding(content), by_ingest(content)
    assert time.thread_time() - begin < 10  # seconds
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # kB
    if isinstance(found, Status):
        assert isinstance(ingested, Status)
        assert found == Status.TOO_LARGE or by_pillow(content) is None  # which would decode what is too large
        return
    pillow = by_pillow(content)
    if isinstance(ingested, Status):
        assert ingested in (Status.TOO_SMALL, Status.TOO_LARGE)
    else:
        np.testing.assert_array_equal(ingested, encoded(found))
    if pillow is not None:
        assert alike(found, pillow, 1)


@given(st.sampled_from(OTHERS), st.binary(max_size=40), st.integers(20, 1 << 16))
@settings(max_examples=fuzzed() // 10)
def test_another_format_is_called_by_its_name_whatever_follows_its_first_bytes(
    content: bytes, noise: bytes, at: int
) -> None:
    assert by_ingest(content[: at % len(content) + 20] + noise) in OTHER_FORMATS
