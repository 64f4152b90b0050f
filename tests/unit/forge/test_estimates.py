"""Run estimates: what they are made of, what they cost, how sure they say they are, and what they say when nothing is known."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emberank.forge.estimates import Payload, error_of, line_of, run_estimate
from emberank.forge.reliability import reliability
from emberank.forge.samples import Sample
from measured import CPU, L40S, MODEL, SLUG, VERSION, offer, price, probes, run, start, traffic, windows

KEYS = (
    "estimated_warm_request_ms",
    "estimated_warm_request_cost_usd",
    "estimated_cold_request_ms",
    "estimated_cold_request_cost_usd",
    "cost_per_gpu_hour_usd",
    "samples",
    "confidence",
)
PRICE = price(1.82)


def found(*groups: list[Sample], payload: Payload | None = None, usd: Any = PRICE, **more: Any) -> dict[str, Any]:
    return run_estimate(windows(*groups), SLUG, VERSION, CPU, payload, usd, **more)


def real_traffic(count: int = 300, noise: float = 0.05) -> list[Sample]:
    """4 ms and 0.02 ms a token, roughly."""
    random = np.random.default_rng(11)
    tokens = [int(length) for length in random.integers(50, 2_000, count)]
    return traffic([(4 + 0.02 * length) * float(random.normal(1, noise)) for length in tokens], tokens=tokens)


def test_the_sample_payload_is_estimated_as_the_table_says() -> None:
    starts = [start(60_000.0, "network"), start(900.0), start(1_000.0), start(1_100.0)]
    samples = windows(starts, probes([34.0, 35.0, 36.0] * 100), probes([400.0] * 3, tokens=2_000, passages=24), real_traffic())
    answer = run_estimate(samples, SLUG, VERSION, CPU, None, PRICE, idle_after_s=900.0)
    row = reliability(MODEL, MODEL.versions[0], [offer(CPU, 1.82)], samples, now_s=0.0)["rows"][0]
    for key in KEYS[1:5:2]:
        assert answer[key] == row[key]
    assert answer["estimated_warm_request_ms"] == row["request_ms_p50"] == 37.0
    assert answer["estimated_cold_request_ms"] == 1_037.0
    assert answer["payload"] == {"tokens": 53, "passages": 3, "shape": "3 texts, 53 tokens", "is_sample": True}
    assert answer["samples"] == {"model_ms": 300, "request_ms": 300, "cold_start_ms": 3, "first_run_ms": 1}
    assert (answer["measured_by"], answer["confidence"], answer["cold_confidence"]) == ("probe", "high", "low")
    assert (answer["cold_start_weights_from"], answer["first_run_ms"]) == ("page cache", 60_000.0)
    assert answer["idle_tail_cost_usd"] == pytest.approx(0.455)
    assert answer["message"] == ""
    assert json.loads(json.dumps(answer, allow_nan=False)) == answer


def test_nothing_measured_is_no_figure_no_confidence_and_a_sentence_what_to_do() -> None:
    for payload in (None, Payload(tokens=500), Payload(passages=5)):
        answer = found(payload=payload)
        assert set(KEYS) <= set(answer)
        assert [answer[key] for key in KEYS[:4]] == [None] * 4
        assert answer["confidence"] == answer["cold_confidence"] == "none"
        assert answer["cost_per_gpu_hour_usd"] == 1.82
        assert answer["message"] == "nothing was measured on this target: `emberank probe tiny-rerank --gpu-type CPU --region local` measures it"


def test_what_was_measured_elsewhere_says_nothing_here() -> None:
    assert found(probes([35.0] * 50, L40S))["confidence"] == "none"


def test_another_payload_is_read_off_the_line_and_the_line_is_near() -> None:
    answer = found(real_traffic(), payload=Payload(tokens=1_000, passages=10))
    assert answer["estimated_model_ms"] == pytest.approx(24.0, rel=0.03)
    assert answer["estimated_warm_request_ms"] == pytest.approx(answer["estimated_model_ms"] + 2.0, rel=1e-3)
    assert answer["estimated_warm_request_cost_usd"] == pytest.approx(answer["estimated_model_ms"] / 3.6e6 * 1.82, rel=1e-3)
    assert answer["estimated_usd_per_1k_passages"] == pytest.approx(answer["estimated_warm_request_cost_usd"] * 100, rel=1e-3)
    assert (answer["measured_by"], answer["confidence"]) == ("traffic", "high")
    assert 0.01 < answer["error"] < 0.06
    assert answer["error_n"] == 128


def test_passages_are_reckoned_in_tokens_as_past_requests_had_them() -> None:
    answer = found(traffic([10.0] * 8, tokens=[500] * 8), payload=Payload(passages=10))
    assert answer["payload"]["tokens"] == 1_000
    assert answer["estimated_model_ms"] == pytest.approx(20.0)


def test_without_tokens_a_payload_cannot_be_judged_and_the_message_says_so() -> None:
    answer = found([run("probe", model_ms=9.0, request_ms=10.0) for _ in range(9)], payload=Payload(passages=3))
    assert (answer["estimated_warm_request_ms"], answer["confidence"]) == (None, "none")


def test_probes_speak_for_a_length_that_traffic_has_not_had() -> None:
    short, both = traffic([5.0] * 50, tokens=[60] * 50), [*probes([5.0] * 6), *probes([44.0] * 6, tokens=2_000, passages=24)]
    assert found(short, both, payload=Payload(tokens=70))["measured_by"] == "traffic"
    answer = found(short, both, payload=Payload(tokens=1_500))
    assert answer["measured_by"] == "probe"
    assert answer["estimated_model_ms"] == pytest.approx(33.98, rel=0.01)


@pytest.mark.parametrize(
    ("samples", "payload", "confidence"),
    [
        pytest.param(probes([35.0] * 5), None, "low", id="five"),
        pytest.param(probes([35.0] * 6), None, "medium", id="six that agree"),
        pytest.param(probes([35.0] * 30), None, "high", id="thirty that agree"),
        pytest.param(probes([20.0, 50.0] * 15), None, "low", id="thirty that are off by more than half"),
        pytest.param(probes([30.0, 45.0] * 15), None, "medium", id="thirty that are off by a third"),
        pytest.param(probes([35.0] * 30), Payload(tokens=107), "low", id="more than twice the longest"),
        pytest.param(probes([35.0] * 30), Payload(tokens=100), "high", id="not quite twice"),
        pytest.param(probes([35.0] * 30), Payload(tokens=20), "low", id="less than half the shortest"),
    ],
)
def test_confidence_follows_the_stated_rule(samples: list[Sample], payload: Payload | None, confidence: str) -> None:
    answer = found(samples, payload=payload)
    assert answer["confidence"] == confidence
    assert confidence != "low" or "measure" in answer["message"]


def test_a_first_uncached_start_is_no_cold_start_and_is_said_apart() -> None:
    answer = found([start(20_900.0, "network")], probes([35.0] * 9))
    assert (answer["estimated_cold_request_ms"], answer["estimated_cold_request_cost_usd"], answer["cold_confidence"]) == (None, None, "none")
    assert answer["first_run_ms"] == 20_900.0
    assert answer["message"] == "no start from a cache was measured; the first, uncached one took 20.9 s"


def test_without_a_price_there_is_a_time_and_no_cost() -> None:
    answer = found(probes([35.0] * 9), [start(900.0)], usd=None)
    assert answer["estimated_warm_request_ms"] == 37.0
    assert answer["estimated_warm_request_cost_usd"] is answer["estimated_cold_request_cost_usd"] is answer["cost_per_gpu_hour_usd"] is None


@given(
    st.lists(
        st.tuples(st.sampled_from(["probe", "traffic"]), st.none() | st.floats(0, 1e6), st.none() | st.floats(0, 1e6), st.integers(0, 9_000)), max_size=40
    ),
    st.none() | st.builds(Payload, tokens=st.none() | st.integers(0, 100_000), passages=st.none() | st.integers(0, 1_000)),
)
def test_an_estimate_is_never_negative_and_cold_is_never_less_than_warm(runs: list[Any], payload: Payload | None) -> None:
    samples = [run(kind, model_ms=model, request_ms=request, tokens=tokens, passages=3) for kind, model, request, tokens in runs]
    answer = found(samples, [start(500.0)], payload=payload)
    for warm, cold in (KEYS[0:3:2], KEYS[1:4:2]):
        assert answer[warm] is None or 0 <= answer[warm] <= answer[cold]
    assert answer["confidence"] == "none" or answer["estimated_model_ms"] is not None


def test_the_line_for_checking_bills_is_of_traffic_and_lags_behind() -> None:
    samples = windows(probes([35.0] * 9))
    first = line_of(samples, SLUG, VERSION, CPU)
    assert first.fit is not None
    assert first.fit.model_ms(53) == pytest.approx(35.0)
    for sample in traffic([50.0] * 200):
        samples.add(sample)
    later = line_of(samples, SLUG, VERSION, CPU)
    assert later.fit is not None
    assert later.fit.model_ms(100) == pytest.approx(50.0)
    samples.add(traffic([70.0])[0])
    assert line_of(samples, SLUG, VERSION, CPU) is later


@pytest.mark.parametrize(
    ("estimated", "actual", "error"), [(110.0, 100.0, 0.1), (90.0, 100.0, -0.1), (100.0, 100.0, 0.0), (None, 100.0, None), (5.0, 0.0, None)]
)
def test_an_estimates_error_is_a_part_of_the_actual_figure(estimated: float | None, actual: float, error: float | None) -> None:
    assert error_of(estimated, actual) == (None if error is None else pytest.approx(error))
