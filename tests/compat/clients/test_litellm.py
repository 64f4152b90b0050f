"""LiteLLM's SDK: `rerank` and `embedding` of every provider that can be pointed at a server of one's own, and its page's examples as they stand."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import litellm
import pytest
from examples import DOCUMENTS, LONG, ORDER, QUERY, Trouble, is_logit_order, is_nearest_to_query, is_sigmoid_order
from installation import DIMENSIONS, EMBED, NOWHERE, OUR_RERANK, RERANK, RERANK_SLUG, STRICT, Server

litellm.suppress_debug_info = True
litellm.disable_hf_tokenizer_download = True  # it would fetch a tokenizer to count with

PAGE = (Path(__file__).parent / "litellm_nvidia_nim_page.md").read_text("utf-8")
# Provider and what stands behind the server's root in api_base.
COHERE_LIKE = [
    ("cohere", ""),
    ("cohere", "/v1/rerank"),
    ("jina_ai", ""),
    ("hosted_vllm", ""),
    ("hosted_vllm", "/v1"),
    ("hosted_vllm", "/v1/rerank"),
    ("infinity", "/infinity"),
    ("voyage", ""),
    ("voyage", "/v1"),
    ("litellm_proxy", ""),
]
# To reckon a price LiteLLM asks the Hub for the model's configuration, also when the server is one's own; refused, it goes on.
HUGGINGFACE = pytest.param("huggingface", "", marks=pytest.mark.tries("huggingface.co"))
# An api_base as each option of LiteLLM's page has it.
HOSTED_BASES = ["", "/", "/v1", "/v1/", f"/v1/retrieval/{RERANK}/reranking", f"/v1/retrieval/{RERANK.replace('.', '_')}/reranking"]
NAMES = [RERANK, RERANK.replace(".", "_")]
RAISED = {
    400: litellm.exceptions.BadRequestError,
    401: litellm.exceptions.AuthenticationError,
    404: litellm.exceptions.NotFoundError,
    429: litellm.exceptions.RateLimitError,
    503: litellm.exceptions.ServiceUnavailableError,
}


def ranked(response: Any) -> tuple[list[int], list[float]]:
    """Indices and scores, in the order of the answer."""
    return [result["index"] for result in response.results], [result["relevance_score"] for result in response.results]


def ask(server: Server, model: str, base: str = "", **more: Any) -> Any:
    return litellm.rerank(**{"model": model, "query": QUERY, "documents": DOCUMENTS, "api_base": server.url + base, "api_key": server.key} | more)


# --- NVIDIA NIM, both prefixes


@pytest.mark.claim("client:litellm:nim-rerank")
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("prefix", ["nvidia_nim/", "nvidia_nim/ranking/"])
def test_both_prefixes_rank_under_both_spellings(server: Server, prefix: str, name: str) -> None:
    order, scores = ranked(ask(server, prefix + name))
    assert order == ORDER
    assert is_logit_order(scores)


@pytest.mark.claim("client:litellm:nim-rerank")
def test_documents_come_back_as_they_were_sent(server: Server) -> None:
    response = ask(server, f"nvidia_nim/{RERANK}")
    assert [result["document"]["text"] for result in response.results] == [DOCUMENTS[i] for i in ORDER]


@pytest.mark.claim("client:litellm:nim-options")
@pytest.mark.parametrize("top_n", [1, 2, 3, 9])
@pytest.mark.parametrize("prefix", ["nvidia_nim/", "nvidia_nim/ranking/"])
def test_top_n_is_what_comes_back_with_both_prefixes(server: Server, prefix: str, top_n: int) -> None:
    order, _ = ranked(ask(server, prefix + RERANK, top_n=top_n))
    assert order == ORDER[:top_n]


@pytest.mark.claim("client:litellm:nim-options")
@pytest.mark.parametrize("prefix", ["nvidia_nim/", "nvidia_nim/ranking/"])
def test_truncate_end_cuts_what_none_refuses(server: Server, prefix: str) -> None:
    long = "retrieval " * 9_000
    order, _ = ranked(ask(server, prefix + RERANK, documents=[long, DOCUMENTS[0]], truncate="END"))
    assert sorted(order) == [0, 1]
    with pytest.raises(litellm.exceptions.BadRequestError, match="exceeds maximum allowed token size"):
        ask(server, prefix + RERANK, documents=[long, DOCUMENTS[0]], truncate="NONE")


@pytest.mark.claim("client:litellm:nim-options")
def test_object_documents_are_ranked_by_their_text(server: Server) -> None:
    order, _ = ranked(ask(server, f"nvidia_nim/{RERANK}", documents=[{"text": text, "title": "not sent"} for text in DOCUMENTS]))
    assert order == ORDER


@pytest.mark.claim("client:litellm:nim-urls")
@pytest.mark.parametrize("base", HOSTED_BASES)
def test_every_api_base_of_the_page_reaches_the_hosted_path(server: Server, base: str) -> None:
    assert ranked(ask(server, f"nvidia_nim/{RERANK}", base))[0] == ORDER


@pytest.mark.claim("client:litellm:nim-urls")
@pytest.mark.parametrize("base", ["", "/", "/v1", "/v1/ranking"])
def test_every_api_base_of_the_page_reaches_the_ranking_path(server: Server, base: str) -> None:
    assert ranked(ask(server, f"nvidia_nim/ranking/{RERANK}", base))[0] == ORDER


@pytest.mark.claim("client:litellm:nim-urls")
@pytest.mark.parametrize("prefix", ["nvidia_nim/", "nvidia_nim/ranking/"])
def test_base_and_key_from_the_environment_are_enough(server: Server, monkeypatch: pytest.MonkeyPatch, prefix: str) -> None:
    monkeypatch.setenv("NVIDIA_NIM_API_BASE", server.url)
    monkeypatch.setenv("NVIDIA_NIM_API_KEY", server.key)
    assert ranked(litellm.rerank(model=prefix + RERANK, query=QUERY, documents=DOCUMENTS))[0] == ORDER


@pytest.mark.claim("client:litellm:nim-async")
@pytest.mark.parametrize("prefix", ["nvidia_nim/", "nvidia_nim/ranking/"])
def test_arerank_ranks_with_both_prefixes(server: Server, prefix: str) -> None:
    call = litellm.arerank(model=prefix + RERANK, query=QUERY, documents=DOCUMENTS, top_n=2, api_base=server.url, api_key=server.key)
    assert ranked(asyncio.run(call))[0] == ORDER[:2]


@pytest.mark.claim("client:litellm:nim-errors")
@pytest.mark.parametrize("prefix", ["nvidia_nim/", "nvidia_nim/ranking/"])
def test_a_refusal_by_nim_s_paths_is_litellm_s_exception(server: Server, trouble: Trouble, prefix: str) -> None:
    with pytest.raises(RAISED[trouble.status]) as raised:
        ask(server, prefix + trouble.model, documents=trouble.texts, api_key=trouble.key)
    assert raised.value.status_code == trouble.status


@pytest.mark.claim("client:litellm:nim-errors")
@pytest.mark.parametrize("prefix", ["nvidia_nim/", "nvidia_nim/ranking/"])
def test_a_422_is_litellm_s_bad_request(server: Server, prefix: str) -> None:
    with pytest.raises(litellm.exceptions.BadRequestError) as raised:
        ask(server, prefix + STRICT["rank"], documents=[LONG])
    assert "exceeds maximum allowed token size" in str(raised.value)


@pytest.mark.claim("client:litellm:own-base")
@pytest.mark.parametrize("model", [f"nvidia_nim/{RERANK}", f"nvidia_nim/ranking/{RERANK}", "cohere/default", "hosted_vllm/default", "voyage/default"])
def test_a_model_s_own_base_is_an_api_base(server: Server, model: str) -> None:
    assert ranked(ask(server, model, f"/models/{RERANK_SLUG}"))[0] == ORDER


@pytest.mark.claim("client:litellm:nim-examples")
@pytest.mark.parametrize("example", re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL), ids=lambda text: text.split('model="')[1].split('"')[0])
def test_the_page_s_python_examples_run_as_they_stand(
    server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], example: str
) -> None:
    monkeypatch.setenv("NVIDIA_NIM_API_BASE", server.url)
    monkeypatch.setenv("NVIDIA_NIM_API_KEY", server.key)
    # The page's two stand-ins, for a key and for a host, are the only words changed.
    text = example.replace("nvapi-...", server.key).replace("https://your-custom-endpoint.com", server.url)
    names: dict[str, Any] = {"litellm": litellm}
    exec(compile(text, "page", "exec"), names)
    results = names["response"].results
    assert [result["relevance_score"] for result in results] == sorted((result["relevance_score"] for result in results), reverse=True)
    if "H100 SXM" in example:
        assert results[0]["index"] == 2  # as the page prints it
        assert "Accelerated servers with H100" in capsys.readouterr().out


# --- the other rerank providers


@pytest.mark.claim("client:litellm:rerank")
@pytest.mark.parametrize(("provider", "base"), COHERE_LIKE)
def test_a_provider_ranks_with_scores_from_0_to_1(server: Server, provider: str, base: str) -> None:
    order, scores = ranked(ask(server, f"{provider}/{OUR_RERANK}", base))
    assert order == ORDER
    assert is_sigmoid_order(scores)


@pytest.mark.claim("client:litellm:options")
@pytest.mark.parametrize(("provider", "base"), [*COHERE_LIKE, HUGGINGFACE])
def test_a_provider_s_top_n_is_what_comes_back(server: Server, provider: str, base: str) -> None:
    model = "huggingface/tei" if provider == "huggingface" else f"{provider}/{OUR_RERANK}"
    order, _ = ranked(ask(server, model, base, top_n=2))
    assert order == ORDER[:2]


@pytest.mark.claim("client:litellm:options")
@pytest.mark.parametrize(("provider", "base"), [("cohere", ""), ("jina_ai", ""), ("hosted_vllm", ""), ("voyage", ""), ("infinity", "/infinity")])
def test_a_provider_s_documents_come_back_when_they_are_asked_for(server: Server, provider: str, base: str) -> None:
    response = ask(server, f"{provider}/{OUR_RERANK}", base, return_documents=True)
    assert [result["document"]["text"] for result in response.results] == [DOCUMENTS[i] for i in ORDER]


@pytest.mark.claim("client:litellm:options")
@pytest.mark.parametrize(("provider", "base"), [("cohere", ""), ("jina_ai", ""), ("hosted_vllm", ""), ("infinity", "")])
def test_a_provider_s_documents_stay_away_when_they_are_not(server: Server, provider: str, base: str) -> None:
    response = ask(server, f"{provider}/{OUR_RERANK}", base, return_documents=False)
    assert [result.get("document") for result in response.results] == [None] * 3


@pytest.mark.claim("client:litellm:options")
def test_cohere_s_limits_on_long_documents_are_taken(server: Server) -> None:
    long = [f"{DOCUMENTS[1]} {'and so on ' * 400}", DOCUMENTS[0]]
    for limit in ({"max_tokens_per_doc": 256}, {"max_chunks_per_doc": 2}):
        assert ranked(ask(server, f"cohere/{OUR_RERANK}", documents=long, **limit))[0] == [0, 1]


@pytest.mark.claim("client:litellm:rerank")
@pytest.mark.tries("huggingface.co")
def test_huggingface_reads_a_bare_array(server: Server) -> None:
    order, scores = ranked(ask(server, "huggingface/tei"))
    assert order == ORDER
    assert is_sigmoid_order(scores)


@pytest.mark.claim("client:litellm:async")
@pytest.mark.parametrize(("provider", "base"), [*COHERE_LIKE, HUGGINGFACE])
def test_a_provider_s_arerank_ranks(server: Server, provider: str, base: str) -> None:
    model = "huggingface/tei" if provider == "huggingface" else f"{provider}/{OUR_RERANK}"
    call = litellm.arerank(model=model, query=QUERY, documents=DOCUMENTS, top_n=2, api_base=server.url + base, api_key=server.key)
    assert ranked(asyncio.run(call))[0] == ORDER[:2]


@pytest.mark.claim("client:litellm:errors")
@pytest.mark.parametrize(("provider", "base"), [("cohere", ""), ("jina_ai", ""), ("hosted_vllm", "/v1"), ("infinity", "/infinity"), ("voyage", "")])
def test_a_provider_s_refusal_is_litellm_s_exception(server: Server, trouble: Trouble, provider: str, base: str) -> None:
    with pytest.raises(RAISED[trouble.status]) as raised:
        ask(server, f"{provider}/{trouble.model}", base, documents=trouble.texts, api_key=trouble.key)
    assert raised.value.status_code == trouble.status


# --- embeddings


@pytest.mark.claim("client:litellm:embed")
@pytest.mark.parametrize(("provider", "base"), [("nvidia_nim", "/v1"), ("openai", "/v1"), ("litellm_proxy", "/v1"), ("infinity", ""), ("infinity", "/v1")])
def test_embeddings_put_the_documents_into_their_order(server: Server, provider: str, base: str) -> None:
    said = {"input_type": "passage"} if provider == "nvidia_nim" else {}
    response = litellm.embedding(
        model=f"{provider}/{EMBED}", input=[QUERY, *DOCUMENTS], api_base=server.url + base, api_key=server.key, **({"input_type": "passage"} | said)
    )
    query, *documents = (row["embedding"] for row in response.data)
    assert len(query) == DIMENSIONS
    assert is_nearest_to_query(query, documents)
    assert response.usage.total_tokens > 0


@pytest.mark.claim("client:litellm:async")
def test_aembedding_embeds(server: Server) -> None:
    call = litellm.aembedding(model=f"nvidia_nim/{EMBED}", input=DOCUMENTS, input_type="passage", api_base=f"{server.url}/v1", api_key=server.key)
    assert [len(row["embedding"]) for row in asyncio.run(call).data] == [DIMENSIONS] * 3


@pytest.mark.claim("client:litellm:embed-options")
def test_nvidia_nim_s_own_embedding_fields_arrive(server: Server) -> None:
    def embed(**more: Any) -> Any:
        given = {"model": f"nvidia_nim/{EMBED}", "input": ["retrieval " * 9_000], "api_base": f"{server.url}/v1", "api_key": server.key}
        return litellm.embedding(**given | {"input_type": "query"} | more)

    assert len(embed(truncate="END").data[0]["embedding"]) == DIMENSIONS
    with pytest.raises(litellm.exceptions.BadRequestError, match="exceeds maximum allowed token size"):
        embed(truncate="NONE")


@pytest.mark.claim("client:litellm:embed-errors")
def test_a_refused_embedding_is_litellm_s_exception(server: Server, embed_trouble: Trouble) -> None:
    model = NOWHERE["retried"] if embed_trouble.status == 503 else embed_trouble.model
    with pytest.raises(RAISED[embed_trouble.status]):
        litellm.embedding(
            model=f"nvidia_nim/{model}",
            input=embed_trouble.texts,
            input_type="passage",
            api_base=f"{server.url}/v1",
            api_key=embed_trouble.key,
            max_retries=0,
        )
