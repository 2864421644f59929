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
    SERVER_ERROR = "server error"  # 500 and above
    UNEXPECTED = "unexpected answer"  # any other code
    UNREACHABLE = "unreachable"
    TOO_SLOW = "too slow"
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
    TRUNCATED = "truncated"
    TOO_LARGE = "too large"  # in bytes or in pixels
    TOO_MANY_SCANS = "too many scans"  # of a progressive JPEG
    DOES_NOT_DECODE = "does not decode"


class StatusError(InputError):
    """There is no photo to be had; ``status`` says why, and so does the text."""

    def __init__(self, status: Status) -> None:
        super().__init__(str(status))
        self.status = Status(status)  # a pickled error is made again from its text
