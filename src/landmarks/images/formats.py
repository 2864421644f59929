"""What a body of bytes is by its first bytes: one of the formats that are read, another by its name, or no photo."""

from landmarks.common.status import Status

READ = ("JPEG", "PNG", "WEBP", "BMP")  # Pillow and OpenCV read these, and neither starts another program for it
SIGNATURES = {b"\xff\xd8\xff": "JPEG", b"\x89PNG\r\n\x1a\n": "PNG", b"BM": "BMP"}
OTHERS = {
    b"GIF8": Status.GIF,
    b"II*\0": Status.TIFF, b"MM\0*": Status.TIFF, b"II+\0": Status.TIFF, b"MM\0+": Status.TIFF,  # raw files of cameras too
    b"\xff\x0a": Status.JPEG_XL, b"\0\0\0\x0cJXL \r\n\x87\n": Status.JPEG_XL,
    b"\xff\x4f\xff\x51": Status.JPEG_2000, b"\0\0\0\x0cjP  \r\n\x87\n": Status.JPEG_2000,
}  # fmt: skip
AVIF = (b"avif", b"avis")
HEIC = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")


def read_format(content: bytes) -> str:
    """Return which of the formats in ``READ`` the bytes start as; empty if none."""
    if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
        return "WEBP"
    return next((name for start, name in SIGNATURES.items() if content.startswith(start)), "")


def refusal(content: bytes, label: str = "") -> Status:
    """Return the status of bytes that are no photo in a format that is read; ``label`` is their Content-Type."""
    if content[4:8] == b"ftyp":
        names = content[8 : min(int.from_bytes(content[:4], "big"), 256)]
        brands = [names[at : at + 4] for at in range(0, len(names), 4)]
        if any(brand in AVIF for brand in brands):  # first: AVIF names HEIC's general brands as well
            return Status.AVIF
        if any(brand in HEIC for brand in brands):
            return Status.HEIC
    if named := next((status for start, status in OTHERS.items() if content.startswith(start)), None):
        return named
    if content.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"<" or label.startswith("text/"):
        return Status.HTML
    return Status.MISLABELLED if label.startswith("image/") else Status.NOT_A_PHOTO
