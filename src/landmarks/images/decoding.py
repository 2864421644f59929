"""Photos: decoded upright and no larger than needed."""

import io
import zlib
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from landmarks.common.errors import InputError
from landmarks.common.files import whole
from landmarks.common.status import Status, StatusError
from landmarks.images import formats, segments
from landmarks.images.photo_store import Photo

Picture = NDArray[np.uint8]

MAX_PIXELS = 80_000_000  # more than any camera of the catalogue has; a larger header is a decompression bomb
PNG_PIXELS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")  # chunks; the others are metadata, or frames of an animation
WEBP_PIXELS = (b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF")
RAW_PROFILE = b"Raw profile type exif\0"  # starts the text chunk in which ImageMagick writes EXIF into a PNG
MAX_PROFILE = 1 << 20  # bytes of one, decompressed
Image.MAX_IMAGE_PIXELS = None  # ``header`` compares with MAX_PIXELS; Pillow would print its own warning
REDUCED = ((8, cv2.IMREAD_REDUCED_COLOR_8), (4, cv2.IMREAD_REDUCED_COLOR_4), (2, cv2.IMREAD_REDUCED_COLOR_2))
# EXIF orientation: mirror first?, then how many quarter turns against the clock
TURNS = {2: (True, 0), 3: (False, 2), 4: (True, 2), 5: (True, 1), 6: (False, 3), 7: (True, 3), 8: (False, 1)}


class Head(NamedTuple):
    """What is known of a photo before a pixel is decoded."""

    size: tuple[int, int]  # width and height as stored
    orientation: int  # of EXIF, 1 to 8
    content: bytes  # of a PNG or WebP without metadata, which would stop Pillow if it is damaged or large


def read(photo: Photo, long_side: int = 0) -> Picture:
    """Decode a photo upright (EXIF turn applied): uint8 BGR (height, width, 3).

    ``long_side`` above 0 caps the longer side, in pixels; JPEG is then decoded at the smallest sufficient scale.
    Raises ``InputError`` if the file does not decode.
    """
    try:
        return decode(photo.read_bytes(), long_side)
    except StatusError as error:
        raise unreadable(photo, error) from None


def decode(photo: bytes | Head, long_side: int = 0, exact: bool = True) -> Picture:
    """Decode a photo in memory as ``read`` does: uint8 BGR (height, width, 3), upright.

    ``photo`` is its bytes, or what ``header`` returned for them. ``exact=False`` leaves the longer side at ``long_side`` or
    above, for callers that scale the photo themselves. Raises ``StatusError`` as ``header`` does, or ``DOES_NOT_DECODE``.
    """
    (width, height), orientation, content = photo if isinstance(photo, Head) else header(photo)
    if width * height > MAX_PIXELS:
        raise StatusError(Status.TOO_LARGE)
    ratio = max(width, height) / long_side if long_side else 1
    flags = next((flag for factor, flag in REDUCED if ratio >= factor), cv2.IMREAD_COLOR)
    picture = _decode_jpeg(content, flags) if formats.read_format(content) == "JPEG" else _decode_other(content)
    if picture is None:
        raise StatusError(Status.DOES_NOT_DECODE)
    flip, turns = TURNS.get(orientation, (False, 0))  # here, because OpenCV reads the tag in some formats only
    picture = np.rot90(picture[:, ::-1] if flip else picture, turns)
    size = scaled_size(*((height, width) if orientation >= 5 else (width, height)), long_side)
    return _resized(picture, size) if exact else np.ascontiguousarray(picture, np.uint8)


def shrunk(picture: Picture, long_side: int) -> Picture:
    """A decoded photo as ``read`` would give it: its longer side at most ``long_side`` pixels."""
    return _resized(picture, scaled_size(picture.shape[1], picture.shape[0], long_side))


def _resized(picture: Picture, size: tuple[int, int]) -> Picture:
    if (picture.shape[1], picture.shape[0]) != size:
        picture = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
    return np.ascontiguousarray(picture, np.uint8)


def _decode_jpeg(content: bytes, flags: int) -> Picture | None:
    try:
        picture = cv2.imdecode(np.frombuffer(content, np.uint8), flags | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:
        return None
    return None if picture is None else np.asarray(picture, np.uint8)


def _decode_other(content: bytes) -> Picture | None:
    """Decode PNG, WebP or BMP, transparent pixels on white; None if that fails.

    OpenCV would trust any chunk length, accept a cut file as whole, and show what is hidden under full transparency.
    """
    try:
        with Image.open(io.BytesIO(content), formats=[formats.read_format(content)]) as opened:
            if opened.mode.startswith("I"):
                return _grey_of_16_bits(opened)
            picture: Image.Image = opened
            if opened.has_transparency_data:
                layer = opened.convert("RGBA")
                if opened.format == "BMP" and not layer.getchannel("A").getbbox():
                    layer.putalpha(255)  # programs that know no alpha leave it 0: every viewer shows the picture
                picture = Image.new("RGB", opened.size, "white")
                picture.paste(layer, mask=layer)
            return np.asarray(np.asarray(picture.convert("RGB"))[..., ::-1], np.uint8)
    except Exception:  # untrusted input: Pillow's plugins raise errors of any type
        return None


def _grey_of_16_bits(opened: Image.Image) -> Picture:
    values = np.asarray(opened, np.uint32)
    grey = np.where(values == opened.info.get("transparency", -1), 255, values >> 8)
    return np.asarray(np.dstack([grey] * 3), np.uint8)


def scaled_size(width: int, height: int, long_side: int) -> tuple[int, int]:
    """Width and height, pixels, of a photo whose longer side is capped at ``long_side`` (0: not at all)."""
    scale = min(long_side / max(width, height), 1) if long_side else 1
    return max(round(width * scale), 1), max(round(height * scale), 1)


def header(content: bytes, max_pixels: int = MAX_PIXELS, label: str = "") -> Head:
    """Read width and height as stored, and the EXIF orientation, 1 to 8. ``label`` is the Content-Type.

    A JPEG is read to its end as libjpeg does, of other formats the start. Raises ``StatusError``: ``TOO_LARGE``,
    ``TRUNCATED``, ``TOO_MANY_SCANS``, or what the bytes are instead of a photo.
    """
    kind = formats.read_format(content)
    if kind == "JPEG":
        found = segments.take_apart(content)
        head = Head((found.width, found.height), found.orientation, content)
    else:
        try:
            pixels, exif = _pixels(content, kind)
            with Image.open(io.BytesIO(pixels), formats=[kind]) as opened:
                head = Head(opened.size, segments.orientation(exif) or 1, pixels)
        except Exception:  # untrusted input: Pillow's plugins raise errors of any type
            status = Status.TRUNCATED if _short_webp(content) else formats.refusal(content, label)
            raise StatusError(status) from None
    if head.size[0] * head.size[1] > max_pixels:
        raise StatusError(Status.TOO_LARGE)
    return head


def _pixels(content: bytes, kind: str) -> tuple[bytes, bytes]:
    """Return a PNG or WebP with the chunks that carry its pixels alone, and its EXIF data. A BMP has no metadata."""
    if kind == "PNG":
        return _png_pixels(content)
    return _webp_pixels(content) if kind == "WEBP" else (content, b"")


def _png_pixels(content: bytes) -> tuple[bytes, bytes]:
    kept, exif, at = [content[:8]], b"", 8
    while at < len(content):
        name, end = content[at + 4 : at + 8], at + 12 + int.from_bytes(content[at : at + 4], "big")
        if name in PNG_PIXELS:
            kept.append(content[at:end])
        elif name == b"eXIf":
            exif = content[at + 8 : end - 4]
        elif name == b"zTXt" and not exif and content.startswith(RAW_PROFILE, at + 8):
            exif = _raw_profile(content[at + 9 + len(RAW_PROFILE) : end - 4])
        at = end
    return b"".join(kept), exif


def _raw_profile(compressed: bytes) -> bytes:
    try:
        text = zlib.decompressobj().decompress(compressed, MAX_PROFILE).decode("ascii")
        return bytes.fromhex("".join(text.split("\n")[3:]))
    except (zlib.error, ValueError):
        return b""


def _webp_pixels(content: bytes) -> tuple[bytes, bytes]:
    if _short_webp(content):
        return content, b""
    kept, exif, at = [b"WEBP"], b"", 12
    while at < len(content):
        name, length = content[at : at + 4], int.from_bytes(content[at + 4 : at + 8], "little")
        end = at + 8 + length + length % 2
        if name in WEBP_PIXELS:
            kept.append(content[at:end])
        elif name == b"EXIF":
            exif = content[at + 8 : end]
        at = end
    chunks = b"".join(kept)
    return b"RIFF" + len(chunks).to_bytes(4, "little") + chunks, exif


def _short_webp(content: bytes) -> bool:
    """Return whether this is a WebP whose header names more bytes than there are; Pillow opens only whole ones."""
    return content[8:12] == b"WEBP" and len(content) < int.from_bytes(content[4:8], "little") + 8


def unreadable(photo: Photo, error: StatusError) -> InputError:
    """The error of a photo that does not decode."""
    return InputError(
        f"{photo}: does not decode as a photo: {error} (read are {', '.join(formats.READ)}); remove it and run: dvc repro"
    )


def write(path: Path, picture: Picture, quality: int) -> None:
    """Write a JPEG without metadata, atomically. Raises ``InputError`` if the picture cannot be encoded."""
    done, content = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise InputError(f"{path}: cannot be encoded as JPEG")
    with whole(path) as partial:
        partial.write_bytes(content.tobytes())
