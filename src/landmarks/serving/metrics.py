"""The Prometheus metrics of the server."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
PHOTOS = (1, 2, 4, 8, 16)
CONFIDENCES = tuple(tenth / 10 for tenth in range(1, 11))
MEGAPIXELS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50)


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
        self.confidence, self.megapixels = self._of_photos("", "photos")
        self.test_confidence, self.test_megapixels = self._of_photos("test_", "the test photos, to compare with")
        self.batch_size = Histogram("landmarks_batch_photos", "Photos per batch", buckets=PHOTOS, registry=registry)

    def _of_photos(self, prefix: str, of: str) -> tuple[Histogram, Histogram]:
        """Histograms of confidence and size: where those of photos leave those of the test photos, the model may err more."""
        confidence = (f"landmarks_{prefix}confidence", f"Probability of the most probable landmark, of {of}")
        size = (f"landmarks_{prefix}megapixels", f"Width times height in millions, of {of}")
        return (
            Histogram(*confidence, buckets=CONFIDENCES, registry=self.registry),
            Histogram(*size, buckets=MEGAPIXELS, registry=self.registry),
        )
