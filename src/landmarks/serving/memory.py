"""Memory that the C library would keep after a large photo or body."""

import ctypes

LARGE_BODY, LARGE_PHOTO = 1_000_000, 4_000_000  # bytes, pixels

_trim = getattr(ctypes.CDLL(None), "malloc_trim", lambda _: None)  # glibc has it


def give_back() -> None:
    """Return what is free to the operating system."""
    _trim(0)
