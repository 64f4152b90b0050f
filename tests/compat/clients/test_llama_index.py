"""LlamaIndex's packages for NVIDIA, Cohere and Text Embeddings Inference."""

from __future__ import annotations

import asyncio
import warnings
from typing import Any

import cohere
import cohere.errors
import httpx
import openai
import pytest
from examples import BAD_KEY, DOCUMENTS, LONG, ORDER, QUERY, UNKNOWN, Trouble, is_logit_order, is_nearest_to_query, is_sigmoid_order
from installation import DIMENSIONS, EMBED, EMBED_SLUG, OUR_RERANK, RERANK, RERANK_SLUG, STRICT, Server
from llama_index.core.schema import NodeWithScore, TextNode
from llama_index.embeddings.nvidia import NVIDIAEmbedding
from llama_index.embeddings.text_embeddings_inference import TextEmbeddingsInference
from llama_index.postprocessor.cohere_rerank import CohereRerank
from llama_index.postprocessor.nvidia_rerank import NVIDIARerank
from llama_index.postprocessor.tei_rerank import TextEmbeddingInference


def nodes(texts: list[str] = DOCUMENTS) -> list[NodeWithScore]:
    return [NodeWithScore(node=TextNode(text=text), score=0.0) for text in texts]


def ranked(postprocessor: Any, texts: list[str] = DOCUMENTS) -> tuple[list[int], list[float]]:
    found = postprocessor.postprocess_nodes(nodes(texts), query_str=QUERY)
    return [texts.index(one.node.get_content()) for one in found], [one.score for one in found]


def nvidia_ranker(server: Server, **more: Any) -> NVIDIARerank:
    return NVIDIARerank(**{"model": RERANK, "base_url": f"{server.url}/v1", "api_key": server.key} | more)


def nvidia_embedder(server: Server, **more: Any) -> NVIDIAEmbedding:
    return NVIDIAEmbedding(**{"model": EMBED, "base_url": f"{server.url}/v1", "api_key": server.key, "max_retries": 0} | more)


# --- NVIDIA


@pytest.mark.claim("client:llama-index-nvidia:rerank")
@pytest.mark.parametrize("base", ["/v1", "/v1/"])
def test_nvidia_rerank_ranks_by_raw_logits(server: Server, base: str) -> None:
    order, scores = ranked(nvidia_ranker(server, base_url=server.url + base))
    assert order == ORDER
    assert is_logit_order(scores)


@pytest.mark.claim("client:llama-index-nvidia:options")
def test_nvidia_rerank_s_top_n_truncate_and_batches_do_what_they_say(server: Server) -> None:
    assert ranked(nvidia_ranker(server, top_n=2))[0] == ORDER[:2]
    assert ranked(nvidia_ranker(server, max_batch_size=1))[0] == ORDER
    long = ["retrieval " * 9_000, *DOCUMENTS]
    assert len(ranked(nvidia_ranker(server, truncate="END"), long)[0]) == 4
    with pytest.raises(httpx.HTTPStatusError):
        ranked(nvidia_ranker(server, truncate="NONE"), long)


@pytest.mark.claim("client:llama-index-nvidia:models")
@pytest.mark.parametrize("base", ["", "/v1"])
def test_nvidia_rerank_finds_any_model_of_ours_in_the_list(server: Server, base: str) -> None:
    one = nvidia_ranker(server, model=OUR_RERANK, base_url=server.url + base)  # no name of NVIDIA's: the list must have it
    assert OUR_RERANK in [model.id for model in one.available_models]
    with pytest.raises(ValueError, match="No locally hosted"):
        nvidia_ranker(server, model=UNKNOWN, base_url=server.url + base)


@pytest.mark.claim("client:llama-index-nvidia:own-base")
def test_without_a_model_the_one_of_the_base_is_found(server: Server) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "Default model is set as"
        ranker = NVIDIARerank(base_url=server.base(RERANK_SLUG), api_key=server.key)
        embedder = NVIDIAEmbedding(base_url=server.base(EMBED_SLUG), api_key=server.key)
    assert (ranker.model, embedder.model) == (RERANK, EMBED)
    assert ranked(ranker)[0] == ORDER
    assert len(embedder.get_text_embedding(QUERY)) == DIMENSIONS


@pytest.mark.claim("client:llama-index-nvidia:embed")
def test_nvidia_embedding_embeds(server: Server) -> None:
    one = nvidia_embedder(server)
    assert is_nearest_to_query(one.get_query_embedding(QUERY), one.get_text_embedding_batch(DOCUMENTS))


@pytest.mark.claim("client:llama-index-nvidia:async")
@pytest.mark.claim("client:llama-index-cohere:async")
@pytest.mark.claim("client:llama-index-tei:async")
@pytest.mark.parametrize("kind", [NVIDIARerank, CohereRerank, TextEmbeddingInference])
def test_every_reranker_ranks_asynchronously(server: Server, kind: Any) -> None:
    one = {
        NVIDIARerank: lambda: nvidia_ranker(server),
        CohereRerank: lambda: CohereRerank(model=OUR_RERANK, top_n=3, api_key=server.key, base_url=server.url),
        TextEmbeddingInference: lambda: TextEmbeddingInference(base_url=server.url, auth_token=server.key),
    }[kind]()
    found = asyncio.run(one.apostprocess_nodes(nodes(), query_str=QUERY))
    assert [DOCUMENTS.index(ranked.node.get_content()) for ranked in found] == ORDER


@pytest.mark.claim("client:llama-index-nvidia:async")
def test_nvidia_embedding_embeds_asynchronously(server: Server) -> None:
    async def embed() -> tuple[Any, Any]:
        one = nvidia_embedder(server)
        return await one.aget_query_embedding(QUERY), await one.aget_text_embedding_batch(DOCUMENTS)

    assert is_nearest_to_query(*asyncio.run(embed()))


@pytest.mark.claim("client:llama-index-nvidia:errors")
def test_nvidia_rerank_s_refusal_is_httpx_s_error(server: Server, trouble: Trouble) -> None:
    with pytest.raises((httpx.HTTPStatusError, ValueError)) as raised:
        ranked(nvidia_ranker(server, model=trouble.model, api_key=trouble.key), trouble.texts)
    if trouble.status == 404:
        assert "No locally hosted" in str(raised.value)  # it looks in the list first
    else:
        assert isinstance(raised.value, httpx.HTTPStatusError)
        assert raised.value.response.status_code == trouble.status


@pytest.mark.claim("client:llama-index-nvidia:errors")
def test_a_422_is_httpx_s_error_too(server: Server) -> None:
    with pytest.raises(httpx.HTTPStatusError) as raised:
        ranked(nvidia_ranker(server, model=STRICT["rank"]), [LONG])
    assert raised.value.response.status_code == 422


@pytest.mark.claim("client:llama-index-nvidia:embed-errors")
def test_nvidia_embedding_s_refusal_is_the_openai_sdk_s(server: Server, embed_trouble: Trouble) -> None:
    with pytest.raises(openai.APIStatusError) as raised:
        nvidia_embedder(server, model=embed_trouble.model, api_key=embed_trouble.key).get_text_embedding_batch(embed_trouble.texts)
    assert raised.value.status_code == embed_trouble.status


# --- Cohere


@pytest.mark.claim("client:llama-index-cohere:rerank")
def test_cohere_rerank_ranks(server: Server) -> None:
    order, scores = ranked(CohereRerank(model=OUR_RERANK, top_n=3, api_key=server.key, base_url=server.url))
    assert order == ORDER
    assert is_sigmoid_order(scores)


@pytest.mark.claim("client:llama-index-cohere:options")
def test_cohere_rerank_s_top_n_is_what_comes_back(server: Server) -> None:
    assert ranked(CohereRerank(model=OUR_RERANK, api_key=server.key, base_url=server.url))[0] == ORDER[:2]


@pytest.mark.claim("client:llama-index-cohere:errors")
@pytest.mark.parametrize(("key", "model", "raised"), [(BAD_KEY, OUR_RERANK, cohere.errors.UnauthorizedError), ("", UNKNOWN, cohere.errors.NotFoundError)])
def test_cohere_rerank_s_refusals_are_the_cohere_sdk_s(server: Server, key: str, model: str, raised: type[Exception]) -> None:
    with pytest.raises(raised):
        ranked(CohereRerank(model=model, api_key=key or server.key, base_url=server.url, max_retries=1))


# --- Text Embeddings Inference


@pytest.mark.claim("client:llama-index-tei:rerank")
@pytest.mark.parametrize("base", ["", "/"])
def test_tei_s_reranker_ranks_with_a_bare_key(server: Server, base: str) -> None:
    order, scores = ranked(TextEmbeddingInference(base_url=server.url + base, auth_token=server.key))
    assert order == ORDER
    assert is_sigmoid_order(scores)


@pytest.mark.claim("client:llama-index-tei:own-base")
def test_tei_s_packages_name_no_model_and_use_that_of_the_base(server: Server) -> None:
    ranker, embedder = (server.base(slug).removesuffix("/v1") for slug in (RERANK_SLUG, EMBED_SLUG))
    assert ranked(TextEmbeddingInference(base_url=ranker, auth_token=server.key))[0] == ORDER
    one = TextEmbeddingsInference(model_name=EMBED, base_url=embedder, auth_token=server.key)
    assert len(one.get_text_embedding(QUERY)) == DIMENSIONS


@pytest.mark.claim("client:llama-index-tei:embed")
@pytest.mark.parametrize("base", ["", "/"])
def test_tei_s_embedder_embeds(server: Server, base: str) -> None:
    one = TextEmbeddingsInference(model_name="any", base_url=server.url + base, auth_token=server.key)
    assert is_nearest_to_query(one.get_query_embedding(QUERY), one.get_text_embedding_batch(DOCUMENTS))


@pytest.mark.claim("client:llama-index-tei:async")
def test_tei_s_embedder_embeds_asynchronously(server: Server) -> None:
    one = TextEmbeddingsInference(model_name="any", base_url=server.url, auth_token=server.key)
    assert len(asyncio.run(one.aget_text_embedding_batch(DOCUMENTS))) == 3


@pytest.mark.claim("client:llama-index-tei:errors")
def test_tei_s_packages_never_take_a_refusal_for_an_answer(server: Server) -> None:
    # They read no status: what we answer must not have the shape of a ranking or of vectors.
    with pytest.raises((AssertionError, KeyError, TypeError)):
        ranked(TextEmbeddingInference(base_url=server.url, auth_token=BAD_KEY))
    with pytest.raises((AssertionError, KeyError, TypeError)):
        TextEmbeddingsInference(model_name="any", base_url=server.url, auth_token=BAD_KEY).get_text_embedding(QUERY)
