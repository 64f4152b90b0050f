"""LiteLLM's proxy as a process of its own, started with its page's configurations: `/rerank` in every form, and the NIM passthrough."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import litellm
import pytest
from examples import BAD_KEY, DOCUMENTS, ORDER, QUERY, is_logit_order
from installation import EMBED, RERANK, Server
from litellm_process import litellm_proxy

PAGE = (Path(__file__).parent / "litellm_nvidia_nim_page.md").read_text("utf-8")
CONFIGURATIONS = re.findall(r"```yaml\nmodel_list:\n(.*?)```", PAGE, re.DOTALL)
REQUESTS = re.findall(r"```sh\n(curl .*?)```", PAGE, re.DOTALL)
MASTER_KEY = "sk-1234"  # the page's
# The page's two model lists in one file, and beside them what it does not have: an embedder, and a deployment for a key that we do not know.
MORE = f"""
  - model_name: nvidia-embed
    litellm_params:
      model: nvidia_nim/{EMBED}
      api_base: os.environ/EMBED_BASE
      api_key: os.environ/NVIDIA_NIM_API_KEY
  - model_name: locked-out
    litellm_params:
      model: nvidia_nim/{RERANK}
      api_key: {BAD_KEY}
  - model_name: unknown-model
    litellm_params:
      model: nvidia_nim/nobody/nothing-here
      api_key: os.environ/NVIDIA_NIM_API_KEY
general_settings:
  master_key: {MASTER_KEY}
  dangerously_permit_weak_or_unset_master_key: true  # LiteLLM 1.106 does not start with the page's key without this
litellm_settings:
  num_retries: 0
router_settings:
  num_retries: 0
"""


@pytest.fixture(scope="module")
def proxy(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """`litellm --config …`, ready."""
    folder = tmp_path_factory.mktemp("litellm")
    configuration = "model_list:\n" + "".join(CONFIGURATIONS) + MORE
    settings = {"NVIDIA_NIM_API_BASE": server.url, "NVIDIA_NIM_API_KEY": server.key, "EMBED_BASE": f"{server.url}/v1"}
    with litellm_proxy(folder, configuration, MASTER_KEY, settings) as running:
        yield running


def results(reply: Any) -> list[int]:
    assert reply.status == 200, reply.body
    return [result["index"] for result in reply.json["results"]]


def body(model: str = "nvidia-rerank", **more: Any) -> dict[str, Any]:
    return {"model": model, "query": QUERY, "documents": DOCUMENTS} | more


@pytest.mark.claim("client:litellm-proxy:examples")
@pytest.mark.parametrize("command", REQUESTS, ids=lambda command: re.findall(r'"model": "(.*?)"', command)[0])
def test_the_page_s_requests_run_as_they_stand_on_the_page_s_configurations(proxy: Server, command: str) -> None:
    assert shutil.which("curl"), "the page's commands are curl's"
    run = command.replace("http://0.0.0.0:4000", proxy.url)  # the port alone is not the page's
    done = subprocess.run(["bash", "-c", run], capture_output=True, text=True, timeout=60, check=True)
    answer = json.loads(done.stdout)
    assert len(answer["results"]) == 2, done.stdout
    if "H100" in command:
        assert answer["results"][0]["index"] == 0


@pytest.mark.claim("client:litellm-proxy:rerank")
@pytest.mark.parametrize("model", ["nvidia-rerank", "nvidia-ranking"])
@pytest.mark.parametrize("path", ["/rerank", "/v1/rerank", "/v2/rerank"])
def test_the_proxy_s_rerank_routes_rank_with_both_prefixes(proxy: Server, path: str, model: str) -> None:
    reply = proxy.post(path, body(model))
    assert results(reply) == ORDER
    assert is_logit_order([result["relevance_score"] for result in reply.json["results"]])


@pytest.mark.claim("client:litellm-proxy:options")
@pytest.mark.parametrize("model", ["nvidia-rerank", "nvidia-ranking"])
def test_top_n_and_documents_pass_through_the_proxy(proxy: Server, model: str) -> None:
    reply = proxy.post("/rerank", body(model, top_n=2, return_documents=True))
    assert results(reply) == ORDER[:2]
    assert [result["document"]["text"] for result in reply.json["results"]] == [DOCUMENTS[i] for i in ORDER[:2]]


@pytest.mark.claim("client:litellm-proxy:passthrough")
@pytest.mark.parametrize("group", ["nvidia-rerank", "nvidia-ranking"])
def test_the_nim_passthrough_relays_a_native_ranking(proxy: Server, group: str) -> None:
    native = {"model": "anything", "query": {"text": QUERY}, "passages": [{"text": text} for text in DOCUMENTS]}
    reply = proxy.post(f"/nvidia_nim/{group}/v1/ranking", native)
    assert reply.status == 200, reply.body
    assert [ranked["index"] for ranked in reply.json["rankings"]] == ORDER


@pytest.mark.claim("client:litellm-proxy:embed")
def test_the_proxy_s_embeddings_embed(proxy: Server) -> None:
    reply = proxy.post("/v1/embeddings", {"model": "nvidia-embed", "input": DOCUMENTS, "input_type": "passage"})
    assert reply.status == 200, reply.body
    assert len(reply.json["data"]) == 3


@pytest.mark.claim("client:litellm-proxy:rerank")
def test_litellm_s_own_client_reaches_us_through_the_proxy(proxy: Server) -> None:
    response = litellm.rerank(model="litellm_proxy/nvidia-rerank", query=QUERY, documents=DOCUMENTS, api_base=proxy.url, api_key=proxy.key)
    assert [result["index"] for result in response.results] == ORDER
    call = litellm.arerank(model="litellm_proxy/nvidia-ranking", query=QUERY, documents=DOCUMENTS, api_base=proxy.url, api_key=proxy.key)
    assert [result["index"] for result in asyncio.run(call).results] == ORDER


@pytest.mark.claim("client:litellm-proxy:errors")
@pytest.mark.parametrize(
    ("model", "documents", "status"), [("nvidia-rerank", ["", "not blank"], 400), ("locked-out", DOCUMENTS, 401), ("unknown-model", DOCUMENTS, 404)]
)
def test_our_refusal_keeps_its_status_through_the_proxy(proxy: Server, model: str, documents: list[str], status: int) -> None:
    reply = proxy.post("/rerank", body(model, documents=documents))
    assert reply.status == status, reply.body
