"""Haystack's packages for NVIDIA, Cohere and Jina."""

from __future__ import annotations

import asyncio
import warnings
from typing import Any

import cohere
import cohere.errors
import pytest
from examples import BAD_KEY, DOCUMENTS, LONG, ORDER, QUERY, UNKNOWN, Trouble, is_logit_order, is_nearest_to_query, is_sigmoid_order
from haystack import Document
from haystack.utils import Secret
from haystack_integrations.components.embedders.cohere import CohereDocumentEmbedder, CohereTextEmbedder
from haystack_integrations.components.embedders.jina import JinaDocumentEmbedder, JinaTextEmbedder
from haystack_integrations.components.embedders.nvidia import NvidiaDocumentEmbedder, NvidiaTextEmbedder
from haystack_integrations.components.rankers.cohere import CohereRanker
from haystack_integrations.components.rankers.jina import JinaRanker
from haystack_integrations.components.rankers.nvidia import NvidiaRanker
from installation import DIMENSIONS, EMBED, EMBED_SLUG, OUR_EMBED, OUR_RERANK, RERANK, RERANK_SLUG, STRICT, Server

PASSAGES = [Document(content=text) for text in DOCUMENTS]


def secret(key: str) -> Secret:
    return Secret.from_token(key)


def ranked(ranker: Any, documents: list[Document] = PASSAGES) -> tuple[list[int], list[float]]:
    found = ranker.run(query=QUERY, documents=documents)["documents"]
    return [[document.content for document in documents].index(one.content) for one in found], [one.score for one in found]


def vectors(text: Any, document: Any) -> tuple[list[float], list[list[float]]]:
    """Of the query and of the documents."""
    return text.run(text=QUERY)["embedding"], [one.embedding for one in document.run(documents=PASSAGES)["documents"]]


def nvidia_ranker(server: Server, **more: Any) -> NvidiaRanker:
    return NvidiaRanker(**{"model": RERANK, "api_url": f"{server.url}/v1", "api_key": secret(server.key)} | more)


# --- NVIDIA


@pytest.mark.claim("client:haystack-nvidia:rerank")
@pytest.mark.parametrize("base", ["", "/v1"])
def test_nvidia_ranker_ranks_by_raw_logits(server: Server, base: str) -> None:
    order, scores = ranked(nvidia_ranker(server, api_url=server.url + base))
    assert order == ORDER
    assert is_logit_order(scores)


@pytest.mark.claim("client:haystack-nvidia:options")
def test_nvidia_ranker_s_top_k_and_truncate_do_what_they_say(server: Server) -> None:
    assert ranked(nvidia_ranker(server, top_k=2))[0] == ORDER[:2]
    long = [Document(content="retrieval " * 9_000), *PASSAGES]
    assert len(ranked(nvidia_ranker(server, truncate="END"), long)[0]) == 4
    with pytest.raises(ValueError, match="exceeds maximum allowed token size"):
        ranked(nvidia_ranker(server, truncate="NONE"), long)


@pytest.mark.claim("client:haystack-nvidia:own-base")
def test_without_a_model_the_one_of_the_base_is_meant(server: Server) -> None:
    assert ranked(nvidia_ranker(server, model=None, api_url=server.base(RERANK_SLUG)))[0] == ORDER
    one = NvidiaTextEmbedder(api_url=server.base(EMBED_SLUG), api_key=secret(server.key))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "Default model is set as"
        one.warm_up()
    assert one.model == EMBED
    assert len(one.run(text=QUERY)["embedding"]) == DIMENSIONS


@pytest.mark.claim("client:haystack-nvidia:embed")
def test_nvidia_s_embedders_embed(server: Server) -> None:
    given: Any = {"model": EMBED, "api_url": f"{server.url}/v1", "api_key": secret(server.key)}
    assert is_nearest_to_query(*vectors(NvidiaTextEmbedder(**given), NvidiaDocumentEmbedder(**given)))


@pytest.mark.claim("client:haystack-nvidia:models")
def test_nvidia_s_embedder_lists_models(server: Server) -> None:
    one = NvidiaTextEmbedder(model=EMBED, api_url=f"{server.url}/v1", api_key=secret(server.key))
    one.warm_up()
    assert {RERANK, EMBED} <= {model.id for model in one.available_models}


@pytest.mark.claim("client:haystack-nvidia:errors")
def test_nvidia_ranker_s_refusal_is_a_value_error_with_our_sentence(server: Server, trouble: Trouble) -> None:
    one = nvidia_ranker(server, model=trouble.model, api_key=secret(trouble.key))
    with pytest.raises(ValueError, match=rf'"code":\s*{trouble.status}'):
        ranked(one, [Document(content=text) for text in trouble.texts])


@pytest.mark.claim("client:haystack-nvidia:errors")
def test_a_422_is_a_value_error_too(server: Server) -> None:
    with pytest.raises(ValueError, match="exceeds maximum allowed token size"):
        ranked(nvidia_ranker(server, model=STRICT["rank"]), [Document(content=LONG)])


# --- Cohere


@pytest.mark.claim("client:haystack-cohere:rerank")
def test_cohere_ranker_ranks(server: Server) -> None:
    order, scores = ranked(CohereRanker(model=OUR_RERANK, api_key=secret(server.key), api_base_url=server.url))
    assert order == ORDER
    assert is_sigmoid_order(scores)


@pytest.mark.claim("client:haystack-cohere:options")
def test_cohere_ranker_s_top_k_is_what_comes_back(server: Server) -> None:
    assert ranked(CohereRanker(model=OUR_RERANK, top_k=2, api_key=secret(server.key), api_base_url=server.url))[0] == ORDER[:2]


@pytest.mark.claim("client:haystack-cohere:embed")
def test_cohere_s_embedders_embed(server: Server) -> None:
    given: Any = {"model": OUR_EMBED, "api_key": secret(server.key), "api_base_url": server.url}
    assert is_nearest_to_query(*vectors(CohereTextEmbedder(**given), CohereDocumentEmbedder(**given)))


@pytest.mark.claim("client:haystack-cohere:async")
def test_cohere_s_components_do_the_same_asynchronously(server: Server) -> None:
    async def all_of_them() -> tuple[Any, Any, Any]:
        given: Any = {"api_key": secret(server.key), "api_base_url": server.url}
        text = await CohereTextEmbedder(model=OUR_EMBED, **given).run_async(text=QUERY)
        documents = await CohereDocumentEmbedder(model=OUR_EMBED, **given).run_async(documents=PASSAGES)
        return text, documents, await CohereRanker(model=OUR_RERANK, **given).run_async(query=QUERY, documents=PASSAGES)

    text, documents, ranking = asyncio.run(all_of_them())
    assert is_nearest_to_query(text["embedding"], [one.embedding for one in documents["documents"]])
    assert [DOCUMENTS.index(one.content) for one in ranking["documents"]] == ORDER


@pytest.mark.claim("client:haystack-cohere:errors")
@pytest.mark.parametrize(("key", "model", "raised"), [(BAD_KEY, OUR_RERANK, cohere.errors.UnauthorizedError), ("", UNKNOWN, cohere.errors.NotFoundError)])
def test_cohere_ranker_s_refusals_are_the_cohere_sdk_s(server: Server, key: str, model: str, raised: type[Exception]) -> None:
    with pytest.raises(raised):
        ranked(CohereRanker(model=model, api_key=secret(key or server.key), api_base_url=server.url))


# --- Jina


def jina_ranker(server: Server, **more: Any) -> JinaRanker:
    return JinaRanker(**{"model": OUR_RERANK, "api_key": secret(server.key), "base_url": f"{server.url}/v1/rerank"} | more)


@pytest.mark.claim("client:haystack-jina:rerank")
def test_jina_ranker_ranks(server: Server) -> None:
    order, scores = ranked(jina_ranker(server))
    assert order == ORDER
    assert is_sigmoid_order(scores)


@pytest.mark.claim("client:haystack-jina:options")
def test_jina_ranker_s_top_k_is_what_comes_back(server: Server) -> None:
    assert ranked(jina_ranker(server, top_k=2))[0] == ORDER[:2]


@pytest.mark.claim("client:haystack-jina:embed")
def test_jina_s_embedders_embed(server: Server) -> None:
    given: Any = {"model": OUR_EMBED, "api_key": secret(server.key), "base_url": f"{server.url}/v1/embeddings"}
    text, document = JinaTextEmbedder(task="retrieval.query", **given), JinaDocumentEmbedder(task="retrieval.passage", **given)
    assert is_nearest_to_query(*vectors(text, document))


@pytest.mark.claim("client:haystack-jina:async")
def test_jina_s_components_do_the_same_asynchronously(server: Server) -> None:
    async def all_of_them() -> tuple[Any, Any, Any]:
        given: Any = {"model": OUR_EMBED, "api_key": secret(server.key), "base_url": f"{server.url}/v1/embeddings"}
        text = await JinaTextEmbedder(**given).run_async(text=QUERY)
        documents = await JinaDocumentEmbedder(**given).run_async(documents=PASSAGES)
        return text, documents, await jina_ranker(server).run_async(query=QUERY, documents=PASSAGES)

    text, documents, ranking = asyncio.run(all_of_them())
    assert is_nearest_to_query(text["embedding"], [one.embedding for one in documents["documents"]])
    assert [DOCUMENTS.index(one.content) for one in ranking["documents"]] == ORDER


@pytest.mark.claim("client:haystack-jina:errors")
def test_jina_ranker_s_refusal_is_a_runtime_error_with_our_sentence(server: Server, trouble: Trouble) -> None:
    one = jina_ranker(server, model=trouble.model, api_key=secret(trouble.key))
    with pytest.raises(RuntimeError, match=r"\w+ \w+"):
        ranked(one, [Document(content=text) for text in trouble.texts])
