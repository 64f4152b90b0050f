"""A subject in, how other programs are told of it out: LiteLLM's proxy, LangChain, LlamaIndex."""

from __future__ import annotations

from emberank.forge.snippets.in_python import arguments, opening
from emberank.forge.snippets.literals import python, yaml
from emberank.forge.snippets.snippet import Snippet
from emberank.forge.snippets.subject import TIMEOUT_S, UNPINNED, Subject


def config_snippets(about: Subject) -> tuple[Snippet, ...]:
    """One block a program."""
    return _litellm_proxy(about), _langchain(about), _llama_index(about)


def _litellm_proxy(about: Subject) -> Snippet:
    provider, base, pinned = "nvidia_nim/ranking", about.base, ""
    if about.task == "embed":
        provider, base = "openai", f"{about.base}/v1"
        pinned = "      extra_body:\n" + "".join(f"        {name}: {yaml(value)}\n" for name, value in about.filters.items())
    text = (
        "model_list:\n"
        f"  - model_name: {yaml(about.slug)}\n"
        "    litellm_params:\n"
        f"      model: {yaml(f'{provider}/{about.slug}')}\n"
        f"      api_base: {yaml(base)}\n"
        "      api_key: os.environ/FORGE_API_KEY\n"
        f"      timeout: {TIMEOUT_S}\n"
        f"{pinned}"
        "general_settings:\n"
        "  master_key: os.environ/LITELLM_MASTER_KEY"
    )
    route = "/rerank" if about.task == "rank" else "/v1/embeddings"
    note = f"config.yaml of the proxy, whose {route} then answers for this model: litellm --config config.yaml. LITELLM_MASTER_KEY is the key to the proxy; choose one."
    note += "" if pinned else f" {UNPINNED}"
    return Snippet(id="litellm-proxy", title="LiteLLM proxy", language="yaml", group="config", text=text, note=note)


def _langchain(about: Subject) -> Snippet:
    if about.task == "rank":
        imports = "from langchain_core.documents import Document\nfrom langchain_nvidia_ai_endpoints import NVIDIARerank"
        text = (
            f"{opening(about, imports)}\n\n"
            f'reranker = NVIDIARerank(base_url=base + "/v1", api_key=key, model={python(about.id)}, truncate="END")\n'
            f"passages = {python(about.texts)}\n"
            "ranked = reranker.compress_documents([Document(page_content=text) for text in passages], "
            f"{python(about.query)})\n"
            'print(json.dumps([{"text": one.page_content, **one.metadata} for one in ranked], indent=2))'
        )
    else:
        imports = "from langchain_nvidia_ai_endpoints import NVIDIAEmbeddings"
        text = (
            f"{opening(about, imports)}\n\n"
            f'embedder = NVIDIAEmbeddings(base_url=base + "/v1", api_key=key, model={python(about.id)}, truncate="END")\n'
            f"vectors = embedder.embed_documents({python(about.texts)})\n"
            'print(json.dumps({"vectors": len(vectors), "dimensions": len(vectors[0])}, indent=2))'
        )
    return Snippet(
        id="langchain", title="LangChain", language="python", group="config", text=text, note=f"pip install langchain-nvidia-ai-endpoints. {UNPINNED}"
    )


def _llama_index(about: Subject) -> Snippet:
    if about.task == "rank":
        imports = "from llama_index.core.schema import NodeWithScore, TextNode\nfrom llama_index.postprocessor.nvidia_rerank import NVIDIARerank"
        text = (
            f"{opening(about, imports)}\n\n"
            f'reranker = NVIDIARerank(base_url=base + "/v1", api_key=key, model={python(about.id)}, truncate="END")\n'
            f"passages = {python(about.texts)}\n"
            "ranked = reranker.postprocess_nodes(\n"
            f"    [NodeWithScore(node=TextNode(text=text)) for text in passages], query_str={python(about.query)}\n"
            ")\n"
            'print(json.dumps([{"text": one.node.get_content(), "score": one.score} for one in ranked], indent=2))'
        )
        package = "llama-index-postprocessor-nvidia-rerank. It waits 5 seconds for an answer: prewarm a model that starts slower"
    else:
        imports = "from llama_index.embeddings.nvidia import NVIDIAEmbedding"
        named = {"model": about.id, "truncate": "END"}
        text = (
            f"{opening(about, imports)}\n\n"
            "embedder = NVIDIAEmbedding(\n"
            f'    base_url=base + "/v1",\n    api_key=key,\n    timeout=timeout,\n{arguments(named)}'
            ")\n"
            f"vectors = embedder.get_text_embedding_batch({python(about.texts)})\n"
            'print(json.dumps({"vectors": len(vectors), "dimensions": len(vectors[0])}, indent=2))'
        )
        package = "llama-index-embeddings-nvidia"
    return Snippet(id="llama-index", title="LlamaIndex", language="python", group="config", text=text, note=f"pip install {package}. {UNPINNED}")
