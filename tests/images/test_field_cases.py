"""Pictures as cameras, editors and servers write them: those of public bug reports in field_cases/, and their kin."""

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from landmarks.common.status import StatusError
from landmarks.demo import renderer
from landmarks.images import decoding, jpeg, segments

CASES = Path(__file__).parent / "field_cases"
END = b"\xff\xd9"
SHOWN = Image.open(io.BytesIO(renderer.photo(7, 1, 0))).resize((128, 96))


def saved(kind: str, picture: Image.Image = SHOWN, **options: Any) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def both_ways(content: bytes) -> NDArray[np.int_]:
    """The picture by ingest and by decoding, which are the same but for compression: int BGR."""
    ingested, direct = decoding.decode(jpeg.keep(content).content).astype(int), decoding.decode(content).astype(int)
    assert ingested.shape == direct.shape
    assert np.abs(ingested - direct).mean() < 5
    return direct


def chunk(name: bytes, data: bytes, damage: int = 0) -> bytes:
    return len(data).to_bytes(4, "big") + name + data + (zlib.crc32(name + data) ^ damage).to_bytes(4, "big")


def png_with(*chunks: bytes, **options: Any) -> bytes:
    content = saved("PNG", **options)
    return content[:33] + b"".join(chunks) + content[33:]


def tiff(orientation: int) -> bytes:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags.tobytes().removeprefix(b"Exif\0\0")


@pytest.mark.parametrize("path", sorted(CASES.glob("[ac]*.jpg")), ids=lambda path: path.stem)
def test_odd_segments_change_no_colour(path: Path) -> None:
    opened = np.asarray(Image.open(path).convert("RGB"))[..., ::-1].astype(int)
    picture = decoding.decode(jpeg.keep(path.read_bytes()).content)
    assert picture.shape == opened.shape
    assert np.abs(picture - opened).mean() <= 2


def test_the_first_of_two_exif_segments_counts() -> None:
    assert both_ways((CASES / "b1_two_exif_first_says_6.jpg").read_bytes()).shape == (128, 96, 3)


@pytest.mark.parametrize(
    ("bodies", "orientation"),
    [
        ([tiff(6), tiff(1)], 6), ([tiff(1), tiff(6)], 1), ([tiff(6), b"?"], 6), ([b"", tiff(6)], 6), ([b"?" * 9, tiff(6)], 6), ([b"?"], 1),
    ],
)  # fmt: skip
def test_the_first_exif_segment_that_can_be_read_counts(bodies: list[bytes], orientation: int) -> None:
    content = saved("JPEG")
    tagged = b"".join(b"\xff\xe1" + (len(body) + 8).to_bytes(2, "big") + b"Exif\0\0" + body for body in bodies)
    assert decoding.header(content[:2] + tagged + content[2:])[:2] == ((128, 96), orientation)


@pytest.mark.parametrize(
    ("kind", "value", "orientation"),
    [
        (1, b"\6\0\0\0", 6), (3, b"\0\6\0\0", 6), (4, b"\0\0\0\6", 6), (9, b"\0\0\0\6", 6),  # byte, short, long, signed long
        (2, b"6\0\0\0", 6), (5, b"\0\0\0\x08", 1), (3, b"\0\x09\0\0", 1), (3, b"\0\0\0\0", 1), (99, b"\0\6\0\0", 1),
    ],
)  # fmt: skip
def test_an_orientation_of_another_type_is_read_or_is_upright(kind: int, value: bytes, orientation: int) -> None:
    tags = b"MM\0*\0\0\0\x08\0\1\x01\x12" + kind.to_bytes(2, "big") + b"\0\0\0\1" + value + bytes(4)
    assert (segments.orientation(tags) or 1) == orientation


@pytest.mark.parametrize("longer", [0, 2, 30])
@pytest.mark.parametrize("transform", [0, 1])
def test_thumbnail_and_adobe_segment_keep_the_colours(longer: int, transform: int) -> None:
    content = saved("JPEG")
    jfif = b"\xff\xe0\x00\x1cJFIF\0\1\1\0\0\1\0\1\2\2" + b"thumbnail..."  # 2 x 2 pixels
    adobe = b"\xff\xee" + (14 + longer).to_bytes(2, "big") + b"Adobe\0d\0\0\0\0" + bytes([transform]) + bytes(longer)
    odd = content[:2] + jfif + adobe + content[20:]
    kept = jpeg.keep(odd).content
    assert b"thumbnail" not in kept
    opened = Image.open(io.BytesIO(odd)).convert("RGB")
    np.testing.assert_array_equal(decoding.decode(kept)[..., ::-1], np.asarray(opened))


@pytest.mark.parametrize(
    "content",
    [
        png_with(chunk(b"iCCP", b"icc\0\0" + zlib.compress(bytes(1_200_000)))),
        png_with(chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(1_200_000)))),
        png_with(*[chunk(b"tEXt", b"Comment\0" + bytes(900_000))] * 80),
        png_with(chunk(b"tEXt", b"Comment\0hello", damage=1)),
        png_with(chunk(b"eXIf", b"not TIFF")),
        png_with(chunk(b"gAMA", b""), chunk(b"pHYs", b"?"), chunk(b"acTL", b"??"), chunk(b"iTXt", b"")),
        png_with(chunk(b"zTXt", b"Raw profile type exif\0\0?")),
        saved("PNG") + b"and more",
        saved("WEBP", lossless=True, exif=b"garbage"),
        saved("WEBP", lossless=True, icc_profile=bytes(1_200_000)),
        (CASES / "d3_exif_no_tiff.png").read_bytes(),
    ],
    ids=lambda content: f"{content[1:4]!r} {len(content)}",
)
def test_metadata_does_not_refuse_a_photo(content: bytes) -> None:
    (width, height), orientation, _ = decoding.header(content)
    assert orientation == 1
    assert both_ways(content).shape == (height, width, 3)


@pytest.mark.parametrize("name", [b"eXIf", b"zTXt"])
def test_orientation_of_a_png_is_read_beside_damaged_metadata(name: bytes) -> None:
    raw = zlib.compress(b"\nexif\n      99\n" + tiff(6).hex().encode())
    data = tiff(6) if name == b"eXIf" else b"Raw profile type exif\0\0" + raw
    assert both_ways(png_with(chunk(b"tEXt", b"a\0b", damage=1), chunk(name, data))).shape == (128, 96, 3)


def test_what_transparency_erased_does_not_come_back() -> None:
    assert both_ways((CASES / "e1_erased_by_transparency.png").read_bytes())[:40].min() > 250


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "RGB", "L", "I;16", "1"])
def test_transparent_pixels_are_white_in_every_mode(kind: str, mode: str) -> None:
    if kind == "WEBP" and mode not in ("RGBA", "LA"):
        return  # WebP has no other
    black = Image.new("L", (64, 48), 0)
    options: dict[str, Any] = {} if kind == "PNG" else {"lossless": True, "exact": True}
    if mode.endswith("A"):
        clear = Image.merge(mode, [black] * len(mode))
    else:
        clear = Image.new(mode, (64, 48), 0)
        options["transparency"] = (0, 0, 0) if mode == "RGB" else 0
    assert both_ways(saved(kind, clear, **options)).min() == 255


@pytest.mark.parametrize(
    "options",
    [{}, {"progressive": True}, {"restart_marker_rows": 1}, {"restart_marker_blocks": 3, "progressive": True}],
)
@pytest.mark.parametrize("part", [0.4, 0.5, 0.9, 0.97])
def test_a_part_of_a_jpeg_closed_by_an_end_marker_is_truncated(options: dict[str, Any], part: float) -> None:
    for mode in ("RGB", "L"):
        content = saved("JPEG", SHOWN.convert(mode), **options)
        cut = content.rindex(b"\xff\xda") + 40 + int((len(content) - content.rindex(b"\xff\xda") - 42) * part)
        assert jpeg.keep(content).width == 128
        with pytest.raises(StatusError, match="truncated"):
            jpeg.keep(content[:cut].rstrip(b"\xff") + END)


def test_a_scan_cut_at_a_restart_is_truncated() -> None:
    content = saved("JPEG", restart_marker_rows=1)
    for number in range(5):
        cut = content.index(bytes([0xFF, 0xD0 + number]))
        for end in (cut, cut + 2):
            with pytest.raises(StatusError, match="truncated"):
                jpeg.keep(content[:end] + END)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("options", [{}, {"restart_marker_rows": 1}, {"quality": 100, "subsampling": 0}])
def test_a_progressive_jpeg_without_its_last_scans_is_truncated(mode: str, options: dict[str, Any]) -> None:
    options = {name: value for name, value in options.items() if name != "subsampling" or mode != "L"}
    content = saved("JPEG", SHOWN.convert(mode), progressive=True, **options)
    starts = [place for place in segment_starts(content) if content[place + 1] in (0xC4, 0xDA)]
    scans = [place for place in starts if content[place + 1] == 0xDA]
    assert len(scans) >= 6
    assert jpeg.keep(content).width == 128
    for cut in starts[starts.index(scans[0]) + 1 :]:
        assert decoding.decode(content[:cut] + END).shape == (96, 128, 3)  # libjpeg shows it, in less detail
        with pytest.raises(StatusError, match="truncated"):
            jpeg.keep(content[:cut] + END)


def segment_starts(content: bytes) -> list[int]:
    """Where the segments of a JPEG start, those between its scans too."""
    data = np.frombuffer(content, np.uint8)
    places = np.flatnonzero(data[:-1] == 0xFF)
    return [int(place) for place in places if segments.MARKS[data[place + 1]]]


@pytest.mark.parametrize("parameters", [b"\x00\x00\x00", b"\x00\x3f\x01", b"\x00\x00\x3f", b"\x05\x01\xff"])
def test_what_a_sequential_scan_says_of_coefficients_means_nothing(parameters: bytes) -> None:
    content = saved("JPEG", SHOWN)
    scan = content.index(b"\xff\xda")
    end = scan + 2 + int.from_bytes(content[scan + 2 : scan + 4], "big")
    changed = content[: end - 3] + parameters + content[end:]
    np.testing.assert_array_equal(decoding.decode(jpeg.keep(changed).content), decoding.decode(content))


def test_a_scan_for_each_component_is_needed() -> None:
    content = saved("JPEG", SHOWN, subsampling=0)
    scan = content.index(b"\xff\xda")
    luminance = content[:scan] + b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00" + bytes(4000) + END
    with pytest.raises(StatusError, match="truncated"):
        jpeg.keep(luminance)


def test_a_bmp_whose_alpha_was_never_set_is_opaque_and_one_with_transparency_is_on_white() -> None:
    shown, clear = SHOWN.convert("RGBA"), SHOWN.convert("RGBA")
    shown.putalpha(0)
    clear.putalpha(Image.linear_gradient("L").resize(clear.size))
    np.testing.assert_array_equal(both_ways(bmp(shown)), np.asarray(SHOWN)[..., ::-1])
    assert both_ways(bmp(clear))[0].min() > 250
    assert both_ways(saved("PNG", shown)).min() == 255


def bmp(picture: Image.Image) -> bytes:
    """A BMP of version 4, which says where its alpha is; Pillow writes none."""
    width, height = picture.size
    masks = b"".join(mask.to_bytes(4, "little") for mask in (0xFF0000, 0xFF00, 0xFF, 0xFF000000))
    rows = np.asarray(picture)[::-1, :, [2, 1, 0, 3]].tobytes()
    head = (
        struct.pack("<IiiHHIIiiII", 108, width, height, 1, 32, 3, len(rows), 2835, 2835, 0, 0)
        + masks
        + b"BGRs"
        + bytes(48)
    )
    return b"BM" + struct.pack("<IHHI", 14 + len(head) + len(rows), 0, 0, 14 + len(head)) + head + rows


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP"])
@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 7)])
def test_a_pixel_that_counts_visits_is_too_small(kind: str, size: tuple[int, int]) -> None:
    with pytest.raises(StatusError, match="too small"):
        jpeg.keep(saved(kind, Image.new("RGB", size)))


def test_an_error_names_the_format_of_a_file(tmp_path: Path) -> None:
    SHOWN.save(tmp_path / "p.jpg", "GIF")
    with pytest.raises(ValueError, match=r"p\.jpg: does not decode as a photo: gif"):
        decoding.read(tmp_path / "p.jpg")


def test_a_grey_photo_of_16_bits_keeps_its_tones() -> None:
    ramp = np.tile(np.linspace(0, 65_535, 64).astype(np.uint16), (48, 1))
    shown = cv2.imdecode(np.frombuffer(saved("PNG", Image.fromarray(ramp)), np.uint8), cv2.IMREAD_COLOR)
    assert shown is not None
    assert np.abs(both_ways(saved("PNG", Image.fromarray(ramp))) - shown).max() <= 1
