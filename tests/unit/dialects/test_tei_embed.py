"""TEI's /embed and Hugging Face's /similarity: what a body means, what it is refused with, and what is answered."""

from __future__ import annotations

import base64
import contextlib
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emberank.contract.errors import BadRequest
from emberank.contract.inference import Content
from emberank.dialects.answers import Embeddings
from emberank.dialects.asked import AskedEmbed, Told
from emberank.dialects.nim import Rules
from emberank.dialects.tei_embed import EMBED_FIELDS, FIELDS, read_embed, read_similarity

TOLD = Told(model="acme/m", request_id="r")
PAIR = {"source_sentence": "a", "sentences": ["b", "c"]}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(["left", "Right", "query", "base64"]),
    lambda i: st.lists(i, max_size=3) | st.dictionaries(st.sampled_from([*EMBED_FIELDS, "source_sentence", "sentences"]), i, max_size=4),
)


def ask(rules: Rules | None = None, **fields: Any) -> AskedEmbed:
    return read_embed({"inputs": "a"} | fields, rules or Rules(max_inputs=9))


def compare(rules: Rules | None = None, **fields: Any) -> AskedEmbed:
    return read_similarity({"inputs": PAIR} | fields, rules or Rules(max_inputs=9))


def refused(**fields: Any) -> str:
    with pytest.raises(BadRequest) as caught:
        ask(**fields)
    return caught.value.message


def rendered(asked: AskedEmbed, vectors: Any) -> Any:
    return json.loads(asked.render(Embeddings(vectors=np.array(vectors, np.float32), prompt_tokens=3), TOLD))


# --- /embed


@pytest.mark.parametrize(("inputs", "meant"), [("a", ("a",)), (["a"], ("a",)), (["a", "b"], ("a", "b"))])
def test_inputs_are_one_text_or_several(inputs: object, meant: tuple[str, ...]) -> None:
    assert ask(inputs=inputs).call.inputs == tuple(map(Content, meant))


def test_null_is_absent() -> None:
    asked = ask(normalize=None, truncate=None, truncation_direction=None, prompt_name=None, dimensions=None, encoding_format=None, model=None, parameters=None)
    call = asked.call
    assert (call.model, call.truncate, call.input_type, call.dimensions, call.embedding_type) == (None, "NONE", None, None, "float")
    assert (asked.ignored, asked.plain) == ((), False)


@pytest.mark.parametrize(
    ("fields", "default", "meant"),
    [
        ({}, "NONE", "NONE"),
        ({}, "START", "START"),
        ({"truncate": False}, "END", "NONE"),
        ({"truncate": True}, "NONE", "END"),
        ({"truncate": "true"}, "NONE", "END"),
        ({"truncate": True, "truncation_direction": "Right"}, "START", "END"),
        ({"truncate": True, "truncation_direction": "left"}, "NONE", "START"),
        ({"truncation_direction": "Left"}, "END", "START"),
        ({"truncation_direction": "Left"}, "NONE", "NONE"),
    ],
)
def test_one_field_says_whether_to_cut_and_another_where(fields: dict[str, Any], default: Any, meant: str) -> None:
    assert ask(Rules(default_truncate=default), **fields).call.truncate == meant


@pytest.mark.parametrize(("name", "meant"), [("query", "query"), ("passage", "passage"), ("document", "passage"), (None, None)])
def test_a_prompts_name_is_the_kind_of_input(name: str | None, meant: str | None) -> None:
    assert ask(prompt_name=name).call.input_type == meant


def test_dimensions_are_asked_for_and_nought_is_none() -> None:
    assert [ask(dimensions=value).call.dimensions for value in (8, 0)] == [8, None]


def test_options_may_stand_in_parameters() -> None:
    asked = ask(parameters={"truncate": True, "truncation_direction": "left", "prompt_name": "query", "dimensions": None})
    assert (asked.call.truncate, asked.call.input_type, asked.ignored) == ("START", "query", ())
    assert ask(truncate=True, parameters={"truncate": True}).call.truncate == "END"
    assert refused(truncate=True, parameters={"truncate": False}) == "'truncate' is in parameters and beside them, and differs; send it once"


def test_what_changes_no_number_is_ignored_and_named() -> None:
    assert ask(options={"wait_for_model": True}, parameters={"other": 1}).ignored == ("options", "other")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"inputs": None}, "inputs must be a string or an array of strings, not null"),
        ({"inputs": 3}, "inputs must be a string or an array of strings, not a number"),
        ({"inputs": {"text": "a"}}, "inputs must be a string or an array of strings, not an object"),
        ({"inputs": []}, "inputs must not be empty"),
        ({"inputs": ""}, "inputs[0] must not be blank or empty"),
        ({"inputs": ["a", " "]}, "inputs[1] must not be blank or empty"),
        ({"inputs": [1, 2, 3]}, "inputs[0] is a number: token ids are not accepted, send text"),
        ({"inputs": ["a", [1, 2]]}, "inputs[1] is an array: token ids are not accepted, send text"),
        ({"inputs": [True]}, "inputs[0] must be a string, not a boolean"),
        ({"inputs": [{"text": "a"}]}, "inputs[0] must be a string, not an object"),
        ({"inputs": ["a"] * 10}, "inputs holds 10 entries; at most 9 are allowed in one request"),
        ({"normalize": False}, "normalize must be true or left out: vectors are answered at length one, and other lengths cannot be had"),
        ({"normalize": "no"}, "normalize must be true or false; got 'no'"),
        ({"truncate": "END"}, "truncate must be true or false; got 'END'"),
        ({"truncation_direction": "up"}, "truncation_direction must be one of 'right', 'left'; got 'up'"),
        ({"truncation_direction": 1}, "truncation_direction must be one of 'right', 'left'; got '1'"),
        ({"prompt_name": "s2p_query"}, "prompt_name must be one of 'query', 'passage', 'document'; got 's2p_query'"),
        ({"prompt_name": ["query"]}, "prompt_name must be one of"),
        ({"dimensions": "8"}, "dimensions must be a whole number from 1 on; got '8'"),
        ({"encoding_format": "hex"}, "encoding_format must be one of 'float', 'base64'; got 'hex'"),
        ({"parameters": []}, "parameters must be an object, not an array"),
        ({"parameters": {"normalize": False}}, "normalize must be true or left out"),
        ({"model": 7}, "model must be a string, not a number"),
    ],
)
def test_a_bad_body_is_refused_by_field(fields: dict[str, Any], said: str) -> None:
    assert refused(**fields).startswith(said)


def test_the_answer_is_a_bare_array_of_vectors_also_for_one_text() -> None:
    assert rendered(ask(), [[0.6, 0.8]]) == [[pytest.approx(0.6), pytest.approx(0.8)]]


def test_vectors_are_of_length_one_whatever_the_model_leaves_them() -> None:
    assert rendered(ask(inputs=["a", "b"]), [[3, 4], [0, -9]]) == [pytest.approx([0.6, 0.8]), [0, -1]]


def test_base64_is_a_text_for_each_vector() -> None:
    (text,) = rendered(ask(encoding_format="base64"), [[0, -2]])
    assert base64.b64decode(text) == np.array([0, -1], "<f4").tobytes()


# --- /similarity


def test_the_source_sentence_and_the_sentences_are_one_call() -> None:
    asked = compare(parameters={})
    assert asked.call.inputs == (Content("a"), Content("b"), Content("c"))
    assert asked.ignored == ()
    assert compare(parameters={"prompt_name": "query", "truncate": True}).call.input_type == "query"


def test_the_answer_is_the_cosines_in_the_order_of_the_sentences() -> None:
    assert rendered(compare(), [[2, 0], [3, 4], [-5, 0]]) == pytest.approx([0.6, -1])


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        (None, 'inputs must be an object such as {"source_sentence": "…", "sentences": ["…"]}, not null'),
        (["a", "b"], "inputs must be an object such as"),
        ({"sentences": ["b"]}, "inputs.source_sentence: missing field"),
        ({"source_sentence": " ", "sentences": ["b"]}, "inputs.source_sentence must not be blank or empty"),
        ({"source_sentence": ["a"], "sentences": ["b"]}, "inputs.source_sentence must be a string, not an array"),
        ({"source_sentence": "a"}, "inputs.sentences: missing field; it must be an array of strings"),
        ({"source_sentence": "a", "sentences": []}, "inputs.sentences must not be empty"),
        ({"source_sentence": "a", "sentences": "b"}, "inputs.sentences must be an array of strings, not a string"),
        ({"source_sentence": "a", "sentences": ["b", ""]}, "inputs.sentences[1] must not be blank or empty"),
        ({"source_sentence": "a", "sentences": ["b"] * 9}, "inputs.sentences holds 9 entries; at most 8 are allowed in one request"),
    ],
)
def test_sentences_that_cannot_be_compared_are_refused(inputs: object, said: str) -> None:
    with pytest.raises(BadRequest) as caught:
        compare(inputs=inputs)
    assert caught.value.message.startswith(said)


@given(st.dictionaries(st.sampled_from([*EMBED_FIELDS, "other"]), JSON))
def test_any_json_object_is_a_call_or_a_bad_request(fields: dict[str, Any]) -> None:
    with contextlib.suppress(BadRequest):
        assert read_embed(fields, Rules()).call.inputs


@given(st.dictionaries(st.sampled_from([*FIELDS, "other"]), JSON), st.booleans())
def test_any_json_object_is_a_comparison_or_a_bad_request(fields: dict[str, Any], pair: bool) -> None:
    with contextlib.suppress(BadRequest):
        assert len(read_similarity(fields | ({"inputs": PAIR} if pair else {}), Rules()).call.inputs) >= 2
