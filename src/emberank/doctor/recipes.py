"""Facts in, settings for LiteLLM, LangChain, LlamaIndex, Open WebUI, Dify and RAGFlow out, for the dialect that each should use here. Pure.

How each client builds its URLs from a base was measured on the clients themselves. A key stands in no setting: only the variable it is in.
"""

from __future__ import annotations

from emberank.doctor.kind import LITELLM
from emberank.doctor.report import Facts, Recipe

_RANK, _EMBED = "reranking", "embeddings"


def of(facts: Facts, key_name: str) -> tuple[Recipe, ...]:
    """For every client and each task that is served; with the reason where a client cannot be used."""
    if not facts.reached:
        return ()
    key = key_name or ("FORGE_API_KEY" if facts.kind.name.startswith("Emberank") else "RETRIEVAL_API_KEY")
    found: list[Recipe] = []
    if facts.rank.best is not None:
        model = facts.rank.name or "MODEL"
        found += [write(facts, model, key) for write in (_litellm, _langchain, _llama_index, _open_webui, _dify, _ragflow)]
    if facts.embed.best is not None:
        model = facts.embed.name or "MODEL"
        found += [write(facts, model, key) for write in (_litellm_embed, _langchain_embed, _llama_index_embed, _open_webui_embed, _dify_embed, _ragflow_embed)]
    return tuple(found)


def _litellm(facts: Facts, model: str, key: str) -> Recipe:
    choices = [
        # A proxy's own routes take the key and the names of the proxy, and give back what stands behind it.
        (facts.kind.name == LITELLM, f"litellm_proxy/{model}"),
        (facts.rank.at("/v1/ranking") is not None, f"nvidia_nim/ranking/{model}"),
        (facts.rank.at("/v2/rerank") is not None, f"cohere/{model}"),
        (facts.rank.at("/v1/rerank") is not None, f"jina_ai/{model}"),
        (facts.rank.at("/rerank") is not None, f"{_plain_rerank(facts)}/{model}"),
        # The name would have LiteLLM fetch a tokenizer from the hub when it holds "llama-3".
        (facts.rank.in_family("tei") is not None, "huggingface/tei"),
        (facts.rank.at("/v1/retrieval/{model}/reranking") is not None, f"nvidia_nim/{model}"),
    ]
    name = next((name for holds, name in choices if holds), None)
    if name is None:
        return Recipe(client="LiteLLM", task=_RANK, why="it speaks none of the routes that are here")
    return Recipe(client="LiteLLM", task=_RANK, text=_litellm_text("rerank(", ', query="…", documents=["…"], top_n=3', name, facts.base, model, key))


def _plain_rerank(facts: Facts) -> str:
    """Infinity gives documents back as strings, which LiteLLM's infinity alone reads; vLLM and LocalAI give objects."""
    told = next((one for one in facts.told if (one.path, one.family) == ("/rerank", "cohere")), None)
    return "infinity" if told is not None and told.documents == "string" else "hosted_vllm"


def _litellm_text(call: str, rest: str, name: str, base: str, model: str, key: str) -> str:
    alias = model.rpartition("/")[2]
    return "\n".join(
        (
            f'litellm.{call}model="{name}"{rest}, api_base="{base}", api_key=os.environ["{key}"])',
            "# the proxy's config.yaml:",
            "model_list:",
            f"  - model_name: {alias}",
            "    litellm_params:",
            f"      model: {name}",
            f"      api_base: {base}",
            f"      api_key: os.environ/{key}",
        )
    )


def _langchain(facts: Facts, model: str, key: str) -> Recipe:
    if facts.rank.at("/v1/ranking") is not None:
        text = f'langchain_nvidia_ai_endpoints.NVIDIARerank(base_url="{facts.base}/v1", model="{model}", api_key=os.environ["{key}"])'
        return Recipe(client="LangChain", task=_RANK, text=text)
    if facts.rank.at("/v2/rerank") is not None:
        text = f'langchain_cohere.CohereRerank(base_url="{facts.base}", model="{model}", cohere_api_key=os.environ["{key}"])'
        return Recipe(client="LangChain", task=_RANK, text=text)
    return Recipe(client="LangChain", task=_RANK, why="its classes need /v1/ranking or /v2/rerank")


def _llama_index(facts: Facts, model: str, key: str) -> Recipe:
    at = "llama_index.postprocessor"
    if facts.rank.at("/v1/ranking") is not None and "/v1/models" in facts.listed_at:
        text = f'{at}.nvidia_rerank.NVIDIARerank(base_url="{facts.base}/v1", model="{model}", api_key=os.environ["{key}"])'
    elif facts.rank.at("/v2/rerank") is not None:
        text = f'{at}.cohere_rerank.CohereRerank(base_url="{facts.base}", model="{model}", api_key=os.environ["{key}"])'
    elif facts.rank.in_family("tei") is not None:
        # It sends its token as it is, without the word Bearer.
        text = f'{at}.tei_rerank.TextEmbeddingInference(base_url="{facts.base}", auth_token="Bearer " + os.environ["{key}"])'
    else:
        return Recipe(client="LlamaIndex", task=_RANK, why="its classes need /v1/ranking with /v1/models, /v2/rerank, or TEI's /rerank")
    return Recipe(client="LlamaIndex", task=_RANK, text=text)


def _open_webui(facts: Facts, model: str, key: str) -> Recipe:
    """It posts to the URL as it is written, and needs every document back."""
    found = facts.rank.at("/v1/rerank", "/v2/rerank", "/rerank")
    if found is None:
        return Recipe(client="Open WebUI", task=_RANK, why="its external reranker needs a route that takes `documents`")
    lines = (
        "RAG_RERANKING_ENGINE=external",
        f"RAG_EXTERNAL_RERANKER_URL={facts.base}{found.path}",
        f"RAG_EXTERNAL_RERANKER_API_KEY=${key}",
        f"RAG_RERANKING_MODEL={model}",
    )
    return Recipe(client="Open WebUI", task=_RANK, text="\n".join(lines))


def _dify(facts: Facts, model: str, key: str) -> Recipe:
    found = facts.rank.at("/v1/rerank", "/v2/rerank", "/rerank")
    if found is not None:
        base = f"{facts.base}{found.path.removesuffix('/rerank')}"  # the plugin puts /rerank behind it
        return Recipe(client="Dify", task=_RANK, text=f"provider OpenAI-API-compatible, type rerank, model {model}, endpoint {base}, key: that of ${key}")
    if facts.rank.in_family("tei") is not None:
        return Recipe(client="Dify", task=_RANK, text=f"provider Text Embedding Inference, type rerank, model {model}, server URL {facts.base}")
    return Recipe(client="Dify", task=_RANK, why="its providers need a route that ends in /rerank; the NVIDIA one cannot be pointed elsewhere")


def _ragflow(facts: Facts, model: str, key: str) -> Recipe:
    found = facts.rank.at("/v1/rerank", "/v2/rerank", "/rerank")
    if found is not None:
        return Recipe(
            client="RAGFlow",
            task=_RANK,
            text=f"provider OpenAI-API-Compatible, type rerank, model {model}, base URL {facts.base}{found.path}, key: that of ${key}",
        )
    if facts.rank.at("/v1/reranking") is not None:
        text = f"provider NVIDIA, type rerank, model {model}, base URL {facts.base}/v1/ (with the slash), key: that of ${key}"
        return Recipe(client="RAGFlow", task=_RANK, text=text)
    if facts.rank.in_family("tei") is not None and facts.access is not None and facts.access.open:
        return Recipe(client="RAGFlow", task=_RANK, text=f"provider HuggingFace, type rerank, model {model}, base URL {facts.base}; it sends no key")
    return Recipe(client="RAGFlow", task=_RANK, why="its providers need /v1/rerank, /v1/reranking, or TEI's /rerank without a key")


def _openai_base(facts: Facts) -> str | None:
    """What OpenAI's SDK puts /embeddings behind."""
    found = facts.embed.at("/v1/embeddings", "/embeddings")
    return None if found is None else f"{facts.base}{found.path.removesuffix('/embeddings')}"


def _litellm_embed(facts: Facts, model: str, key: str) -> Recipe:
    base = _openai_base(facts)
    if base is None:
        return Recipe(client="LiteLLM", task=_EMBED, why="it needs /v1/embeddings or /embeddings")
    provider, fields = ("nvidia_nim", ', input_type="passage"') if facts.embed.at("/v1/embeddings") is not None and _is_nim(facts) else ("openai", "")
    provider = "litellm_proxy" if facts.kind.name == LITELLM else provider
    return Recipe(client="LiteLLM", task=_EMBED, text=_litellm_text("embedding(", f', input=["…"]{fields}', f"{provider}/{model}", base, model, key))


def _is_nim(facts: Facts) -> bool:
    return facts.kind.name.startswith("Emberank") or facts.kind.name == "NVIDIA NIM"


def _langchain_embed(facts: Facts, model: str, key: str) -> Recipe:
    base = _openai_base(facts)
    if base is None:
        return Recipe(client="LangChain", task=_EMBED, why="its classes need /v1/embeddings or /embeddings")
    text = f'langchain_nvidia_ai_endpoints.NVIDIAEmbeddings(base_url="{base}", model="{model}", api_key=os.environ["{key}"])'
    if not _is_nim(facts):
        # By default it sends token ids, which only OpenAI itself takes.
        text = f'langchain_openai.OpenAIEmbeddings(base_url="{base}", model="{model}", api_key=os.environ["{key}"], check_embedding_ctx_length=False)'
    return Recipe(client="LangChain", task=_EMBED, text=text)


def _llama_index_embed(facts: Facts, model: str, key: str) -> Recipe:
    base = _openai_base(facts)
    if base is None:
        return Recipe(client="LlamaIndex", task=_EMBED, why="its classes need /v1/embeddings or /embeddings")
    text = f'llama_index.embeddings.nvidia.NVIDIAEmbedding(base_url="{base}", model="{model}", api_key=os.environ["{key}"])'
    if not _is_nim(facts):
        text = f'llama_index.embeddings.openai_like.OpenAILikeEmbedding(api_base="{base}", model_name="{model}", api_key=os.environ["{key}"])'
    return Recipe(client="LlamaIndex", task=_EMBED, text=text)


def _open_webui_embed(facts: Facts, model: str, key: str) -> Recipe:
    base = _openai_base(facts)
    if base is None:
        return Recipe(client="Open WebUI", task=_EMBED, why="it needs /v1/embeddings or /embeddings")
    lines = ("RAG_EMBEDDING_ENGINE=openai", f"RAG_OPENAI_API_BASE_URL={base}", f"RAG_OPENAI_API_KEY=${key}", f"RAG_EMBEDDING_MODEL={model}")
    return Recipe(client="Open WebUI", task=_EMBED, text="\n".join(lines))


def _dify_embed(facts: Facts, model: str, key: str) -> Recipe:
    base = _openai_base(facts)
    if base is None:
        return Recipe(client="Dify", task=_EMBED, why="it needs /v1/embeddings or /embeddings")
    return Recipe(client="Dify", task=_EMBED, text=f"provider OpenAI-API-compatible, type text embedding, model {model}, endpoint {base}, key: that of ${key}")


def _ragflow_embed(facts: Facts, model: str, key: str) -> Recipe:
    base = _openai_base(facts)
    if base is None:
        return Recipe(client="RAGFlow", task=_EMBED, why="it needs /v1/embeddings or /embeddings")
    return Recipe(client="RAGFlow", task=_EMBED, text=f"provider OpenAI-API-Compatible, type embedding, model {model}, base URL {base}, key: that of ${key}")
