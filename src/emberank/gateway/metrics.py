"""What happens in, Prometheus text out. Every name is documented in docs/behaviour/gateway.md; a test holds the two together.

Labels come from closed sets (routes, slugs, statuses), never from a caller's text. What is counted with every request keeps its labelled children: to find
one by its labels costs several microseconds.
"""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

from emberank.serving.metrics import SECONDS, DoorMetrics


class GatewayMetrics(DoorMetrics):
    """One gateway's figures."""

    def __init__(self) -> None:
        super().__init__()
        r = self.registry
        self._tokens = Counter("emberank_billed_tokens", "Tokens billed to keys.", ("model",), registry=r)
        self._cost = Counter("emberank_cost_usd", "Model time times price.", ("model",), registry=r)
        self._upstream = Histogram("emberank_upstream_seconds", "From sending a request to an endpoint to its answer.", ("model",), registry=r, buckets=SECONDS)
        self.held = Gauge("emberank_held_requests", "Requests that wait for a cold model to start.", registry=r)
        self.hold_seconds = Histogram("emberank_hold_seconds", "How long requests waited for a start.", registry=r, buckets=SECONDS)
        self.wakes = Counter("emberank_wakes", "Wishes to start a model that the forge took.", registry=r)
        self.retries = Counter("emberank_upstream_retries", "Requests that an endpoint did not answer and that were sent once more.", registry=r)
        self.unreachable = Counter("emberank_endpoints_unreachable", "Times that an endpoint refused or broke a connection.", registry=r)
        self.fallbacks = Counter("emberank_fallbacks", "Requests that another model answered, by the model that was asked.", ("model",), registry=r)
        self.remote_failures = Counter("emberank_remote_failures", "Times that a remote server failed.", ("model",), registry=r)
        self.circuit_open = Gauge("emberank_circuit_open", "1 while a remote server is left alone after failures in a row.", ("model",), registry=r)
        self.in_flight = Gauge("emberank_in_flight_requests", "Inference requests being answered, held ones among them.", registry=r)
        self.snapshot_age = Gauge("emberank_snapshot_age_seconds", "Since the forge was last heard; it is heard every half minute.", registry=r)
        self.forge_reachable = Gauge("emberank_forge_reachable", "1 when the last call to the forge was answered.", registry=r)
        self.usage_waiting = Gauge("emberank_usage_waiting_records", "Usage records that the forge has not taken yet.", registry=r)
        self.usage_lost = Counter("emberank_usage_lost_records", "Usage records dropped because neither the forge nor the disk took them.", registry=r)
        self.usage_lag = Gauge("emberank_usage_lag_seconds", "Age of the oldest usage report that the forge has not taken.", registry=r)
        self.endpoints = Gauge("emberank_endpoints", "Endpoints in the last snapshot, in whatever phase.", registry=r)
        self.ready = Gauge("emberank_ready", "1 when there is a snapshot and requests are taken.", registry=r)
        self._answers: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        self._runs: dict[str, tuple[Histogram, Counter, Counter]] = {}

    def answered(self, *, route: str, model: str, status: int, seconds: float) -> None:
        """One request is answered."""
        children = self._answers.get((route, model, status))
        if children is None:
            children = self._answers[route, model, status] = (self._requests.labels(route, model, str(status)), self._latency.labels(route))
        children[0].inc()
        children[1].observe(seconds)

    def ran(self, *, model: str, seconds: float, tokens: int, cost_usd: float) -> None:
        """One request came back from its endpoint."""
        children = self._runs.get(model)
        if children is None:
            children = self._runs[model] = (self._upstream.labels(model), self._tokens.labels(model), self._cost.labels(model))
        children[0].observe(seconds)
        children[1].inc(tokens)
        if cost_usd:
            children[2].inc(cost_usd)
