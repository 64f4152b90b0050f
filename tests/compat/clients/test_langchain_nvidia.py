"""langchain-nvidia-ai-endpoints: NVIDIARerank, NVIDIAEmbeddings, their model discovery, and the package's own doctor."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
from examples import DOCUMENTS, LONG, ORDER, QUERY, Trouble, is_logit_order, is_nearest_to_query
from installation import DIMENSIONS, EMBED, EMBED_SLUG, RERANK, RERANK_SLUG, STRICT, Server
from langchain_core.documents import Document
from langchain_nvidia_ai_endpoints import NVIDIAEmbeddings, NVIDIARerank

PASSAGES = [Document(page_content=text) for text in DOCUMENTS]


def ranker(server: Server, base: str = "/v1", **more: Any) -> NVIDIARerank:
    return NVIDIARerank(**{"base_url": server.url + base, "api_key": server.key, "model": RERANK} | more)


def embedder(server: Server, **more: Any) -> NVIDIAEmbeddings:
    return NVIDIAEmbeddings(**{"base_url": f"{server.url}/v1", "api_key": server.key, "model": EMBED} | more)


def order(ranked: Any) -> list[int]:
    return [DOCUMENTS.index(document.page_content) for document in ranked]


@pytest.mark.claim("client:langchain-nvidia:rerank")
@pytest.mark.parametrize("base", ["", "/", "/v1", "/v1/"])
def test_documents_are_ranked_by_raw_logits(server: Server, base: str) -> None:
    ranked = ranker(server, base).compress_documents(PASSAGES, QUERY)
    assert order(ranked) == ORDER
    assert is_logit_order([document.metadata["relevance_score"] for document in ranked])


@pytest.mark.claim("client:langchain-nvidia:options")
def test_top_n_and_truncate_do_what_they_say(server: Server) -> None:
    assert order(ranker(server, top_n=2).compress_documents(PASSAGES, QUERY)) == ORDER[:2]
    long = [Document(page_content="retrieval " * 9_000), *PASSAGES]
    assert len(ranker(server, truncate="END").compress_documents(long, QUERY)) == 4
    with pytest.raises(Exception, match="exceeds maximum allowed token size"):
        ranker(server, truncate="NONE").compress_documents(long, QUERY)


@pytest.mark.claim("client:langchain-nvidia:options")
def test_more_documents_than_a_batch_are_merged_by_their_logits(server: Server) -> None:
    many = [Document(page_content=f"{DOCUMENTS[0]} {i}") for i in range(40)] + [PASSAGES[1]]
    ranked = ranker(server, top_n=1).compress_documents(many, QUERY)
    assert [document.page_content for document in ranked] == [DOCUMENTS[1]]


@pytest.mark.claim("client:langchain-nvidia:async")
def test_the_asynchronous_calls_rank_and_embed(server: Server) -> None:
    async def both() -> tuple[Any, Any, Any]:
        ranked = await ranker(server).acompress_documents(PASSAGES, QUERY)
        return ranked, await embedder(server).aembed_query(QUERY), await embedder(server).aembed_documents(DOCUMENTS)

    ranked, query, documents = asyncio.run(both())
    assert order(ranked) == ORDER
    assert is_nearest_to_query(query, documents)


@pytest.mark.claim("client:langchain-nvidia:embed")
def test_queries_and_documents_are_embedded(server: Server) -> None:
    assert is_nearest_to_query(embedder(server).embed_query(QUERY), embedder(server).embed_documents(DOCUMENTS))


@pytest.mark.claim("client:langchain-nvidia:embed")
def test_more_documents_than_a_batch_come_back_in_their_order(server: Server) -> None:
    vectors = embedder(server).embed_documents([*DOCUMENTS, *["filling"] * 60, DOCUMENTS[1]])
    assert vectors[-1] == pytest.approx(vectors[1], abs=1e-3)
    assert len(vectors) == 64


@pytest.mark.claim("client:langchain-nvidia:options")
def test_an_embedding_s_truncate_and_dimensions_arrive(server: Server) -> None:
    assert len(embedder(server, truncate="END").embed_query("retrieval " * 9_000)) == DIMENSIONS
    with pytest.raises(Exception, match="exceeds maximum allowed token size"):
        embedder(server).embed_query("retrieval " * 9_000)
    with pytest.raises(Exception, match="dimensions"):
        embedder(server, dimensions=16).embed_query(QUERY)  # this model's vectors cannot be cut, and nobody pretends


@pytest.mark.claim("client:langchain-nvidia:models")
def test_models_are_listed(server: Server) -> None:
    assert RERANK in [model.id for model in ranker(server).available_models]
    assert EMBED in [model.id for model in embedder(server).available_models]


@pytest.mark.claim("client:langchain-nvidia:own-base")
def test_without_a_model_the_one_of_the_base_is_discovered(server: Server) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "Default model is set as"
        one = NVIDIARerank(base_url=server.base(RERANK_SLUG), api_key=server.key)
        other = NVIDIAEmbeddings(base_url=server.base(EMBED_SLUG), api_key=server.key)
    assert (one.model, other.model) == (RERANK, EMBED)
    assert order(one.compress_documents(PASSAGES, QUERY)) == ORDER
    assert len(other.embed_query(QUERY)) == DIMENSIONS


@pytest.mark.claim("client:langchain-nvidia:models")
@pytest.mark.parametrize(("model", "capability"), [(RERANK, "ranking"), (EMBED, "embeddings")])
def test_the_package_s_doctor_finds_nothing_wrong(server: Server, model: str, capability: str) -> None:
    words = [sys.executable, "-m", "langchain_nvidia_ai_endpoints", "doctor", "--base-url", server.url, "--model", model, "--capability", capability]
    environment = dict(os.environ) | {"NVIDIA_API_KEY": server.key, "PYTHONPATH": str(Path(__file__).parent / "site")}
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, env=environment, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"OK Model metadata indicates {capability} capability" in done.stdout


@pytest.mark.claim("client:langchain-nvidia:errors")
def test_a_refusal_is_an_exception_that_says_status_and_sentence(server: Server, trouble: Trouble) -> None:
    documents = [Document(page_content=text) for text in trouble.texts]
    with pytest.raises(Exception, match=rf"\[{trouble.status}\]") as raised:
        ranker(server, model=trouble.model, api_key=trouble.key).compress_documents(documents, QUERY)
    assert ("check or regenerate your API key" in str(raised.value)) == (trouble.status == 401)
    assert len(str(raised.value)) > 20


@pytest.mark.claim("client:langchain-nvidia:errors")
def test_an_asynchronous_refusal_is_one_too(server: Server, trouble: Trouble) -> None:
    documents = [Document(page_content=text) for text in trouble.texts]
    with pytest.raises(Exception, match=rf"\[{trouble.status}\]"):
        asyncio.run(ranker(server, model=trouble.model, api_key=trouble.key).acompress_documents(documents, QUERY))


@pytest.mark.claim("client:langchain-nvidia:errors")
def test_a_422_is_one_too(server: Server) -> None:
    with pytest.raises(Exception, match=r"\[422\].*exceeds maximum allowed token size"):
        ranker(server, model=STRICT["rank"]).compress_documents([Document(page_content=LONG)], QUERY)


@pytest.mark.claim("client:langchain-nvidia:embed-errors")
def test_a_refused_embedding_is_one_too(server: Server, embed_trouble: Trouble) -> None:
    with pytest.raises(Exception, match=rf"\[{embed_trouble.status}\]"):
        embedder(server, model=embed_trouble.model, api_key=embed_trouble.key).embed_documents(embed_trouble.texts)
