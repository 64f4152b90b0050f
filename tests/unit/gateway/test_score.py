"""vLLM's and TEI's scores on the gateway: one call to the endpoint for each query, the answers together in the order asked."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from fleets import Asked, Said, ScriptedFleet, endpoint, fake_endpoint, model, principal
from gateways import opened
from wire import Reply, nim_error

LOGITS = {"a": -1.0, "b": 7.0, "c": 3.0}


def by_text(asked: Asked) -> Said:
    """A ranking whose logits are those of the texts, best first."""
    ranked = sorted(((LOGITS[passage["text"]], i) for i, passage in enumerate(asked.json["passages"])), reverse=True)
    answer = {"rankings": [{"index": i, "logit": logit} for logit, i in ranked], "usage": {"prompt_tokens": 10, "total_tokens": 10}}
    return Said(body=json.dumps(answer).encode())


def ask(folder: Path, path: str, body: Any) -> tuple[Reply, list[Asked]]:
    async def play() -> tuple[Reply, list[Asked]]:
        async with fake_endpoint(by_text) as fake:
            fleet = ScriptedFleet([model()], [endpoint(fake.url)], [principal()])
            async with opened(fleet, folder) as door:
                return await door.ask(path, body), fake.asked

    return asyncio.run(play())


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/score", {"text_1": ["q", "r", "q"], "text_2": ["a", "b", "c"], "use_activation": False}),
        ("/v1/score", {"queries": ["q", "r", "q"], "items": ["a", "b", "c"], "score_mode": "raw", "model": "acme-rank"}),
        ("/predict", {"inputs": [["q", "a"], ["r", "b"], ["q", "c"]], "raw_scores": True}),
    ],
)
def test_several_queries_are_a_call_each_and_one_answer_in_the_order_asked(tmp_path: Path, path: str, body: dict[str, Any]) -> None:
    reply, asked = ask(tmp_path, path, body)
    assert sorted((one.json["query"]["text"], [passage["text"] for passage in one.json["passages"]]) for one in asked) == [("q", ["a", "c"]), ("r", ["b"])]
    assert {one.path for one in asked} == {"/v1/ranking"}
    entries = [each[0] for each in reply.json] if path == "/predict" else reply.json["data"]
    assert [entry["score"] for entry in entries] == [-1.0, 7.0, 3.0]
    assert (reply.status, reply.headers["emberank-score"]) == (200, "logit")
    if path != "/predict":
        assert (reply.json["model"], reply.json["usage"]["prompt_tokens"]) == ("acme/acme-rank", 20)


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("/score", {"text_1": ["q", "r"], "text_2": "a"}, "text_1 holds 2 entries"),
        ("/predict", {"inputs": "q"}, "a reranker has no score for one text"),
        ("/score", {"text_1": "q", "text_2": "a", "score_mode": "calibrated"}, "has no calibration"),
    ],
)
def test_what_is_refused_reaches_no_endpoint_and_has_the_dialects_shape(tmp_path: Path, path: str, body: dict[str, Any], said: str) -> None:
    reply, asked = ask(tmp_path, path, body)
    assert (reply.status, asked, said in nim_error(reply)) == (400, [], True)
    if path == "/predict":
        assert reply.json["error_type"] == "Validation"
    else:
        assert reply.json["error"]["type"] == "BadRequestError"
