"""The bridge with the real LiteLLM behind it: a provider's model as an endpoint of ours. The provider is a running Emberank, asked in each provider's own wire.

The bridge runs in this environment, which has LiteLLM, as `emberank[litellm]` would; nothing of ours is imported by the tests.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from examples import BAD_KEY, BLANK, DOCUMENTS, ORDER, QUERY, UNKNOWN
from installation import DIMENSIONS, OUR_EMBED, OUR_RERANK, PYTHON, ROOT, Process, Server, until

# What the bridge needs of ours that LiteLLM does not bring stands behind this environment's own packages.
START = "import runpy, sys; sys.path[:0] = [sys.argv.pop(1)]; sys.path += [sys.argv.pop(1)]; runpy.run_module('emberank.bridge', run_name='__main__', alter_sys=True)"
NIM_BODY = {"query": {"text": QUERY}, "passages": [{"text": text} for text in DOCUMENTS]}

Bridge = Callable[..., Server]


@pytest.fixture(scope="module")
def packages() -> str:
    words = [str(PYTHON), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    return subprocess.run(words, capture_output=True, text=True, timeout=60, check=True).stdout.strip()


@pytest.fixture
def bridge(tmp_path: Path, server: Server, packages: str) -> Iterator[Bridge]:
    """Start one for a provider's model; it is ended with the test."""
    started: list[Process] = []

    def start(model: str, base: str, task: str = "rank", **variables: str) -> Server:
        file, status = tmp_path / "model.json", tmp_path / "status.json"
        file.write_text(json.dumps({"model": [{"name": "acme/through", "task": task, "source": f"litellm:{model}"}]}), "utf-8")
        words = [sys.executable, "-c", START, str(ROOT / "src"), packages, "--port", "0", "--model-file", str(file), "--status-file", str(status)]
        # The refusal of all but loopback is in a site of its own, which a child process loads as well.
        own = {"PYTHONPATH": str(Path(__file__).parent / "site"), "EMBERANK_API_KEY_ENV": "THEIR_KEY", "THEIR_KEY": server.key, "EMBERANK_API_BASE": base}
        started.append(Process(tmp_path, words, {**os.environ, **own, **variables}))

        def phase() -> Any:
            return json.loads(status.read_text())["phase"] if status.exists() else None

        until(lambda: phase() == "ready" or started[-1].ended, "the bridge is ready")
        assert not started[-1].ended, started[-1].output
        return Server(int(json.loads(status.read_text())["url"].rpartition(":")[2]), "")

    yield start
    for process in started:
        process.end()
        assert server.key not in process.output


def logits(reply: Any) -> dict[int, float]:
    assert reply.status == 200, reply.body
    return {one["index"]: one["logit"] for one in reply.json["rankings"]}


@pytest.mark.claim("client:litellm:bridge-rank")
@pytest.mark.parametrize(
    ("provider", "base"),
    [
        ("cohere/", ""),
        ("jina_ai/", "/v1/rerank"),
        ("voyage/", "/v1"),
        ("hosted_vllm/", ""),
        ("infinity/", "/infinity"),
        ("nvidia_nim/", ""),
        ("nvidia_nim/ranking/", ""),
    ],
)
def test_a_provider_s_scores_come_back_as_the_logits_they_were_made_of(bridge: Bridge, server: Server, provider: str, base: str) -> None:
    through = bridge(provider + OUR_RERANK, server.url + base)
    direct = logits(server.post("/v1/ranking", NIM_BODY | {"model": OUR_RERANK}))
    reply = through.post("/v1/ranking", NIM_BODY)
    assert [one["index"] for one in reply.json["rankings"]] == ORDER
    assert logits(reply) == pytest.approx(direct, abs=1e-3)
    assert reply.headers["emberank-prompt-tokens"].isdecimal()
    assert reply.headers["emberank-ignored-fields"] == "truncate"  # its default, NONE, is what no provider can be told


@pytest.mark.claim("client:litellm:bridge-embed")
@pytest.mark.parametrize("provider", ["nvidia_nim/", "openai/", "voyage/"])
def test_a_provider_s_vectors_are_the_provider_s(bridge: Bridge, server: Server, provider: str) -> None:
    through = bridge(provider + OUR_EMBED, f"{server.url}/v1", "embed")
    body = {"input": DOCUMENTS, "input_type": "passage"}
    direct = server.post("/v1/embeddings", body | {"model": OUR_EMBED}).json["data"]
    reply = through.post("/v1/embeddings", body)
    assert reply.status == 200, reply.body
    for one, other in zip(reply.json["data"], direct, strict=True):
        assert len(one["embedding"]) == DIMENSIONS
        assert one["embedding"] == pytest.approx(other["embedding"], abs=1e-5)


@pytest.mark.claim("client:litellm:bridge-errors")
def test_what_is_between_us_and_the_provider_is_a_502_and_a_caller_s_mistake_a_400(bridge: Bridge, server: Server) -> None:
    through = bridge(f"cohere/{OUR_RERANK}", server.url)
    refused = through.post("/v1/ranking", NIM_BODY | {"passages": [{"text": "x"}] * 10, "max_chunks_per_doc": 5000})
    assert refused.status == 400
    blank = through.post("/v1/ranking", NIM_BODY | {"passages": [{"text": text} for text in BLANK]})
    assert blank.status == 400
    assert server.key not in (refused.body + blank.body).decode()


@pytest.mark.claim("client:litellm:bridge-errors")
@pytest.mark.parametrize(
    ("model", "variables", "base", "sentence"),
    [
        (OUR_RERANK, {"THEIR_KEY": BAD_KEY}, "", "cohere refuses the key that this server has for it"),
        (UNKNOWN, {}, "", "cohere knows no such model, or stands elsewhere"),
        (OUR_RERANK, {}, "http://127.0.0.1:1", "cohere cannot be asked for the moment"),
    ],
)
def test_a_provider_that_does_not_answer_as_it_should_is_a_502(
    bridge: Bridge, server: Server, model: str, variables: dict[str, str], base: str, sentence: str
) -> None:
    reply = bridge(f"cohere/{model}", base or server.url, **variables).post("/v1/ranking", NIM_BODY)
    assert (reply.status, reply.json["message"]) == (502, sentence)
