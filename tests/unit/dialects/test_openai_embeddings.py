"""What Voyage, Jina and Infinity add to OpenAI's embeddings: what it means, what it is refused with, and what is answered. NIM's own fields are in test_nim."""

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
from emberank.contract.inference import EMBEDDING_TYPES, Content, EmbeddingType
from emberank.dialects import nim
from emberank.dialects.answers import Embeddings, read_embeddings
from emberank.dialects.asked import AskedEmbed, Told
from emberank.dialects.nim import Rules
from emberank.dialects.openai_embeddings import FIELDS
from emberank.dialects.openai_embeddings import read_embeddings as read
from emberank.dialects.vectors import quantise

PNG = "data:image/png;base64,iVBORw0KGgo="
TOLD = Told(model="acme/m", request_id="r")
UNITS = np.array([[0.6, 0.8, 0, 0, 0, 0, 0, 0, 0], [0, 0, -0.6, 0, 0, 0, 0, 0, 0.8]], np.float32)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(["float", "int8", "END", "query", "base64", PNG]),
    lambda i: st.lists(i, max_size=3) | st.dictionaries(st.sampled_from(["text", "image", "x"]) | st.text(max_size=8), i, max_size=3),
)


def ask(rules: Rules | None = None, **fields: Any) -> AskedEmbed:
    return read({"input": "text"} | fields, rules or Rules())


def refused(rules: Rules | None = None, **fields: Any) -> str:
    with pytest.raises(BadRequest) as caught:
        ask(rules, **fields)
    return caught.value.message


def answered(vectors: np.ndarray[Any, Any] = UNITS, **fields: Any) -> list[Any]:
    body = json.loads(ask(**fields).render(Embeddings(vectors=vectors, prompt_tokens=5), TOLD))
    assert body["usage"] == {"prompt_tokens": 5, "total_tokens": 5}
    assert [one["index"] for one in body["data"]] == [0, 1]
    return [one["embedding"] for one in body["data"]]


# --- what each client is known to send


def test_what_infinity_sends_for_unset_is_unset() -> None:
    asked = ask(input=["a"], model="default/not-specified", encoding_format="float", user=None, dimensions=0, modality="text")
    assert (asked.call.dimensions, asked.call.inputs, asked.ignored, asked.plain) == (None, (Content("a"),), (), True)


def test_what_voyages_client_sends_is_understood() -> None:
    asked = ask(input=["a"], model="m", input_type="document", truncation=True, output_dtype=None, output_dimension=None, encoding_format="base64")
    call = asked.call
    assert (call.input_type, call.truncate, call.dimensions, call.embedding_type, call.encoding_format) == ("passage", "END", None, "float", "base64")
    assert (asked.ignored, asked.plain) == ((), True)


def test_what_jinas_page_sends_is_understood() -> None:
    asked = ask(
        input=[{"text": "a"}, {"image": PNG}, "b"],
        task="retrieval.passage",
        dimensions=8,
        embedding_type="float",
        late_chunking=False,
        normalized=True,
        truncate=True,
    )
    assert asked.call.inputs == (Content("a"), Content(None, PNG), Content("b"))
    assert (asked.call.input_type, asked.call.truncate, asked.call.dimensions, asked.ignored) == ("passage", "END", 8, ())


# --- inputs


@pytest.mark.parametrize(
    ("one", "content"),
    [
        ({"text": "a"}, Content("a")),
        ({"text": "a", "image": None}, Content("a")),
        ({"image": PNG}, Content(None, PNG)),
        ({"image": PNG, "text": None}, Content(None, PNG)),
        ({"image": PNG, "text": ""}, Content(None, PNG)),
        ({"image": PNG, "text": "beside"}, Content("beside", PNG)),
        ({"text": f"it quotes {PNG}"}, Content(f"it quotes {PNG}")),
        ({"text": "a", "pdf": None}, Content("a")),
    ],
)
def test_an_input_may_be_jinas_object(one: dict[str, Any], content: Content) -> None:
    assert ask(input=["x", one]).call.inputs == (Content("x"), content)
    assert ask(input=["x", one], modality=["text", content.modality]).call.inputs == (Content("x"), content)


@pytest.mark.parametrize(
    ("one", "said"),
    [
        ({}, "input[0].text: missing field"),
        ({"text": None}, "input[0].text: missing field"),
        ({"text": " "}, "input[0].text must not be blank or empty"),
        ({"text": 3}, "input[0].text must be a string, not a number"),
        ({"text": 3, "image": PNG}, "input[0].text must be a string, not a number"),
        ({"image": "https://example.com/a.png"}, "input[0].image must be a base64 data URL such as data:image/png;base64,…; nothing is fetched from elsewhere"),
        ({"image": "iVBORw0KGgo="}, "input[0].image must be a base64 data URL"),
        ({"image": 3}, "input[0].image must be a base64 data URL"),
        ({"pdf": "JVBERi0="}, "input[0].pdf: unknown field, expected one of text, image"),
        ({"text": "a", "video": "v"}, "input[0].video: unknown field, expected one of text, image"),
    ],
)
def test_an_object_that_cannot_be_read_whole_is_refused(one: dict[str, Any], said: str) -> None:
    assert refused(input=[one]).startswith(said)


def test_an_object_is_what_it_holds_whatever_modality_says() -> None:
    said = "input[1] has modality 'image' and holds 'text'; leave modality out, or say what the input holds"
    assert refused(input=[PNG, {"text": "a"}], modality="image") == said


def test_an_object_with_an_image_is_no_query() -> None:
    assert refused(input=[{"image": PNG}], task="retrieval.query") == nim.IMAGE_AS_QUERY


# --- the kind of input


@pytest.mark.parametrize(
    ("fields", "meant"),
    [
        ({"task": "retrieval.query"}, "query"),
        ({"task": "retrieval.passage"}, "passage"),
        ({"task": "text-matching"}, None),
        ({"task": "classification"}, None),
        ({"task": "separation"}, None),
        ({"task": None, "input_type": "query"}, "query"),
        ({"task": "retrieval.passage", "input_type": "document"}, "passage"),
        ({"input_type": "document"}, "passage"),
    ],
)
def test_jinas_task_says_what_kind_of_input_it_is(fields: dict[str, Any], meant: str | None) -> None:
    assert ask(**fields).call.input_type == meant


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"task": "retrieval.query", "input_type": "passage"}, "task is 'retrieval.query' and input_type is 'passage'; send one of the two"),
        ({"task": "classification", "input_type": "query"}, "task is 'classification' and input_type is 'query'; send one of the two"),
        ({"task": "nl2code"}, "task must be one of 'retrieval.query', 'retrieval.passage', 'text-matching', 'classification', 'separation'; got 'nl2code'"),
        ({"task": ["retrieval.query"]}, "task must be one of"),
    ],
)
def test_a_task_that_is_unknown_or_contradicted_is_refused(fields: dict[str, Any], said: str) -> None:
    assert refused(**fields).startswith(said)


# --- dimensions and types


@pytest.mark.parametrize(
    ("fields", "meant"),
    [
        ({"output_dimension": 256}, 256),
        ({"output_dimension": 0}, None),
        ({"output_dimension": None, "dimensions": 256}, 256),
        ({"output_dimension": 256, "dimensions": 0}, 256),
        ({"output_dimension": 256, "dimensions": 256}, 256),
    ],
)
def test_output_dimension_is_another_word_for_dimensions(fields: dict[str, Any], meant: int | None) -> None:
    assert ask(**fields).call.dimensions == meant


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"dimensions": 256, "output_dimension": 512}, "dimensions is 256 and output_dimension is 512; send one of the two"),
        ({"output_dimension": "256"}, "output_dimension must be a whole number from 1 on; got '256'"),
        ({"output_dimension": -1}, "output_dimension must be a whole number from 1 on; got -1"),
        ({"output_dimension": 8, "embedding_type": "int8"}, "dimensions cannot be used in combination with embedding_type; send one of the two"),
        ({"output_dimension": 8, "embedding_type": "int8", "output_dtype": "int8"}, "dimensions cannot be used in combination with embedding_type"),
        ({"output_dtype": "int4"}, "output_dtype must be one of 'float', 'binary', 'ubinary', 'int8', 'uint8'; got 'int4'"),
        ({"output_dtype": ["int8"]}, "output_dtype must be one of"),
        ({"output_dtype": "int8", "embedding_type": "uint8"}, "output_dtype is 'int8' and embedding_type is 'uint8'; send one of the two"),
        ({"output_dtype": "int8", "embedding_type": "base64"}, "output_dtype is 'int8' and embedding_type is 'base64'; send one of the two"),
        ({"embedding_type": "base64", "encoding_format": "float"}, "embedding_type is 'base64' and encoding_format is 'float'; send one of the two"),
        ({"embedding_type": ["float", "binary"]}, "embedding_type holds 2 entries; an answer has one type, send one of them a request"),
        ({"embedding_type": []}, "embedding_type holds 0 entries"),
        ({"embedding_type": [3]}, "Input should be 'float', 'binary', 'ubinary', 'int8' or 'uint8'"),
        ({"encoding_format": "hex"}, "encoding_format must be one of 'float', 'base64'; got 'hex'"),
    ],
)
def test_what_cannot_be_answered_is_refused(fields: dict[str, Any], said: str) -> None:
    assert refused(**fields).startswith(said)


@pytest.mark.parametrize("kind", EMBEDDING_TYPES)
@pytest.mark.parametrize("dimension", [None, 9])
def test_voyages_type_goes_with_any_length_and_is_coded_from_floats(kind: EmbeddingType, dimension: int | None) -> None:
    asked = ask(output_dtype=kind, output_dimension=dimension)
    assert (asked.call.embedding_type, asked.call.dimensions, asked.plain) == ("float", dimension, kind == "float")
    assert answered(output_dtype=kind, output_dimension=dimension) == [pytest.approx(row) for row in quantise(UNITS, kind).tolist()]


@pytest.mark.parametrize("kind", EMBEDDING_TYPES)
def test_base64_of_voyages_type_is_the_bytes_of_that_type(kind: EmbeddingType) -> None:
    texts = answered(output_dtype=kind, encoding_format="base64")
    assert [base64.b64decode(text) for text in texts] == [row.tobytes() for row in quantise(UNITS, kind)]


@pytest.mark.parametrize("fields", [{"output_dtype": "int8", "embedding_type": "int8"}, {"embedding_type": ["int8"]}, {"embedding_type": "int8"}])
def test_one_type_said_in_nims_word_is_asked_of_the_model_itself(fields: dict[str, Any]) -> None:
    asked = ask(**fields)
    assert (asked.call.embedding_type, asked.plain) == ("int8", True)


@pytest.mark.parametrize("value", ["base64", ["base64"]])
@pytest.mark.parametrize("encoding_format", [None, "base64"])
def test_jinas_base64_is_floats_written_in_base64(value: object, encoding_format: str | None) -> None:
    asked = ask(embedding_type=value, encoding_format=encoding_format)
    assert (asked.call.embedding_type, asked.call.encoding_format, asked.plain) == ("float", "base64", True)
    assert [base64.b64decode(text) for text in answered(embedding_type=value)] == [row.tobytes() for row in UNITS]


def test_floats_that_are_coded_here_are_asked_for_in_base64_and_answered_as_the_caller_wants() -> None:
    assert ask(output_dtype="int8").call.encoding_format == "base64"
    assert all(isinstance(row, list) for row in answered(output_dtype="int8"))


# --- length one


def test_normalized_is_answered_at_length_one_whatever_the_model_does() -> None:
    asked = ask(normalized=True)
    assert asked.plain is False
    assert answered(UNITS * np.float32(7), normalized=True) == [pytest.approx(row) for row in UNITS.tolist()]
    assert answered(UNITS * np.float32(7)) == [pytest.approx(row) for row in (UNITS * 7).tolist()], "nobody asked"


@pytest.mark.parametrize("fields", [{}, {"embedding_type": "int8"}, {"output_dtype": "uint8"}, {"embedding_type": "base64"}])
def test_another_length_is_refused_where_it_would_change_the_answer(fields: dict[str, Any]) -> None:
    assert refused(normalized=False, **fields).startswith("normalized must be true or left out")


@pytest.mark.parametrize("fields", [{"embedding_type": "binary"}, {"output_dtype": "ubinary"}])
def test_signs_are_the_same_at_any_length(fields: dict[str, Any]) -> None:
    assert ask(normalized=False, **fields).call.inputs


def test_normalized_is_nothing_to_a_code() -> None:
    assert ask(normalized=True, embedding_type="int8").plain is True
    assert refused(normalized="yes") == "normalized must be true or false; got 'yes'"


# --- what is cut, and what is not supported


@pytest.mark.parametrize(
    ("fields", "meant"),
    [
        ({}, "NONE"),
        ({"truncate": True}, "END"),
        ({"truncate": False}, "NONE"),
        ({"truncation": True}, "END"),
        ({"truncation": False}, "NONE"),
        ({"truncation": None}, "NONE"),
        ({"truncation": True, "truncate": "START"}, "START"),
        ({"truncation": True, "truncate": True}, "END"),
        ({"truncation": False, "truncate": "NONE"}, "NONE"),
        ({"truncation": False, "truncate": None}, "NONE"),
    ],
)
def test_jina_and_voyage_say_with_a_boolean_whether_the_end_is_cut(fields: dict[str, Any], meant: str) -> None:
    assert ask(**fields).call.truncate == meant


def test_a_boolean_goes_before_the_default() -> None:
    rules = Rules(default_truncate="START")
    assert [ask(rules, **fields).call.truncate for fields in ({}, {"truncation": True}, {"truncation": False}, {"truncate": True}, {"truncate": False})] == [
        "START",
        "END",
        "NONE",
        "END",
        "NONE",
    ]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"truncation": True, "truncate": "NONE"}, "truncation is true and truncate is 'NONE'; send one of the two"),
        ({"truncation": False, "truncate": "START"}, "truncation is false and truncate is 'START'; send one of the two"),
        ({"truncation": True, "truncate": False}, "truncation is true and truncate is 'false'; send one of the two"),
        ({"truncation": "perhaps"}, "truncation must be true or false; got 'perhaps'"),
        ({"truncate": 1}, "truncate must be one of 'NONE', 'START', 'END'; got '1'"),
        ({"late_chunking": True}, "late_chunking is not supported: every input is embedded for itself; leave it out, or send false"),
        ({"late_chunking": 1}, "late_chunking must be true or false; got '1'"),
    ],
)
def test_what_is_contradictory_or_not_supported_is_refused_in_words(fields: dict[str, Any], said: str) -> None:
    assert refused(**fields) == said


def test_the_dialects_fields_are_known_where_unknown_ones_are_refused() -> None:
    strict = Rules(embeddings_unknown_fields="reject")
    assert ask(strict, output_dimension=8, output_dtype="int8", truncation=True, task="text-matching", normalized=True, late_chunking=False).ignored == ()
    assert refused(strict, foo=1).startswith("foo: unknown field, expected one of model, input, ")


@given(st.dictionaries(st.sampled_from([*FIELDS, "other"]), JSON), st.booleans())
def test_any_json_object_is_a_call_or_a_bad_request(fields: dict[str, Any], asks: bool) -> None:
    with contextlib.suppress(BadRequest):
        asked = read(fields | ({"input": ["a", "b"]} if asks else {}), Rules())
        assert asked.call.inputs
        body = nim.write_embeddings(asked.call, "m")
        assert json.loads(body)["model"] == "m"


@given(st.sampled_from(EMBEDDING_TYPES), st.sampled_from(["float", "base64"]), st.sampled_from(["embedding_type", "output_dtype"]))
def test_an_answer_reads_back_as_the_numbers_it_was_made_of(kind: EmbeddingType, encoding_format: str, word: str) -> None:
    asked = ask(**{word: kind}, input=["a", "b"], encoding_format=encoding_format)
    vectors = quantise(UNITS, asked.call.embedding_type)
    body = asked.render(Embeddings(vectors=vectors, prompt_tokens=5), TOLD)
    assert read_embeddings(body, 2, kind).vectors.tolist() == quantise(UNITS, kind).tolist()
