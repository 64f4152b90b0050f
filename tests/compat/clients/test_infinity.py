"""Infinity's own generated client: rerank, embeddings, models, health."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any

import pytest
from examples import DOCUMENTS, ORDER, QUERY, Trouble, is_logit_order, is_nearest_to_query, is_sigmoid_order
from infinity_client import AuthenticatedClient
from infinity_client.api.default import embeddings, health, models, rerank
from infinity_client.errors import UnexpectedStatus
from infinity_client.models import OpenAIEmbeddingInputText, OpenAIModelInfo, RerankInput, ReRankResult
from installation import EMBED, EMBED_SLUG, OUR_EMBED, OUR_RERANK, RERANK, RERANK_SLUG, Server


def client(server: Server, key: str = "", base: str = "") -> AuthenticatedClient:
    return AuthenticatedClient(base_url=base or server.url, token=key or server.key, raise_on_unexpected_status=True)


def ask(server: Server, **more: Any) -> ReRankResult:
    answer = rerank.sync(client=client(server), body=RerankInput(**{"query": QUERY, "documents": DOCUMENTS, "model": OUR_RERANK} | more))
    assert isinstance(answer, ReRankResult)
    return answer


@pytest.mark.claim("client:infinity-client:rerank")
def test_documents_are_ranked_and_come_back_as_strings(server: Server) -> None:
    answer = ask(server, return_documents=True)
    assert [(result.index, result.document) for result in answer.results] == [(i, DOCUMENTS[i]) for i in ORDER]
    assert is_sigmoid_order([result.relevance_score for result in answer.results])
    assert answer.usage.total_tokens > 0


@pytest.mark.claim("client:infinity-client:options")
def test_top_n_and_raw_scores_do_what_they_say(server: Server) -> None:
    assert [result.index for result in ask(server, top_n=2).results] == ORDER[:2]
    assert is_logit_order([result.relevance_score for result in ask(server, raw_scores=True).results])
    assert not any(result.document for result in ask(server, return_documents=False).results)


@pytest.mark.claim("client:infinity-client:own-base")
def test_without_a_model_the_route_s_own_is_meant(server: Server) -> None:
    for base in (server.url, server.base(RERANK_SLUG), server.base(RERANK_SLUG).removesuffix("/v1")):
        answer = rerank.sync(client=client(server, base=base), body=RerankInput(query=QUERY, documents=DOCUMENTS))
        assert isinstance(answer, ReRankResult)
        assert [result.index for result in answer.results] == ORDER
        assert (answer.model == RERANK) == (base != server.url)


@pytest.mark.claim("client:infinity-client:embed")
def test_embeddings_are_right_with_its_dimensions_of_0(server: Server) -> None:
    body = OpenAIEmbeddingInputText(input_=[QUERY, *DOCUMENTS], model=OUR_EMBED)
    answer: Any = embeddings.sync(client=client(server), body=body)
    query, *documents = (row.embedding for row in answer.data)
    assert is_nearest_to_query(query, documents)
    assert answer.usage.total_tokens > 0


@pytest.mark.claim("client:infinity-client:models")
def test_the_model_list_and_health_are_as_it_reads_them(server: Server) -> None:
    listed = models.sync(client=client(server))
    assert isinstance(listed, OpenAIModelInfo)
    assert {RERANK, EMBED} <= {model.id for model in listed.data}
    one = models.sync(client=client(server, base=server.base(EMBED_SLUG).removesuffix("/v1")))
    assert isinstance(one, OpenAIModelInfo)
    assert [model.id for model in one.data] == [EMBED]
    well = health.sync_detailed(client=client(server))
    assert well.status_code == HTTPStatus.OK
    assert well.parsed is not None


@pytest.mark.claim("client:infinity-client:async")
def test_the_asynchronous_calls_rank_and_embed(server: Server) -> None:
    async def both() -> tuple[Any, Any]:
        one = client(server)
        ranked = await rerank.asyncio(client=one, body=RerankInput(query=QUERY, documents=DOCUMENTS, model=OUR_RERANK))
        return ranked, await embeddings.asyncio(client=one, body=OpenAIEmbeddingInputText(input_=DOCUMENTS, model=OUR_EMBED))

    ranked, embedded = asyncio.run(both())
    assert [result.index for result in ranked.results] == ORDER
    assert len(embedded.data) == 3


@pytest.mark.claim("client:infinity-client:errors")
def test_a_refusal_is_an_unexpected_status_with_our_sentence(server: Server, trouble: Trouble) -> None:
    body = RerankInput(query=QUERY, documents=trouble.texts, model=trouble.model)
    with pytest.raises(UnexpectedStatus) as raised:
        rerank.sync(client=client(server, trouble.key), body=body)
    assert raised.value.status_code == trouble.status
    assert b'"message"' in raised.value.content
