"""vLLM's /score and /pooling: bodies in any of their spellings in, one call for each query, answers in the order asked out; and the options they share."""

from __future__ import annotations

import base64
import json
import math
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emberank.contract.errors import BadRequest
from emberank.contract.inference import Chunk, Content, Ranked
from emberank.dialects.answers import Embeddings, Ranking
from emberank.dialects.asked import AskedEmbed, AskedRank, Told
from emberank.dialects.nim import Rules
from emberank.dialects.scores import Calibration, sigmoid
from emberank.dialects.vllm import POOLING_FIELDS, SCORE_FIELDS, read_pooling, read_scoring
from emberank.dialects.vllm_options import pairs_truncate

RULES = Rules(max_documents=4, max_inputs=3)
TOLD = Told(model="acme/m", request_id="r7", calibration=Calibration(2.0, 1.0))
ASKED: dict[str, Any] = {"text_1": "q", "text_2": ["a", "b"]}
IMAGE = "data:image/png;base64,AAAA"


def read(**fields: Any) -> AskedRank:
    return read_scoring(fields, RULES)


def scored(**fields: Any) -> AskedRank:
    return read_scoring(ASKED | fields, RULES)


def pooled(**fields: Any) -> AskedEmbed:
    return read_pooling({"input": ["a", "b"], **fields}, RULES)


def answered(asked: AskedRank, *logits: tuple[float, ...]) -> Any:
    """What is written when the passages of each call have these logits."""
    rankings = [
        Ranking(ranked=tuple(sorted((Ranked(i, logit) for i, logit in enumerate(each)), key=lambda one: -one.logit)), prompt_tokens=5) for each in logits
    ]
    return json.loads(asked.render(rankings, TOLD))


def calls(asked: AskedRank) -> list[tuple[str | None, list[str | None]]]:
    return [(call.query.text, [one.text for one in call.passages]) for call in asked.calls]


def text(*texts: str) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": each} for each in texts]}


def image(url: str = IMAGE) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


# --- who meets whom


@pytest.mark.parametrize(("first", "second"), [("text_1", "text_2"), ("queries", "documents"), ("queries", "items"), ("data_1", "data_2")])
def test_the_two_sides_have_four_spellings(first: str, second: str) -> None:
    assert calls(read(**{first: "q", second: ["a", "b"]})) == [("q", ["a", "b"])]


@pytest.mark.parametrize(
    ("one", "two", "wanted"),
    [
        ("q", "a", [("q", ["a"])]),
        (["q"], "a", [("q", ["a"])]),
        ("q", ["a", "b"], [("q", ["a", "b"])]),
        (["q"], ["a", "b"], [("q", ["a", "b"])]),
        (["q", "r"], ["a", "b"], [("q", ["a"]), ("r", ["b"])]),
        (["q", "r", "q"], ["a", "b", "c"], [("q", ["a", "c"]), ("r", ["b"])]),
    ],
)
def test_they_meet_one_to_one_one_to_all_or_each_to_each_and_equal_queries_are_one_call(one: Any, two: Any, wanted: Any) -> None:
    assert calls(read(text_1=one, text_2=two)) == wanted


def test_scores_come_in_the_order_asked_whatever_their_order_by_score() -> None:
    asked = read(queries=["q", "r", "q"], documents=["a", "b", "c"], use_activation=False)
    assert answered(asked, (-1.0, 3.0), (7.0,)) == {
        "id": "score-r7",
        "object": "list",
        "model": "acme/m",
        "data": [
            {"index": 0, "object": "score", "score": -1.0},
            {"index": 1, "object": "score", "score": 7.0},
            {"index": 2, "object": "score", "score": 3.0},
        ],
        "usage": {"prompt_tokens": 10, "total_tokens": 10, "completion_tokens": 0},
    }


def test_a_document_that_was_read_in_pieces_says_which_was_the_best() -> None:
    ranking = Ranking(ranked=(Ranked(1, 1.0, Chunk(10, 20, 1, 3)), Ranked(0, 0.0)), prompt_tokens=5)
    first, second = json.loads(scored().render([ranking], TOLD))["data"]
    assert second["chunk"] == {"start": 10, "end": 20, "number": 1, "of": 3}
    assert "chunk" not in first


def test_content_parts_are_one_document_with_at_most_one_image() -> None:
    asked = read(queries=text("which", "way?"), documents=[text("a", "b"), {"content": [image(), {"type": "text", "text": "c"}]}, {"content": [image()]}])
    (call,) = asked.calls
    assert call.query == Content("which\nway?")
    assert call.passages == (Content("a\nb"), Content("c", IMAGE), Content(None, IMAGE))
    assert read(data_1="q", data_2={"content": [{"type": "image_url", "image_url": IMAGE}]}).calls[0].passages == (Content(None, IMAGE),)


# --- the score


@pytest.mark.parametrize(
    ("fields", "score"),
    [
        ({}, "sigmoid"),
        ({"use_activation": None}, "sigmoid"),
        ({"use_activation": True}, "sigmoid"),
        ({"use_activation": False}, "logit"),
        ({"activation": False}, "logit"),
        ({"softmax": "false"}, "logit"),
        ({"use_activation": False, "activation": False}, "logit"),
        ({"score_mode": "raw"}, "logit"),
        ({"score_mode": "logit", "use_activation": False}, "logit"),
        ({"score_mode": "calibrated"}, "calibrated"),
        ({"score_mode": "calibrated", "use_activation": True}, "calibrated"),
    ],
)
def test_the_scale_is_vllms_activation_or_our_own_field(fields: dict[str, Any], score: str) -> None:
    assert scored(**fields).score == score


def test_a_score_is_the_sigmoid_the_logit_or_the_answering_versions_calibrated_one() -> None:
    def first(**fields: Any) -> float:
        score: float = answered(scored(**fields), (0.5, 0.0))["data"][0]["score"]
        return score

    assert first() == pytest.approx(sigmoid(0.5))
    assert first(use_activation=False) == 0.5
    assert first(score_mode="calibrated") == pytest.approx(sigmoid(2.0 * 0.5 + 1.0))


# --- what is too long


@pytest.mark.parametrize(
    ("fields", "truncate"),
    [
        ({}, "NONE"),
        ({"truncate_prompt_tokens": None}, "NONE"),
        ({"truncate_prompt_tokens": -1}, "END"),
        ({"truncate_prompt_tokens": -1, "truncation_side": "right"}, "END"),
        ({"truncate": "END"}, "END"),
        ({"truncate": "END", "truncate_prompt_tokens": -1}, "END"),
        ({"truncation_side": "left"}, "NONE"),
    ],
)
def test_minus_one_cuts_at_the_models_limit_and_nothing_is_cut_unasked(fields: dict[str, Any], truncate: str) -> None:
    assert scored(**fields).calls[0].truncate == truncate


def test_a_dialect_that_cuts_unasked_has_the_same_options() -> None:
    assert pairs_truncate({}, "END") == "END"
    with pytest.raises(BadRequest, match="truncation_side 'left'"):
        pairs_truncate({"truncation_side": "left"}, "END")


def test_every_call_has_what_is_said_of_long_documents_and_of_the_model() -> None:
    asked = read(text_1=["q", "r"], text_2=["a", "b"], model="m", max_tokens_per_doc=64, max_chunks_per_doc=4)
    assert {(call.model, call.max_passage_tokens, call.max_chunks) for call in asked.calls} == {("m", 64, 4)}


# --- options


def test_what_changes_no_number_is_ignored_and_named_and_null_is_absent() -> None:
    asked = scored(user="u", priority=3, cache_salt="s", request_id="x", top_n=None, model=None)
    assert asked.ignored == ("priority", "cache_salt", "request_id")
    assert pooled(user="u", priority=3, late=None).ignored == ("priority",)


def test_options_that_ask_for_nothing_are_taken() -> None:
    nothing: dict[str, Any] = {
        "instruction": "",
        "chat_template": None,
        "chat_template_kwargs": {},
        "mm_processor_kwargs": {},
        "media_io_kwargs": {},
        "add_special_tokens": True,
        "padding": "do_not_pad",
        "encoding_format": "float",
        "use_activation": True,
    }
    assert scored(**nothing).ignored == pooled(**nothing).ignored == ()


REFUSED_OPTIONS: list[tuple[dict[str, Any], str]] = [
    ({"instruction": "be kind"}, r"instruction is not supported: the served models take no instruction"),
    ({"chat_template": "{{ x }}"}, r"chat_template is not supported"),
    ({"chat_template_kwargs": {"a": 1}}, r"chat_template_kwargs is not supported"),
    ({"mm_processor_kwargs": {"size": 1}}, r"mm_processor_kwargs is not supported: images are read"),
    ({"media_io_kwargs": {"image": {}}}, r"media_io_kwargs is not supported"),
    ({"add_special_tokens": False}, r"add_special_tokens is not supported"),
    ({"add_special_tokens": 1}, r"add_special_tokens is not supported"),
    ({"padding": "max_length"}, r"padding is not supported"),
    ({"truncate_prompt_tokens": 512}, r"truncate_prompt_tokens 512 is not supported: it counts the whole prompt, .* -1; max_tokens_per_doc"),
    ({"truncate_prompt_tokens": 0}, r"truncate_prompt_tokens 0 is not supported"),
    ({"truncate_prompt_tokens": -2}, r"truncate_prompt_tokens -2 is not supported"),
    ({"truncate_prompt_tokens": "-1"}, r"truncate_prompt_tokens must be -1 or absent; got '-1'"),
    ({"truncate_prompt_tokens": True}, r"truncate_prompt_tokens must be -1 or absent; got 'true'"),
    ({"truncate_prompt_tokens": [1]}, r"truncate_prompt_tokens must be -1 or absent; got an array"),
    ({"truncate_prompt_tokens": -1, "truncate": "NONE"}, r"say two things"),
    ({"truncate": "MIDDLE"}, r"truncate must be one of"),
    ({"truncate_prompt_tokens": -1, "truncation_side": "middle"}, r"truncation_side must be one of"),
    ({"use_activation": "yes"}, r"use_activation must be true or false"),
    ({"use_activation": True, "activation": False}, r"use_activation and activation are one option and differ"),
    ({"model": 7}, r"model must be a string"),
]


@pytest.mark.parametrize(("fields", "said"), REFUSED_OPTIONS)
def test_an_option_that_would_change_the_answer_is_refused_on_both_routes(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(BadRequest, match=said):
        scored(**fields)
    with pytest.raises(BadRequest, match=said):
        pooled(**fields)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, r"text_1: missing field; send text_1 and text_2"),
        ({"text_1": None, "text_2": None}, r"text_1: missing field"),
        ({"text_1": "q"}, r"text_2: missing field; send text_1 and text_2"),
        ({"text_2": "a"}, r"text_1: missing field"),
        ({"queries": "q"}, r"documents: missing field; send queries and documents"),
        ({"items": ["a"]}, r"queries: missing field; send queries and items"),
        ({"data_1": "q"}, r"data_2: missing field"),
        ({"text_1": "q", "documents": ["a"]}, r"text_1, documents: send one pair of text_1 and text_2, queries and documents"),
        ({"queries": "q", "documents": ["a"], "items": ["a"]}, r"queries, documents, items: send one pair of"),
        ({"text_1": "q", "text_2": "a", "queries": "q", "documents": "a"}, r"send one pair of"),
        ({"text_1": 7, "text_2": "a"}, r"text_1 must be a string or an array of strings, not a number"),
        ({"text_1": "q", "text_2": True}, r"text_2 must be a string or an array of strings, not a boolean"),
        ({"text_1": [], "text_2": "a"}, r"text_1 must not be empty"),
        ({"text_1": "q", "text_2": []}, r"text_2 must not be empty"),
        ({"text_1": " ", "text_2": "a"}, r"text_1 must not be blank"),
        ({"text_1": "q", "text_2": ["a", ""]}, r"text_2\[1\] must not be blank"),
        ({"text_1": ["q", "r"], "text_2": ["a", "b", "c"]}, r"text_1 holds 2 entries and text_2 3: send one text_1 for all, or as many as text_2"),
        ({"text_1": ["q", "r"], "text_2": "a"}, r"text_1 holds 2 entries and text_2 1"),
        ({"text_1": "q", "text_2": ["a"] * 5}, r"text_2 holds 5 entries; at most 4 are allowed"),
        ({"text_1": ["q"] * 5, "text_2": ["a"] * 5}, r"text_1 holds 5 entries; at most 4"),
        ({"text_1": "q", "text_2": [[1, 2]]}, r"text_2\[0\] is an array: token ids are not accepted"),
        ({"text_1": [1, 2], "text_2": ["a", "b"]}, r"text_1\[0\] is a number: token ids are not accepted"),
        ({"text_1": "q", "text_2": [None]}, r"text_2\[0\] must be a string, or an object such as"),
        ({"text_1": "q", "text_2": [False]}, r"text_2\[0\] must be a string, or an object such as"),
        ({"text_1": "q", "text_2": {"text": "a"}}, r"text_2 must be a string, or an object such as"),
        ({"text_1": "q", "text_2": {"content": "a"}}, r"text_2 must be a string, or an object such as"),
        ({"text_1": "q", "text_2": {"content": []}}, r"text_2 must not be blank or empty"),
        ({"text_1": "q", "text_2": {"content": ["a"]}}, r"text_2.content\[0\] must be an object whose type is 'text' or 'image_url'; got a string"),
        ({"text_1": "q", "text_2": {"content": [{"type": "video_url"}]}}, r"text_2.content\[0\] must be an object whose type is .* got 'video_url'"),
        ({"text_1": "q", "text_2": {"content": [{"type": "text", "text": 7}]}}, r"text_2.content\[0\].text must be a string, not a number"),
        ({"text_1": "q", "text_2": {"content": [image("https://x/y.png")]}}, r"text_2.content\[0\].image_url must be a base64 data URL"),
        ({"text_1": "q", "text_2": {"content": [{"type": "image_url"}]}}, r"text_2.content\[0\].image_url must be a base64 data URL"),
        ({"text_1": "q", "text_2": [{"content": [image(), image()]}]}, r"text_2\[0\] holds 2 images; a document is at most one"),
        ({"text_1": {"content": [image()]}, "text_2": "a"}, r"text_1 holds an image, and a query is text"),
        (ASKED | {"encoding_format": "base64"}, r"encoding_format must be 'float' for scores"),
        (ASKED | {"encoding_format": "hex"}, r"encoding_format must be one of"),
        (ASKED | {"truncate_prompt_tokens": -1, "truncation_side": "left"}, r"truncation_side 'left' is not supported for pairs"),
        (ASKED | {"truncate": "START"}, r"truncate must be one of 'NONE', 'END'"),
        (ASKED | {"use_activation": True, "score_mode": "raw"}, r"use_activation true and score_mode 'raw' differ"),
        (ASKED | {"use_activation": False, "score_mode": "sigmoid"}, r"use_activation false and score_mode 'sigmoid' differ"),
        (ASKED | {"score_mode": 7}, r"score_mode must be one of"),
        (ASKED | {"max_chunks_per_doc": -1}, r"max_chunks_per_doc must be a whole number"),
    ],
)
def test_a_wrong_score_is_refused_with_its_field_and_what_would_be_right(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(BadRequest, match=said):
        read_scoring(fields, RULES)


# --- poolings

VECTORS = np.array([[0.25, -1.5], [3.0, 0.0]], np.float32)


def test_a_pooling_is_one_vector_an_input() -> None:
    assert json.loads(pooled().render(Embeddings(vectors=VECTORS, prompt_tokens=9), TOLD)) == {
        "id": "pool-r7",
        "object": "list",
        "model": "acme/m",
        "data": [{"index": 0, "object": "pooling", "data": [0.25, -1.5]}, {"index": 1, "object": "pooling", "data": [3.0, 0.0]}],
        "usage": {"prompt_tokens": 9, "total_tokens": 9, "completion_tokens": 0},
    }


def test_base64_is_little_endian_float32() -> None:
    asked = pooled(encoding_format="base64", embed_dtype="float32", endianness="little")
    first, second = json.loads(asked.render(Embeddings(vectors=VECTORS, prompt_tokens=9), TOLD))["data"]
    assert [np.frombuffer(base64.b64decode(one["data"]), "<f4").tolist() for one in (first, second)] == VECTORS.tolist()


def test_a_pooling_is_an_embedding_call() -> None:
    call = pooled(model="m", dimensions=64, input_type="query", task="embed").call
    assert (call.model, call.dimensions, call.input_type, call.truncate, call.inputs) == ("m", 64, "query", "NONE", (Content("a"), Content("b")))
    assert pooled(input="one").call.inputs == (Content("one"),)


@pytest.mark.parametrize(
    ("fields", "truncate"),
    [
        ({}, "NONE"),
        ({"truncate_prompt_tokens": -1}, "END"),
        ({"truncate_prompt_tokens": -1, "truncation_side": "left"}, "START"),
        ({"truncation_side": "left"}, "NONE"),
        ({"truncate": "START"}, "START"),
        ({"truncate": "END", "truncation_side": "right"}, "END"),
    ],
)
def test_an_input_may_be_cut_on_either_side(fields: dict[str, Any], truncate: str) -> None:
    assert pooled(**fields).call.truncate == truncate


def test_a_pooling_cuts_nothing_unasked_whatever_the_servers_default_is() -> None:
    assert read_pooling({"input": "a"}, Rules(default_truncate="END")).call.truncate == "NONE"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, r"input: missing field"),
        ({"input": []}, r"input must not be empty"),
        ({"input": " "}, r"input\[0\] must not be blank"),
        ({"input": [1, 2]}, r"input\[0\] is a number: token ids are not accepted"),
        ({"input": [[1, 2]]}, r"input\[0\] is an array: token ids are not accepted"),
        ({"input": 7}, r"input must be a string or an array"),
        ({"input": ["a"] * 4}, r"input holds 4 entries; at most 3"),
        ({"messages": [{"role": "user", "content": "a"}]}, r"messages is not supported: send input"),
        ({"data": {"a": 1}}, r"data is not supported: send input"),
        ({"input": "a", "task": "token_embed"}, r"task must be 'embed': one vector an input, and none for each token; got 'token_embed'"),
        ({"input": "a", "task": "token_classify"}, r"task must be 'embed'"),
        ({"input": "a", "task": "plugin"}, r"task must be 'embed'"),
        ({"input": "a", "task": ["embed"]}, r"task must be 'embed'"),
        ({"input": "a", "task": "score"}, r"task 'score' is not supported on /pooling: a pair's score is to be had from /score"),
        ({"input": "a", "task": "classify"}, r"task 'classify' is not supported on /pooling"),
        ({"input": "a", "encoding_format": "bytes"}, r"encoding_format must be one of 'float', 'base64'"),
        ({"input": "a", "encoding_format": "base64", "embed_dtype": "float16"}, r"embed_dtype must be 'float32'; got 'float16'"),
        ({"input": "a", "encoding_format": "base64", "endianness": "big"}, r"endianness must be one of 'native', 'little'"),
        ({"input": "a", "use_activation": False}, r"use_activation false is not supported for embeddings"),
        ({"input": "a", "dimensions": "x"}, r"dimensions must be a whole number"),
        ({"input": "a", "input_type": "doc"}, r"input_type must be one of"),
    ],
)
def test_a_wrong_pooling_is_refused_with_its_field_and_what_would_be_right(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(BadRequest, match=said):
        read_pooling(fields, RULES)


# --- anything at all

ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=4)
    | st.sampled_from(["left", "embed", "base64", -1, image(), text("a"), {"type": "text", "text": "a"}]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4) | st.sampled_from(["content", "type", "text"]), inner, max_size=3),
    max_leaves=8,
)
SIDES = st.sampled_from([{}, ASKED, {"queries": ["q", "r"], "items": ["a", text("b")]}])


@given(st.dictionaries(st.sampled_from([*SCORE_FIELDS, "x"]), ANYTHING, max_size=6), SIDES)
def test_any_object_is_scored_or_refused(fields: dict[str, Any], sides: dict[str, Any]) -> None:
    fields = orjson.loads(orjson.dumps(fields | sides))
    try:
        asked = read_scoring(fields, RULES)
    except BadRequest:
        return
    data = answered(asked, *[tuple(float(i) for i, _ in enumerate(call.passages)) for call in asked.calls])["data"]
    assert [one["index"] for one in data] == list(range(sum(len(call.passages) for call in asked.calls)))
    assert all(math.isfinite(one["score"]) for one in data)


@given(st.dictionaries(st.sampled_from([*POOLING_FIELDS, "messages", "x"]), ANYTHING, max_size=5), st.booleans())
def test_any_object_is_pooled_or_refused(fields: dict[str, Any], whole: bool) -> None:
    fields = orjson.loads(orjson.dumps(fields | ({"input": "a"} if whole else {})))
    try:
        asked = read_pooling(fields, RULES)
    except BadRequest:
        return
    vectors = np.ones((len(asked.call.inputs), 2), np.float32)
    assert len(json.loads(asked.render(Embeddings(vectors=vectors, prompt_tokens=1), TOLD))["data"]) == len(asked.call.inputs)
