"""TEI's /predict on a reranker: pairs in, one label's score for each out, in their own order."""

from __future__ import annotations

import json
import math
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emberank.contract.errors import BadRequest
from emberank.contract.inference import Chunk, Ranked
from emberank.dialects.answers import Ranking
from emberank.dialects.asked import AskedRank, Told
from emberank.dialects.nim import Rules
from emberank.dialects.scores import Calibration, sigmoid
from emberank.dialects.tei_predict import read_predict

RULES = Rules(max_documents=3)
TOLD = Told(model="m", request_id="r", calibration=Calibration(2.0, 1.0))
PAIRS = [["q", "a"], ["r", "b"], ["q", "c"]]


def read(inputs: Any, **fields: Any) -> AskedRank:
    return read_predict({"inputs": inputs, **fields}, RULES)


def answered(asked: AskedRank, *logits: tuple[float, ...]) -> Any:
    """What is written when the passages of each call have these logits."""
    rankings = [
        Ranking(ranked=tuple(sorted((Ranked(i, logit) for i, logit in enumerate(each)), key=lambda one: -one.logit)), prompt_tokens=5) for each in logits
    ]
    return json.loads(asked.render(rankings, TOLD))


def test_one_pair_has_an_array_of_its_one_label() -> None:
    asked = read(["q", "a"])
    assert [(call.query.text, [one.text for one in call.passages]) for call in asked.calls] == [("q", ["a"])]
    assert answered(asked, (2.0,)) == [{"score": pytest.approx(sigmoid(2.0)), "label": "LABEL_0"}]


def test_an_array_of_one_pair_has_an_array_of_arrays() -> None:
    assert answered(read([["q", "a"]]), (2.0,)) == [[{"score": pytest.approx(sigmoid(2.0)), "label": "LABEL_0"}]]


def test_pairs_are_answered_in_their_own_order_with_one_call_for_each_query() -> None:
    asked = read(PAIRS, raw_scores=True)
    assert [(call.query.text, [one.text for one in call.passages]) for call in asked.calls] == [("q", ["a", "c"]), ("r", ["b"])]
    assert [[one["score"] for one in each] for each in answered(asked, (-1.0, 3.0), (7.0,))] == [[-1.0], [7.0], [3.0]]


@pytest.mark.parametrize(
    ("fields", "score"),
    [
        ({}, "sigmoid"),
        ({"raw_scores": False}, "sigmoid"),
        ({"raw_scores": None}, "sigmoid"),
        ({"raw_scores": True}, "logit"),
        ({"raw_scores": "true"}, "logit"),
        ({"score_mode": "raw"}, "logit"),
        ({"score_mode": "calibrated", "raw_scores": False}, "calibrated"),
    ],
)
def test_the_scale_is_teis_flag_or_our_own_field(fields: dict[str, Any], score: str) -> None:
    assert read(PAIRS, **fields).score == score


def test_a_calibrated_score_is_the_answering_versions() -> None:
    ((one,),) = answered(read([["q", "a"]], score_mode="calibrated"), (0.5,))
    assert one["score"] == pytest.approx(sigmoid(2.0 * 0.5 + 1.0))


@pytest.mark.parametrize(
    ("fields", "truncate"),
    [
        ({}, "NONE"),
        ({"truncate": None}, "NONE"),
        ({"truncate": False, "truncation_direction": "Left"}, "NONE"),
        ({"truncate": True}, "END"),
        ({"truncate": True, "truncation_direction": "Right"}, "END"),
        ({"truncate": "true", "truncation_direction": "right"}, "END"),
    ],
)
def test_what_is_too_long_is_refused_unless_it_may_be_cut(fields: dict[str, Any], truncate: str) -> None:
    assert read(PAIRS, **fields).calls[0].truncate == truncate


def test_every_call_has_what_is_said_of_long_documents_and_of_the_model() -> None:
    asked = read(PAIRS, model="m", max_tokens_per_doc=64, max_chunks_per_doc=4)
    assert {(call.model, call.max_passage_tokens, call.max_chunks) for call in asked.calls} == {("m", 64, 4)}


def test_a_text_that_was_read_in_pieces_says_which_was_the_best() -> None:
    ranking = Ranking(ranked=(Ranked(0, 1.0, Chunk(10, 20, 1, 3)),), prompt_tokens=5)
    ((one,),) = json.loads(read([["q", "a"]]).render([ranking], TOLD))
    assert one["chunk"] == {"start": 10, "end": 20, "number": 1, "of": 3}


def test_a_field_that_changes_nothing_is_named_and_null_is_absent() -> None:
    assert read(PAIRS, parameters={}, user=None, normalize=True).ignored == ("parameters", "normalize")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, r"inputs: missing field"),
        ({"inputs": None}, r"inputs: missing field"),
        ({"inputs": "one text"}, r"inputs must be a pair .* not a string: a reranker has no score for one text"),
        ({"inputs": {"text": "q"}}, r"inputs must be a pair .* not an object"),
        ({"inputs": 7}, r"inputs must be a pair .* not a number"),
        ({"inputs": []}, r"inputs must not be empty"),
        ({"inputs": ["q"]}, r"inputs must be a pair .* it holds 1 entries"),
        ({"inputs": ["q", "a", "b"]}, r"inputs must be a pair .* it holds 3 entries"),
        ({"inputs": ["q", 7]}, r"inputs: the text must be a string, not a number"),
        ({"inputs": ["q", ["a"]]}, r"inputs: the text must be a string, not an array"),
        ({"inputs": ["q", " "]}, r"inputs: the text must not be blank"),
        ({"inputs": ["", "a"]}, r"inputs: the query must not be blank"),
        ({"inputs": [["q"], ["q", "a"]]}, r"inputs\[0\] must be a pair .* it holds 1 entries"),
        ({"inputs": [["q", "a"], ["q", "a", "b"]]}, r"inputs\[1\] must be a pair .* it holds 3 entries"),
        ({"inputs": [["q", "a"], "text"]}, r"inputs\[1\] must be a pair .* not a string: a reranker has no score for one text"),
        ({"inputs": [["q", None]]}, r"inputs\[0\]: the text must be a string, not null"),
        ({"inputs": [[1, 2]]}, r"inputs\[0\]: the query must be a string, not a number"),
        ({"inputs": [None]}, r"inputs\[0\] must be a pair .* not null"),
        ({"inputs": [["q", "a"]] * 4}, r"inputs holds 4 entries; at most 3 are allowed"),
        ({"inputs": PAIRS, "raw_scores": 1}, r"raw_scores must be true or false"),
        ({"inputs": PAIRS, "truncate": "END"}, r"truncate must be true or false"),
        ({"inputs": PAIRS, "truncate": True, "truncation_direction": "Left"}, r"truncation_direction 'Left' is not supported for pairs"),
        ({"inputs": PAIRS, "truncate": True, "truncation_direction": 5}, r"truncation_direction must be one of 'right', 'left'"),
        ({"inputs": PAIRS, "score_mode": "percent"}, r"score_mode must be one of"),
        ({"inputs": PAIRS, "model": 5}, r"model must be a string"),
        ({"inputs": PAIRS, "max_chunks_per_doc": 10_000}, r"max_chunks_per_doc must be at most"),
    ],
)
def test_a_wrong_body_is_refused_with_its_field_and_what_would_be_right(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(BadRequest, match=said):
        read_predict(fields, RULES)


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=4)
    | st.sampled_from(["q", "Left"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from(["inputs", "raw_scores", "truncate", "truncation_direction", "score_mode", "model", "max_tokens_per_doc", "max_chunks_per_doc", "x"])


@given(st.dictionaries(NAMES, ANYTHING), st.sampled_from([None, ["q", "a"], PAIRS]))
def test_any_object_is_read_or_refused(fields: dict[str, Any], inputs: Any) -> None:
    fields = orjson.loads(orjson.dumps(fields | ({} if inputs is None else {"inputs": inputs})))
    try:
        asked = read_predict(fields, RULES)
    except BadRequest:
        return
    answer = answered(asked, *[tuple(0.0 for _ in call.passages) for call in asked.calls])
    assert all(math.isfinite(one["score"]) for each in answer for one in (each if isinstance(each, list) else [each]))
