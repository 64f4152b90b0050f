"""What happens in the control plane in, Prometheus text out. Labels come from closed sets (routes, slugs, phases), never from a caller's text."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

from emberank.serving.metrics import DoorMetrics

_SHARES = (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1, 2, 5, 10)


class ForgeMetrics(DoorMetrics):
    """One forge's figures."""

    def __init__(self) -> None:
        super().__init__()
        r = self.registry
        self.reports = Counter("emberank_reports", "Reports of gateways that were kept.", registry=r)
        self.usage_records = Counter("emberank_usage_records", "Requests that gateways reported, each counted once.", registry=r)
        self.repeated = Counter("emberank_reports_repeated", "Reports that came again and were not counted again.", registry=r)
        self.estimate_error = Histogram(
            "emberank_estimate_error_ratio",
            "By which part of the actual model time its estimate was wrong, for warm requests of users.",
            ("model",),
            registry=r,
            buckets=_SHARES,
        )
        self.endpoints = Gauge("emberank_deployments", "Deployments that are not cold, by phase.", ("phase",), registry=r)
        self.samples = Gauge("emberank_window_samples", "Measurements that the figures are computed from.", registry=r)
        self.keys = Gauge("emberank_keys", "Keys in force.", registry=r)
        self.gateways = Gauge("emberank_gateways", "Gateways that reported in the last minute.", registry=r)
        self.audit_failed = Counter("emberank_audit_failures", "Acts that were done and could not be written down.", registry=r)
        self.ready = Gauge("emberank_ready", "1 when the control plane takes requests.", registry=r)
