"""What every door counts: requests, errors, latency, buffered bodies. Labels come from closed sets, never from a caller's text."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

CONTENT_TYPE = CONTENT_TYPE_LATEST
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class DoorMetrics:
    """One process's figures, as Prometheus text. Each plane's own metrics extend it."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)  # process_resident_memory_bytes and its kin
        self._requests = Counter("emberank_requests", "Requests answered.", ("route", "model", "status"), registry=self.registry)
        self._errors = Counter("emberank_errors", "Requests answered with 4xx or 5xx.", ("route", "type"), registry=self.registry)
        self._latency = Histogram(
            "emberank_request_seconds", "From the request's first byte to its answer.", ("route",), registry=self.registry, buckets=SECONDS
        )
        self.buffered = Gauge("emberank_buffered_body_bytes", "Bytes of request bodies being received or answered.", registry=self.registry)

    def answered(self, *, route: str, model: str, status: int, seconds: float) -> None:
        """One request is answered."""
        self._requests.labels(route, model, str(status)).inc()
        self._latency.labels(route).observe(seconds)

    def failed(self, *, route: str, kind: str) -> None:
        """One request was answered with an error of that type."""
        self._errors.labels(route, kind).inc()

    def render(self) -> bytes:
        """The exposition format, https://prometheus.io/docs/instrumenting/exposition_formats/."""
        return generate_latest(self.registry)
