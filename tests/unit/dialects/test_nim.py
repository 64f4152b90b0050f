"""NIM's bodies, both directions, without a server: what a request means, what it is refused with, and what an answer looks like."""

from __future__ import annotations

import base64
import contextlib
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emberank.contract.errors import BadRequest, InputTooLong, ModelNotFound, QueueFull, ServerFault
from emberank.contract.inference import Content, EncodingFormat, RankCall, Ranked, Timings
from emberank.dialects import nim
from emberank.dialects.answers import Embeddings, Ranking
from emberank.dialects.asked import AskedEmbed, Told
from emberank.dialects.errors import render_error
from emberank.dialects.nim import Rules
from emberank.dialects.nim_asked import ask_ranking
from emberank.dialects.openai_embeddings import FIELDS, read_embeddings
from emberank.dialects.reading import body_object
from emberank.dialects.served import Served, render_models

QUERY = {"text": "which way should i go?"}
PASSAGES = [{"text": "two roads diverged in a yellow wood"}, {"text": "the ice"}]
PNG = "data:image/png;base64,iVBORw0KGgo="
TIMINGS = Timings(tokenize_ms=1, queue_ms=2, engine_ms=3)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8), lambda i: st.lists(i, max_size=3) | st.dictionaries(st.text(max_size=8), i)
)


def rank(rules: Rules | None = None, **fields: Any) -> nim.Parsed[RankCall]:
    return nim.read_ranking(body_object(json.dumps({"query": QUERY, "passages": PASSAGES} | fields).encode()), rules or Rules())


def embed(rules: Rules | None = None, **fields: Any) -> AskedEmbed:
    return read_embeddings(body_object(json.dumps({"input": "text"} | fields).encode()), rules or Rules())


def rank_refused(rules: Rules | None = None, **fields: Any) -> str:
    with pytest.raises(BadRequest) as caught:
        rank(rules, **fields)
    return caught.value.message


def embed_refused(rules: Rules | None = None, **fields: Any) -> str:
    with pytest.raises(BadRequest) as caught:
        embed(rules, **fields)
    return caught.value.message


# --- a ranking request


def test_a_ranking_request_says_model_query_passages_and_truncation() -> None:
    call = rank(model="nvidia/x", truncate="END").call
    assert call.model == "nvidia/x"
    assert call.query == Content("which way should i go?")
    assert call.passages == (Content("two roads diverged in a yellow wood"), Content("the ice"))
    assert call.truncate == "END"
    assert call.top_n is None


@pytest.mark.claim("nim:ranking:model-optional")
@pytest.mark.parametrize("fields", [{}, {"model": None}])
def test_a_ranking_without_a_model_means_the_routes_own(fields: dict[str, Any]) -> None:
    assert rank(**fields).call.model is None


@pytest.mark.claim("nim:ranking:truncate-default-none")
def test_over_long_pairs_are_refused_unless_the_request_or_a_setting_says_otherwise() -> None:
    assert rank().call.truncate == "NONE"
    assert rank(truncate=None).call.truncate == "NONE"
    assert rank(Rules(default_truncate="END")).call.truncate == "END"


def test_a_default_of_start_is_end_for_a_ranking_which_has_no_start() -> None:
    assert rank(Rules(default_truncate="START")).call.truncate == "END"


@pytest.mark.claim("nim:ranking:truncate-values")
@pytest.mark.parametrize("value", ["START", "end", "", 1, ["END"]])
def test_a_ranking_truncates_with_none_or_end_only(value: object) -> None:
    assert rank_refused(truncate=value).startswith("truncate must be one of 'NONE', 'END'; got ")


@pytest.mark.claim("nim:ranking:top-n-and-top-k-honoured")
@pytest.mark.parametrize(
    ("fields", "top"),
    [({"top_n": 2}, 2), ({"top_k": 3}, 3), ({"top_n": 2, "top_k": 3}, 2), ({"top_n": 0}, None), ({"top_n": None}, None), ({"top_n": 0, "top_k": 1}, 1)],
)
def test_top_n_and_top_k_are_honoured_although_nim_refuses_them(fields: dict[str, Any], top: int | None) -> None:
    parsed = rank(**fields)
    assert parsed.call.top_n == top
    assert parsed.ignored == ()


def test_a_top_n_that_is_no_count_is_refused() -> None:
    assert rank_refused(top_n=-1) == "top_n must be a whole number from 1 on; got -1"
    assert rank_refused(top_k="3") == "top_k must be a whole number from 1 on; got '3'"


@pytest.mark.claim("nim:ranking:unknown-field-sentence")
@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (
            {"return_documents": True},
            "return_documents: unknown field, expected one of model, query, passages, truncate, top_n, top_k, score_mode, max_tokens_per_doc, max_chunks_per_doc",
        ),
        ({"query": {"text": "a", "image": PNG}}, "query.image: unknown field, expected one of text"),
        ({"passages": [{"text": "a"}, {"text": "b", "title": "t"}]}, "passages[1].title: unknown field, expected one of text, image"),
    ],
)
def test_an_unknown_field_of_a_ranking_is_refused_with_the_known_ones(fields: dict[str, Any], said: str) -> None:
    assert rank_refused(**fields) == said


@pytest.mark.claim("nim:ranking:query-required")
def test_an_image_beside_a_query_is_never_looked_away_from() -> None:
    said = rank_refused(Rules(ranking_unknown_fields="ignore"), query={"text": "a", "image": PNG})
    assert said == "query holds an image, and a query is text; images are passages"


@pytest.mark.claim("nim:ranking:unknown-fields-setting")
def test_unknown_fields_of_a_ranking_can_be_ignored_and_are_then_named() -> None:
    lenient = Rules(ranking_unknown_fields="ignore")
    assert rank(lenient, rank_fields=["a"], id=7).ignored == ("rank_fields", "id")
    assert rank(lenient, query={"text": "a", "lang": "en"}, passages=[{"text": "b", "title": "t"}]).call.query == Content("a")


@pytest.mark.claim("nim:ranking:query-required")
@pytest.mark.parametrize(
    ("query", "said"),
    [
        (None, 'query: missing field; it must be an object such as {"text": "…"}'),
        ("text", 'query must be an object such as {"text": "…"}, not a string'),
        ([QUERY], 'query must be an object such as {"text": "…"}, not an array'),
        ({}, "query.text: missing field; it must be a string"),
        ({"text": ""}, "query.text must not be blank or empty"),
        ({"text": " \n"}, "query.text must not be blank or empty"),
        ({"text": 1}, "query.text must be a string, not a number"),
    ],
)
def test_a_ranking_needs_a_query_with_text(query: object, said: str) -> None:
    assert rank_refused(query=query) == said


@pytest.mark.claim("nim:ranking:passages-required")
@pytest.mark.parametrize(
    ("passages", "said"),
    [
        (None, 'passages: missing field; it must be an array of objects such as {"text": "…"}'),
        ("text", 'passages must be an array of objects such as {"text": "…"}, not a string'),
        ({"text": "a"}, 'passages must be an array of objects such as {"text": "…"}, not an object'),
        ([], "passages must not be empty"),
        (["a"], 'passages[0] must be an object such as {"text": "…"}, not a string'),
        ([{"text": "a"}, None], 'passages[1] must be an object such as {"text": "…"}, not null'),
        ([{"text": "a"}, {}], "passages[1].text: missing field; it must be a string"),
        ([{"text": "a"}, {"text": ""}], "passages[1].text must not be blank or empty"),
        ([{"text": ["a"]}], "passages[0].text must be a string, not an array"),
    ],
)
def test_a_ranking_needs_passages_with_text(passages: object, said: str) -> None:
    assert rank_refused(passages=passages) == said


@pytest.mark.claim("nim:ranking:512-passages")
def test_a_ranking_takes_512_passages_and_not_one_more() -> None:
    assert len(rank(passages=[{"text": "a"}] * 512).call.passages) == 512
    assert rank_refused(passages=[{"text": "a"}] * 513) == "passages holds 513 entries; at most 512 are allowed in one request"


@pytest.mark.claim("nim:ranking:passage-limit-setting")
def test_the_most_passages_are_a_setting() -> None:
    assert len(rank(Rules(max_passages=1000), passages=[{"text": "a"}] * 1000).call.passages) == 1000
    assert "at most 2 are allowed" in rank_refused(Rules(max_passages=2), passages=[{"text": "a"}] * 3)


@pytest.mark.claim("nim:ranking:passage-image-read")
@pytest.mark.parametrize(
    ("passage", "content"),
    [
        ({"image": PNG}, Content(None, PNG)),
        ({"text": "", "image": PNG}, Content(None, PNG)),
        ({"text": None, "image": PNG}, Content(None, PNG)),
        ({"text": " \n", "image": PNG}, Content(None, PNG)),
        ({"text": "a page", "image": PNG}, Content("a page", PNG)),
        ({"text": "a page", "image": None}, Content("a page")),
    ],
)
def test_a_passage_may_hold_an_image_beside_text_or_without(passage: dict[str, Any], content: Content) -> None:
    assert rank(passages=[passage]).call.passages == (content,)


@pytest.mark.claim("nim:ranking:passage-image-must-be-data-url")
@pytest.mark.parametrize("image", ["https://example.com/a.png", "asset:1234", "", 7, ["x"], "data:image/svg+xml,<svg/>", "data:text/plain;base64,AAAA"])
def test_a_passages_image_is_a_data_url_in_base64_and_nothing_is_fetched(image: object) -> None:
    said = "passages[0].image must be a base64 data URL such as data:image/png;base64,…; nothing is fetched from elsewhere"
    assert rank_refused(passages=[{"image": image}]) == said


def test_a_passages_text_beside_an_image_is_still_a_string() -> None:
    assert rank_refused(passages=[{"image": PNG, "text": 5}]) == "passages[0].text must be a string, not a number"


@given(st.dictionaries(st.sampled_from([*nim.RANKING_FIELDS, "other"]), JSON))
def test_any_json_object_is_a_ranking_or_a_bad_request(fields: dict[str, Any]) -> None:
    with contextlib.suppress(BadRequest):
        assert nim.read_ranking(body_object(json.dumps(fields).encode()), Rules()).call.passages


# --- an embeddings request


@pytest.mark.claim("nim:embeddings:input-string-or-array")
def test_an_input_is_one_string_or_an_array_of_strings() -> None:
    assert embed(input="a").call.inputs == (Content("a"),)
    assert embed(input=["a", "b"]).call.inputs == (Content("a"), Content("b"))


def test_an_embeddings_request_has_nims_defaults() -> None:
    call = embed().call
    assert (call.model, call.truncate, call.input_type, call.dimensions) == (None, "NONE", None, None)
    assert (call.embedding_type, call.encoding_format) == ("float", "float")


@pytest.mark.claim("nim:embeddings:input-empty")
def test_an_empty_array_is_refused_in_nims_words() -> None:
    assert embed_refused(input=[]) == "input must not be empty"


@pytest.mark.claim("nim:embeddings:input-blank")
@pytest.mark.parametrize(("value", "place"), [([""], 0), ("", 0), (["a", " \t\n"], 1), (["a", "b", "\u00a0"], 2)])
def test_a_blank_input_is_refused_in_nims_words(value: object, place: int) -> None:
    assert embed_refused(input=value) == f"input[{place}] must not be blank or empty"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "input: missing field; it must be a string or an array of strings"),
        ({"text": "a"}, "input must be a string or an array of strings, not an object"),
        (3, "input must be a string or an array of strings, not a number"),
        ([True], "input[0] must be a string, not a boolean"),
        ([None], "input[0] must be a string, not null"),
        (["a", {"texts": "b"}], "input[1].texts: unknown field, expected one of text, image"),
    ],
)
def test_an_input_of_another_kind_is_refused(value: object, said: str) -> None:
    assert embed_refused(input=value) == said


@pytest.mark.claim("nim:embeddings:token-ids-refused")
@pytest.mark.parametrize("value", [[1, 2, 3], [[1, 2], [3]]])
def test_token_ids_are_refused_with_what_to_set_in_the_client(value: object) -> None:
    said = embed_refused(input=value)
    assert "token ids are not accepted, send text" in said
    assert "check_embedding_ctx_length=False" in said


def test_the_most_inputs_are_a_setting() -> None:
    assert embed_refused(Rules(max_inputs=2), input=["a"] * 3) == "input holds 3 entries; at most 2 are allowed in one request"
    assert len(embed(Rules(max_inputs=2), input=["a"] * 2).call.inputs) == 2


@pytest.mark.claim("nim:embeddings:more-than-1024-inputs")
def test_more_than_1024_inputs_are_taken() -> None:
    assert len(embed(input=["a"] * 2000).call.inputs) == 2000


@pytest.mark.claim("nim:embeddings:input-type")
@pytest.mark.parametrize(("given", "meant"), [("query", "query"), ("passage", "passage"), (None, None)])
def test_an_input_type_is_query_or_passage_or_not_said(given: object, meant: object) -> None:
    assert embed(input_type=given).call.input_type == meant


@pytest.mark.claim("nim:embeddings:document-is-passage")
def test_document_is_another_word_for_passage() -> None:
    assert embed(input_type="document").call.input_type == "passage"


def test_an_unknown_input_type_lists_the_known_ones() -> None:
    assert embed_refused(input_type="doc") == "input_type must be one of 'query', 'passage', 'document'; got 'doc'"


@pytest.mark.claim("nim:embeddings:embedding-type-values")
@pytest.mark.parametrize("value", ["float", "int8", "uint8", "binary", "ubinary"])
def test_five_embedding_types_are_known(value: str) -> None:
    assert embed(embedding_type=value).call.embedding_type == value


@pytest.mark.claim("nim:embeddings:embedding-type-error")
@pytest.mark.parametrize("value", ["bad", "int4", "", 1, True, ["double"], {"a": 1}])
def test_another_embedding_type_is_refused_in_nims_words(value: object) -> None:
    assert embed_refused(embedding_type=value) == "Input should be 'float', 'binary', 'ubinary', 'int8' or 'uint8'"


@pytest.mark.claim("nim:embeddings:encoding-format-error")
def test_another_encoding_format_is_refused_in_nims_words() -> None:
    assert embed_refused(encoding_format="bad") == "encoding_format must be one of 'float', 'base64'; got 'bad'"


@pytest.mark.claim("nim:embeddings:dimensions-zero-is-absent")
@pytest.mark.parametrize(("value", "meant"), [(None, None), (0, None), (384, 384), (384.0, 384)])
def test_dimensions_of_zero_and_null_mean_none_asked_for(value: object, meant: int | None) -> None:
    assert embed(dimensions=value).call.dimensions == meant


@pytest.mark.parametrize("value", [-1, 1.5, "384", True, [384]])
def test_dimensions_that_are_no_count_are_refused(value: object) -> None:
    assert embed_refused(dimensions=value).startswith("dimensions must be a whole number from 1 on; got ")


@pytest.mark.claim("nim:embeddings:dimensions-not-with-embedding-type")
@pytest.mark.parametrize("kind", ["int8", "uint8", "binary", "ubinary"])
def test_dimensions_and_a_compressed_type_exclude_each_other(kind: str) -> None:
    assert embed_refused(dimensions=384, embedding_type=kind) == "dimensions cannot be used in combination with embedding_type; send one of the two"
    assert embed(dimensions=0, embedding_type=kind).call.embedding_type == kind


def test_dimensions_beside_the_default_type_are_taken() -> None:
    # NVIDIA's own examples say "float" where they mean no compression.
    assert embed(dimensions=384, embedding_type="float").call.dimensions == 384


@pytest.mark.claim("nim:embeddings:truncate-values")
def test_an_embedding_truncates_with_none_start_or_end() -> None:
    assert [embed(truncate=value).call.truncate for value in ("NONE", "START", "END", None)] == ["NONE", "START", "END", "NONE"]
    assert embed(Rules(default_truncate="START")).call.truncate == "START"
    assert embed_refused(truncate="LEFT") == "truncate must be one of 'NONE', 'START', 'END'; got 'LEFT'"


@pytest.mark.claim("nim:embeddings:user-ignored")
def test_a_user_is_taken_and_not_looked_at() -> None:
    assert embed(user="u-1").ignored == ()
    assert embed_refused(user=7) == "user must be a string, not a number"


@pytest.mark.claim("nim:embeddings:unknown-fields-ignored")
def test_unknown_fields_of_embeddings_are_ignored_and_named() -> None:
    assert embed(drop_params=True, foo=None).ignored == ("drop_params", "foo")


def test_unknown_fields_of_embeddings_can_be_refused() -> None:
    assert embed_refused(Rules(embeddings_unknown_fields="reject"), foo=1).startswith("foo: unknown field, expected one of model, input, ")


@pytest.mark.claim("nim:embeddings:modality-error")
@pytest.mark.parametrize(("value", "got"), [("bogus", "'bogus'"), (["bogus"], "'bogus'"), (["text", 3], "'3'"), ([["text"]], "an array")])
def test_another_modality_is_refused_in_nims_words(value: object, got: str) -> None:
    inputs = ["a"] * (len(value) if isinstance(value, list) else 1)
    assert embed_refused(input=inputs, modality=value) == f"modality must be one of 'text', 'image', 'text_image'; got {got}"


@pytest.mark.claim("nim:embeddings:modality-inferred")
@pytest.mark.parametrize(
    ("text", "content"),
    [
        ("plain", Content("plain")),
        (PNG, Content(None, PNG)),
        (f"a page {PNG}", Content("a page", PNG)),
        (f'see <img src="{PNG}"/> here', Content("see  here", PNG)),
        (f"<img src='{PNG}' >", Content(None, PNG)),
        ("it begins with data:image/ and is none", Content("it begins with data:image/ and is none")),
        ("data:image/png;base64,", Content("data:image/png;base64,")),
    ],
)
def test_a_modality_that_is_not_said_is_inferred(text: str, content: Content) -> None:
    assert embed(input=text).call.inputs == (content,)
    assert embed(input=text, modality=None).call.inputs == (content,)


@pytest.mark.claim("nim:embeddings:modality-explicit")
def test_a_modality_that_is_said_is_followed() -> None:
    assert embed(input=PNG, modality="text").call.inputs == (Content(PNG),)
    assert embed(input=f"a page {PNG}", modality="image").call.inputs == (Content(None, PNG),)
    assert embed(input=["a", f"b {PNG}"], modality=["text", "text_image"]).call.inputs == (Content("a"), Content("b", PNG))
    assert embed(input=["a", "b"], modality=["text"]).call.inputs == (Content("a"), Content("b"))
    assert embed(input=["a", PNG], modality=[None, None]).call.inputs == (Content("a"), Content(None, PNG))


@pytest.mark.parametrize("modality", ["image", "text_image"])
def test_an_image_that_is_none_is_refused(modality: str) -> None:
    said = f"input[1] has modality '{modality}' and holds no image data URL such as data:image/png;base64,…"
    assert embed_refused(input=["a", "a cat"], modality=["text", modality]) == said


@pytest.mark.claim("nim:embeddings:nothing-is-fetched")
@pytest.mark.parametrize("text", ["https://example.com/a.png", '<img src="https://example.com/a.png"/>', "file:///etc/passwd"])
def test_an_image_elsewhere_is_not_fetched_but_refused_or_read_as_the_text_it_is(text: str) -> None:
    assert embed_refused(input=text, modality="image").endswith("; nothing is fetched from elsewhere")
    assert embed(input=text).call.inputs == (Content(text),)


@pytest.mark.claim("nim:embeddings:one-image-an-input")
@pytest.mark.parametrize("modality", [None, "image", "text_image"])
def test_an_input_with_several_images_is_refused_with_its_place(modality: str | None) -> None:
    said = "input[1] holds several images; an input is at most one image and a text beside it: send each image as an input of its own"
    assert embed_refused(input=["a", f"{PNG} and {PNG}"], modality=None if modality is None else ["text", modality]) == said
    assert embed(input=f"{PNG} and {PNG}", modality="text").call.inputs == (Content(f"{PNG} and {PNG}"),)


@pytest.mark.claim("nim:embeddings:modality-array-length")
@pytest.mark.parametrize(("count", "modality"), [(2, ["text"] * 3), (3, ["text"] * 2), (2, [])])
def test_a_list_of_modalities_has_one_for_all_or_one_for_each(count: int, modality: list[str]) -> None:
    said = f"modality holds {len(modality)} entries for {count} inputs; send one for all, or one for each"
    assert embed_refused(input=["a"] * count, modality=modality) == said


@pytest.mark.claim("nim:embeddings:image-as-query")
@pytest.mark.parametrize("value", [PNG, ["a", f"b {PNG}"]])
def test_an_image_as_a_query_is_refused_in_nims_words(value: object) -> None:
    said = 'input_type="query" is not supported with images; the VLM model processes images as passages only. Use input_type="passage" or omit input_type.'
    assert embed_refused(input=value, input_type="query") == said
    assert embed(input=value, input_type="passage").call.input_type == "passage"


@given(st.dictionaries(st.sampled_from([*FIELDS, "other"]), JSON))
def test_any_json_object_is_an_embeddings_call_or_a_bad_request(fields: dict[str, Any]) -> None:
    with contextlib.suppress(BadRequest):
        assert read_embeddings(body_object(json.dumps(fields).encode()), Rules()).call.inputs


# --- answers


def ranked_answer(ranking: Ranking) -> bytes:
    return ask_ranking({"query": QUERY, "passages": PASSAGES}, Rules()).render([ranking], Told(model="m", request_id="id"))


@pytest.mark.claim("nim:ranking:response-shape")
def test_a_rankings_answer_is_rankings_and_usage_and_nothing_else() -> None:
    result = Ranking(ranked=(Ranked(1, 2.5), Ranked(0, -8.2421875)), prompt_tokens=26)
    expected = {"rankings": [{"index": 1, "logit": 2.5}, {"index": 0, "logit": -8.2421875}], "usage": {"prompt_tokens": 26, "total_tokens": 26}}
    assert json.loads(ranked_answer(result)) == expected


def test_a_logit_is_written_so_that_it_reads_back_as_the_same_float32() -> None:
    values = np.random.default_rng(1).normal(0, 9, 200).astype(np.float32)
    result = Ranking(ranked=tuple(Ranked(i, float(v)) for i, v in enumerate(values)), prompt_tokens=1)
    read = json.loads(ranked_answer(result))["rankings"]
    assert np.array_equal(np.array([ranked["logit"] for ranked in read], np.float32), values)


def _embedded(vectors: np.ndarray[Any, Any], encoding_format: EncodingFormat) -> bytes:
    asked = embed(encoding_format=encoding_format)
    return asked.render(Embeddings(vectors=vectors, prompt_tokens=7), Told(model="acme/m", request_id="r"))


@pytest.mark.claim("nim:embeddings:response-shape")
def test_an_embeddings_answer_is_openais_list() -> None:
    answer = json.loads(_embedded(np.array([[0.5, -0.25], [1, 0]], np.float32), "float"))
    assert answer == {
        "object": "list",
        "data": [{"object": "embedding", "index": 0, "embedding": [0.5, -0.25]}, {"object": "embedding", "index": 1, "embedding": [1.0, 0.0]}],
        "model": "acme/m",
        "usage": {"prompt_tokens": 7, "total_tokens": 7},
    }


@pytest.mark.claim("nim:embeddings:base64-little-endian-float32")
def test_base64_is_the_vectors_little_endian_float32_bytes() -> None:
    vectors = np.array([[0.1, -2.0, 3e-7]], ">f4")  # big-endian in memory: the wire's order is not the machine's
    text = json.loads(_embedded(vectors, "base64"))["data"][0]["embedding"]
    assert base64.b64decode(text) == vectors.astype("<f4").tobytes()


@pytest.mark.claim("nim:embeddings:base64-compressed")
@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
def test_base64_of_a_compressed_type_is_one_byte_an_entry(dtype: Any) -> None:
    vectors = np.array([[1, 127, 0]], dtype)
    text = json.loads(_embedded(vectors, "base64"))["data"][0]["embedding"]
    assert np.array_equal(np.frombuffer(base64.b64decode(text), dtype), vectors[0])


# --- errors, models, health


@pytest.mark.claim("nim:errors:body-superset")
def test_an_error_of_a_nim_route_serves_readers_of_every_generation() -> None:
    assert json.loads(render_error(BadRequest("no"), "id-1", "nim")) == {
        "object": "error",
        "message": "no",
        "type": "invalid_request_error",
        "code": 400,
        "detail": "no",
        "error": "no",
        "request_id": "id-1",
    }


@pytest.mark.claim("nim:errors:openai-object-on-embeddings")
def test_an_error_of_an_openai_route_holds_openais_object() -> None:
    body = json.loads(render_error(BadRequest("no"), "id-1", "openai"))
    assert body["error"] == {"message": "no", "type": "invalid_request_error", "param": None, "code": 400}
    assert (body["message"], body["detail"], body["request_id"]) == ("no", "no", "id-1")


@pytest.mark.parametrize("openai", [True, False])
def test_an_error_says_what_is_not_utf8_with_replacement_marks(openai: bool) -> None:
    body = json.loads(render_error(BadRequest("é \ud800"), "", "openai" if openai else "nim"))
    assert body["message"] == body["detail"] == "é ?"
    assert (body["error"]["message"] if openai else body["error"]) == "é ?"


@pytest.mark.claim("nim:errors:model-not-found")
def test_an_unknown_model_is_said_in_nims_words() -> None:
    error = ModelNotFound("wrong-model", ("nvidia/llama-nemotron-embed-vl-1b-v2",))
    assert error.message == "model 'wrong-model' not found; available: 'nvidia/llama-nemotron-embed-vl-1b-v2'"
    assert error.http_status == 404


@pytest.mark.claim("nim:errors:over-length-sentence")
def test_over_length_is_said_in_nims_words_and_its_status_can_be_chosen() -> None:
    error = InputTooLong(1728, 512)
    assert (error.message, error.http_status) == ("Input length 1728 exceeds maximum allowed token size 512", 400)
    assert InputTooLong(9, 8, status=422).http_status == 422


def test_an_inner_fault_says_nothing_of_its_cause() -> None:
    fault = ServerFault()
    fault.__cause__ = RuntimeError("secret")
    assert b"secret" not in render_error(fault, "id", "openai")


def test_a_full_queue_says_when_to_come_back() -> None:
    assert QueueFull("full", retry_after_s=2).retry_after_s == 2
    assert QueueFull("full", status=503).http_status == 503


@pytest.mark.claim("nim:models:list-shape")
def test_the_list_of_models_has_openais_shape_with_root_equal_to_id() -> None:
    entry = {"id": "acme/m", "object": "model", "created": 1779146207, "owned_by": "acme", "root": "acme/m", "model_type": "ranking"}
    model = Served(id="acme/m", task="rank", created=1779146207, owner="acme")
    assert json.loads(render_models([model])) == {"object": "list", "data": [entry]}


@pytest.mark.claim("nim:health:both-generations")
def test_health_is_said_in_the_words_of_both_generations() -> None:
    assert json.loads(nim.render_health(True, "live", word="live")) == {"object": "health.response", "message": "live", "status": "live", "live": True}
    assert json.loads(nim.render_health(False, "loading", word="ready")) == {
        "object": "health.response",
        "message": "loading",
        "status": "loading",
        "ready": False,
    }
