"""What became of a photo: one word for each outcome, used by the download stage, its table, and the server."""

from enum import StrEnum

from landmarks.common.errors import InputError


class Status(StrEnum):
    """The outcome of asking for, checking or decoding one photo. The values are those in the tables and counts."""

    OK = "ok"
    # of the request
    MOVED = "moved"  # a redirect, to be followed
    GONE = "gone"  # 404, 410, or no such file
    REFUSED = "refused"  # 401, 403, 451, or no permission to read the file
    BUSY = "busy"  # 429
    SERVER_ERROR = "server error"  # 500 and above, 408, 425
    UNEXPECTED = "unexpected answer"  # any other code
    UNREACHABLE = "unreachable"
    CERTIFICATE = (
        "certificate error"  # the host's TLS certificate has expired, is for another name, or nobody vouches for it
    )
    COOKIE_CHALLENGE = (
        "cookie challenge"  # in place of the photo, a page or redirect that wants cookies, JavaScript or a person
    )
    TOO_SLOW = "too slow"
    DUPLICATE = "duplicate"  # the bytes of another photo: a placeholder, or a photo listed twice
    REDIRECT_LOOP = "redirect loop"
    TOO_MANY_REDIRECTS = "too many redirects"
    # of the rules: no request is sent, or its answer is not used
    BAD_URL = "bad url"
    PRIVATE_ADDRESS = "private address"
    SCHEME_NOT_ALLOWED = "scheme not allowed"
    DISALLOWED = "disallowed"  # by robots.txt
    OPTED_OUT = "opted out"  # by X-Robots-Tag: noai
    # of the content
    HTML = "html"
    MISLABELLED = "mislabelled"  # the Content-Type says image, the bytes are none
    NOT_A_PHOTO = "not a photo"
    GIF = "gif"
    TIFF = "tiff"
    AVIF = "avif"
    HEIC = "heic"
    JPEG_XL = "jpeg xl"
    JPEG_2000 = "jpeg 2000"
    TRUNCATED = "truncated"
    TOO_SMALL = "too small"  # in pixels: one that counts visits, or a spacer
    TOO_LARGE = "too large"  # in bytes or in pixels
    TOO_MANY_SCANS = "too many scans"  # of a progressive JPEG
    DOES_NOT_DECODE = "does not decode"


OTHER_FORMATS = (
    Status.GIF,
    Status.TIFF,
    Status.AVIF,
    Status.HEIC,
    Status.JPEG_XL,
    Status.JPEG_2000,
)  # photos, but not read


class StatusError(InputError):
    """There is no photo to be had; ``status`` says why, and so does the text."""

    def __init__(self, status: Status) -> None:
        super().__init__(str(status))
        self.status = Status(status)  # a pickled error is made again from its text
