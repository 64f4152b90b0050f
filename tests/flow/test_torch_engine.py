"""The torch engine under the whole stack, on the CPU: the reference engine's answers, and what the server says and does by an engine's facts."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import pytest

from emberank.runtime.engines.fake import FakeEngine
from emberank.runtime.process import RuntimeProcess

EMBEDDER, RANKER = "acme/Tiny_Embed-v1.5", "acme/tiny-rank.v2"
RANKING = {"model": RANKER, "query": {"text": "which way should i go"}, "passages": [{"text": text} for text in ("snow", "the road", "red hot ice", "a wood")]}
EMBEDDING = {"model": EMBEDDER, "input": ["the snow on the road", "ice"], "input_type": "passage"}
GPU = {"name": "NVIDIA H100 80GB HBM3", "uuid": "GPU-1", "driver": "580.159.04", "memory_bytes": 85_520_809_984}


def test_the_torch_engine_answers_as_the_reference_does(start: Callable[..., Any]) -> None:
    reference, torch = start(engine="reference"), start(engine="torch", device="cpu", precision="fp32")
    logits = [{ranked["index"]: ranked["logit"] for ranked in server.post("/v1/ranking", RANKING).json["rankings"]} for server in (reference, torch)]
    assert logits[1] == pytest.approx(logits[0], rel=1e-4, abs=1e-5)
    vectors = [[one["embedding"] for one in server.post("/v1/embeddings", EMBEDDING).json["data"]] for server in (reference, torch)]
    for found, true in zip(vectors[1], vectors[0], strict=True):
        assert found == pytest.approx(true, abs=1e-5)
    engine = torch.get("/v1/metadata").json["models"][0]["engine"]
    assert (engine["name"], engine["device"], engine["precision"]) == ("torch", "CPU", "fp32")
    assert "PyTorch" in engine["detail"]
    assert "gpu" not in engine


class Described(FakeEngine):
    """A fake engine that says of itself what an engine on a GPU says."""

    def __init__(self, hidden: int) -> None:
        super().__init__(hidden)
        self.facts = dataclasses.replace(self.facts, batch_tokens=16384, packed=True, gpu=GPU)


def on_a_gpu(process: RuntimeProcess) -> None:
    process._build_engine = lambda network, *rest: Described(network.hidden)  # type: ignore[method-assign]


def batcher_of(server: Any) -> Any:
    return server.process.models[0].backend.batcher


def test_a_gpu_is_in_the_metadata_with_what_its_driver_says(start: Callable[..., Any]) -> None:
    server = start(engine="fake", prepare=on_a_gpu)
    assert [model["engine"]["gpu"] for model in server.get("/v1/metadata").json["models"]] == [GPU, GPU]


def test_a_batch_has_the_engines_budget_unless_a_setting_says_another(start: Callable[..., Any]) -> None:
    assert batcher_of(start(engine="fake"))._limits.max_batch_tokens == 1024
    assert batcher_of(start(engine="fake", prepare=on_a_gpu))._limits.max_batch_tokens == 16384
    assert batcher_of(start(engine="fake", prepare=on_a_gpu, max_batch_tokens=77))._limits.max_batch_tokens == 77


def test_an_engine_that_pads_nothing_is_given_any_lengths_together(start: Callable[..., Any]) -> None:
    assert batcher_of(start(engine="fake"))._attention_tokens < 2000
    assert batcher_of(start(engine="fake", prepare=on_a_gpu))._attention_tokens == math.inf
