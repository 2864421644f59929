"""A stored photo has all pixels of the one that was received, and nothing else of it."""

import io
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin
from support import examples, turned

from landmarks.common.status import StatusError
from landmarks.demo import renderer
from landmarks.images import decoding, jpeg

FORMATS = ["JPEG", "PNG", "WEBP", "BMP"]
SECRET = b"52.5163N 13.3777E"


def decoded(content: bytes) -> NDArray[np.uint8]:
    picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    assert picture is not None
    return picture


def with_segments(content: bytes, *segments: tuple[int, bytes]) -> bytes:
    made = b"".join(b"\xff" + bytes([marker]) + (len(data) + 2).to_bytes(2, "big") + data for marker, data in segments)
    return content[:2] + made + content[2:]


def saved(kind: str, picture: Image.Image | None = None, **options: Any) -> bytes:
    out = io.BytesIO()
    (picture or Image.fromarray(decoded(renderer.photo(7, 1, 0))[..., ::-1])).save(out, kind, **options)
    return out.getvalue()


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}, {"restart_marker_rows": 1}])
def test_an_upright_jpeg_keeps_its_pixels_bit_for_bit_and_no_metadata(options: dict[str, Any]) -> None:
    exif = Image.Exif()
    exif[0x010E] = SECRET.decode()
    plain = saved("JPEG", quality=90, **options)
    tagged = saved("JPEG", quality=90, exif=exif, comment=SECRET, icc_profile=SECRET * 9, **options)
    xmp, thumbnail = b"http://ns.adobe.com/xap/1.0/\0" + SECRET, b"JFXX\0" + SECRET
    tagged = with_segments(tagged, (0xE1, xmp), (0xED, SECRET), (0xE0, thumbnail))
    kept = jpeg.keep(tagged + b"\0\0" + plain + SECRET)  # a second picture behind the first, as phones write it
    assert SECRET in tagged
    assert SECRET not in kept.content
    assert kept.content.endswith(b"\xff\xd9")
    assert len(kept.content) <= len(plain)
    np.testing.assert_array_equal(decoded(kept.content), decoded(plain))
    assert (kept.width, kept.height) == Image.open(io.BytesIO(plain)).size


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "MPO"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_is_kept_upright_as_jpeg(kind: str, orientation: int) -> None:
    upright = np.zeros((40, 64, 3), np.uint8)
    upright[:20, :32] = (255, 0, 0)
    upright[20:, 32:] = (0, 0, 255)
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010E] = SECRET.decode()
    content = saved(kind, Image.fromarray(turned(upright, orientation)), exif=exif, quality=95)
    kept = jpeg.keep(content)
    assert SECRET not in kept.content
    assert kept.content.startswith(b"\xff\xd8\xff")
    with Image.open(io.BytesIO(kept.content)) as opened:
        assert not dict(opened.getexif())
        assert opened.size == (kept.width, kept.height) == (kept.original_width, kept.original_height) == (64, 40)
    assert np.abs(decoded(kept.content)[..., ::-1].astype(int) - upright).mean() < 8


def test_a_png_loses_its_text() -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("place", SECRET.decode())
    kept = jpeg.keep(saved("PNG", pnginfo=info))
    assert SECRET not in kept.content
    assert kept.format == "PNG"


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_grey_and_printers_jpegs_are_photos_too(mode: str) -> None:
    content = saved("JPEG", Image.open(io.BytesIO(renderer.photo(7, 1, 0))).convert(mode))
    np.testing.assert_array_equal(decoded(jpeg.keep(content).content), decoded(content))


@pytest.mark.parametrize("long_side", [64, 100, 333, 5000])
def test_a_scaled_photo_looks_like_the_whole_one(long_side: int) -> None:
    content = renderer.photo(7, 1, 0)
    kept = jpeg.keep(content, long_side=long_side)
    width, height = kept.original_width, kept.original_height
    assert (kept.width, kept.height) == decoding.scaled_size(width, height, long_side)
    assert max(kept.width, kept.height) == min(long_side, max(width, height))
    whole = cv2.resize(decoding.decode(content), (kept.width, kept.height), interpolation=cv2.INTER_AREA)
    assert np.abs(whole.astype(int) - decoded(kept.content)).mean() < 6


def test_every_truncation_is_noticed() -> None:
    content = saved("JPEG", quality=60, progressive=True)
    for end in range(4, len(content) - 1, max(len(content) // 300, 1)):
        with pytest.raises(StatusError, match="truncated"):
            jpeg.keep(content[:end])
    assert jpeg.keep(content).width


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "BMP"])
def test_half_a_picture_of_another_format_is_noticed_too(kind: str) -> None:
    content = saved(kind)
    with pytest.raises(StatusError, match="truncated"):
        jpeg.keep(content[: len(content) // 2])


@pytest.mark.parametrize(
    ("content", "label", "status"),
    [
        (b"<!DOCTYPE html><p>gone", "image/jpeg", "html"),
        (b"\xef\xbb\xbf \n<svg/>", "image/svg+xml", "html"),
        (b"gone", "text/plain", "html"),
        (b"%PDF-1.4", "image/jpeg", "mislabelled"),
        (b"RIFF....WAVE", "image/webp", "mislabelled"),
        (b"GIF89a", "", "gif"),
        (b"II*\0....", "image/jpeg", "tiff"),
        (b"\0\0\0\x1cftypavif\0\0\0\0mif1avif", "image/jpeg", "avif"),
        (b"\0\0\0\x1cftypmif1\0\0\0\0mif1avif", "", "avif"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "image/heic", "heic"),
        (b"\0\0\0\x18ftypisom\0\0\0\0mp42", "video/mp4", "not a photo"),
        (b"\xff\x0a...", "", "jpeg xl"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "", "jpeg 2000"),
        (b"", "image/jpeg", "mislabelled"),
        (b"PK\3\4", "application/zip", "not a photo"),
    ],
)
def test_content_that_is_no_photo_has_a_status_that_says_what_it_is(content: bytes, label: str, status: str) -> None:
    with pytest.raises(StatusError) as raised:
        jpeg.keep(content, label)
    assert raised.value.status == str(raised.value) == status


def test_a_jpeg_is_taken_apart_without_trust() -> None:
    content = saved("JPEG")
    frame = content.index(b"\xff\xc0")
    small = b"\xff\xc0\x00\x0b\x08\x00\x08\x00\x08\x01\x01\x11\x00"
    hostile = {
        "a second, smaller frame before the end": content[:-2] + small + content[-2:],
        "a flood of starts": b"\xff\xd8" * 2_000_000 + content,
        "a marker that stops every decoder": content[:frame] + b"\xff\xf0\x00\x10" + SECRET[:14] + content[frame:],
    }
    for what, damaged in hostile.items():
        with pytest.raises(StatusError, match=r"truncated|mislabelled"):
            raise AssertionError(what, jpeg.keep(damaged, "image/jpeg").width)


@pytest.mark.parametrize("kind", ["PNG", "BMP"])
def test_a_picture_longer_than_a_jpeg_can_be_is_too_large(kind: str) -> None:
    with pytest.raises(StatusError, match="too large"):
        jpeg.keep(saved(kind, Image.new("RGB", (70_000, 4))))


def test_a_png_whose_chunk_claims_gigabytes_costs_none() -> None:
    import resource

    content = saved("PNG", Image.new("RGB", (64, 48)))
    at = content.index(b"IDAT") - 4
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert outcome(content[:at] + b"\x90\0\0\0" + content[at + 4 :], 0) in ("a photo", "truncated")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kB


@pytest.mark.parametrize("mode", ["I;16", "L", "LA", "P", "RGBA", "1"])
def test_every_mode_of_a_png_becomes_a_photo(mode: str) -> None:
    plain = Image.new("RGB", (64, 48), (150, 150, 150))
    picture = Image.new(mode, (64, 48), 40_000) if mode == "I;16" else plain.convert(mode)
    kept = decoded(jpeg.keep(saved("PNG", picture)).content)
    assert kept.shape == (48, 64, 3)
    assert mode == "1" or abs(float(kept.mean()) - 153) < 6


def test_too_many_pixels_are_refused_before_any_is_decoded() -> None:
    for kind in ("JPEG", "PNG"):
        with pytest.raises(StatusError, match="too large"):
            jpeg.keep(saved(kind), max_pixels=1000)


@given(st.binary(max_size=200), st.integers(0, 30_000), st.sampled_from(FORMATS), st.sampled_from([0, 32]))
@settings(max_examples=examples(150))
def test_untrusted_input_is_a_photo_or_has_a_status(noise: bytes, at: int, kind: str, long_side: int) -> None:
    content = saved(kind, Image.new("RGB", (64, 48), (200, 30, 40)))
    damaged = content[: at % len(content)] + noise + content[at % len(content) + len(noise) :]
    assert outcome(damaged, long_side) in {
        "a photo", "html", "mislabelled", "not a photo", "truncated", "too large", "too small", "does not decode",
    }  # fmt: skip


def outcome(content: bytes, long_side: int) -> str:
    try:
        kept = jpeg.keep(content, long_side=long_side, max_pixels=1_000_000)
    except StatusError as error:
        return str(error)
    alike = decoding.header(kept.content)[:2] == ((kept.width, kept.height), 1)
    return "a photo" if alike else "a photo of another size than its header says"
