"""One series in, its figures out: which runs count for which figure."""

from __future__ import annotations

from typing import Any

import pytest

from emberank.forge.figures import RequestFigures, StartFigures, request_figures, start_figures
from emberank.forge.samples import Sample
from emberank.forge.windows import Windows
from measured import CPU, SLUG, VERSION, probes, run, start, traffic


def figures(samples: list[Sample], kind: Any = "probe") -> RequestFigures:
    return request_figures(Windows(samples).of(SLUG, VERSION, CPU, kind))


def of_starts(*samples: Sample) -> StartFigures:
    return start_figures(Windows(samples).of(SLUG, VERSION, CPU, "start"))


def test_only_warm_runs_that_succeeded_have_times() -> None:
    held = run("probe", model_ms=900.0, request_ms=5_000.0, cold_start_ms=4_000.0, tokens=53, passages=3, shape="3 passages, 53 tokens")
    failed = run("probe", ok=False, model_ms=1.0, request_ms=1.0)
    found = figures([held, failed, *probes([30.0, 35.0, 40.0])])
    assert (found.model_ms.n, found.model_ms.p50.value, found.request_ms.p50.value) == (3, 35.0, 37.0)
    assert (found.success.value, found.success.n) == (0.8, 5)
    assert found.failures == {"request_failed": 1}


def test_a_request_that_was_held_for_no_time_is_warm() -> None:
    assert figures(traffic([30.0], cold_start_ms=0.0), "traffic").model_ms.n == 1


def test_two_payloads_of_probes_do_not_average() -> None:
    small, large = probes([10.0] * 5), probes([400.0] * 3, tokens=2_000, passages=24)
    found = figures([*small, *large])
    assert (found.shape, found.tokens, found.passages) == ("3 passages, 53 tokens", 53, 3)
    assert (found.model_ms.n, found.model_ms.p50.value) == (5, 10.0)
    assert found.success.n == 8, "they all count for the success rate"


def test_a_new_sample_payload_takes_over() -> None:
    found = figures([*probes([10.0] * 300), *probes([20.0] * 60, tokens=70)])
    assert (found.tokens, found.model_ms.n) == (70, 60)


def test_traffic_of_all_lengths_is_one_figure_and_says_so() -> None:
    found = figures(traffic([10.0, 20.0, 30.0], tokens=[100, 200, 300]), "traffic")
    assert found.shape == "median 5 texts, 200 tokens"
    assert found.tokens_per_s.value == pytest.approx(10_000)


def test_a_model_that_reports_no_time_has_the_callers() -> None:
    silent = [run("probe", request_ms=ms, tokens=53, passages=3) for ms in (30.0, 32.0)]
    assert (figures(silent).model_ms.p50.value, figures(silent).model_ms_from) == (31.0, "request")
    mixed = figures([*silent, *probes([10.0], shape="")])
    assert (mixed.model_ms.n, mixed.model_ms.p50.value, mixed.model_ms_from) == (1, 10.0, "model"), "the two are not mixed"


def test_the_latest_failures_are_known_in_order() -> None:
    found = figures([*probes([10.0]), *[run("probe", ok=False, reason=reason) for reason in ("crashed", "unreachable")]])
    assert [(failure.number, failure.reason) for failure in found.failed_since] == [(2, "crashed"), (3, "unreachable")]
    assert figures([run("probe", ok=False), *probes([10.0])]).failed_since == ()


def test_starts_are_apart_by_where_the_weights_came_from_and_the_first_run_is_none_of_them() -> None:
    found = of_starts(start(60_000.0, "network"), *(start(ms, "page cache") for ms in (900.0, 1_000.0, 1_100.0)), start(4_000.0, "disk"), start(2_000.0, None))
    assert {source: (each.n, each.p50.value) for source, each in found.cold_start_ms.items()} == {
        "page cache": (3, 1_000.0),
        "disk": (1, 4_000.0),
        "unknown": (1, 2_000.0),
    }
    assert (found.first_run_ms.value, found.first_run_ms.n) == (60_000.0, 1)
    assert (found.typical, found.typical_ms.value) == ("page cache", 1_000.0)


def test_of_equally_frequent_starts_the_slower_kind_is_the_headline() -> None:
    assert of_starts(start(900.0, "page cache"), start(4_000.0, "disk")).typical == "disk"


def test_a_first_run_alone_is_no_cold_start() -> None:
    found = of_starts(start(60_000.0, "network"))
    assert (found.typical, found.typical_ms.value, found.first_run_ms.value) == (None, None, 60_000.0)


def test_a_start_without_a_free_slot_is_counted_and_judged_by_nobody() -> None:
    found = of_starts(start(900.0), run("start", ok=False, reason="no_capacity"))
    assert found.failures == {"no_capacity": 1}
    assert (found.success.value, found.success.n, found.failed_last) == (1.0, 1, None)


def test_memory_is_the_most_that_was_seen() -> None:
    found = of_starts(start(900.0, peak_memory_bytes=300), start(900.0, peak_memory_bytes=500), start(900.0))
    assert (found.peak_memory.value, found.peak_memory.n) == (500, 2)


def test_nothing_measured_is_no_figure() -> None:
    found = figures([])
    assert (found.runs, found.model_ms.n, found.newest_at_s, found.shape, found.tokens, found.success.value) == (0, 0, None, "", None, None)
    assert of_starts().typical_ms.value is None
