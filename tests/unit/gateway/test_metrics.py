"""Every figure of the gateway, and the page that documents them."""

from __future__ import annotations

import re
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from emberank.gateway.metrics import GatewayMetrics

PAGE = Path(__file__).parents[3] / "docs/behaviour/gateway.md"


def filled() -> GatewayMetrics:
    metrics = GatewayMetrics()
    for _ in range(2):
        metrics.answered(route="/v1/ranking", model="acme-rank", status=200, seconds=0.02)
        metrics.ran(model="acme-rank", seconds=0.01, tokens=12, cost_usd=0.5)
    metrics.answered(route="/v1/ranking", model="", status=401, seconds=0.001)
    metrics.failed(route="/v1/ranking", kind="authentication_error")
    return metrics


def test_what_happened_is_in_the_figures() -> None:
    value = filled().registry.get_sample_value
    assert value("emberank_requests_total", {"route": "/v1/ranking", "model": "acme-rank", "status": "200"}) == 2
    assert value("emberank_requests_total", {"route": "/v1/ranking", "model": "", "status": "401"}) == 1
    assert value("emberank_request_seconds_count", {"route": "/v1/ranking"}) == 3
    assert value("emberank_upstream_seconds_sum", {"model": "acme-rank"}) == 0.02
    assert value("emberank_billed_tokens_total", {"model": "acme-rank"}) == 24
    assert value("emberank_cost_usd_total", {"model": "acme-rank"}) == 1.0


def test_the_text_is_what_prometheus_reads() -> None:
    families = {family.name: family for family in text_string_to_metric_families(filled().render().decode())}
    assert families["emberank_held_requests"].type == "gauge"
    assert all(family.documentation for name, family in families.items() if name.startswith("emberank_"))


def test_every_figure_is_documented_and_every_documented_figure_exists() -> None:
    ours = {family.name for family in filled().registry.collect() if family.name.startswith("emberank_")}
    documented = {name.removesuffix("_total") for name in re.findall(r"^\| `(emberank_\w+)", PAGE.read_text("utf-8"), re.MULTILINE)}
    assert documented == ours
