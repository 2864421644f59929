"""The Prometheus metrics of the server."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
PHOTOS = (1, 2, 4, 8, 16)


class ServerMetrics:
    """Counters and histograms in a registry of their own. None holds a photo or the address of a client."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.requests = Counter("landmarks_requests", "Requests answered", ["path", "code"], registry=registry)
        about = ("landmarks_request_seconds", "Time from head to answer", ["path"])
        self.seconds = Histogram(*about, buckets=SECONDS, registry=registry)
        self.in_flight = Gauge("landmarks_requests_in_flight", "Requests being received or answered", registry=registry)
        outcomes = "Photos by outcome: known, unknown or refused"
        self.photos = Counter("landmarks_photos", outcomes, ["outcome"], registry=registry)
        self.batch_size = Histogram("landmarks_batch_photos", "Photos per batch", buckets=PHOTOS, registry=registry)
