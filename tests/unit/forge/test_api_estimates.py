"""`run-estimate` over HTTP: of the sample, of counts, of a body; and for which target."""

from __future__ import annotations

from typing import Any

import pytest

from control_plane import B200, LOCAL, NVIDIA, Plane, probed, started
from emberank.forge.payloads import sample_payload

E = f"/v1/models/{NVIDIA}/run-estimate"
BODY = {"query": {"text": "which way"}, "passages": [{"text": "two roads diverged in a yellow wood"}, {"text": "the weather"}]}


def test_the_estimate_of_the_sample_is_what_the_table_says(shared: Plane) -> None:
    answer = shared.get(f"{E}?model_version=v1&gpu_type=B200&region=us-central1").json
    assert answer["estimated_warm_request_ms"] == 188.0
    assert answer["estimated_cold_request_ms"] == pytest.approx(93_188, rel=0.001)
    assert answer["cost_per_gpu_hour_usd"] == 7.15
    assert answer["estimated_warm_request_cost_usd"] == pytest.approx(186 / 3.6e6 * 7.15, rel=0.001)
    assert answer["samples"]["model_ms"] == 10
    assert answer["confidence"] in ("medium", "high")
    assert (answer["target_chosen_by"], answer["runnable"], answer["payload"]["is_sample"]) == ("pinned", True, True)


def test_without_a_pin_the_best_verified_target_is_estimated_and_a_warm_one_before_it(launch: Any) -> None:
    plane = launch(samples=[*probed([186.0] * 10), *probed([400.0] * 8, LOCAL)])
    assert (plane.get(E).json["gpu_type"], plane.get(E).json["target_chosen_by"]) == ("B200", "best")
    plane.warm(gpu_type="CPU")
    found = plane.get(E).json
    assert (found["gpu_type"], found["target_chosen_by"], found["phase"]) == ("CPU", "warm", "WARM")


def test_counts_and_characters_stand_for_a_payload(shared: Plane) -> None:
    tokens = shared.get(f"{E}?tokens=530&passages=30").json
    assert tokens["payload"] == {"tokens": 530, "passages": 30, "shape": tokens["payload"]["shape"], "is_sample": False}
    assert tokens["tokens_counted_by"] == "caller"
    chars = sample_payload("rank").chars
    by_chars = shared.get(f"{E}?chars={chars}&passages=3").json
    assert by_chars["tokens_counted_by"] == "measured"
    assert 20 < by_chars["payload"]["tokens"] < 53  # the sample's characters without the query's repetitions
    assert shared.get(f"{E}?passages=6").json["payload"]["passages"] == 6


@pytest.mark.parametrize("query", ["tokens=0", "tokens=-1", "tokens=many", "tokens=1.5", "chars=1e3", "passages=%D9%A3", f"tokens={10**13}"])
def test_a_count_has_to_be_a_whole_number_from_one_on(shared: Plane, query: str) -> None:
    reply = shared.get(f"{E}?{query}")
    assert reply.status == 400
    assert "a whole number from 1 on" in reply.message


def test_tokens_and_characters_together_contradict_each_other(shared: Plane) -> None:
    assert "one of the two" in shared.get(f"{E}?tokens=5&chars=20").message


def test_a_body_is_measured_as_the_model_reads_it(shared: Plane) -> None:
    answer = shared.post(E, BODY | {"model_version": "v1", "gpu_type": "B200"})
    assert answer.status == 200, answer.body
    assert answer.json["payload"]["passages"] == 2
    assert answer.json["tokens_counted_by"] == "measured"
    assert answer.json["gpu_type"] == "B200"
    longer = shared.post(E, BODY | {"passages": BODY["passages"] * 50})
    assert longer.json["payload"]["tokens"] > 40 * answer.json["payload"]["tokens"]


def test_nothing_is_read_beyond_the_context(shared: Plane) -> None:
    answer = shared.post(E, {"query": {"text": "q"}, "passages": [{"text": "word " * 100_000}]})
    assert answer.json["payload"]["tokens"] <= 8192


def test_an_embedder_takes_its_own_payload_and_assumes_where_nothing_was_measured(shared: Plane) -> None:
    answer = shared.post("/v1/models/tiny-embed/run-estimate", {"input": ["abcd" * 10, "abcd" * 10], "input_type": "query"}).json
    assert answer["payload"]["tokens"] == 20
    assert answer["tokens_counted_by"] == "assumed"
    assert answer["confidence"] == "none"
    assert answer["estimated_warm_request_ms"] is None
    assert "emberank probe" in answer["message"]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"{", "not valid JSON"),
        ({"query": {"text": "x"}, "passages": []}, "passages must not be empty"),
        (BODY | {"gpu_type": 5}, "gpu_type must be a string"),
        ({"input": "x"}, "query: missing field"),
    ],
)
def test_a_body_that_could_not_be_run_cannot_be_estimated(shared: Plane, body: Any, says: str) -> None:
    reply = shared.post(E, body)
    assert reply.status == 400
    assert says in reply.message


def test_query_and_body_may_not_contradict_each_other(shared: Plane) -> None:
    assert shared.post(f"{E}?gpu_type=CPU", BODY | {"gpu_type": "B200"}).status == 400
    assert shared.post(f"{E}?gpu_type=B200", BODY | {"gpu_type": "B200"}).json["gpu_type"] == "B200"


def test_a_target_that_cannot_run_it_is_not_estimated_by_what_others_published(shared: Plane) -> None:
    answer = shared.get(f"{E}?gpu_type=H200").json
    assert (answer["runnable"], answer["estimated_warm_request_ms"], answer["cost_per_gpu_hour_usd"]) == (False, None, 4.5)
    assert answer["reason"] == "no pool here provides H200 in eu-north2"
    assert answer["alternatives"][0]["gpu_type"] == "B200"


def test_values_that_do_not_go_together_are_refused(shared: Plane) -> None:
    reply = shared.get(f"{E}?gpu_type=B200&region=local")
    assert reply.status == 409
    assert "inference-routes" in reply.message


def test_the_first_uncached_start_is_apart_from_the_estimate(launch: Any) -> None:
    plane = launch(samples=[*probed([35.0] * 6, B200), *started([15_000.0], weights_from="network")])
    answer = plane.get(f"{E}?gpu_type=B200").json
    assert answer["estimated_cold_request_ms"] is None
    assert answer["first_run_ms"] == 15_000.0
