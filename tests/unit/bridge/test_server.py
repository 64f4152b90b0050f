"""The bridge over HTTP: NIM's bodies in and out, whatever scale the provider has; its costs and what it could not be told in headers."""

from __future__ import annotations

import asyncio
import json
import math
from typing import Any

import pytest

from asgi import call
from emberank.bridge.provider import Given
from emberank.bridge.server import BridgeServer
from emberank.bridge.settings import BridgeSettings
from emberank.contract.errors import BadRequest, EmberankError
from emberank.contract.inference import EmbedCall, RankCall
from wire import Reply, nim_error

RANKING = {"query": {"text": "q"}, "passages": [{"text": "a"}, {"text": "b"}, {"text": "c"}], "truncate": "END"}


class Told:
    """A provider that answers what it was told to."""

    def __init__(self, rows: Any, model: str = "cohere/rerank-v3.5", **given: Any) -> None:
        self.model = model
        self._answer = rows if isinstance(rows, Exception) else Given(**{"rows": rows, "tokens": 9, "cost_usd": None} | given)
        self.calls: list[RankCall | EmbedCall] = []
        self.timeout_s = 0.0

    async def rank(self, call: RankCall | EmbedCall, timeout_s: float) -> Given:
        self.calls.append(call)
        self.timeout_s = timeout_s
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer

    embed = rank


def asked(asks: Any, body: object, path: str = "/v1/ranking", *, method: str = "POST", task: Any = "rank", headers: Any = None, **settings: Any) -> Reply:
    server = BridgeServer(BridgeSettings(**settings), "acme/through", task)
    server.provider = asks
    return asyncio.run(call(server.app(), method, path, json.dumps(body).encode(), headers))


def rows(*scores: float) -> list[dict[str, Any]]:
    return [{"index": i, "relevance_score": score} for i, score in enumerate(scores)]


@pytest.mark.parametrize(
    ("model", "score", "given", "logits"),
    [
        ("cohere/rerank-v3.5", "auto", (0.2, 0.9, 0.5), (math.log(0.25), math.log(9), 0.0)),
        ("nvidia_nim/nvidia/x", "auto", (-2.0, 3.0, 0.5), (-2.0, 3.0, 0.5)),
        ("nvidia_nim/nvidia/x", "sigmoid", (0.2, 0.9, 0.5), (math.log(0.25), math.log(9), 0.0)),
        ("acme/raw", "logit", (-2.0, 3.0, 0.5), (-2.0, 3.0, 0.5)),
        ("cohere/rerank-v3.5", "auto", (0.0, 1.0, 0.5), (-745.0, 36.0, 0.0)),  # rounded, and no infinities
    ],
)
def test_scores_come_out_as_logits_best_first(model: str, score: str, given: tuple[float, ...], logits: tuple[float, ...]) -> None:
    reply = asked(Told(rows(*given), model), RANKING, score=score)
    assert reply.status == 200
    found = reply.json["rankings"]
    assert [one["index"] for one in found] == sorted(range(3), key=lambda i: -logits[i])
    assert {one["index"]: one["logit"] for one in found} == pytest.approx(dict(enumerate(logits)), rel=1e-6)
    assert reply.json["usage"] == {"prompt_tokens": 9, "total_tokens": 9}
    assert reply.headers["emberank-prompt-tokens"] == "9"


def test_top_n_is_cut_here_and_every_passage_is_asked_for() -> None:
    asks = Told(rows(0.2, 0.9, 0.5))
    assert [one["index"] for one in asked(asks, RANKING | {"top_k": 1}).json["rankings"]] == [1]
    assert asks.calls[0].top_n is None  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "bad", [rows(0.2, 0.9), [*rows(0.2, 0.9), {"index": 1, "relevance_score": 0.1}], rows(0.2, 0.9, 7.0), rows(0.2, 0.9, math.nan), [{"index": 0}] * 3]
)
def test_an_answer_that_is_not_whole_is_no_answer(bad: Any) -> None:
    reply = asked(Told(bad), RANKING)
    assert reply.status == 500
    nim_error(reply)


def test_cost_and_what_could_not_be_said_are_in_headers() -> None:
    reply = asked(Told(rows(0.2, 0.9, 0.5), cost_usd=0.0000025, unsaid=("truncate",)), RANKING)
    assert reply.headers["emberank-provider-cost-usd"] == "0.0000025"
    assert reply.headers["emberank-ignored-fields"] == "truncate"
    assert "emberank-provider-cost-usd" not in asked(Told(rows(0.2, 0.9, 0.5)), RANKING).headers


def test_embeddings_are_openais_list_in_numbers_and_in_base64() -> None:
    given = [{"index": 1, "embedding": [3.0, 4.0], "object": "embedding"}, {"index": 0, "embedding": [1.0, 2.0]}]
    reply = asked(Told(given), {"input": ["a", "b"]}, "/v1/embeddings", task="embed")
    assert [row["embedding"] for row in reply.json["data"]] == [[1, 2], [3, 4]]
    assert reply.json["model"] == "acme/through"
    packed = asked(Told(given), {"input": ["a", "b"], "encoding_format": "base64"}, "/v1/embeddings", task="embed")
    assert all(isinstance(row["embedding"], str) for row in packed.json["data"])
    other = asked(Told(given), {"input": ["a", "b"], "dimensions": 7}, "/v1/embeddings", task="embed")
    assert other.status == 500  # the provider did not do what it was asked


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"query": {"text": "q"}, "passages": []}, "passages must not be empty"),
        (RANKING | {"passages": [{"text": "a"}] * 4}, "at most 3 are allowed"),
        (RANKING | {"score_mode": "calibrated"}, "calibrat"),
        (RANKING | {"unknown": 1}, "unknown"),
    ],
)
def test_a_bad_body_asks_nobody(body: Any, sentence: str) -> None:
    asks = Told(rows(0.2))
    reply = asked(asks, body, max_passages=3)
    assert reply.status == 400
    assert sentence in nim_error(reply)
    assert asks.calls == []


def test_the_other_tasks_route_is_refused() -> None:
    assert asked(Told([]), {"input": "a"}, "/v1/embeddings").status == 400


@pytest.mark.parametrize("error", [BadRequest("cohere refuses this: too many"), EmberankError("broken", status=502)])
def test_what_the_provider_refuses_keeps_its_status(error: EmberankError) -> None:
    reply = asked(Told(error), RANKING)
    assert (reply.status, reply.json["message"]) == (error.http_status, error.message)


def test_the_shorter_of_the_callers_and_our_own_patience_counts() -> None:
    asks = Told(rows(0.2, 0.9, 0.5))
    asked(asks, RANKING, headers={"X-Request-Timeout": "3"}, timeout_s=60)
    assert 0 < asks.timeout_s <= 3
    asked(asks, RANKING, timeout_s=0.5)
    assert asks.timeout_s == 0.5


def test_it_is_ready_when_its_provider_is_loaded() -> None:
    assert asked(None, {}, "/v1/health/ready", method="GET").status == 503
    assert asked(Told([]), {}, "/v1/health/ready", method="GET").json["ready"] is True
    assert asked(None, {}, "/v1/health/live", method="GET").status == 200
    assert asked(Told([]), {}, "/v1/models", method="GET").json["data"][0]["id"] == "acme/through"
    assert b"emberank_requests_total" in asked(Told([]), {}, "/v1/metrics", method="GET").body
