"""Cohere's and TEI's rerank on a bare runtime: the same numbers as /v1/ranking, in the caller's dialect."""

from __future__ import annotations

import math

import pytest

from wire import Client, nim_error

PASSAGES = ["two roads", "snow and ice", "the wood is red"]


@pytest.mark.parametrize("path", ["/v1/rerank", "/v2/rerank", "/rerank"])
def test_a_rerank_has_the_sigmoids_of_the_rankings_logits(server: Client, path: str) -> None:
    ranking = server.post("/v1/ranking", {"query": {"text": "which way?"}, "passages": [{"text": text} for text in PASSAGES]}).json
    reply = server.post(path, {"query": "which way?", "documents": PASSAGES, "return_documents": True})
    assert (reply.status, reply.headers["emberank-score"]) == (200, "sigmoid")
    wanted = [(one["index"], 1 / (1 + math.exp(-one["logit"]))) for one in ranking["rankings"]]
    assert [(one["index"], one["relevance_score"]) for one in reply.json["results"]] == [(index, pytest.approx(score, rel=1e-5)) for index, score in wanted]
    assert [one["document"]["text"] for one in reply.json["results"]] == [PASSAGES[index] for index, _ in wanted]
    assert reply.json["usage"] == ranking["usage"]
    assert reply.json["id"] == reply.headers["x-request-id"]


def test_texts_get_teis_array_and_raw_scores_are_the_logits(server: Client) -> None:
    ranking = server.post("/v1/ranking", {"query": {"text": "which way?"}, "passages": [{"text": text} for text in PASSAGES]}).json
    reply = server.post("/rerank", {"query": "which way?", "texts": PASSAGES, "raw_scores": True, "return_text": True})
    assert reply.headers["emberank-score"] == "logit"
    assert reply.json == [
        {"index": one["index"], "score": pytest.approx(one["logit"], rel=1e-6), "text": PASSAGES[one["index"]]} for one in ranking["rankings"]
    ]


def test_what_is_too_long_is_cut_for_cohere_and_refused_for_tei(server: Client) -> None:
    long = "snow " * 2000
    assert server.post("/v1/rerank", {"query": "way", "documents": [long]}).status == 200
    refused = server.post("/rerank", {"query": "way", "texts": [long]})
    assert (refused.status, "exceeds maximum allowed token size" in nim_error(refused)) == (400, True)
    assert server.post("/rerank", {"query": "way", "texts": [long], "truncate": True}).status == 200


def test_both_at_once_is_refused(server: Client) -> None:
    reply = server.post("/rerank", {"query": "way", "texts": ["a"], "documents": ["b"]})
    assert (reply.status, "two dialects" in nim_error(reply)) == (400, True)
