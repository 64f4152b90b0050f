"""A call written as a NIM body and read back: the same call, under the name that the next server knows."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emberank.contract.inference import Content, EmbedCall, RankCall
from emberank.dialects import nim
from emberank.dialects.nim import Rules
from emberank.dialects.openai_embeddings import read_embeddings
from emberank.dialects.reading import body_object

PNG = "data:image/png;base64,iVBORw0KGgo="
SVG = "data:image/svg+xml;base64,PHN2Zy8+"
WORDS = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=30).filter(lambda text: bool(text.strip()))
STRICT = Rules(ranking_unknown_fields="reject", embeddings_unknown_fields="reject")


@given(
    st.builds(
        RankCall,
        model=st.none(),
        query=WORDS.map(Content),
        passages=st.lists(WORDS.map(Content) | st.just(Content(None, PNG)) | WORDS.map(lambda text: Content(text, PNG)), min_size=1, max_size=5).map(tuple),
        truncate=st.sampled_from(["NONE", "END"]),
        top_n=st.none() | st.integers(1, 9),
    )
)
def test_a_ranking_comes_back_as_it_was(call: RankCall) -> None:
    assert nim.read_ranking(body_object(nim.write_ranking(call, "served")), STRICT).call == replace(call, model="served")


@given(
    st.builds(
        EmbedCall,
        model=st.none(),
        inputs=st.lists(WORDS.map(Content), min_size=1, max_size=5).map(tuple),
        truncate=st.sampled_from(["NONE", "START", "END"]),
        input_type=st.sampled_from([None, "query", "passage"]),
        dimensions=st.none() | st.integers(1, 2048),
        encoding_format=st.sampled_from(["float", "base64"]),
    )
)
def test_an_embeddings_call_comes_back_as_it_was(call: EmbedCall) -> None:
    assert read_embeddings(body_object(nim.write_embeddings(call, "served")), STRICT).call == replace(call, model="served")


@pytest.mark.parametrize(
    "contents",
    [
        (Content(None, PNG),),
        (Content(None, SVG), Content("words")),
        (Content("words", PNG), Content("words")),
        (Content(f"a text that quotes {PNG}"), Content("words", SVG)),
    ],
)
def test_inputs_with_images_come_back_as_they_were(contents: tuple[Content, ...]) -> None:
    call = EmbedCall(model=None, inputs=contents, truncate="NONE", embedding_type="float")
    assert read_embeddings(body_object(nim.write_embeddings(call, "m")), STRICT).call.inputs == contents


def test_what_is_as_nims_defaults_have_it_is_left_out() -> None:
    call = EmbedCall(model=None, inputs=(Content("a"),), truncate="NONE")
    assert json.loads(nim.write_embeddings(call, "m")) == {"model": "m", "input": ["a"], "truncate": "NONE"}
    compressed = replace(call, embedding_type="int8", encoding_format="base64", input_type="query")
    assert read_embeddings(body_object(nim.write_embeddings(compressed, "m")), STRICT).call == replace(compressed, model="m")


def test_a_cut_answer_keeps_order_numbers_and_usage() -> None:
    body = b'{"rankings":[{"index":2,"logit":0.1},{"index":0,"logit":-3.029296875},{"index":1,"logit":-9.5}],"usage":{"prompt_tokens":1,"total_tokens":1}}'
    assert nim.cut_ranking(body, 2) == body.replace(b',{"index":1,"logit":-9.5}', b"")
    assert nim.cut_ranking(body, 9) == body
