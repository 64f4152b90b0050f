"""Cohere's and TEI's routes on the gateway: the same call to the endpoint, the caller's own dialect back."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from fleets import Asked, Said, ScriptedFleet, endpoint, fake_endpoint, model, principal
from gateways import opened
from wire import Reply, nim_error

COHERE = {"model": "acme-rank", "query": "which way?", "documents": ["two roads", {"text": "the ice"}], "top_n": 1, "return_documents": True}
TEI = {"query": "which way?", "texts": ["two roads", "the ice"], "raw_scores": True}


def ask(folder: Path, path: str, body: Any, said: Said | None = None) -> tuple[Reply, list[Asked]]:
    async def play() -> tuple[Reply, list[Asked]]:
        async with fake_endpoint(lambda asked: said or Said()) as fake:
            fleet = ScriptedFleet([model()], [endpoint(fake.url)], [principal()])
            async with opened(fleet, folder) as door:
                return await door.ask(path, body), fake.asked

    return asyncio.run(play())


@pytest.mark.parametrize("path", ["/v1/rerank", "/v2/rerank", "/rerank", "//v1/rerank"])
def test_a_cohere_request_is_a_nim_call_and_its_answer_is_cohere_again(tmp_path: Path, path: str) -> None:
    reply, (asked,) = ask(tmp_path, path, COHERE)
    assert (asked.path, asked.json) == (
        "/v1/ranking",
        {"model": "served", "query": {"text": "which way?"}, "passages": [{"text": "two roads"}, {"text": "the ice"}], "truncate": "END"},
    )
    assert reply.status == 200
    assert [(one["index"], one["document"]) for one in reply.json["results"]] == [(1, {"text": "the ice"})]
    assert (reply.json["model"], reply.json["usage"]["prompt_tokens"]) == ("acme/acme-rank", 12)
    assert reply.headers["emberank-score"] == "sigmoid"
    assert reply.json["id"] == reply.headers["x-request-id"]


def test_texts_are_answered_as_tei_answers_them(tmp_path: Path) -> None:
    reply, (asked,) = ask(tmp_path, "/rerank", TEI)
    assert asked.json["truncate"] == "NONE"
    assert reply.json == [{"index": 1, "score": 2.5}, {"index": 0, "score": -1.0}]
    assert reply.headers["emberank-score"] == "logit"


def test_a_bad_body_reaches_no_endpoint(tmp_path: Path) -> None:
    reply, asked = ask(tmp_path, "/v1/rerank", {"query": "which way?"})
    assert (reply.status, nim_error(reply), asked) == (400, "documents: missing field; it must be an array of strings, or of objects with a text", [])


def test_an_unknown_model_is_named(tmp_path: Path) -> None:
    reply, asked = ask(tmp_path, "/v1/rerank", COHERE | {"model": "rerank-english-v3.0"})
    assert (reply.status, asked) == (404, [])
    assert "rerank-english-v3.0" in nim_error(reply)


def test_an_endpoint_that_answers_nonsense_is_not_passed_on(tmp_path: Path) -> None:
    reply, _ = ask(tmp_path, "/v1/rerank", COHERE, Said(body=b'{"rankings":[{"index":7,"logit":1}]}'))
    assert reply.status == 500
    assert "rankings" not in reply.json
