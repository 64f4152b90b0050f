"""What RAG products send: their own HTTP bodies, read from their sources, and what their code reads of the answer. No package of theirs is installed.

Sources: RAGFlow b1b8cd6, dify-official-plugins 7af2283, Open WebUI's external reranker, AnythingLLM 72aabbd.
"""

from __future__ import annotations

from typing import Any

import pytest
from examples import DOCUMENTS, ORDER, QUERY, Trouble, is_logit_order, is_nearest_to_query, is_sigmoid_order
from installation import DIMENSIONS, EMBED, EMBED_SLUG, OUR_EMBED, OUR_RERANK, RERANK, RERANK_SLUG, Server


def answer(server: Server, path: str, body: dict[str, Any], headers: dict[str, str] | None = None) -> Any:
    reply = server.post(path, body, headers)
    assert reply.status == 200, reply.body
    return reply.json


def ask(**more: Any) -> dict[str, Any]:
    return {"model": OUR_RERANK, "query": QUERY, "documents": DOCUMENTS} | more


def order(rows: list[dict[str, Any]]) -> list[int]:
    return [row["index"] for row in rows]


# --- Open WebUI


@pytest.mark.claim("client:open-webui:rerank")
@pytest.mark.parametrize("path", ["/v1/rerank", "/v2/rerank", "/rerank", "//v1/rerank"])
def test_open_webui_gets_a_score_for_every_document(server: Server, path: str) -> None:
    results = answer(server, path, ask(top_n=len(DOCUMENTS)))["results"]
    scores = [row["relevance_score"] for row in sorted(results, key=lambda row: row["index"])]  # as it reads them: by position
    assert sorted(range(3), key=lambda i: -scores[i]) == ORDER


@pytest.mark.claim("client:open-webui:embed")
def test_open_webui_s_embeddings_come_in_the_order_of_the_texts(server: Server) -> None:
    body = {"input": [QUERY, *DOCUMENTS], "model": f"{OUR_EMBED}-passage"}
    query, *documents = (row["embedding"] for row in answer(server, "/v1/embeddings", body)["data"])
    assert is_nearest_to_query(query, documents)


@pytest.mark.claim("client:open-webui:errors")
def test_open_webui_s_refusal_has_its_status(server: Server, trouble: Trouble) -> None:
    reply = server.post("/v1/rerank", ask(model=trouble.model, documents=trouble.texts, top_n=3), {"Authorization": f"Bearer {trouble.key}"})
    assert reply.status == trouble.status  # it calls raise_for_status
    assert isinstance(reply.json["detail"], str)


# --- Dify's plugins


@pytest.mark.claim("client:dify:rerank")
@pytest.mark.parametrize("top_n", [0, 2, 3])
def test_dify_openai_compatible_always_sends_a_number(server: Server, top_n: int) -> None:
    results = answer(server, "/v1/rerank", ask(top_n=top_n))["results"]
    assert order(results) == ORDER[: top_n or 3]
    assert is_sigmoid_order([row["relevance_score"] for row in results])


@pytest.mark.claim("client:dify:rerank")
@pytest.mark.parametrize("path", ["/v1/rerank", "/rerank"])
def test_dify_jina_sends_null(server: Server, path: str) -> None:
    assert order(answer(server, path, ask(top_n=None, return_documents=True))["results"]) == ORDER


@pytest.mark.claim("client:dify:rerank")
@pytest.mark.parametrize("path", ["/rerank", "/v1/rerank"])
def test_dify_localai_and_gpustack_read_a_document_only_as_an_object(server: Server, path: str) -> None:
    for more in ({}, {"return_documents": True}):
        for row in answer(server, path, ask(top_n=3, **more))["results"]:
            text = row["document"]["text"] if "document" in row else DOCUMENTS[row["index"]]  # as their code has it: null or a string would break
            assert text == DOCUMENTS[row["index"]]


@pytest.mark.claim("client:dify:rerank")
def test_dify_voyage_reads_documents_as_strings_of_data(server: Server) -> None:
    data = answer(server, "/v1/rerank", ask(top_k=None, return_documents=True))["data"]
    assert [(row["index"], row["document"]) for row in data] == [(i, DOCUMENTS[i]) for i in ORDER]


@pytest.mark.claim("client:dify:rerank")
def test_dify_nvidia_reads_rankings_of_a_route_without_a_model(server: Server) -> None:
    body = {"model": RERANK, "query": {"text": QUERY}, "passages": [{"text": text} for text in DOCUMENTS], "truncate": "END"}
    assert order(answer(server, "/v1/retrieval/nvidia/reranking", body)["rankings"]) == ORDER


@pytest.mark.claim("client:dify:tei")
def test_dify_tei_asks_what_the_model_is_and_ranks_or_embeds(server: Server) -> None:
    ranker, embedder = f"/models/{RERANK_SLUG}", f"/models/{EMBED_SLUG}"
    kinds = [next(iter(server.get(f"{base}/info").json["model_type"])) for base in (ranker, embedder)]  # it reads the first key
    assert kinds == ["reranker", "embedding"]
    rows = answer(server, f"{ranker}/rerank", {"query": QUERY, "texts": DOCUMENTS, "return_text": True})
    assert [(row["index"], row["text"]) for row in rows] == [(i, DOCUMENTS[i]) for i in ORDER]
    data = answer(server, f"{embedder}/v1/embeddings", {"input": DOCUMENTS})["data"]
    assert [len(row["embedding"]) for row in data] == [DIMENSIONS] * 3


# --- RAGFlow


@pytest.mark.claim("client:ragflow:rerank")
@pytest.mark.parametrize("path", ["/v1/retrieval/nvidia/reranking", "/v1/reranking"])
def test_ragflow_nvidia_sends_a_top_n_that_nim_does_not_know(server: Server, path: str) -> None:
    body = {"model": RERANK, "query": {"text": QUERY}, "passages": [{"text": text} for text in DOCUMENTS], "truncate": "END", "top_n": 3}
    rankings = answer(server, path, body)["rankings"]
    assert order(rankings) == ORDER
    assert is_logit_order([row["logit"] for row in rankings])


@pytest.mark.claim("client:ragflow:rerank")
def test_ragflow_xinference_sends_booleans_as_strings(server: Server) -> None:
    body = ask(return_documents="true", return_len="true")
    results = answer(server, "/v1/rerank", body)["results"]
    assert [row["document"]["text"] for row in results] == [DOCUMENTS[i] for i in ORDER]


@pytest.mark.claim("client:ragflow:rerank")
def test_ragflow_s_scores_need_no_rescaling(server: Server) -> None:
    for path in ("/v1/rerank", "/rerank"):
        assert is_sigmoid_order([row["relevance_score"] for row in answer(server, path, ask(top_n=3))["results"]])


@pytest.mark.claim("client:ragflow:embed")
def test_ragflow_s_embeddings_carry_a_field_of_litellm_s(server: Server) -> None:
    body = {"input": DOCUMENTS, "model": f"{EMBED}-passage", "encoding_format": "float", "drop_params": True}
    assert [len(row["embedding"]) for row in answer(server, "/v1/embeddings", body)["data"]] == [DIMENSIONS] * 3


@pytest.mark.claim("client:ragflow:tei")
def test_ragflow_huggingface_sends_no_key_and_is_told_so(server: Server) -> None:
    # It cannot send one: such a server needs `--auth none`. Until then it gets a 401 with a sentence, and no vectors.
    for path, body in (("/embed", {"inputs": QUERY}), ("/rerank", {"query": QUERY, "texts": DOCUMENTS, "raw_scores": False, "truncate": True})):
        reply = server.post(path, body, {"Authorization": ""})
        assert reply.status == 401
        assert "key" in reply.json["message"]
        assert server.post(path, body).status == 200  # the same with one


# --- AnythingLLM


@pytest.mark.claim("client:anythingllm:embed")
def test_anythingllm_embeds_500_inputs_in_one_call_as_base64(server: Server) -> None:
    body = {"model": f"{OUR_EMBED}-passage", "input": [f"text {i}" for i in range(500)], "encoding_format": "base64"}
    data = answer(server, "/v1/embeddings", body)["data"]
    assert [row["index"] for row in data] == list(range(500))
    assert all(isinstance(row["embedding"], str) for row in data)


# --- what many of them do


@pytest.mark.claim("client:any-app:urls")
@pytest.mark.parametrize(
    "headers", [{"Authorization": "Bearer {}"}, {"Authorization": "{}"}, {"Authorization": "", "Api-Key": "{}"}, {"Authorization": "", "X-API-Key": "{}"}]
)
def test_a_key_is_read_wherever_an_app_puts_it(server: Server, headers: dict[str, str]) -> None:
    sent = {name: value.format(server.key) for name, value in headers.items()}
    assert order(answer(server, "/v1/rerank", ask(), sent)["results"]) == ORDER


@pytest.mark.claim("client:any-app:urls")
@pytest.mark.parametrize("path", ["/v1/rerank/", "/rerank/", "/v1/embeddings/", "//v1//rerank"])
def test_a_slash_too_many_is_no_redirect(server: Server, path: str) -> None:
    body = {"model": OUR_EMBED, "input": ["a"], "input_type": "query"} if "embed" in path else ask()
    assert server.post(path, body).status == 200


@pytest.mark.claim("client:any-app:own-base")
@pytest.mark.parametrize("model", [{}, {"model": None}, {"model": "default"}, {"model": RERANK}])
def test_a_model_s_own_base_needs_no_model(server: Server, model: dict[str, Any]) -> None:
    body = {"query": QUERY, "documents": DOCUMENTS} | model
    assert order(answer(server, f"/models/{RERANK_SLUG}/v1/rerank", body)["results"]) == ORDER
