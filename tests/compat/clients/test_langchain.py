"""LangChain's packages for OpenAI, Cohere and Jina."""

from __future__ import annotations

import asyncio
from typing import Any

import cohere
import cohere.errors
import openai
import pytest
from examples import DOCUMENTS, ORDER, QUERY, Trouble, is_nearest_to_query, is_sigmoid_order
from installation import OUR_EMBED, OUR_RERANK, Server
from langchain_cohere import CohereEmbeddings, CohereRerank
from langchain_community.document_compressors import jina_rerank
from langchain_core.documents import Document
from langchain_openai import OpenAIEmbeddings

PASSAGES = [Document(page_content=text) for text in DOCUMENTS]


def openai_embedder(server: Server, **more: Any) -> OpenAIEmbeddings:
    given = {"model": f"{OUR_EMBED}-passage", "base_url": f"{server.url}/v1", "api_key": server.key, "check_embedding_ctx_length": False, "max_retries": 0}
    return OpenAIEmbeddings(**given | more)


def cohere_ranker(server: Server, model: str = OUR_RERANK, key: str = "", **more: Any) -> CohereRerank:
    return CohereRerank(model=model, cohere_api_key=key or server.key, base_url=server.url, **more)


def jina_ranker(server: Server, monkeypatch: pytest.MonkeyPatch, **more: Any) -> jina_rerank.JinaRerank:
    monkeypatch.setattr(jina_rerank, "JINA_API_URL", f"{server.url}/v1/rerank")  # a constant of its module, and no other way to it
    return jina_rerank.JinaRerank(**{"model": OUR_RERANK, "jina_api_key": server.key} | more)


def order(ranked: Any) -> list[int]:
    return [DOCUMENTS.index(document.page_content) for document in ranked]


@pytest.mark.claim("client:langchain-openai:embed")
def test_langchain_openai_embeds_when_it_is_told_to_send_text(server: Server) -> None:
    assert is_nearest_to_query(openai_embedder(server).embed_query(QUERY), openai_embedder(server).embed_documents(DOCUMENTS))


@pytest.mark.claim("client:langchain-openai:async")
def test_langchain_openai_embeds_asynchronously(server: Server) -> None:
    assert len(asyncio.run(openai_embedder(server).aembed_documents(DOCUMENTS))) == 3


@pytest.mark.claim("client:langchain-openai:errors")
def test_langchain_openai_s_refusals_are_the_openai_sdk_s(server: Server, embed_trouble: Trouble) -> None:
    raised: dict[int, type[Exception]] = {400: openai.BadRequestError, 401: openai.AuthenticationError, 404: openai.NotFoundError}
    raised |= {429: openai.RateLimitError, 503: openai.InternalServerError}
    with pytest.raises(raised[embed_trouble.status]):
        openai_embedder(server, model=embed_trouble.model, api_key=embed_trouble.key).embed_documents(embed_trouble.texts)


@pytest.mark.claim("client:langchain-cohere:rerank")
def test_langchain_cohere_ranks(server: Server) -> None:
    ranked = cohere_ranker(server).compress_documents(PASSAGES, QUERY)
    assert order(ranked) == ORDER
    assert is_sigmoid_order([document.metadata["relevance_score"] for document in ranked])


@pytest.mark.claim("client:langchain-cohere:options")
def test_langchain_cohere_s_top_n_may_be_a_number_or_none(server: Server) -> None:
    assert order(cohere_ranker(server, top_n=2).compress_documents(PASSAGES, QUERY)) == ORDER[:2]
    assert [row["index"] for row in cohere_ranker(server).rerank(DOCUMENTS, QUERY, top_n=None)] == ORDER
    assert [row["index"] for row in cohere_ranker(server).rerank(DOCUMENTS, QUERY, max_tokens_per_doc=128)] == ORDER


@pytest.mark.claim("client:langchain-cohere:embed")
def test_langchain_cohere_embeds(server: Server) -> None:
    one = CohereEmbeddings(model=OUR_EMBED, cohere_api_key=server.key, base_url=server.url)
    assert is_nearest_to_query(one.embed_query(QUERY), one.embed_documents(DOCUMENTS))


@pytest.mark.claim("client:langchain-cohere:async")
def test_langchain_cohere_ranks_and_embeds_asynchronously(server: Server) -> None:
    async def both() -> tuple[Any, Any]:
        one = CohereEmbeddings(model=OUR_EMBED, cohere_api_key=server.key, base_url=server.url)
        return await cohere_ranker(server).acompress_documents(PASSAGES, QUERY), await one.aembed_documents(DOCUMENTS)

    ranked, vectors = asyncio.run(both())
    assert order(ranked) == ORDER
    assert len(vectors) == 3


@pytest.mark.claim("client:langchain-cohere:errors")
@pytest.mark.parametrize(("status", "raised"), [(401, cohere.errors.UnauthorizedError), (404, cohere.errors.NotFoundError)])
def test_langchain_cohere_s_refusals_are_the_cohere_sdk_s(server: Server, status: int, raised: type[Exception]) -> None:
    bad = {"key": "not-a-key-0123456789"} if status == 401 else {"model": "nobody/nothing-here"}
    with pytest.raises(raised):
        cohere_ranker(server, **bad).rerank(DOCUMENTS, QUERY)


@pytest.mark.claim("client:langchain-jina:rerank")
def test_jina_rerank_of_langchain_community_ranks(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    ranked = jina_ranker(server, monkeypatch).compress_documents(PASSAGES, QUERY)
    assert order(ranked) == ORDER
    assert is_sigmoid_order([document.metadata["relevance_score"] for document in ranked])


@pytest.mark.claim("client:langchain-jina:async")
def test_jina_rerank_ranks_asynchronously(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    assert order(asyncio.run(jina_ranker(server, monkeypatch).acompress_documents(PASSAGES, QUERY))) == ORDER


@pytest.mark.claim("client:langchain-jina:options")
@pytest.mark.parametrize(("top_n", "count"), [(1, 1), (2, 2), (None, 3)])
def test_jina_rerank_s_top_n_may_be_null(server: Server, monkeypatch: pytest.MonkeyPatch, top_n: int | None, count: int) -> None:
    assert order(jina_ranker(server, monkeypatch, top_n=top_n).compress_documents(PASSAGES, QUERY)) == ORDER[:count]


@pytest.mark.claim("client:langchain-jina:errors")
def test_jina_rerank_s_refusal_is_a_runtime_error_with_our_sentence(server: Server, monkeypatch: pytest.MonkeyPatch, trouble: Trouble) -> None:
    one = jina_ranker(server, monkeypatch, model=trouble.model, jina_api_key=trouble.key)
    with pytest.raises(RuntimeError, match=r"\w+ \w+"):
        one.rerank(trouble.texts, QUERY)
