"""A forge and a gateway in this process, and somebody else's server behind them: our own bare runtime plays NVIDIA's, under its path and its names."""

from __future__ import annotations

import asyncio
import re
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from emberank.forge.data_folder import DataFolder
from emberank.forge.process import ForgeProcess
from emberank.forge.secret_store import SecretStore
from emberank.gateway.process import GatewayProcess
from emberank.serving.listener import bind
from emberank.settings import ForgeSettings, GatewaySettings
from signal_loop import SignalLoop
from tinybert import write_checkpoint
from up_process import KEY, Authorized
from wire import WAIT_S, Reply, nim_error, until

LLAMA = "nvidia/llama-3.2-nv-rerankqa-1b-v2"
NIM_KEY = "nvapi-0123456789"
QUERY = "What is the GPU memory bandwidth of H100 SXM?"
DOCUMENTS = [
    "The Hopper GPU is paired with the Grace CPU using NVIDIA's ultra-fast chip-to-chip interconnect, delivering 900GB/s of bandwidth.",
    "A100 provides up to 20X higher performance over the prior generation.",
    "Accelerated servers with H100 deliver 3 terabytes per second (TB/s) of memory bandwidth per GPU.",
]
RERANK = {"query": QUERY, "documents": DOCUMENTS, "top_n": 2}


class Served:
    """One process's life in a thread of its own."""

    def __init__(self, name: str, settings: Any, serve: Callable[[Any], Any]) -> None:
        listener = bind(settings)
        self.port = listener.getsockname()[1]
        self._loop = SignalLoop()
        self._thread = threading.Thread(target=self._run, args=(serve, listener), name=name)
        self._thread.start()
        until(lambda: signal.SIGTERM in self._loop.signals or not self._thread.is_alive(), f"the {name} serves")

    def _run(self, serve: Callable[[Any], Any], listener: Any) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(serve(listener))

    def stop(self) -> None:
        if self._thread.is_alive():
            self._loop.signals[signal.SIGTERM]()
        self._thread.join(3 * WAIT_S)
        assert not self._thread.is_alive()


class Installation(Authorized):
    """A forge and a gateway on one data folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        forge = ForgeProcess(ForgeSettings(port=0, data_dir=str(folder), engine="reference", api_key=KEY, runtime_threads=1, local_usd_per_hour=0.5))
        self._forge = Served("forge", forge.settings, lambda listener: forge.serve(listener, DataFolder(folder)))
        until(lambda: (folder / "fleet.json").is_file(), "the forge says where it is")
        gateway = GatewayProcess(GatewaySettings(port=0, data_dir=str(folder), usage_flush_s=0.05, read_timeout_s=WAIT_S))
        self._gateway = Served("gateway", gateway.settings, gateway.serve)
        super().__init__(self._gateway.port)
        until(lambda: gateway.gateway.view.ready, "the gateway is ready")

    def catalogue(self, text: str) -> None:
        """Write models.toml, and wait until it is served."""
        draft = self.folder / "models.draft"
        draft.write_text(text)
        draft.rename(self.folder / "models.toml")
        ids = set(re.findall(r'^id = "([^"]+)"', text, re.MULTILINE))
        until(lambda: ids <= {one["id"] for one in self.get("/v1/models").json["data"]}, "the gateway lists them")

    def rerank(self, model: str, **more: Any) -> Reply:
        return self.post("/v1/rerank", RERANK | {"model": model} | more)

    def stop(self) -> None:
        self._gateway.stop()
        self._forge.stop()


def entry(slug: str, source: str, settings: str = "", task: str = "rank", more: str = "") -> str:
    return f"""
[[model]]
slug = "{slug}"
id = "hosted/{slug}"
title = "Hosted {slug}"
task = "{task}"
{more}
[[model.version]]
name = "v1"
source = "{source}"
settings = {{ {settings} }}
"""


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    folder = tmp_path / "data"
    folder.mkdir(mode=0o700)
    made = Installation(folder)
    yield made
    made.stop()


@pytest.fixture
def nvidia(start: Any, checkpoints: Path) -> Any:
    """Somebody else's NIM."""
    models = (f"{LLAMA}=file:{checkpoints / 'rank'}", f"nvidia/nv-embed=file:{checkpoints / 'embed'}")
    return start(models=models)


def asked_of(server: Any, route: str) -> float:
    """How many requests came in by a route."""
    found = re.findall(rf'emberank_requests_total{{[^}}]*route="{re.escape(route)}"[^}}]*}} ([0-9.e+]+)', server.get("/v1/metrics").body.decode())
    return sum(map(float, found))


def test_litellm_s_names_and_models_toml_alone_reach_a_nim_that_others_run(installation: Installation, nvidia: Any) -> None:
    SecretStore(installation.folder).set("NVIDIA_NIM_API_KEY", NIM_KEY)
    base = f'api_base = "http://127.0.0.1:{nvidia.port}"'
    installation.catalogue(
        entry("by-retrieval", "nvidia_nim/nvidia/llama-3_2-nv-rerankqa-1b-v2", f"{base}, usd_per_request = 0.01")
        + entry("by-ranking", "nvidia_nim/ranking/nvidia/llama-3.2-nv-rerankqa-1b-v2", f'api_base = "http://127.0.0.1:{nvidia.port}/v1"')
        + entry("by-cohere", f"cohere:http://127.0.0.1:{nvidia.port}", f'served_name = "{LLAMA}"')
        + entry("by-embeddings", "nvidia_nim/nvidia/nv-embed", base, task="embed")
    )
    direct = nvidia.post("/v1/rerank", RERANK | {"model": LLAMA}).json["results"]
    for slug in ("by-retrieval", "by-ranking", "by-cohere"):
        reply = installation.rerank(slug)
        assert reply.status == 200, reply.body
        assert reply.headers["x-emberank-target"] == "REMOTE/elsewhere"
        assert [one["index"] for one in reply.json["results"]] == [one["index"] for one in direct]
        scores = [one["relevance_score"] for one in reply.json["results"]]
        assert scores == pytest.approx([one["relevance_score"] for one in direct], rel=1e-6)
    assert installation.rerank("by-retrieval").headers["x-emberank-cost-usd"] == "0.01"
    vectors = installation.post("/v1/embeddings", {"model": "by-embeddings", "input": ["the road"]}).json["data"][0]["embedding"]
    assert vectors == pytest.approx(nvidia.post("/v1/embeddings", {"model": "nvidia/nv-embed", "input": ["the road"]}).json["data"][0]["embedding"])

    page = installation.get("/v1/models/by-retrieval")
    assert (page.json["versions"][0]["remote"], page.json["versions"][0]["phase"]) == (f"127.0.0.1:{nvidia.port}", "WARM")
    status = installation.get("/v1/model-families/by-retrieval/status")
    assert NIM_KEY not in page.body.decode() + status.body.decode() + installation.get("/v1/targets").body.decode()
    hosted = "/v1/retrieval/{org}/{model}/reranking"
    assert asked_of(nvidia, hosted) == 2, "nobody measures and nobody asks for the health of what charges"
    until(lambda: _spent(installation, "by-retrieval") == pytest.approx(0.02), "what it charges is counted")


def _spent(installation: Installation, slug: str) -> float:
    rows = installation.get("/v1/usage").json["data"]
    return sum(float(row["cost_usd"]) for row in rows if row["slug"] == slug)


def test_a_broken_local_model_is_answered_for_by_a_remote_one_until_it_is_whole(installation: Installation, nvidia: Any) -> None:
    weights = installation.folder / "weights"
    remote = f'api_base = "http://127.0.0.1:{nvidia.port}", usd_per_request = 0.25'
    installation.catalogue(
        entry("here", f"file:{weights}", more='fallbacks = ["there"]') + entry("there", "nvidia_nim/ranking/nvidia/llama-3.2-nv-rerankqa-1b-v2", remote)
    )
    made = installation.post("/v1/keys", {"name": "spender", "scopes": ["inference"], "monthly_usd": 0.25}).json["key"]
    spender = Authorized(installation.port, made)

    reply = installation.rerank("here")
    assert (reply.status, reply.headers["emberank-fallback"], reply.headers["x-emberank-target"]) == (200, "there@v1", "REMOTE/elsewhere")
    pinned = installation.rerank("here", gpu_type="CPU")
    assert (pinned.status, "emberank-fallback" in pinned.headers) == (503, False)

    until(lambda: spender.post("/v1/rerank", RERANK | {"model": "here"}).status == 200, "the new key is known")
    spent = spender.post("/v1/rerank", RERANK | {"model": "here"})
    assert spent.status == 429, "the budget counts what the fallback costs"
    assert "monthly budget of 0.25 USD" in spent.json["message"]

    write_checkpoint(weights, ranks=True)
    until(lambda: "emberank-fallback" not in installation.rerank("here").headers, "it is started here again", 3 * WAIT_S)
    before = asked_of(nvidia, "/v1/ranking")
    reply = installation.rerank("here")
    assert (reply.status, reply.headers["x-emberank-model"], reply.headers["x-emberank-target"]) == (200, "here@v1", "CPU/local")
    assert asked_of(nvidia, "/v1/ranking") == before > 0


def test_a_key_that_is_missing_is_said_and_one_that_is_kept_later_is_taken_up(installation: Installation, nvidia: Any) -> None:
    installation.catalogue(entry("keyed", f"cohere:http://127.0.0.1:{nvidia.port}", f'api_key_env = "EMBERANK_TESTS_NO_SUCH_KEY", served_name = "{LLAMA}"'))
    reply = installation.rerank("keyed")
    assert reply.status == 503
    assert "no secret of that name is kept here: emberank secret set EMBERANK_TESTS_NO_SUCH_KEY" in nim_error(reply)
    SecretStore(installation.folder).set("EMBERANK_TESTS_NO_SUCH_KEY", NIM_KEY)
    until(lambda: installation.rerank("keyed").status == 200, "the key is taken up")
