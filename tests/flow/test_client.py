"""The Python clients against a whole server: the same numbers as on the wire, and its errors as they were raised there."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

from emberank.client import AsyncClient, Client, Ranking
from emberank.contract.errors import BadRequest, InputTooLong, ModelNotFound, NotFound
from wire import WAIT_S

EMBEDDER, RERANKER = "acme/Tiny_Embed-v1.5", "acme/tiny-rank.v2"  # those of this folder's servers
QUERY, PASSAGES = "what is a road?", ["a road", "the cat sat", "rain"]


def url(server: Any) -> str:
    return f"http://127.0.0.1:{server.port}"


def test_a_ranking_holds_what_the_wire_holds(server: Any) -> None:
    asked = {"model": RERANKER, "query": {"text": QUERY}, "passages": [{"text": text} for text in PASSAGES]}
    wire = server.post("/v1/ranking", asked).json
    with Client(url(server), timeout_s=WAIT_S) as client:
        got = client.rank(QUERY, PASSAGES, model=RERANKER)
        first = client.rank(QUERY, PASSAGES, model=RERANKER, top_n=1)
    assert list(got.rankings) == [(each["index"], each["logit"]) for each in wire["rankings"]]
    assert got.prompt_tokens == wire["usage"]["prompt_tokens"]
    assert got.request_id
    assert set(got.timings) >= {"tokenize", "queue", "engine"}
    assert first.rankings == got.rankings[:1]


def test_vectors_are_those_of_the_wire_to_the_last_bit(server: Any) -> None:
    wire = server.post("/v1/embeddings", {"model": EMBEDDER, "input": PASSAGES, "input_type": "passage"}).json
    with Client(url(server) + "/v1", timeout_s=WAIT_S) as client:
        got = client.embed(PASSAGES, model=EMBEDDER)
    np.testing.assert_array_equal(got, np.array([each["embedding"] for each in wire["data"]], np.float32))


def test_the_models_are_listed(server: Any) -> None:
    with Client(url(server), timeout_s=WAIT_S) as client:
        assert [each["id"] for each in client.models()] == [EMBEDDER, RERANKER]


def test_errors_are_what_the_server_raised(server: Any) -> None:
    with Client(url(server), timeout_s=WAIT_S) as client:
        with pytest.raises(ModelNotFound, match=r"available: .*tiny-rank"):
            client.rank(QUERY, PASSAGES, model="acme/none")
        with pytest.raises(InputTooLong, match="exceeds maximum allowed token size"):
            client.embed(["road " * 5000], model=EMBEDDER, truncate="NONE")
        with pytest.raises(BadRequest, match="passages"):
            client.rank(QUERY, [], model=RERANKER)
        with pytest.raises(NotFound):
            client.status("m")


def test_many_calls_at_once_come_back_each_to_its_own(server: Any) -> None:
    async def go() -> tuple[list[Ranking], Any]:
        async with AsyncClient(url(server), timeout_s=WAIT_S, max_connections=4) as client:
            calls = [client.rank(QUERY, PASSAGES[: 1 + number % 3], model=RERANKER) for number in range(30)]
            return await asyncio.gather(*calls), await client.embed(PASSAGES, model=EMBEDDER)

    rankings, vectors = asyncio.run(go())
    assert [len(one.rankings) for one in rankings] == [1 + number % 3 for number in range(30)]
    assert vectors.shape[0] == 3
