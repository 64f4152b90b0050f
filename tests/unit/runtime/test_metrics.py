"""What happens in, Prometheus text out: every figure, its labels, and the page that documents them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from emberank.runtime.metrics import Metrics
from emberank.serving.metrics import CONTENT_TYPE

PAGE = Path(__file__).parents[3] / "docs/reference/metrics.md"


def filled() -> Metrics:
    metrics = Metrics()
    metrics.answered(route="/v1/ranking", model="acme/m", status=200, seconds=0.02)
    metrics.answered(route="/v1/ranking", model="acme/m", status=429, seconds=0.001)
    metrics.failed(route="/v1/ranking", kind="rate_limit_exceeded")
    metrics.served(model="acme/m", prompt_tokens=11, tokenize_s=0.0004)
    metrics.batch_ran(tokens=900, rows=1000, attention_rows=1200, sequences=7, engine_s=0.03)
    metrics.batch_ran(tokens=100, rows=100, attention_rows=100, sequences=1, engine_s=0.003)
    metrics.job_started(waited_s=0.25)
    return metrics


@pytest.mark.parametrize(
    ("name", "labels", "value"),
    [
        ("emberank_requests_total", {"route": "/v1/ranking", "model": "acme/m", "status": "200"}, 1),
        ("emberank_requests_total", {"route": "/v1/ranking", "model": "acme/m", "status": "429"}, 1),
        ("emberank_errors_total", {"route": "/v1/ranking", "type": "rate_limit_exceeded"}, 1),
        ("emberank_request_seconds_count", {"route": "/v1/ranking"}, 2),
        ("emberank_request_seconds_sum", {"route": "/v1/ranking"}, 0.021),
        ("emberank_tokenize_seconds_sum", {}, 0.0004),
        ("emberank_queue_wait_seconds_sum", {}, 0.25),
        ("emberank_engine_seconds_sum", {}, 0.033),
        ("emberank_batch_tokens_sum", {}, 1000),
        ("emberank_batch_sequences_sum", {}, 8),
        ("emberank_engine_rows_total", {"part": "linear"}, 1100),
        ("emberank_engine_rows_total", {"part": "attention"}, 1300),
        ("emberank_padding_rows_total", {"part": "linear"}, 100),
        ("emberank_padding_rows_total", {"part": "attention"}, 300),
        ("emberank_prompt_tokens_total", {"model": "acme/m"}, 11),
    ],
)
def test_what_happened_is_in_the_figures(name: str, labels: dict[str, str], value: float) -> None:
    assert filled().registry.get_sample_value(name, labels) == pytest.approx(value)


def test_the_text_is_what_prometheus_reads() -> None:
    families = {family.name: family for family in text_string_to_metric_families(filled().render().decode())}
    assert families["emberank_requests"].type == "counter"
    assert families["emberank_request_seconds"].type == "histogram"
    assert all(family.documentation for name, family in families.items() if name.startswith("emberank_"))
    assert CONTENT_TYPE.startswith("text/plain")


def test_memory_of_the_process_is_among_the_figures() -> None:
    assert (filled().registry.get_sample_value("process_resident_memory_bytes") or 0) > 1_000_000


def test_two_processes_figures_are_apart() -> None:
    filled()
    assert Metrics().registry.get_sample_value("emberank_batch_tokens_count") == 0


def test_every_figure_is_documented_and_every_documented_figure_exists() -> None:
    ours = {family.name for family in filled().registry.collect() if family.name.startswith("emberank_")}
    documented = {name.removesuffix("_total") for name in re.findall(r"^\| `(emberank_\w+)", PAGE.read_text("utf-8"), re.MULTILINE)}
    assert documented == ours
