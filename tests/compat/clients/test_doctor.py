"""`emberank doctor` at a running Emberank and at LiteLLM's proxy in front of it: what it says is so, and the settings it prints work in the clients as they stand."""

from __future__ import annotations

import importlib
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from examples import DOCUMENTS, ORDER, QUERY
from installation import DIMENSIONS, OUR_EMBED, OUR_RERANK, PYTHON, Process, Server, until

MASTER_KEY = "sk-2d7a90c4e1b86f35"
CONFIGURATION = f"""
model_list:
  - model_name: logits
    litellm_params: {{model: "nvidia_nim/ranking/{OUR_RERANK}", api_base: os.environ/BASE, api_key: os.environ/KEY}}
  - model_name: bounded
    litellm_params: {{model: "cohere/{OUR_RERANK}", api_base: os.environ/BASE, api_key: os.environ/KEY}}
  - model_name: embedder
    litellm_params: {{model: "nvidia_nim/{OUR_EMBED}", api_base: os.environ/EMBED_BASE, api_key: os.environ/KEY}}
general_settings:
  master_key: {MASTER_KEY}
litellm_settings:
  num_retries: 0
router_settings:
  num_retries: 0
"""


@pytest.fixture(scope="module")
def proxy(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """LiteLLM's proxy with one reranker by each of our scales."""
    folder = tmp_path_factory.mktemp("litellm")
    (folder / "config.yaml").write_text(CONFIGURATION, "utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    variables = {"BASE": server.url, "EMBED_BASE": f"{server.url}/v1", "KEY": server.key, "PYTHONPATH": str(Path(__file__).parent / "site")}
    words = [str(Path(sys.executable).parent / "litellm"), "--config", str(folder / "config.yaml"), "--host", "127.0.0.1", "--port", str(port)]
    process = Process(folder, words, dict(os.environ) | variables)
    try:
        until(lambda: process.ended or _alive(port), "the proxy answers", 120)
        assert not process.ended, process.output
        yield Server(port, MASTER_KEY)
    finally:
        process.end()


def _alive(port: int) -> bool:
    try:
        return Server(port, MASTER_KEY).get("/health/liveliness").status == 200
    except OSError:
        return False


def examined(server: Server, *flags: str) -> dict[str, Any]:
    """The doctor's report as JSON; no key in it."""
    words = [str(PYTHON), "-m", "emberank.cli", "doctor", server.url, "--key-env", "THE_KEY", "--json", *flags]
    done = subprocess.run(words, env=dict(os.environ) | {"THE_KEY": server.key}, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode in (0, 1), done.stderr
    assert server.key not in done.stdout + done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    assert report["status"] == done.returncode
    return report


def spoken(report: dict[str, Any], task: str) -> set[tuple[str, str]]:
    return {(route["path"], route["dialect"]) for route in report["routes"] if route["task"] == task and route["state"] == "right"}


def off(report: dict[str, Any]) -> list[str]:
    return [finding["what"] for finding in report["findings"] if finding["severity"] != "note"]


def made(text: str) -> Any:
    """What the first line of a setting evaluates to, with nothing added but the imports that its dotted name asks for."""
    line = text.splitlines()[0]
    name = re.match(r"[\w.]+", line)
    assert name
    module, _, attribute = name[0].rpartition(".")
    return eval(line.replace(f"{module}.{attribute}", attribute, 1), {attribute: getattr(importlib.import_module(module), attribute), "os": os})


def setting(report: dict[str, Any], client: str, task: str) -> str:
    return next(one["text"] for one in report["settings"] if (one["client"], one["task"]) == (client, task))


@pytest.fixture(scope="module")
def of_ours(server: Server) -> dict[str, Any]:
    return examined(server, "--timeout", "150")


@pytest.mark.claim("client:doctor:ours")
def test_it_is_right_about_our_own_server(server: Server, of_ours: dict[str, Any]) -> None:
    assert of_ours["server"]["kind"] == "Emberank gateway"
    assert off(of_ours) == []
    assert spoken(of_ours, "rank") >= {("/v1/ranking", "nim"), ("/v1/rerank", "cohere"), ("/v2/rerank", "cohere"), ("/rerank", "cohere"), ("/rerank", "tei")}
    assert spoken(of_ours, "embed") >= {("/v1/embeddings", "openai"), ("/embeddings", "openai"), ("/embed", "tei embed")}
    scales = {one["dialect"]: one["scale"] for one in of_ours["scores"]}
    assert (scales["nim"], scales["cohere"], scales["tei"]) == ("logit", "sigmoid", "sigmoid")
    assert of_ours["key"] == {"needed": True, "given": True, "accepted": True}
    assert {one["route"]: (one["most"], one["refused"]) for one in of_ours["passages"]}["/v1/ranking"] == (512, 513)


@pytest.mark.claim("client:doctor:litellm-proxy")
def test_it_is_right_about_litellm_s_proxy_whose_scores_are_those_behind_it(proxy: Server) -> None:
    report = examined(proxy, "--model", "logits")
    assert report["server"]["kind"] == "LiteLLM proxy"
    assert {path for path, _ in spoken(report, "rank")} == {"/rerank", "/v1/rerank", "/v2/rerank"}
    assert {one["scale"] for one in report["scores"]} == {"logit"}
    assert [what for what in off(report) if "gives raw logits where its clients expect scores between 0 and 1" in what]
    assert examined(proxy)["asked_for"]["rank"] in ("logits", "bounded")
    bounded = examined(proxy, "--model", "bounded")
    assert all(0 <= score <= 1 for one in bounded["scores"] for score in one["seen"])
    assert not [what for what in off(bounded) if "raw logits" in what]


@pytest.mark.claim("client:doctor:settings")
def test_the_settings_it_prints_for_litellm_work_as_they_stand(server: Server, proxy: Server, of_ours: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    litellm = importlib.import_module("litellm")
    for report, key in ((of_ours, server.key), (examined(proxy, "--model", "bounded"), proxy.key)):
        monkeypatch.setenv("THE_KEY", key)
        line = setting(report, "LiteLLM", "reranking").replace('query="…", documents=["…"]', f"query={QUERY!r}, documents={DOCUMENTS!r}")
        found = eval(line.splitlines()[0], {"litellm": litellm, "os": os})
        assert [result["index"] for result in found.results] == ORDER
    line = setting(of_ours, "LiteLLM", "embeddings").replace('input=["…"]', f"input={DOCUMENTS!r}")
    monkeypatch.setenv("THE_KEY", server.key)
    assert len(eval(line.splitlines()[0], {"litellm": litellm, "os": os}).data) == len(DOCUMENTS)


@pytest.mark.claim("client:doctor:settings")
def test_the_settings_it_prints_for_langchain_and_llama_index_work_as_they_stand(
    server: Server, proxy: Server, of_ours: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from langchain_core.documents import Document
    from llama_index.core.schema import NodeWithScore, TextNode

    for report, key in ((of_ours, server.key), (examined(proxy, "--model", "bounded"), proxy.key)):
        monkeypatch.setenv("THE_KEY", key)
        found = made(setting(report, "LangChain", "reranking")).compress_documents([Document(text) for text in DOCUMENTS], QUERY)
        assert [document.page_content for document in found] == [DOCUMENTS[i] for i in ORDER]
        ranker = made(setting(report, "LlamaIndex", "reranking"))
        nodes = ranker.postprocess_nodes([NodeWithScore(node=TextNode(text=text)) for text in DOCUMENTS], query_str=QUERY)
        assert [node.node.get_content() for node in nodes] == [DOCUMENTS[i] for i in ORDER][: len(nodes)]
    monkeypatch.setenv("THE_KEY", server.key)
    assert len(made(setting(of_ours, "LangChain", "embeddings")).embed_query(QUERY)) == DIMENSIONS
    assert len(made(setting(of_ours, "LlamaIndex", "embeddings")).get_text_embedding(QUERY)) == DIMENSIONS


@pytest.mark.claim("client:doctor:settings")
def test_the_urls_it_prints_for_apps_are_answered(server: Server, of_ours: dict[str, Any]) -> None:
    """Open WebUI posts to the very URL, Dify and RAGFlow to one made of it: the apps themselves are not Python packages."""
    lines = dict(line.split("=", 1) for line in setting(of_ours, "Open WebUI", "reranking").splitlines())
    body = {"model": lines["RAG_RERANKING_MODEL"], "query": QUERY, "documents": DOCUMENTS, "top_n": len(DOCUMENTS)}
    dify = re.search(r"endpoint (\S+),", setting(of_ours, "Dify", "reranking"))
    ragflow = re.search(r"base URL (\S+),", setting(of_ours, "RAGFlow", "reranking"))
    assert dify
    assert ragflow
    for url in (lines["RAG_EXTERNAL_RERANKER_URL"], f"{dify[1]}/rerank", ragflow[1]):
        reply = server.post(url.removeprefix(server.url), body)
        assert reply.status == 200, reply.body
        assert [result["index"] for result in reply.json["results"]] == ORDER
