"""vLLM's scores and poolings and TEI's predictions on a bare runtime: the same numbers as NIM's routes, in the caller's dialect."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pytest

from wire import Client, nim_error

TEXTS = ["two roads", "snow and ice", "the wood is red"]


def logits(server: Client, query: str, texts: list[str]) -> list[float]:
    """Of the texts in their own order, as NIM's route gives them."""
    ranking = server.post("/v1/ranking", {"query": {"text": query}, "passages": [{"text": text} for text in texts]}).json
    return [one["logit"] for one in sorted(ranking["rankings"], key=lambda one: one["index"])]


def sigmoids(numbers: list[float]) -> list[float]:
    return [float(1 / (1 + np.exp(-number))) for number in numbers]


@pytest.mark.parametrize("path", ["/score", "/v1/score"])
def test_one_query_is_scored_against_all_texts_in_their_own_order(server: Client, path: str) -> None:
    wanted = logits(server, "which way?", TEXTS)
    reply = server.post(path, {"text_1": "which way?", "text_2": TEXTS})
    assert (reply.status, reply.headers["emberank-score"]) == (200, "sigmoid")
    assert [(one["index"], one["score"]) for one in reply.json["data"]] == list(enumerate(pytest.approx(score, rel=1e-5) for score in sigmoids(wanted)))
    assert reply.json["id"] == f"score-{reply.headers['x-request-id']}"


def test_each_to_each_is_scored_by_its_own_query_and_the_tokens_are_all_queries(server: Client) -> None:
    pairs = [("which way?", TEXTS[0]), ("is it cold?", TEXTS[1]), ("which way?", TEXTS[2])]
    wanted = [logits(server, query, [text])[0] for query, text in pairs]
    reply = server.post("/score", {"queries": [query for query, _ in pairs], "documents": [text for _, text in pairs], "use_activation": False})
    assert reply.headers["emberank-score"] == "logit"
    assert [one["score"] for one in reply.json["data"]] == pytest.approx(wanted, rel=1e-5)
    usage = reply.json["usage"]
    assert usage["prompt_tokens"] == usage["total_tokens"] == int(reply.headers["emberank-prompt-tokens"])


def test_a_prediction_is_one_label_with_the_pairs_score(server: Client) -> None:
    (logit,) = logits(server, "which way?", TEXTS[:1])
    one = {"score": pytest.approx(logit, rel=1e-5), "label": "LABEL_0"}
    assert server.post("/predict", {"inputs": ["which way?", TEXTS[0]], "raw_scores": True}).json == [one]
    assert server.post("/predict", {"inputs": [["which way?", TEXTS[0]]], "raw_scores": True}).json == [[one]]
    (first,), (second,) = server.post("/predict", {"inputs": [["is it cold?", TEXTS[1]], ["which way?", TEXTS[0]]]}).json
    assert [first["score"], second["score"]] == pytest.approx(sigmoids([*logits(server, "is it cold?", TEXTS[1:2]), logit]), rel=1e-5)


def test_a_pooling_is_the_embedding(server: Client) -> None:
    wanted = [one["embedding"] for one in server.post("/v1/embeddings", {"input": TEXTS}).json["data"]]
    reply = server.post("/pooling", {"input": TEXTS, "task": "embed"})
    assert [one["data"] for one in reply.json["data"]] == [pytest.approx(vector, rel=1e-5) for vector in wanted]
    coded = server.post("/pooling", {"input": TEXTS[0], "encoding_format": "base64"}).json["data"][0]["data"]
    assert np.frombuffer(base64.b64decode(coded), "<f4").tolist() == pytest.approx(wanted[0], rel=1e-5)


@pytest.mark.parametrize(
    ("path", "asked", "cut"),
    [
        ("/score", {"text_1": "way", "text_2": "snow " * 2000}, {"truncate_prompt_tokens": -1}),
        ("/predict", {"inputs": ["way", "snow " * 2000]}, {"truncate": True}),
        ("/pooling", {"input": "snow " * 2000}, {"truncate_prompt_tokens": -1}),
    ],
)
def test_what_is_too_long_is_refused_unless_it_may_be_cut(server: Client, path: str, asked: dict[str, Any], cut: dict[str, Any]) -> None:
    refused = server.post(path, asked)
    assert (refused.status, "exceeds maximum allowed token size" in nim_error(refused)) == (400, True)
    assert server.post(path, asked | cut).status == 200


WRONG = [("/score", {"text_1": ["a", "b"], "text_2": ["c", "d", "e"]}), ("/pooling", {"input": "a", "task": "token_embed"}), ("/predict", {"inputs": "a"})]


@pytest.mark.parametrize(("path", "asked"), WRONG)
def test_a_wrong_body_is_refused_in_the_dialects_own_shape(server: Client, path: str, asked: dict[str, Any]) -> None:
    reply = server.post(path, asked)
    assert reply.status == 400
    message = nim_error(reply)
    if path == "/predict":
        assert (reply.json["error"], reply.json["error_type"]) == (message, "Validation")
    else:
        assert reply.json["error"] == {"message": message, "type": "BadRequestError", "param": None, "code": 400}


def test_below_a_models_own_base_url_the_same_routes_are_that_models(server: Client) -> None:
    wanted = logits(server, "which way?", TEXTS)
    reply = server.post("/models/tiny-rank.v2/v1/score", {"text_1": "which way?", "text_2": TEXTS, "score_mode": "raw", "model": None})
    assert [one["score"] for one in reply.json["data"]] == pytest.approx(wanted, rel=1e-5)
    refused = server.post("/models/tiny-rank.v2/pooling", {"input": "a"})
    assert (refused.status, "not found" in nim_error(refused)) == (404, True)
