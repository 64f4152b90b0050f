"""Settings for clients: the right dialect for what is there, URLs as each client builds on them, and never a key."""

from __future__ import annotations

from typing import Any

import pytest

from emberank.doctor import recipes
from emberank.doctor.access import Access
from emberank.doctor.heard import Heard
from emberank.doctor.kind import Kind
from emberank.doctor.manners import Told
from emberank.doctor.readings import Scores, Vectors
from emberank.doctor.report import Facts
from emberank.doctor.routes import EMBED_ROUTES, RANK_ROUTES
from emberank.doctor.speaking import Spoken
from emberank.doctor.verdict import Verdict

BASE = "http://h:8000"
OK = Heard(method="POST", path="/", status=200)


def facts(*names: str, kind: str = "unknown", documents: Any = "absent", open_to_all: bool = True) -> Facts:
    """A server that is right on the routes of these names."""
    rank = tuple(Verdict(route=one, path=one.path, state="right", read=Scores(entries=())) for one in RANK_ROUTES if one.name in names)
    embed = tuple(Verdict(route=one, path=one.path, state="right", read=Vectors(rows=())) for one in EMBED_ROUTES if one.name in names)
    return Facts(
        base=BASE,
        kind=Kind(name=kind),
        listed_at=("/v1/models",),
        rank=Spoken(name="acme/rank", verdicts=rank),
        embed=Spoken(name="acme/embed", verdicts=embed),
        told=(Told(path="/rerank", family="cohere", top_n=True, documents=documents),),
        access=Access(given=not open_to_all, without=OK if open_to_all else None),
    )


def text(found: Facts, client: str, task: str = "reranking", key: str = "") -> str:
    return next(one.text or one.why for one in recipes.of(found, key) if (one.client, one.task) == (client, task))


@pytest.mark.parametrize(
    ("names", "kind", "documents", "model"),
    [
        (("NIM ranking", "Cohere v2"), "unknown", "absent", "nvidia_nim/ranking/acme/rank"),
        (("Cohere v1", "Cohere v2"), "unknown", "absent", "cohere/acme/rank"),
        (("Cohere v1", "rerank"), "LiteLLM proxy", "absent", "litellm_proxy/acme/rank"),
        (("Cohere v1",), "unknown", "absent", "jina_ai/acme/rank"),
        (("rerank",), "unknown", "string", "infinity/acme/rank"),
        (("rerank",), "unknown", "object", "hosted_vllm/acme/rank"),
        (("TEI rerank",), "unknown", "absent", "huggingface/tei"),
        (("NIM hosted",), "unknown", "absent", "nvidia_nim/acme/rank"),
    ],
)
def test_litellm_gets_the_provider_whose_route_is_there(names: tuple[str, ...], kind: str, documents: str, model: str) -> None:
    found = text(facts(*names, kind=kind, documents=documents), "LiteLLM")
    assert f'litellm.rerank(model="{model}"' in found
    assert f'api_base="{BASE}"' in found
    assert f"      model: {model}\n      api_base: {BASE}\n      api_key: os.environ/RETRIEVAL_API_KEY" in found


@pytest.mark.parametrize(
    ("client", "names", "held"),
    [
        ("LangChain", ("NIM ranking",), f'NVIDIARerank(base_url="{BASE}/v1", model="acme/rank"'),
        ("LangChain", ("Cohere v2",), f'CohereRerank(base_url="{BASE}", model="acme/rank"'),
        ("LangChain", ("rerank",), "need /v1/ranking or /v2/rerank"),
        ("LlamaIndex", ("NIM ranking",), f'NVIDIARerank(base_url="{BASE}/v1"'),
        ("LlamaIndex", ("Cohere v2",), f'CohereRerank(base_url="{BASE}"'),
        ("LlamaIndex", ("TEI rerank",), f'TextEmbeddingInference(base_url="{BASE}", auth_token="Bearer "'),
        ("LlamaIndex", ("rerank",), "need /v1/ranking"),
        ("Open WebUI", ("Cohere v1", "rerank"), f"RAG_EXTERNAL_RERANKER_URL={BASE}/v1/rerank"),
        ("Open WebUI", ("NIM ranking",), "needs a route that takes `documents`"),
        ("Dify", ("Cohere v1",), f"endpoint {BASE}/v1,"),
        ("Dify", ("rerank",), f"endpoint {BASE},"),
        ("Dify", ("TEI rerank",), f"server URL {BASE}"),
        ("Dify", ("NIM ranking",), "cannot be pointed elsewhere"),
        ("RAGFlow", ("rerank",), f"base URL {BASE}/rerank"),
        ("RAGFlow", ("NIM reranking",), f"base URL {BASE}/v1/ (with the slash)"),
        ("RAGFlow", ("TEI rerank",), "it sends no key"),
        ("RAGFlow", ("score",), "providers need"),
    ],
)
def test_every_client_gets_its_url_as_it_builds_on_it(client: str, names: tuple[str, ...], held: str) -> None:
    assert held in text(facts(*names), client)


@pytest.mark.parametrize(
    ("client", "kind", "names", "held"),
    [
        ("LiteLLM", "Emberank gateway", ("OpenAI embeddings",), f'model="nvidia_nim/acme/embed", input=["…"], input_type="passage", api_base="{BASE}/v1"'),
        ("LiteLLM", "Infinity", ("embeddings",), f'model="openai/acme/embed", input=["…"], api_base="{BASE}"'),
        ("LiteLLM", "LiteLLM proxy", ("OpenAI embeddings",), 'model="litellm_proxy/acme/embed"'),
        ("LangChain", "Emberank runtime", ("OpenAI embeddings",), f'NVIDIAEmbeddings(base_url="{BASE}/v1"'),
        ("LangChain", "Infinity", ("embeddings",), "check_embedding_ctx_length=False"),
        ("LlamaIndex", "NVIDIA NIM", ("OpenAI embeddings",), f'NVIDIAEmbedding(base_url="{BASE}/v1"'),
        ("LlamaIndex", "vLLM", ("OpenAI embeddings",), f'OpenAILikeEmbedding(api_base="{BASE}/v1"'),
        ("Open WebUI", "vLLM", ("OpenAI embeddings",), f"RAG_OPENAI_API_BASE_URL={BASE}/v1"),
        ("Dify", "vLLM", ("OpenAI embeddings",), f"endpoint {BASE}/v1,"),
        ("RAGFlow", "vLLM", ("OpenAI embeddings",), f"base URL {BASE}/v1,"),
        ("RAGFlow", "unknown", ("TEI embed",), "needs /v1/embeddings"),
    ],
)
def test_embeddings_have_settings_of_their_own(client: str, kind: str, names: tuple[str, ...], held: str) -> None:
    assert held in text(facts(*names, kind=kind), client, "embeddings")


def test_the_key_is_named_by_its_variable() -> None:
    everything = facts("NIM ranking", "Cohere v1", "OpenAI embeddings", kind="Emberank gateway")
    assert 'os.environ["FORGE_API_KEY"]' in text(everything, "LangChain")
    assert 'os.environ["MY_KEY"]' in text(everything, "LangChain", key="MY_KEY")
    assert "RAG_EXTERNAL_RERANKER_API_KEY=$MY_KEY" in text(everything, "Open WebUI", key="MY_KEY")


def test_a_provider_that_sends_no_key_is_not_offered_where_one_is_needed() -> None:
    assert "without a key" in text(facts("TEI rerank", open_to_all=False), "RAGFlow")


def test_what_is_not_served_has_no_settings_and_what_is_not_reached_has_none_at_all() -> None:
    assert {one.task for one in recipes.of(facts("NIM ranking"), "")} == {"reranking"}
    assert recipes.of(Facts(base=BASE, reached=False), "") == ()
