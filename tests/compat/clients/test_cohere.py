"""The Cohere SDK, v1 and v2: rerank and embed."""

from __future__ import annotations

import asyncio
from typing import Any

import cohere
import cohere.errors
import pytest
from examples import DOCUMENTS, LONG, ORDER, QUERY, Trouble, is_nearest_to_query, is_sigmoid_order
from installation import DIMENSIONS, OUR_EMBED, OUR_RERANK, RERANK_SLUG, STRICT, Server

RAISED = {
    400: cohere.errors.BadRequestError,
    401: cohere.errors.UnauthorizedError,
    404: cohere.errors.NotFoundError,
    429: cohere.errors.TooManyRequestsError,
    503: cohere.errors.ServiceUnavailableError,
}
ONCE: Any = {"max_retries": 0}


def v1(server: Server, key: str = "") -> cohere.Client:
    return cohere.Client(key or server.key, base_url=server.url)


def v2(server: Server, key: str = "") -> cohere.ClientV2:
    return cohere.ClientV2(key or server.key, base_url=server.url)


def order(answer: Any) -> list[int]:
    return [result.index for result in answer.results]


@pytest.mark.claim("client:cohere:rerank-v1")
def test_v1_ranks_strings_and_objects(server: Server) -> None:
    for documents in (DOCUMENTS, [{"text": text} for text in DOCUMENTS]):
        answer = v1(server).rerank(model=OUR_RERANK, query=QUERY, documents=documents)
        assert order(answer) == ORDER
        assert is_sigmoid_order([result.relevance_score for result in answer.results])
        assert isinstance(answer.id, str)


@pytest.mark.claim("client:cohere:rerank-v1-options")
def test_v1_gives_documents_back_and_no_more_than_top_n(server: Server) -> None:
    answer = v1(server).rerank(model=OUR_RERANK, query=QUERY, documents=DOCUMENTS, top_n=2, return_documents=True)
    assert [(result.index, result.document.text) for result in answer.results] == [(i, DOCUMENTS[i]) for i in ORDER[:2]]
    bare = v1(server).rerank(model=OUR_RERANK, query=QUERY, documents=DOCUMENTS, return_documents=False)
    assert [result.document for result in bare.results] == [None] * 3


@pytest.mark.claim("client:cohere:rerank-v1-options")
def test_v1_ranks_by_the_fields_that_it_is_told(server: Server) -> None:
    documents = [{"title": "unrelated", "body": text} for text in DOCUMENTS]
    assert order(v1(server).rerank(model=OUR_RERANK, query=QUERY, documents=documents, rank_fields=["body"])) == ORDER
    with pytest.raises(cohere.errors.BadRequestError):
        v1(server).rerank(model=OUR_RERANK, query=QUERY, documents=documents, rank_fields=["missing"], request_options=ONCE)


@pytest.mark.claim("client:cohere:rerank-long")
def test_long_documents_are_cut_or_split_as_v1_and_v2_say(server: Server) -> None:
    # What answers the question stands behind what does not: only chunks see it.
    documents = [f"{DOCUMENTS[0]} " * 60 + DOCUMENTS[1], DOCUMENTS[0], DOCUMENTS[2]]
    whole = v1(server).rerank(model=OUR_RERANK, query=QUERY, documents=documents, max_chunks_per_doc=10)
    cut = v2(server).rerank(model=OUR_RERANK, query=QUERY, documents=documents, max_tokens_per_doc=64)
    assert order(whole)[0] == 0
    assert order(cut)[0] != 0


@pytest.mark.claim("client:cohere:rerank-v2")
def test_v2_ranks(server: Server) -> None:
    answer = v2(server).rerank(model=OUR_RERANK, query=QUERY, documents=DOCUMENTS)
    assert order(answer) == ORDER
    assert is_sigmoid_order([result.relevance_score for result in answer.results])


@pytest.mark.claim("client:cohere:rerank-v2-options")
def test_v2_takes_top_n_and_tokens_per_document(server: Server) -> None:
    answer = v2(server).rerank(model=OUR_RERANK, query=QUERY, documents=DOCUMENTS, top_n=1, max_tokens_per_doc=4096)
    assert order(answer) == ORDER[:1]
    assert answer.meta is not None


@pytest.mark.claim("client:cohere:async")
def test_both_asynchronous_clients_rank(server: Server) -> None:
    async def rank() -> list[list[int]]:
        found = []
        for kind in (cohere.AsyncClient, cohere.AsyncClientV2):
            one: Any = kind(server.key, base_url=server.url)
            found.append(order(await one.rerank(model=OUR_RERANK, query=QUERY, documents=DOCUMENTS, top_n=2)))
        return found

    assert asyncio.run(rank()) == [ORDER[:2]] * 2


@pytest.mark.claim("client:cohere:own-base")
def test_a_model_s_own_base_ranks_whatever_the_sdk_calls_the_model(server: Server) -> None:
    base = server.base(RERANK_SLUG).removesuffix("/v1")
    for kind in (cohere.Client, cohere.ClientV2):
        one: Any = kind(server.key, base_url=base)
        assert order(one.rerank(model="default", query=QUERY, documents=DOCUMENTS)) == ORDER


@pytest.mark.claim("client:cohere:errors")
@pytest.mark.parametrize("version", [v1, v2])
def test_a_refused_rerank_is_the_sdk_s_exception(server: Server, trouble: Trouble, version: Any) -> None:
    with pytest.raises(RAISED[trouble.status]) as raised:
        version(server, trouble.key).rerank(model=trouble.model, query=QUERY, documents=trouble.texts, request_options=ONCE)
    assert raised.value.status_code == trouble.status


@pytest.mark.claim("client:cohere:embed-errors")
@pytest.mark.parametrize("version", [v1, v2])
def test_a_422_is_the_sdk_s_unprocessable_entity(server: Server, version: Any) -> None:
    with pytest.raises(cohere.errors.UnprocessableEntityError):
        version(server).embed(model=STRICT["embed"], texts=[LONG], input_type="search_query", embedding_types=["float"], truncate="NONE", request_options=ONCE)


@pytest.mark.claim("client:cohere:embed-v1")
def test_v1_embeds_to_a_list_of_vectors(server: Server) -> None:
    query = v1(server).embed(model=OUR_EMBED, texts=[QUERY], input_type="search_query")
    documents = v1(server).embed(model=OUR_EMBED, texts=DOCUMENTS, input_type="search_document")
    assert is_nearest_to_query(query.embeddings[0], documents.embeddings)
    assert len(query.embeddings[0]) == DIMENSIONS


@pytest.mark.claim("client:cohere:embed-v2")
def test_v2_embeds_to_vectors_by_type(server: Server) -> None:
    query = v2(server).embed(model=OUR_EMBED, texts=[QUERY], input_type="search_query", embedding_types=["float"])
    documents = v2(server).embed(model=OUR_EMBED, texts=DOCUMENTS, input_type="search_document", embedding_types=["float"])
    assert is_nearest_to_query(query.embeddings.float_[0], documents.embeddings.float_)


@pytest.mark.claim("client:cohere:embed-v2")
def test_v2_embeds_to_several_types_at_once(server: Server) -> None:
    types = ["float", "int8", "uint8", "binary", "ubinary"]
    embeddings = v2(server).embed(model=OUR_EMBED, texts=DOCUMENTS, input_type="search_document", embedding_types=types).embeddings
    assert [len(embeddings.int8[0]), len(embeddings.uint8[0])] == [DIMENSIONS] * 2
    assert [len(embeddings.binary[0]), len(embeddings.ubinary[0])] == [DIMENSIONS // 8] * 2
    assert len(embeddings.float_) == 3


@pytest.mark.claim("client:cohere:async")
def test_both_asynchronous_clients_embed(server: Server) -> None:
    async def embed() -> tuple[Any, Any]:
        one, two = cohere.AsyncClient(server.key, base_url=server.url), cohere.AsyncClientV2(server.key, base_url=server.url)
        given: Any = {"model": OUR_EMBED, "texts": DOCUMENTS, "input_type": "search_document"}
        return await one.embed(**given), await two.embed(**given, embedding_types=["float"])

    first, second = asyncio.run(embed())
    assert [first.embeddings[0], first.embeddings[2]] == [pytest.approx(second.embeddings.float_[i], abs=1e-6) for i in (0, 2)]


@pytest.mark.claim("client:cohere:embed-errors")
@pytest.mark.parametrize("version", [v1, v2])
def test_a_refused_embed_is_the_sdk_s_exception(server: Server, embed_trouble: Trouble, version: Any) -> None:
    with pytest.raises(RAISED[embed_trouble.status]):
        version(server, embed_trouble.key).embed(
            model=embed_trouble.model, texts=embed_trouble.texts, input_type="search_query", embedding_types=["float"], request_options=ONCE
        )
