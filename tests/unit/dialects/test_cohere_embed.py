"""Cohere's embed, version 1 and 2: what a body means, what it is refused with, and what is answered."""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emberank.contract.errors import BadRequest
from emberank.contract.inference import Content
from emberank.dialects.answers import Embeddings
from emberank.dialects.asked import AskedEmbed, Told
from emberank.dialects.cohere_embed import FIELDS, TYPES, read_v1, read_v2
from emberank.dialects.nim import Rules
from emberank.dialects.vectors import quantise

PNG = "data:image/png;base64,iVBORw0KGgo="
UNITS = np.array([[0.6, 0.8, 0, 0, 0, 0, 0, 0, 0], [0, 0, -0.6, 0, 0, 0, 0, 0, 0.8]], np.float32)
Read = Callable[[dict[str, Any], Rules], AskedEmbed]
BOTH = pytest.mark.parametrize("read", [read_v1, read_v2])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(["float", "END", "search_query", "image", "text", PNG]),
    lambda i: st.lists(i, max_size=3) | st.dictionaries(st.sampled_from(["content", "type", "text", "image_url", "url"]), i, max_size=4),
)


def ask(read: Read = read_v2, *, most: int = 9, **fields: Any) -> AskedEmbed:
    named = {"texts", "images", "inputs"} & set(fields)
    return read(fields if named else {"texts": ["a", "b"]} | fields, Rules(max_inputs=most))


def refused(read: Read = read_v2, **fields: Any) -> str:
    with pytest.raises(BadRequest) as caught:
        ask(read, **fields)
    return caught.value.message


def answered(read: Read = read_v2, **fields: Any) -> Any:
    told = Told(model="acme/m", request_id="req-1")
    return json.loads(ask(read, **fields).render(Embeddings(vectors=UNITS, prompt_tokens=11), told))


# --- a request


@BOTH
def test_texts_are_embedded_as_what_they_are_for(read: Read) -> None:
    asked = ask(read, texts=["a", "b"], model="embed-v4.0", input_type="search_document")
    call = asked.call
    assert (call.inputs, call.model, call.input_type, call.truncate) == ((Content("a"), Content("b")), "embed-v4.0", "passage", "END")
    assert (call.dimensions, call.embedding_type, asked.ignored, asked.plain) == (None, "float", (), False)


@BOTH
@pytest.mark.parametrize(
    ("given", "meant"), [("search_document", "passage"), ("search_query", "query"), ("classification", None), ("clustering", None), (None, None)]
)
def test_an_input_type_is_a_side_of_a_search_or_neither(read: Read, given: str | None, meant: str | None) -> None:
    assert ask(read, input_type=given).call.input_type == meant


@BOTH
def test_images_are_passages(read: Read) -> None:
    call = ask(read, images=[PNG], input_type="image").call
    assert (call.inputs, call.input_type) == ((Content(None, PNG),), "passage")
    assert ask(read, images=[PNG], input_type="search_document").call.input_type == "passage"
    assert ask(read, images=[PNG], input_type="clustering").call.input_type is None


def test_an_input_of_several_parts_is_one_vector() -> None:
    image = {"type": "image_url", "image_url": {"url": PNG, "detail": "auto"}}
    inputs = [
        {"content": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]},
        {"content": [image]},
        {"content": [{"type": "text", "text": "a page"}, image]},
    ]
    assert ask(inputs=inputs).call.inputs == (Content("one\ntwo"), Content(None, PNG), Content("a page", PNG))


@BOTH
@pytest.mark.parametrize(("given", "meant"), [("NONE", "NONE"), ("START", "START"), ("END", "END"), (None, "END")])
def test_what_is_too_long_is_cut_at_the_end_unless_it_is_said_otherwise(read: Read, given: str | None, meant: str) -> None:
    assert ask(read, truncate=given).call.truncate == meant


@BOTH
def test_null_is_absent_and_an_empty_array_beside_another_field_is_none(read: Read) -> None:
    asked = ask(read, texts=["a"], images=[], inputs=None, model=None, embedding_types=None, output_dimension=None, max_tokens=None, priority=None)
    assert (asked.call.inputs, asked.call.model, asked.ignored) == ((Content("a"),), None, ())
    assert ask(read, texts=[], images=[PNG]).call.inputs == (Content(None, PNG),)


@BOTH
def test_what_changes_no_number_is_ignored_and_named(read: Read) -> None:
    assert ask(read, priority=3, stream=False).ignored == ("priority", "stream")


def test_a_dimension_goes_with_every_type() -> None:
    call = ask(output_dimension=256, embedding_types=["int8", "float"]).call
    assert (call.dimensions, call.embedding_type) == (256, "float")
    assert ask(output_dimension=0).call.dimensions is None


@BOTH
@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"texts": None}, "texts: missing field; send texts (an array of strings), images (an array of data URLs) or inputs"),
        ({"texts": "a"}, "texts must be an array of strings, not a string"),
        ({"texts": {"text": "a"}}, "texts must be an array of strings, not an object"),
        ({"texts": []}, "texts must not be empty"),
        ({"texts": [], "images": []}, "texts must not be empty"),
        ({"texts": ["a"] * 10}, "texts holds 10 entries; at most 9 are allowed in one request"),
        ({"texts": ["a", " \n"]}, "texts[1] must not be blank or empty"),
        ({"texts": ["a", None]}, "texts[1] must be a string, not null"),
        ({"texts": [{"text": "a"}]}, "texts[0] must be a string, not an object"),
        ({"texts": [[1, 2]]}, "texts[0] is an array: token ids are not accepted, send text"),
        ({"texts": [True]}, "texts[0] must be a string, not a boolean"),
        ({"texts": ["a"], "images": [PNG]}, "texts and images cannot be sent together; send one of texts, images and inputs"),
        ({"texts": ["a"], "inputs": [{}]}, "texts and inputs cannot be sent together"),
        ({"images": PNG}, "images must be an array, not a string"),
        ({"images": []}, "images must not be empty"),
        ({"images": [PNG] * 10}, "images holds 10 entries; at most 9 are allowed in one request"),
        ({"images": ["https://example.com/a.png"]}, "images[0] must be a base64 data URL such as data:image/png;base64,…; nothing is fetched from elsewhere"),
        ({"images": [PNG, 3]}, "images[1] must be a base64 data URL"),
        ({"inputs": {"content": []}}, "inputs must be an array, not an object"),
        ({"inputs": []}, "inputs must not be empty"),
        ({"inputs": ["a"]}, 'inputs[0] must be an object such as {"content": [{"type": "text", "text": "…"}]}'),
        ({"inputs": [{"content": "a"}]}, "inputs[0] must be an object such as"),
        ({"inputs": [{"content": []}]}, "inputs[0] must be an object such as"),
        ({"inputs": [{"content": ["a"]}]}, "inputs[0].content[0] must be an object with a type, not a string"),
        ({"inputs": [{"content": [{"text": "a"}]}]}, "inputs[0].content[0].type must be one of 'text', 'image_url'; got ''"),
        ({"inputs": [{"content": [{"type": "video"}]}]}, "inputs[0].content[0].type must be one of 'text', 'image_url'; got 'video'"),
        ({"inputs": [{"content": [{"type": "text"}]}]}, "inputs[0].content[0].text: missing field"),
        ({"inputs": [{"content": [{"type": "text", "text": " "}]}]}, "inputs[0].content[0].text must not be blank or empty"),
        ({"inputs": [{"content": [{"type": "image_url"}]}]}, "inputs[0].content[0].image_url.url must be a base64 data URL"),
        ({"inputs": [{"content": [{"type": "image_url", "image_url": {"url": "http://a/b.png"}}]}]}, "inputs[0].content[0].image_url.url must be a base64"),
        ({"inputs": [{"content": [{"type": "image_url", "image_url": {"url": PNG}}] * 2}]}, "inputs[0] holds several images"),
        ({"model": 7}, "model must be a string, not a number"),
        ({"input_type": "query"}, "input_type must be one of 'search_document', 'search_query', 'classification', 'clustering', 'image'; got 'query'"),
        ({"input_type": "image"}, "input_type 'image' is for images, and texts holds text; send search_document or search_query"),
        ({"images": [PNG], "input_type": "search_query"}, "input_type 'search_query' is for text: an image is embedded as a document"),
        ({"embedding_types": []}, "embedding_types must be an array with at least one of 'float', 'int8', 'uint8', 'binary', 'ubinary', 'base64'"),
        ({"embedding_types": "float"}, "embedding_types must be an array with at least one of"),
        ({"embedding_types": ["float", "int4"]}, "embedding_types must be one of 'float', 'int8', 'uint8', 'binary', 'ubinary', 'base64'; got 'int4'"),
        ({"embedding_types": [None]}, "embedding_types must be one of"),
        ({"truncate": "LEFT"}, "truncate must be one of 'NONE', 'START', 'END'; got 'LEFT'"),
        ({"truncate": True}, "truncate must be one of 'NONE', 'START', 'END'; got 'true'"),
        ({"output_dimension": 1.5}, "output_dimension must be a whole number from 1 on; got '1.5'"),
        ({"max_tokens": 128}, "max_tokens is not supported: an input is read up to the model's own limit"),
        ({"max_tokens": "many"}, "max_tokens must be a whole number from 1 on; got 'many'"),
    ],
)
def test_a_bad_body_is_refused_by_field(read: Read, fields: dict[str, Any], said: str) -> None:
    assert refused(read, **fields).startswith(said)


# --- an answer


def test_version_1_answers_a_list_of_vectors_unless_types_are_asked_for() -> None:
    assert answered(read_v1) == {
        "id": "req-1",
        "texts": ["a", "b"],
        "embeddings": [pytest.approx(row) for row in UNITS.tolist()],
        "meta": {"api_version": {"version": "1"}, "billed_units": {"input_tokens": 11}},
        "response_type": "embeddings_floats",
    }


def test_version_2_always_answers_by_type() -> None:
    assert answered() == {
        "id": "req-1",
        "texts": ["a", "b"],
        "embeddings": {"float": [pytest.approx(row) for row in UNITS.tolist()]},
        "meta": {"api_version": {"version": "2"}, "billed_units": {"input_tokens": 11}},
        "response_type": "embeddings_by_type",
    }


@BOTH
def test_several_types_are_answered_from_the_same_floats(read: Read) -> None:
    answer = answered(read, embedding_types=[*TYPES, "int8"])
    assert answer["response_type"] == "embeddings_by_type"
    found = answer["embeddings"]
    assert list(found) == list(TYPES)
    assert found["float"] == [pytest.approx(row) for row in UNITS.tolist()]
    for kind in ("int8", "uint8", "binary", "ubinary"):
        assert found[kind] == quantise(UNITS, kind).tolist()  # type: ignore[arg-type]
    assert [base64.b64decode(text) for text in found["base64"]] == [row.tobytes() for row in UNITS]


@BOTH
def test_only_what_was_asked_for_is_answered(read: Read) -> None:
    assert list(answered(read, embedding_types=["ubinary"])["embeddings"]) == ["ubinary"]


@BOTH
def test_images_are_counted_and_texts_are_an_empty_list(read: Read) -> None:
    answer = answered(read, images=[PNG, PNG], input_type="image")
    assert answer["texts"] == []
    assert answer["meta"]["billed_units"] == {"input_tokens": 11, "images": 2}


@BOTH
@given(fields=st.dictionaries(st.sampled_from([*FIELDS, "other"]), JSON))
def test_any_json_object_is_a_call_or_a_bad_request(read: Read, fields: dict[str, Any]) -> None:
    with contextlib.suppress(BadRequest):
        asked = read(fields, Rules())
        vectors = np.zeros((len(asked.call.inputs), 9), np.float32)
        assert json.loads(asked.render(Embeddings(vectors=vectors, prompt_tokens=0), Told(model="m", request_id="r")))["id"] == "r"


@BOTH
@given(st.data())
def test_any_contents_are_read_or_refused(read: Read, data: st.DataObject) -> None:
    source = data.draw(st.sampled_from(["texts", "images", "inputs"]))
    with contextlib.suppress(BadRequest):
        assert read({source: data.draw(st.lists(JSON, max_size=3))}, Rules()).call.inputs
