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


def test_more_documents_than_a_nim_takes_are_one_answer(server: Client) -> None:
    few = [f"road {i}" for i in range(9)]
    documents = [few[i % 9] for i in range(1100)]
    small = server.post("/v1/rerank", {"query": "which way?", "documents": few}).json["results"]
    reply = server.post("/v1/rerank", {"query": "which way?", "documents": documents, "top_n": 200})
    assert reply.status == 200
    score = {one["index"]: one["relevance_score"] for one in small}
    assert [one["relevance_score"] for one in reply.json["results"]] == pytest.approx(sorted((score[i % 9] for i in range(1100)), reverse=True)[:200], abs=1e-6)
    assert len({one["index"] for one in reply.json["results"]}) == 200
    assert int(reply.headers["emberank-prompt-tokens"]) == reply.json["usage"]["prompt_tokens"]


def test_a_model_has_a_base_url_of_its_own(server: Client) -> None:
    names = [one["id"] for one in server.get("/v1/models").json["data"]]
    body = {"query": {"text": "which way?"}, "passages": [{"text": text} for text in PASSAGES]}
    answers = []
    for name in names:
        base = f"/models/{name.rpartition('/')[2]}"
        listed = server.get(f"{base}/v1/models").json["data"]
        assert [one["id"] for one in listed] == [name]
        answers.append(server.post(f"{base}/v1/ranking", body))
        assert server.get(f"{base}/v1/nothing").status == 404
    assert sorted(answer.status for answer in answers) == [200, *[404] * (len(names) - 1)]
    whole = server.post("/v1/ranking", body).json
    assert next(answer.json for answer in answers if answer.status == 200) == whole


def test_below_a_models_base_the_body_may_not_name_another(server: Client) -> None:
    names = [one["id"] for one in server.get("/v1/models").json["data"]]
    refused = [server.post(f"/models/{name.rpartition('/')[2]}/rerank", {"model": "other", "query": "q", "documents": ["a"]}) for name in names]
    assert {reply.status for reply in refused} <= {400, 404}
    assert any("the body's model is 'other'" in nim_error(reply) for reply in refused)


def test_a_calibrated_score_needs_a_calibration(server: Client) -> None:
    reply = server.post("/v1/rerank", {"query": "q", "documents": ["a"], "score_mode": "calibrated"})
    assert (reply.status, "has no calibration" in nim_error(reply)) == (400, True)
