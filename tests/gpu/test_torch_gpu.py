"""The torch engine on a GPU: the numbers against the float64 reference, graphs against the eager way, FP8, a full memory, and what it says of itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import families
from emberank.contract.errors import ServerFault, SettingError
from emberank.runtime.checkpoint import Checkpoint
from emberank.runtime.engines import torch_attention, torch_fusing
from emberank.runtime.engines.base import Batch, EngineOptions, Features
from emberank.runtime.engines.reference import ReferenceEngine
from emberank.runtime.engines.torch_engine import TorchEngine, build
from emberank.runtime.engines.torch_setup import AMPERE, FP8, set_up
from emberank.runtime.engines.torch_trace import AttentionShape, trace
from emberank.runtime.heads import Pooling, unit
from emberank.runtime.named_weights import NamedWeights
from emberank.runtime.networks.llama import Llama
from emberank.runtime.networks.modernbert import ModernBert
from emberank.runtime.networks.network import Network
from emberank.runtime.networks.siglip import SiglipProjector

Floats = NDArray[np.floating]
Model = tuple[Network, NamedWeights]
POOLINGS: tuple[Pooling | None, ...] = (None, "mean", "cls", "last", "max")
LENGTHS = ((1,), (5, 40, 41, 39, 3, 90, 1), (31, 34, 29), (64,) * 20, (700, 400, 2))


def model(folder: Path, kind: type[Llama] | type[ModernBert]) -> Model:
    return kind.from_config(json.loads((folder / "config.json").read_text())), NamedWeights(Checkpoint.open(folder))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Model]:
    folder = tmp_path_factory.mktemp("gpu")
    seeing = families.write_vl_embedder(folder / "vl")
    return {
        "llama": model(families.write_llama_reranker(folder / "llama"), Llama),
        "qwen": model(families.write_qwen3_reranker(folder / "qwen"), Llama),
        "modernbert": model(families.write_modernbert_reranker(folder / "modernbert"), ModernBert),
        "siglip": (SiglipProjector.from_config(json.loads((seeing / "config.json").read_text())), NamedWeights(Checkpoint.open(seeing), "vision")),
    }


def half() -> str:
    return "bf16" if torch.cuda.get_device_capability() >= AMPERE else "fp16"


@pytest.fixture
def engine(models: dict[str, Model], request: pytest.FixtureRequest) -> Iterator[TorchEngine]:
    """Of the test's parameters `name` and `precision`."""
    callspec = request.node.callspec.params
    made = build(*models[callspec["name"]], EngineOptions(precision=callspec.get("precision", half()), device="cuda"))
    yield made
    made.close()


def batch(network: Network, lengths: tuple[int, ...], seed: int = 0) -> Batch:
    random = np.random.default_rng(seed)
    if not network.vocabulary:  # tiles: as many as there are lengths, each as long as a tile is
        tokens = network.max_positions * len(lengths)
        ids = np.zeros(tokens, np.int32)
        features = Features(np.arange(tokens, dtype=np.int32), random.normal(size=(tokens, network.feature_width)).astype(np.float32))
        return Batch(ids=ids, types=ids, lengths=np.full(len(lengths), network.max_positions, np.int32), features=features)
    cut = [min(length, network.max_positions) for length in lengths]
    return Batch.of([random.integers(5, network.vocabulary, length).astype(np.int32) for length in cut])


def error(found: Floats, true: Floats) -> float:
    assert found.shape == true.shape
    return float((np.linalg.norm(found - true, axis=1) / np.linalg.norm(true, axis=1)).max())


def least_cosine(found: Floats, true: Floats) -> float:
    return float((unit(found.astype(np.float32)) * unit(true.astype(np.float32))).sum(1).min())


NAMES = ("llama", "qwen", "modernbert", "siglip")


@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("precision", ["fp32"])
def test_float32_on_a_gpu_gives_the_true_states(engine: TorchEngine, models: dict[str, Model], name: str, precision: str, lengths: tuple[int, ...]) -> None:
    one = batch(models[name][0], lengths)
    for pooling in POOLINGS:
        assert error(engine.run(one, pooling), ReferenceEngine(*models[name]).run(one, pooling)) <= 1e-4


@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_half_precision_on_a_gpu_is_as_near_to_the_truth_as_on_a_cpu(
    engine: TorchEngine, models: dict[str, Model], name: str, lengths: tuple[int, ...]
) -> None:
    one = batch(models[name][0], lengths)
    true = ReferenceEngine(*models[name]).run(one, "mean")
    on_cpu = build(*models[name], EngineOptions(precision=half(), device="cpu")).run(one, "mean")
    found = engine.run(one, "mean")
    assert least_cosine(found, true) >= 0.99
    assert error(found, true) <= max(0.02, 2 * error(on_cpu, true))


@pytest.mark.parametrize("name", NAMES)
def test_a_captured_graph_gives_the_very_bits_of_the_eager_way(engine: TorchEngine, models: dict[str, Model], name: str) -> None:
    if engine._graphs is None:
        pytest.skip(f"no graphs here: {engine.facts.detail}")
    one, other = (batch(models[name][0], (31, 34, 29), seed) for seed in (1, 2))
    for pooling in POOLINGS:
        eager = engine.run(one, pooling).copy()
        assert len(engine._graphs) == POOLINGS.index(pooling)
        engine.run(other, pooling)
        assert len(engine._graphs) == POOLINGS.index(pooling) + 1
        for _ in range(3):
            assert np.array_equal(engine.run(one, pooling), eager)


@pytest.mark.parametrize("name", NAMES)
def test_the_same_batch_gives_the_same_bits_every_time_and_in_any_order(engine: TorchEngine, models: dict[str, Model], name: str) -> None:
    batches = [batch(models[name][0], lengths, seed) for seed, lengths in enumerate(LENGTHS)]
    first = [engine.run(one, "mean").copy() for one in batches]
    for _ in range(3):
        for one, states in reversed(list(zip(batches, first, strict=True))):
            assert np.array_equal(engine.run(one, "mean"), states)


def test_packed_attention_and_fused_kernels_are_what_runs_on_a_gpu_that_has_them(models: dict[str, Model]) -> None:
    if torch.cuda.get_device_capability() < AMPERE:
        pytest.skip("flash attention needs compute capability 8.0")
    setup = set_up(EngineOptions(precision="bf16", device="cuda"))
    published = [
        AttentionShape(heads=32, kv_heads=8, head_dim=64, causal=False, window=None),
        AttentionShape(heads=16, kv_heads=16, head_dim=72, causal=False, window=None),
    ]
    with torch.inference_mode():
        chosen = torch_attention.choose(setup, [*published, *(shape for network, _ in models.values() for shape in trace(network).attention)])
        assert (chosen.attention.packed, chosen.why) == (True, "packed flash attention")
        assert torch_fusing.choose(setup).why == "triton kernels"


@pytest.mark.parametrize("width", [64, 100, 2048, 8192])
def test_fused_kernels_agree_with_the_plain_ones_at_real_widths(width: int) -> None:
    setup = set_up(EngineOptions(precision=half(), device="cuda"))
    fused, plain = torch_fusing.choose(setup).kernels, torch_fusing.PlainKernels()
    if fused.name == "plain":
        pytest.skip("no fused kernels here")
    wide = torch.randn(33, 3 * width, device="cuda").to(setup.dtype)
    x, other, gate = torch.split(wide, width, dim=1)
    weight = torch.randn(width, device="cuda").to(setup.dtype)
    for found, true in (
        (fused.rms_norm(x, other, weight, 1e-5), plain.rms_norm(x, other, weight, 1e-5)),
        ((fused.silu_gate(gate, x),), (plain.silu_gate(gate, x),)),
    ):
        for one, expected in zip(found, true, strict=True):
            assert float((one.float() - expected.float()).norm() / expected.float().norm()) <= 0.01


def test_fp8_ranks_as_bf16_does(tmp_path: Path) -> None:
    if torch.cuda.get_device_capability() < FP8:
        with pytest.raises(SettingError, match="precision 'fp8' needs a GPU"):
            set_up(EngineOptions(precision="fp8", device="cuda"))
        return
    folder = families.write_llama_reranker(
        tmp_path / "wide", hidden_size=512, intermediate_size=1024, num_attention_heads=8, num_key_value_heads=4, head_dim=64
    )
    network, weights = model(folder, Llama)
    one = batch(network, tuple(range(8, 40)))
    true = ReferenceEngine(network, weights).run(one, "mean")
    found = {name: build(network, weights, EngineOptions(precision=name, device="cuda")).run(one, "mean").copy() for name in ("bf16", "fp8")}
    heads = np.random.default_rng(0).normal(size=(200, network.hidden)).astype(np.float32)
    assert least_cosine(found["fp8"], true) >= 0.97
    assert pairs_kept(true @ heads.T, found["fp8"] @ heads.T) >= 0.90
    assert error(found["fp8"], found["bf16"]) > 0.01, "it is FP8 that ran"


def pairs_kept(true: Floats, found: Floats) -> float:
    orders = [np.sign(scores[:, None] - scores[None, :]) for scores in (true, found)]
    return float((orders[0] == orders[1])[np.triu_indices(len(true), 1)].mean())


@pytest.mark.parametrize("name", ["llama"])
def test_a_full_memory_halves_the_batch(engine: TorchEngine, models: dict[str, Model], name: str) -> None:
    one = batch(models[name][0], (1000,) * 64)
    true = engine.run(one, "mean").copy()
    torch.cuda.empty_cache()
    held, total = torch.cuda.memory_reserved(), torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((held + (24 << 20)) / total)
    try:
        found = engine.run(one, "mean")
        assert engine._careful.most_tokens is not None, "the memory was not full: give this test less"
        assert error(found, true) <= 0.05
    except ServerFault:
        pytest.fail("one sequence of 1,000 tokens should have fitted")
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


@pytest.mark.parametrize("name", ["llama"])
def test_an_engine_names_its_gpu(engine: TorchEngine, name: str) -> None:
    assert engine.facts.gpu is not None
    assert str(engine.facts.gpu["uuid"]).startswith("GPU-")
    assert engine.facts.device == f"{engine.facts.gpu['name']} (cuda:0)"
    assert int(engine.facts.gpu["memory_bytes"]) > 1 << 30
    assert engine.facts.batch_tokens == 16384
