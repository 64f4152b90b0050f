"""rerankers' APIRanker, for every provider that it has and we have a route for."""

from __future__ import annotations

from typing import Any

import pytest
from examples import BAD_KEY, DOCUMENTS, ORDER, QUERY, is_sigmoid_order
from installation import OUR_RERANK, RERANK_SLUG, Server
from rerankers import Reranker

PROVIDERS = [
    ("cohere", "/v1/rerank"),
    ("cohere", "/v2/rerank"),
    ("jina", "/v1/rerank"),
    ("voyage", "/v1/rerank"),
    ("text-embeddings-inference", "/rerank"),
]


def ranker(server: Server, provider: str, path: str, key: str = "", model: str = OUR_RERANK) -> Any:
    return Reranker(model, model_type="APIRanker", api_provider=provider, api_key=key or server.key, url=server.url + path, verbose=0)


@pytest.mark.claim("client:rerankers:rerank")
@pytest.mark.parametrize(("provider", "path"), PROVIDERS)
def test_every_provider_s_form_ranks(server: Server, provider: str, path: str) -> None:
    answer = ranker(server, provider, path).rank(query=QUERY, docs=DOCUMENTS, doc_ids=[10, 11, 12])
    assert [result.document.doc_id for result in answer.results] == [10 + i for i in ORDER]
    assert is_sigmoid_order([result.score for result in answer.results])


@pytest.mark.claim("client:rerankers:own-base")
@pytest.mark.parametrize(
    ("provider", "path"), [("cohere", "/v2/rerank"), ("jina", "/v1/rerank"), ("voyage", "/v1/rerank"), ("text-embeddings-inference", "/rerank")]
)
def test_every_form_ranks_below_a_model_s_own_base(server: Server, provider: str, path: str) -> None:
    answer = ranker(server, provider, f"/models/{RERANK_SLUG}{path}", model="default").rank(query=QUERY, docs=DOCUMENTS)
    assert [DOCUMENTS.index(result.document.text) for result in answer.results] == ORDER


@pytest.mark.claim("client:rerankers:errors")
@pytest.mark.parametrize(("provider", "path"), PROVIDERS)
def test_a_refusal_is_never_taken_for_an_answer(server: Server, provider: str, path: str) -> None:
    # It reads no status: what we answer must not have the shape of a ranking.
    with pytest.raises((KeyError, TypeError)):
        ranker(server, provider, path, key=BAD_KEY).rank(query=QUERY, docs=DOCUMENTS)
