"""What an endpoint is asked, in its own words, and what is made of its answer: nothing in it is believed."""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emberank.contract.errors import BadRequest, ServerFault
from emberank.contract.fleet import Endpoint
from emberank.contract.inference import Content, EmbedCall, RankCall
from emberank.dialects import outgoing
from emberank.dialects.cohere_outgoing import LEAST_LOGIT, MOST_LOGIT
from emberank.dialects.scores import sigmoid

OURS = Endpoint(id="e", slug="s", version="v1", gpu_type="CPU", region="local", phase="WARM")
NIM = replace(OURS, dialect="nim")
HOSTED = replace(NIM, path="/v1/retrieval/nvidia/x/reranking")
COHERE = replace(OURS, dialect="cohere", path="/v1/rerank", score="sigmoid")
COHERE_V2 = replace(COHERE, path="/v2/rerank")
RANK = RankCall(model="asked", query=Content("q"), passages=(Content("a"), Content("b")), truncate="END")
EMBED = EmbedCall(model="asked", inputs=(Content("a"), Content("b")), truncate="END")


def body(call: RankCall | EmbedCall, endpoint: Endpoint) -> Any:
    return json.loads(outgoing.write(call, endpoint, "theirs"))


def test_each_call_goes_where_its_endpoint_takes_it() -> None:
    assert [outgoing.path_of(call, OURS) for call in (RANK, EMBED)] == ["/v1/ranking", "/v1/embeddings"]
    assert outgoing.path_of(RANK, HOSTED) == "/v1/retrieval/nvidia/x/reranking"
    assert outgoing.path_of(RANK, COHERE_V2) == "/v2/rerank"


def test_a_cohere_server_is_sent_its_own_fields_and_no_others() -> None:
    assert body(RANK, COHERE) == {"model": "theirs", "query": "q", "documents": ["a", "b"], "return_documents": False}
    assert body(replace(RANK, max_passage_tokens=99), COHERE_V2)["max_tokens_per_doc"] == 99


def test_a_nim_is_sent_nim_s_four_fields() -> None:
    assert body(RANK, HOSTED) == {"model": "theirs", "query": {"text": "q"}, "passages": [{"text": "a"}, {"text": "b"}], "truncate": "END"}


@pytest.mark.parametrize(
    ("call", "endpoint", "said"),
    [
        (replace(RANK, max_chunks=3), NIM, "max_chunks_per_doc cannot be had here"),
        (replace(RANK, max_chunks=3), COHERE_V2, "max_chunks_per_doc cannot be had here"),
        (replace(RANK, max_passage_tokens=9), NIM, "max_tokens_per_doc cannot be had here"),
        (replace(RANK, max_passage_tokens=9), COHERE, "max_tokens_per_doc cannot be had here"),
        (replace(RANK, passages=(Content("a"), Content(None, "data:image/png;base64,AA=="))), COHERE, "a passage holds an image"),
        (EMBED, COHERE, "embeddings cannot be had here"),
    ],
)
def test_what_a_server_has_no_words_for_is_refused_before_anything_is_sent(call: RankCall | EmbedCall, endpoint: Endpoint, said: str) -> None:
    with pytest.raises(BadRequest) as refused:
        outgoing.write(call, endpoint, "theirs")
    assert said in refused.value.message


def test_our_own_runtime_takes_everything() -> None:
    sent = body(replace(RANK, max_chunks=3, max_passage_tokens=9), OURS)
    assert (sent["max_chunks_per_doc"], sent["max_tokens_per_doc"]) == (3, 9)


def test_that_a_cohere_server_cuts_whatever_is_asked_is_said() -> None:
    assert outgoing.unsaid(replace(RANK, truncate="NONE"), COHERE) == ("truncate",)
    assert outgoing.unsaid(RANK, COHERE) == outgoing.unsaid(replace(RANK, truncate="NONE"), NIM) == outgoing.unsaid(EMBED, NIM) == ()


def results(*pairs: tuple[Any, Any], key: str = "results", **more: Any) -> bytes:
    return json.dumps({key: [{"index": index, "relevance_score": score} for index, score in pairs], **more}).encode()


def test_scores_become_logits_best_first() -> None:
    found = outgoing.read_rank(RANK, COHERE, results((0, 0.25), (1, 0.75), usage={"prompt_tokens": 7}))
    assert [(one.index, round(one.logit, 12)) for one in found.ranked] == [(1, round(math.log(3), 12)), (0, round(-math.log(3), 12))]
    assert found.prompt_tokens == 7
    logits = outgoing.read_rank(RANK, replace(COHERE, score="logit"), results((0, -3.5), (1, 12)))
    assert [one.logit for one in logits.ranked] == [12.0, -3.5]


@given(st.floats(0, 1))
def test_a_score_comes_back_as_it_went(score: float) -> None:
    found = outgoing.read_rank(RANK, COHERE, results((0, score), (1, 0.5)))
    logit = next(one.logit for one in found.ranked if one.index == 0)
    assert LEAST_LOGIT <= logit <= MOST_LOGIT
    assert sigmoid(logit) == pytest.approx(score, abs=1e-15, rel=1e-9)


def test_very_small_scores_keep_their_order() -> None:
    found = outgoing.read_rank(replace(RANK, passages=(Content("a"), Content("b"), Content("c"))), COHERE, results((0, 1e-18), (1, 3e-17), (2, 0.0)))
    assert [one.index for one in found.ranked] == [1, 0, 2]


@given(st.lists(st.floats(0, 1), min_size=2, max_size=8))
def test_the_order_of_the_scores_is_the_order_of_the_logits(scores: list[float]) -> None:
    call = replace(RANK, passages=tuple(Content("p") for _ in scores))
    found = outgoing.read_rank(call, COHERE, results(*enumerate(scores)))
    ordered = [scores[one.index] for one in found.ranked]
    assert all(before >= after - 1e-15 for before, after in itertools.pairwise(ordered))


def test_voyage_s_data_and_the_places_where_tokens_are_told_are_read() -> None:
    assert len(outgoing.read_rank(RANK, COHERE, results((1, 0.9), (0, 0.1), key="data")).ranked) == 2
    tokens = [
        outgoing.read_rank(RANK, COHERE, results((1, 0.9), (0, 0.1), **more)).prompt_tokens
        for more in (
            {"usage": {"total_tokens": 5}},
            {"meta": {"tokens": {"input_tokens": 6.0}}},
            {"usage": None, "meta": None},
            {"usage": {"prompt_tokens": "x"}},
        )
    ]
    assert tokens == [5, 6, 0, 0]


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (b"<html>", "unexpected"),
        (b"[]", ""),
        (b"{}", "data"),
        (b'{"results": {}}', "ranked 0 passages of 2"),
        (results((0, 0.5)), "ranked 1 passages of 2"),
        (results((0, 0.5), (0, 0.4)), "one of them twice"),
        (results((0, 0.5), (2, 0.4)), "one of them twice"),
        (results((0, 0.5), (True, 0.4)), "one of them twice"),
        (results((0, 0.5), ("1", 0.4)), ""),
        (results((0, 0.5), (1, None)), "no finite number"),
        (results((0, 0.5), (1, "0.4")), "no finite number"),
        (results((0, 0.5), (1, 1.5)), 'score = "logit"'),
        (b'{"results":[{"index":0,"relevance_score":NaN},{"index":1,"relevance_score":0.1}]}', ""),
    ],
)
def test_an_answer_that_is_not_whole_is_a_fault_with_its_cause_for_the_log(answer: bytes, cause: str) -> None:
    with pytest.raises(ServerFault) as fault:
        outgoing.read_rank(RANK, COHERE, answer)
    assert cause in str(fault.value.__cause__)
    assert "internal error" in fault.value.message


def test_a_nim_s_answers_are_read_as_before() -> None:
    ranking = outgoing.read_rank(RANK, NIM, b'{"rankings":[{"index":0,"logit":-1},{"index":1,"logit":2}]}')
    assert [one.index for one in ranking.ranked] == [1, 0]
    embeddings = outgoing.read_embed(EMBED, NIM, b'{"data":[{"index":1,"embedding":[3,4]},{"index":0,"embedding":[1,2]}]}')
    assert np.array_equal(embeddings.vectors, [[1, 2], [3, 4]])
