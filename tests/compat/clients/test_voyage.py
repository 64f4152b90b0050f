"""Voyage's SDK: rerank and embed."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import voyageai
from examples import DOCUMENTS, LONG, ORDER, QUERY, Trouble, is_nearest_to_query, is_sigmoid_order
from installation import DIMENSIONS, OUR_EMBED, OUR_RERANK, STRICT, Server

RAISED = {
    400: voyageai.error.InvalidRequestError,
    401: voyageai.error.AuthenticationError,
    404: voyageai.error.APIError,  # it has none of its own
    429: voyageai.error.RateLimitError,
    503: voyageai.error.ServiceUnavailableError,
}


def client(server: Server, key: str = "", base: str = "/v1") -> voyageai.Client:
    return voyageai.Client(api_key=key or server.key, base_url=server.url + base)


@pytest.mark.claim("client:voyageai:rerank")
@pytest.mark.parametrize("base", ["/v1", "/v1/"])
def test_documents_are_ranked_and_come_back(server: Server, base: str) -> None:
    ranked = client(server, base=base).rerank(QUERY, DOCUMENTS, model=OUR_RERANK)
    assert [(result.index, result.document) for result in ranked.results] == [(i, DOCUMENTS[i]) for i in ORDER]
    assert is_sigmoid_order([result.relevance_score for result in ranked.results])
    assert ranked.total_tokens > 0


@pytest.mark.claim("client:voyageai:options")
def test_top_k_is_what_comes_back(server: Server) -> None:
    assert [result.index for result in client(server).rerank(QUERY, DOCUMENTS, model=OUR_RERANK, top_k=2).results] == ORDER[:2]


@pytest.mark.claim("client:voyageai:options")
def test_truncation_cuts_or_refuses_as_it_is_told(server: Server) -> None:
    long = ["retrieval " * 2_000, DOCUMENTS[0]]
    assert len(client(server).rerank(QUERY, long, model=OUR_RERANK, truncation=True).results) == 2
    with pytest.raises(voyageai.error.InvalidRequestError, match="exceeds maximum allowed token size"):
        client(server).rerank(QUERY, long, model=OUR_RERANK, truncation=False)
    assert len(client(server).embed(long, model=OUR_EMBED, truncation=True).embeddings) == 2
    with pytest.raises(voyageai.error.InvalidRequestError):
        client(server).embed(long, model=OUR_EMBED, truncation=False)


@pytest.mark.claim("client:voyageai:embed")
def test_queries_and_documents_are_embedded(server: Server) -> None:
    query = client(server).embed([QUERY], model=OUR_EMBED, input_type="query")
    documents = client(server).embed(DOCUMENTS, model=OUR_EMBED, input_type="document")
    assert is_nearest_to_query(query.embeddings[0], documents.embeddings)
    assert documents.total_tokens > 0


@pytest.mark.claim("client:voyageai:embed")
def test_input_type_may_be_left_out(server: Server) -> None:
    assert len(client(server).embed([QUERY], model=OUR_EMBED).embeddings[0]) == DIMENSIONS


@pytest.mark.claim("client:voyageai:embed-options")
@pytest.mark.parametrize(("dtype", "length", "low", "high"), [("int8", 1, -128, 127), ("uint8", 1, 0, 255), ("binary", 8, -128, 127), ("ubinary", 8, 0, 255)])
def test_an_output_dtype_is_what_comes_back(server: Server, dtype: str, length: int, low: int, high: int) -> None:
    (vector,) = client(server).embed([QUERY], model=OUR_EMBED, input_type="query", output_dtype=dtype).embeddings
    assert len(vector) == DIMENSIONS // length
    assert all(isinstance(number, int) and low <= number <= high for number in vector)
    assert len(set(vector)) > 10


@pytest.mark.claim("client:voyageai:async")
def test_the_asynchronous_client_ranks_and_embeds(server: Server) -> None:
    async def both() -> tuple[Any, Any]:
        one = voyageai.AsyncClient(api_key=server.key, base_url=f"{server.url}/v1")
        return await one.rerank(QUERY, DOCUMENTS, model=OUR_RERANK), await one.embed(DOCUMENTS, model=OUR_EMBED, input_type="document")

    ranked, embedded = asyncio.run(both())
    assert [result.index for result in ranked.results] == ORDER
    assert len(embedded.embeddings) == 3


@pytest.mark.claim("client:voyageai:errors")
def test_a_refused_rerank_is_the_sdk_s_exception_with_our_sentence(server: Server, trouble: Trouble) -> None:
    with pytest.raises(RAISED[trouble.status]) as raised:
        client(server, trouble.key).rerank(QUERY, trouble.texts, model=trouble.model)
    assert raised.value.http_status == trouble.status
    assert str(raised.value)
    assert "Invalid response object" not in str(raised.value)


@pytest.mark.claim("client:voyageai:embed-errors")
def test_a_refused_embed_is_the_sdk_s_exception(server: Server, embed_trouble: Trouble) -> None:
    with pytest.raises(RAISED[embed_trouble.status]) as raised:
        client(server, embed_trouble.key).embed(embed_trouble.texts, model=embed_trouble.model, input_type="query")
    assert "Invalid response object" not in str(raised.value)


@pytest.mark.claim("client:voyageai:errors")
def test_a_422_is_the_sdk_s_malformed_request(server: Server) -> None:
    with pytest.raises(voyageai.error.MalformedRequestError, match="exceeds maximum allowed token size"):
        client(server).rerank(QUERY, [LONG], model=STRICT["rank"], truncation=False)
