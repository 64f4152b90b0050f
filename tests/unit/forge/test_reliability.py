"""The reliability answer: its keys, who is crowned and who never, what is compared, and the page's own script reading it."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emberank.contract.errors import NotFound
from emberank.forge.catalog import Published
from emberank.forge.figures import MIN_SAMPLES
from emberank.forge.reliability import reliability
from emberank.forge.samples import Sample
from emberank.forge.targets import Offer, Target
from measured import B200, CPU, H100, L40S, MODEL, offer, probes, run, start, traffic, windows
from page_scripts import FOLDER

RTX = Target("RTX6000", "us-central1")
KEYS = {
    *("slug", "model_version", "reliability_status", "readiness", "supported_rows", "total_rows", "filters", "baseline", "status_counts", "rows", "rules"),
    *("fastest_supported_target", "fastest_reason", "lowest_cost_supported_target", "lowest_cost_reason", "failure_reason_counts"),
}
SCRIPT_READS = {"gpu_type", "region", "status", "request_ms_p50", "request_ms", "estimated_warm_request_cost_usd", "cost_per_gpu_hour_usd"}


def answer(offers: list[Offer], *groups: list[Sample], **more: Any) -> dict[str, Any]:
    return reliability(MODEL, MODEL.versions[0], offers, windows(*groups), **{"now_s": 2_000.0, **more})


def three() -> tuple[list[Offer], list[Sample]]:
    """The page's own rows, with enough samples to say what the page said."""
    offers = [offer(B200, 7.15), offer(L40S, 1.82), offer(RTX, 1.80)]
    return offers, [*probes([186.0, 187.0, 185.0] * 3, B200), *probes([35.0, 36.0, 34.0] * 3, L40S), *probes([455.0, 450.0, 460.0] * 3, RTX)]


def by_target(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {row["gpu_type"]: row for row in found["rows"]}


def test_the_answer_is_json_with_the_keys_of_the_contract() -> None:
    found = answer(*three())
    assert set(found) == KEYS
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert SCRIPT_READS | {"observed_success_rate"} <= set(found["fastest_supported_target"]) & set(found["rows"][0])


def test_the_fastest_and_the_most_affordable_are_those_of_the_page() -> None:
    found = answer(*three())
    assert found["fastest_supported_target"]["gpu_type"] == "L40S"
    assert found["fastest_supported_target"]["clear"] is True
    assert found["lowest_cost_supported_target"]["gpu_type"] == "RTX6000"
    assert [row["gpu_type"] for row in found["rows"]] == ["L40S", "B200", "RTX6000"], "fastest first"
    assert (found["reliability_status"], found["readiness"]) == ("verified", "3/3 verified")


def test_rows_stand_to_the_fastest_as_on_the_page_and_to_any_other_row_on_demand() -> None:
    offers, samples = three()
    rows = by_target(answer(offers, samples))
    assert {name: row["relative"]["text"] for name, row in rows.items()} == {"B200": "19% · -81%", "L40S": "100%", "RTX6000": "8% · -92%"}
    found = answer(offers, samples, baseline=B200)
    assert by_target(found)["L40S"]["relative"] == {"speed_percent": 531, "change_percent": 431, "text": "531% · +431%"}
    assert found["baseline"] == {"gpu_type": "B200", "region": "us-central1", "measured_by": "probe", "shape": "3 passages, 53 tokens"}


def test_a_row_with_too_few_samples_is_never_crowned_however_fast_and_cheap() -> None:
    few = probes([1.0] * (MIN_SAMPLES - 1), CPU)
    offers, samples = three()
    found = answer([*offers, offer(CPU, 0.01)], samples, few)
    assert found["fastest_supported_target"]["gpu_type"] == "L40S"
    assert found["lowest_cost_supported_target"]["gpu_type"] == "RTX6000"
    alone = answer([offer(CPU, 0.01)], few)
    assert alone["fastest_supported_target"] is alone["lowest_cost_supported_target"] is None
    assert "`emberank probe`" in alone["fastest_reason"]
    assert alone["reliability_status"] == "awaiting probe"


@given(st.lists(st.tuples(st.integers(0, 12), st.floats(1, 1e4), st.floats(0, 20)), min_size=1, max_size=6))
def test_the_fastest_has_enough_samples_and_no_verified_row_is_faster(facts: list[tuple[int, float, float]]) -> None:
    targets = [Target("GPU", f"region-{i}") for i in range(len(facts))]
    samples = [sample for target, (n, ms, _) in zip(targets, facts, strict=True) for sample in probes([ms] * n, target)]
    found = answer([offer(target, usd) for target, (_, _, usd) in zip(targets, facts, strict=True)], samples)
    works = [row for row in found["rows"] if row["status"] == "works"]
    assert len(works) == sum(n >= MIN_SAMPLES for n, _, _ in facts) == found["supported_rows"]
    assert sum(found["status_counts"].values()) == found["total_rows"] == len(facts)
    fastest, cheapest = found["fastest_supported_target"], found["lowest_cost_supported_target"]
    assert (fastest is None) == (cheapest is None) == (not works)
    if works:
        assert fastest["model_ms_p50"] == min(row["model_ms_p50"] for row in works)
        assert cheapest["cost_per_gpu_hour_usd"] == min(row["cost_per_gpu_hour_usd"] for row in works)


def test_a_row_that_fails_too_often_is_not_crowned() -> None:
    failures = [run("probe", L40S, ok=False) for _ in range(20)]
    offers, samples = three()
    # A success at the end: it works, now.
    found = answer(offers, failures, samples)
    assert by_target(found)["L40S"]["status"] == "works"
    assert found["fastest_supported_target"]["gpu_type"] == "B200"
    alone = answer([offer(L40S, 1.0)], failures, samples)
    assert "90%" in alone["fastest_reason"]


def test_whether_the_fastest_is_clearly_so_is_said() -> None:
    close = [*probes([10.0, 11.0, 12.0] * 3, B200), *probes([10.5, 11.5, 12.5] * 3, L40S)]
    assert answer([offer(B200), offer(L40S)], close)["fastest_supported_target"]["clear"] is False
    assert answer([offer(B200)], close)["fastest_supported_target"]["clear"] is None


def test_rows_measured_with_another_payload_are_not_compared() -> None:
    offers, samples = three()
    tiny = probes([1.0] * 9, CPU, tokens=5, passages=1)
    found = answer([*offers, offer(CPU)], samples, tiny)
    assert found["fastest_supported_target"]["gpu_type"] == "L40S"
    assert by_target(found)["CPU"]["relative"] is None
    assert by_target(found)["CPU"]["status"] == "works"


def test_where_nothing_was_probed_traffic_is_compared_by_its_rate() -> None:
    small, large = traffic([10.0] * 9, B200, tokens=[100] * 9), traffic([20.0] * 9, L40S, tokens=[1_000] * 9)
    found = answer([offer(B200, 7.15), offer(L40S, 1.82)], small, large)
    assert found["fastest_supported_target"]["gpu_type"] == "L40S", "ten times the tokens in twice the time"
    assert by_target(found)["B200"]["relative"]["text"] == "20% · -80%"
    assert found["rows"][0]["measured_by"] == "traffic"
    probed = answer([offer(B200, 7.15), offer(L40S, 1.82)], small, large, probes([9.0] * 9, B200))
    assert probed["fastest_supported_target"]["gpu_type"] == "B200", "probes are compared with probes only"


def test_a_single_verified_row_needs_no_rate_to_be_the_fastest() -> None:
    unknown = [run("traffic", model_ms=9.0, request_ms=10.0) for _ in range(9)]
    assert answer([offer(CPU)], unknown)["fastest_supported_target"]["gpu_type"] == "CPU"


def test_without_a_price_nothing_is_the_most_affordable_and_the_reason_says_so() -> None:
    found = answer([offer(CPU)], probes([9.0] * 9))
    assert found["lowest_cost_supported_target"] is None
    assert found["lowest_cost_reason"] == "no verified target has a price"
    assert found["rows"][0]["estimated_warm_request_cost_usd"] is None


def test_a_row_says_what_was_measured_with_n_and_interval() -> None:
    starts = [start(60_000.0, "network"), start(900.0), start(1_000.0), start(1_100.0, peak_memory_bytes=350_000_000), start(4_000.0, "disk")]
    row = answer([offer(CPU, 0.36)], starts, probes([10.0, 12.0, 11.0] * 10), traffic([30.0] * 3))["rows"][0]
    assert (row["model_ms_p50"], row["model_ms_n"], row["model_ms_p50_interval"]) == (11.0, 30, [10.0, 12.0])
    assert (row["model_ms_p95"], row["model_ms_p95_interval"], row["model_ms_p99"]) == (12.0, None, None)
    assert (row["request_ms_p50"], row["request_ms"], row["measured_by"], row["payload_shape"]) == (13.0, 13.0, "probe", "3 passages, 53 tokens")
    assert row["tokens_per_s"] == pytest.approx(4_818)
    assert row["observed_success_rate"] == 1.0
    assert row["observed_success_rate_interval"] == [pytest.approx(0.8865, abs=1e-3), 1.0]
    assert (row["cold_start_ms_p50"], row["cold_start_ms_p50_n"], row["cold_start_weights_from"]) == (1_000.0, 3, "page cache")
    assert row["cold_starts"]["disk"]["cold_start_ms_p50"] == 4_000.0
    assert (row["first_run_ms"], row["first_run_ms_n"]) == (60_000.0, 1)
    assert (row["memory_peak_bytes"], row["memory_peak_n"]) == (350_000_000, 1)
    assert row["estimated_warm_request_cost_usd"] == pytest.approx(0.0000011)
    assert row["estimated_cold_request_cost_usd"] == pytest.approx(0.0001011)
    assert (row["price_source"], row["price_date"]) == ("a price list", "2026-11-01")
    assert (row["last_probe_at"], row["last_probe_age_s"]) == ("1970-01-01T00:17:09Z", 971.0)
    assert (row["probe"]["model_ms_n"], row["traffic"]["model_ms_n"], row["traffic"]["model_ms_p50"]) == (30, 3, 30.0)


def test_a_clock_that_was_set_back_makes_no_probe_of_the_future() -> None:
    assert answer([offer()], probes([9.0]), now_s=10.0)["rows"][0]["last_probe_age_s"] == 0.0


def test_failures_are_counted_by_reason_over_all_rows() -> None:
    failed = [run("start", B200, ok=False, reason="out_of_memory"), run("start", L40S, ok=False, reason="out_of_memory"), run(ok=False)]
    found = answer([offer(B200), offer(L40S), offer(CPU)], failed)
    assert found["failure_reason_counts"] == {"out_of_memory": 2, "request_failed": 1}
    assert found["status_counts"] == {"awaiting probe": 1, "unavailable": 2}
    assert by_target(found)["B200"]["message"] == "the latest start failed: it does not fit into the memory there"
    assert found["reliability_status"] == "awaiting probe"


def test_what_others_published_stands_beside_and_changes_no_figure() -> None:
    said = Published(gpu_type="B200", region="us-central1", status="works", source="a page", published="2026-04-28", model_ms_p50=186.0, n=10)
    found = answer([offer(B200, 7.15, "no pool here provides B200 in us-central1", said, here=False)])
    row = found["rows"][0]
    assert (row["status"], row["model_ms_p50"], row["published"]["model_ms_p50"], row["published"]["source"]) == ("unavailable", None, 186.0, "a page")
    assert row["message"] == "no pool here provides B200 in us-central1"
    assert found["fastest_supported_target"] is None
    assert found["reliability_status"] == "unavailable"


def test_the_readiness_line_is_the_pages() -> None:
    offers, samples = three()
    offers += [offer(CPU), offer(H100), offer(Target("B300", "uk-south1"), reason="closed"), offer(Target("H200", "eu-north2"), reason="closed")]
    found = answer(offers, samples, pending=[CPU])
    assert found["readiness"] == "3/7 verified · 2 awaiting probe · 2 unavailable"
    assert found["status_counts"] == {"works": 3, "awaiting probe": 1, "not probed": 1, "unavailable": 2}
    assert found["reliability_status"] == "verified", "what never ran here has not begun to fail"


def test_a_target_that_begins_to_fail_degrades_the_whole() -> None:
    offers, samples = three()
    assert answer(offers, samples, [run("start", B200, ok=False, reason="crashed")])["reliability_status"] == "degraded"


def test_filters_leave_their_rows_and_are_said() -> None:
    found = answer(*three(), filters={"model_version": "v1", "gpu_type": "b200"})
    assert [row["gpu_type"] for row in found["rows"]] == ["B200"]
    assert found["filters"] == {"model_version": "v1", "gpu_type": "b200"}
    assert found["fastest_supported_target"]["gpu_type"] == "B200"
    with pytest.raises(NotFound, match="known: B200, L40S, RTX6000"):
        answer(*three(), filters={"gpu_type": "B2000"})


def test_a_version_without_a_target_has_an_answer() -> None:
    found = answer([])
    assert (found["total_rows"], found["reliability_status"], found["readiness"]) == (0, "not probed", "0/0 verified")


def read_by_the_page(found: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    """The program at the end of the page's script, fed with our answer."""
    if not FOLDER.is_dir():
        pytest.skip("the page's scripts are not here")
    program = shlex.split((FOLDER / "reliability.sh").read_text("utf-8").rpartition("python3 -c ")[2])[0]
    return subprocess.run([sys.executable, "-c", program], input=json.dumps(found), capture_output=True, text=True, timeout=60, check=False)


def test_the_pages_script_reads_the_answer() -> None:
    done = read_by_the_page(answer(*three(), filters={"model_version": "v1"}))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "tiny-rerank reliability=verified supported=3/3",
        "filters: model_version=v1",
        "export FORGE_GPU_TYPE=L40S FORGE_REGION=eu-north1 # fastest supported: p50=37.0ms, warm_cost_usd=1.769e-05, success=100%",
        "export FORGE_GPU_TYPE=RTX6000 FORGE_REGION=us-central1 # lowest-cost supported: p50=457.0ms, warm_cost_usd=0.0002275, success=100%",
    ]


def test_the_pages_script_reads_a_target_without_a_price() -> None:
    done = read_by_the_page(answer([offer(CPU)], probes([9.0] * 9)))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "export FORGE_GPU_TYPE=CPU FORGE_REGION=local # fastest supported: p50=11.0ms, success=100%"


def test_the_pages_script_says_why_where_nothing_is_supported() -> None:
    done = read_by_the_page(answer([offer(CPU)], [run("start", ok=False, reason="out_of_memory")]))
    assert done.returncode == 1
    assert done.stderr == "No supported GPU/region target returned.\n"
    assert json.loads(done.stdout.partition("\n")[2]) == {"status_counts": {"unavailable": 1}, "failure_reason_counts": {"out_of_memory": 1}}
