"""The limits of the server: what one request may cost, and how many requests are accepted at once."""

from dataclasses import dataclass


@dataclass(frozen=True)
class RequestLimits:
    """What is accepted. A request that exceeds a limit is refused with the status code beside it."""

    megabytes: float = 16.0  # largest body, in 10^6 bytes: 413
    megapixels: float = 50.0  # largest photo, width times height in millions: 413
    instances: int = 32  # most photos in a request: 413, in a form 400
    seconds: float = 10.0  # a request has to arrive within this time: 408
    requests: int = 64  # most requests in progress: 429
