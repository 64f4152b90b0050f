"""Where a remote version's calls go: LiteLLM's rules, name by name, and what is no name."""

from __future__ import annotations

import pytest

from emberank.contract.errors import SettingError
from emberank.forge.remote_names import base_of, host_of, is_hosted_by_nvidia, is_remote, kind_of, remote_of

LLAMA, DOTTED = "nvidia/llama-3_2-nv-rerankqa-1b-v2", "nvidia/llama-3.2-nv-rerankqa-1b-v2"
HOSTED = f"https://ai.api.nvidia.com/v1/retrieval/{LLAMA}/reranking"
CUSTOM = "https://your-custom-endpoint.com"


@pytest.mark.parametrize(
    ("source", "api_base", "url", "model"),
    [
        # LiteLLM's page (https://docs.litellm.ai/docs/providers/nvidia_nim_rerank), example by example
        (f"nvidia_nim/{LLAMA}", "", HOSTED, DOTTED),
        (f"nvidia_nim/{LLAMA}", "https://ai.api.nvidia.com", HOSTED, DOTTED),
        ("nvidia_nim/ranking/nvidia/llama-3.2-nv-rerankqa-1b-v2", "", "https://ai.api.nvidia.com/v1/ranking", DOTTED),
        ("nvidia_nim/nvidia/model-name", "", "https://ai.api.nvidia.com/v1/retrieval/nvidia/model-name/reranking", "nvidia/model-name"),
        ("nvidia_nim/ranking/nvidia/model-name", "", "https://ai.api.nvidia.com/v1/ranking", "nvidia/model-name"),
        (f"nvidia_nim/{LLAMA}", CUSTOM, f"{CUSTOM}/v1/retrieval/{LLAMA}/reranking", DOTTED),
        (f"nvidia_nim/{LLAMA}", f"{CUSTOM}/v1/retrieval/{LLAMA}/reranking", f"{CUSTOM}/v1/retrieval/{LLAMA}/reranking", DOTTED),
        # what its code does beyond the page
        (f"nvidia_nim/{LLAMA}", f"{CUSTOM}/", f"{CUSTOM}/v1/retrieval/{LLAMA}/reranking", DOTTED),
        (f"nvidia_nim/{LLAMA}", f"{CUSTOM}/v1", f"{CUSTOM}/v1/retrieval/{LLAMA}/reranking", DOTTED),
        (f"nvidia_nim/{LLAMA}", f"{CUSTOM}/v1/", f"{CUSTOM}/v1/retrieval/{LLAMA}/reranking", DOTTED),
        (f"nvidia_nim/{DOTTED}", CUSTOM, f"{CUSTOM}/v1/retrieval/{DOTTED}/reranking", DOTTED),
        (f"nvidia_nim/{LLAMA}", f"{CUSTOM}/v1/ranking", f"{CUSTOM}/v1/ranking/v1/retrieval/{LLAMA}/reranking", DOTTED),
        (f"nvidia_nim/ranking/{LLAMA}", f"{CUSTOM}/v1", f"{CUSTOM}/v1/ranking", DOTTED),
        (f"nvidia_nim/ranking/{LLAMA}", f"{CUSTOM}/v1/ranking/", f"{CUSTOM}/v1/ranking", DOTTED),
        (f"nvidia_nim/ranking/{LLAMA}", f"{CUSTOM}/nim/ranking", f"{CUSTOM}/nim/ranking", DOTTED),
        (f"nvidia_nim/ranking/{LLAMA}", "http://127.0.0.1:8000", "http://127.0.0.1:8000/v1/ranking", DOTTED),
        ("nvidia_nim/nvidia/reranking", "", "https://ai.api.nvidia.com/v1/retrieval/nvidia/reranking/reranking", "nvidia/reranking"),
        # Cohere's relatives
        ("cohere:https://api.cohere.com", "", "https://api.cohere.com/v1/rerank", ""),
        ("cohere:https://api.cohere.com/v2/rerank", "", "https://api.cohere.com/v2/rerank", ""),
        ("cohere:https://api.jina.ai/v1", "", "https://api.jina.ai/v1/rerank", ""),
        ("cohere:https://api.jina.ai/v2/", "", "https://api.jina.ai/v2/rerank", ""),
        ("cohere:http://vllm:8000/rerank", "", "http://vllm:8000/rerank", ""),
        ("cohere:http://proxy:4000/team/", "", "http://proxy:4000/team/v1/rerank", ""),
        ("cohere:https://rerank.example", "", "https://rerank.example/v1/rerank", ""),
    ],
)
def test_a_reranker_s_name_is_a_url_and_a_name_in_the_body(source: str, api_base: str, url: str, model: str) -> None:
    remote = remote_of(source, "rank", api_base)
    assert (remote.origin + remote.path, remote.model) == (url, model)
    assert "/" not in remote.origin.partition("://")[2]
    assert not remote.has_health, "a server that charges is not asked for its health"
    assert remote.dialect == ("cohere" if source.startswith("cohere:") else "nim")


@pytest.mark.parametrize(
    ("api_base", "url"),
    [
        ("", "https://integrate.api.nvidia.com/v1/embeddings"),
        ("http://nim:8000", "http://nim:8000/v1/embeddings"),
        ("http://nim:8000/v1/", "http://nim:8000/v1/embeddings"),
        ("http://nim:8000/x/embeddings", "http://nim:8000/x/embeddings"),
    ],
)
def test_an_embedder_s_name_is_openai_s_route_and_the_name_unchanged(api_base: str, url: str) -> None:
    remote = remote_of("nvidia_nim/nvidia/nv_embed-v1", "embed", api_base)
    assert (remote.origin + remote.path, remote.model, remote.dialect) == (url, "nvidia/nv_embed-v1", "nim")


def test_a_nim_of_one_s_own_keeps_its_path_and_is_asked_for_its_health() -> None:
    remote = remote_of("nim:http://nim.internal:8000/base/", "rank")
    assert (remote.origin, remote.path, remote.model, remote.has_health) == ("http://nim.internal:8000/base", "", "", True)


@pytest.mark.parametrize("source", ["preset:x", "hf:org/name", "file:/x", "pypi:a==1#b", "nvidia_nim:x", "cohere/x"])
def test_what_is_fetched_and_started_here_is_not_remote(source: str) -> None:
    assert not is_remote(source)
    assert kind_of(source) is None
    with pytest.raises(SettingError, match="names no server"):
        remote_of(source, "rank")


@pytest.mark.parametrize(
    ("source", "task", "api_base", "said"),
    [
        ("nvidia_nim/", "rank", "", "names no model"),
        ("nvidia_nim/ranking/", "rank", "", "names no model"),
        ("nvidia_nim/../x", "rank", "", "names no model"),
        ("nvidia_nim/a//b", "rank", "", "names no model"),
        ("nvidia_nim/a?b", "rank", "", "names no model"),
        ("nvidia_nim/ranking/nvidia/x", "embed", "", "leave ranking/ out"),
        ("nvidia_nim/nvidia/x", "rank", "nim.internal:8000", "api_base is 'nim.internal:8000': it has to be a URL"),
        ("nvidia_nim/nvidia/x", "rank", "https://user:pass@nim", "without a user name"),
        ("nvidia_nim/nvidia/x", "rank", "https://nim/?key=1", "a query"),
        ("nvidia_nim/nvidia/x", "rank", "file:///etc/passwd", "it has to be a URL"),
        ("cohere:api.cohere.com", "rank", "", "cohere:https://host"),
        ("cohere:https://host:99999", "rank", "", "cohere:https://host"),
        ("cohere:https://h/rerank#x", "rank", "", "cohere:https://host"),
        ("cohere:https://api.cohere.com", "embed", "", "is for rerankers"),
        ("nim:", "rank", "", "has to be nim:http://host:port"),
    ],
)
def test_what_is_no_name_is_refused_with_what_would_be_right(source: str, task: str, api_base: str, said: str) -> None:
    with pytest.raises(SettingError) as refused:
        remote_of(source, task, api_base)  # type: ignore[arg-type]
    assert said in refused.value.message


def test_the_base_is_the_version_s_then_the_environment_s_then_nvidia_s() -> None:
    source = "nvidia_nim/nvidia/x"
    assert base_of(source, "rank", "http://own", "http://env") == "http://own"
    assert base_of(source, "rank", "", "http://env") == "http://env"
    assert base_of(source, "rank", "", "") == "https://ai.api.nvidia.com"
    assert base_of(source, "embed", "", "") == "https://integrate.api.nvidia.com"
    assert base_of("cohere:https://x", "rank", "", "http://env") == ""


def test_what_is_shown_of_a_server_is_its_host() -> None:
    assert host_of("nim:http://nim.internal:8000/secret-path") == "nim.internal:8000"
    assert host_of("cohere:https://api.cohere.com/v2/rerank") == "api.cohere.com"
    assert host_of("nvidia_nim/nvidia/x", "https://nim.example/v1") == "nim.example"
    assert host_of("nvidia_nim/nvidia/x") == "ai.api.nvidia.com"
    assert host_of("nim:http://[::1") == ""


def test_only_nvidia_s_own_servers_count_as_theirs() -> None:
    assert is_hosted_by_nvidia("nvidia_nim/nvidia/x", "https://ai.api.nvidia.com/v1")
    assert is_hosted_by_nvidia("nvidia_nim/nvidia/x", "https://integrate.api.nvidia.com")
    assert not is_hosted_by_nvidia("nvidia_nim/nvidia/x", "https://api.nvidia.com.evil.example")
    assert not is_hosted_by_nvidia("cohere:https://ai.api.nvidia.com", "")
