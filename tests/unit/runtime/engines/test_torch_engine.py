"""The torch engine on the CPU: against the reference, in every number type, with graphs that are only pretended, in FP8 and when memory is full."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import families
from emberank.contract.errors import SettingError
from emberank.runtime.checkpoint import Checkpoint
from emberank.runtime.engines import torch_engine
from emberank.runtime.engines.base import Batch, EngineOptions, Features
from emberank.runtime.engines.reference import ReferenceEngine
from emberank.runtime.engines.torch_engine import TorchEngine, build
from emberank.runtime.engines.torch_fp8 import emulated, multiply, quantise, suits, trial
from emberank.runtime.engines.torch_kernels import PlainKernels
from emberank.runtime.engines.torch_ops import pool
from emberank.runtime.engines.torch_pending import Gated, Norm, Silu, Sum
from emberank.runtime.engines.torch_trace import AttentionShape, trace
from emberank.runtime.engines.torch_weights import DeviceWeights
from emberank.runtime.heads import Pooling, unit
from emberank.runtime.named_weights import NamedWeights
from emberank.runtime.networks.llama import Llama
from emberank.runtime.networks.modernbert import ModernBert
from emberank.runtime.networks.network import Network
from torch_engines import cpu, graphed

Floats = NDArray[np.floating]
POOLINGS: tuple[Pooling, ...] = ("mean", "cls", "last", "max", "mean_sqrt_len")
LENGTHS = (5, 40, 41, 39, 3, 90, 1)


def loaded(folder: Path, kind: type[Llama] | type[ModernBert]) -> tuple[Network, NamedWeights]:
    return kind.from_config(json.loads((folder / "config.json").read_text())), NamedWeights(Checkpoint.open(folder))


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> tuple[Network, NamedWeights]:
    return loaded(families.write_llama_reranker(tmp_path_factory.mktemp("torch") / "llama"), Llama)


@pytest.fixture(scope="module")
def modernbert(tmp_path_factory: pytest.TempPathFactory) -> tuple[Network, NamedWeights]:
    return loaded(families.write_modernbert_reranker(tmp_path_factory.mktemp("torch") / "modernbert"), ModernBert)


@pytest.fixture(scope="module")
def qwen(tmp_path_factory: pytest.TempPathFactory) -> tuple[Network, NamedWeights]:
    return loaded(families.write_qwen3_reranker(tmp_path_factory.mktemp("torch") / "qwen"), Llama)


@pytest.fixture(params=["llama", "qwen", "modernbert"])
def model(request: pytest.FixtureRequest) -> tuple[Network, NamedWeights]:
    found: tuple[Network, NamedWeights] = request.getfixturevalue(request.param)
    return found


def batch(network: Network, *lengths: int, seed: int = 0) -> Batch:
    random = np.random.default_rng(seed)
    return Batch.of([random.integers(5, network.vocabulary, length).astype(np.int32) for length in lengths])


def error(found: Floats, true: Floats) -> float:
    """The worst row's ‖found − true‖ / ‖true‖."""
    assert found.shape == true.shape
    return float((np.linalg.norm(found - true, axis=1) / np.linalg.norm(true, axis=1)).max())


def cosines(found: Floats, true: Floats) -> Floats:
    return (unit(found.astype(np.float32)) * unit(true.astype(np.float32))).sum(1)


# What a network reads


def test_a_trace_names_every_tensor_once_and_the_shapes_of_attention(model: tuple[Network, NamedWeights]) -> None:
    network, _ = model
    uses = trace(network)
    read = [*uses.tables, *(f"{name}.weight" for name in uses.vectors), *(f"{name}.weight" for names in uses.matrices for name in names)]
    biases = {name for name in network.shapes() if name.endswith(".bias")}
    assert len(read) == len(set(read))
    assert set(read) | biases == set(network.shapes())


def test_a_trace_knows_grouped_key_heads_causes_and_windows(
    llama: tuple[Network, NamedWeights], qwen: tuple[Network, NamedWeights], modernbert: tuple[Network, NamedWeights]
) -> None:
    (shape,) = trace(llama[0]).attention
    assert shape == AttentionShape(heads=4, kv_heads=2, head_dim=16, causal=False, window=None)
    assert all(shape.causal for shape in trace(qwen[0]).attention)
    windows = {shape.window for shape in trace(modernbert[0]).attention}
    assert None in windows
    assert len(windows) == 2


def test_matrices_of_one_input_stand_in_one_tensor_and_nothing_is_kept_twice(llama: tuple[Network, NamedWeights]) -> None:
    network, weights = llama
    held = DeviceWeights(weights, trace(network), torch.device("cpu"), torch.float32)
    names = tuple(f"layers.0.self_attn.{part}_proj" for part in "qkv")
    joined = held.matrix(names)
    assert joined.weight is not None
    assert np.array_equal(joined.weight.numpy(), np.concatenate([weights.get(f"{name}.weight") for name in names]))
    assert held.bytes == 4 * sum(int(np.prod(shape)) for shape in network.shapes().values())


# The numbers


@pytest.mark.parametrize("pooling", [None, *POOLINGS])
def test_float32_gives_the_true_states_and_the_true_pooled_ones(model: tuple[Network, NamedWeights], pooling: Pooling | None) -> None:
    network, weights = model
    one = batch(network, *LENGTHS)
    true = ReferenceEngine(network, weights).run(one, pooling)
    found = TorchEngine(network, weights, cpu()).run(one, pooling)
    assert found.dtype == np.float32
    assert error(found, true) <= 1e-4


@pytest.mark.parametrize(("precision", "least"), [("bf16", 0.99), ("fp16", 0.9995)])
def test_half_precisions_keep_the_direction_of_every_pooled_state(model: tuple[Network, NamedWeights], precision: str, least: float) -> None:
    network, weights = model
    one = batch(network, *LENGTHS)
    true = ReferenceEngine(network, weights).run(one, "mean")
    found = TorchEngine(network, weights, cpu(precision)).run(one, "mean")
    assert cosines(found, true).min() >= least
    assert error(found, true) > 1e-5, f"it is {precision} that ran"


def test_an_engine_on_the_cpu_pads_only_within_groups_and_says_so(llama: tuple[Network, NamedWeights]) -> None:
    network, weights = llama
    engine = TorchEngine(network, weights, cpu())
    lengths = np.array([10, 11, 200], np.int32)
    assert (engine.padded_tokens(lengths), engine.attention_rows(lengths)) == (221, 222)
    assert "grouped attention (flash attention is for GPUs); plain kernels; no CUDA graphs" in engine.facts.detail
    assert (engine.facts.engine, engine.facts.device, engine.facts.gpu, engine.facts.batch_tokens) == ("torch", "CPU", None, 1024)


def test_the_builder_refuses_fp8_on_a_cpu(llama: tuple[Network, NamedWeights]) -> None:
    with pytest.raises(SettingError, match="precision 'fp8' needs a GPU"):
        build(*llama, EngineOptions(precision="fp8", device="cpu"))


@pytest.mark.parametrize("how", POOLINGS)
def test_pooling_on_the_device_ignores_empty_sequences_behind_the_real_ones(how: str) -> None:
    states = torch.arange(12.0).view(6, 2)
    found = pool(states, torch.tensor([0, 2, 5], dtype=torch.int32), how)
    padded = pool(torch.cat([states, torch.full((2, 2), 1e9)]), torch.tensor([0, 2, 5, 8, 8, 8], dtype=torch.int32), how)
    assert torch.equal(padded[:2], found)


# Packed attention and graphs


@pytest.mark.parametrize("lengths", [(5, 3), (31, 34, 29), (1,), (64,) * 7, tuple(range(1, 30)), (200, 1)])
def test_a_batch_padded_for_a_graph_has_the_true_states(model: tuple[Network, NamedWeights], lengths: tuple[int, ...]) -> None:
    network, weights = model
    engine, capture = graphed(network, weights, cpu(), met_before=100)
    one = batch(network, *lengths)
    assert engine.padded_tokens(one.lengths) > sum(lengths) or sum(lengths) % 32 == 0
    for pooling in (None, *POOLINGS):
        assert error(engine.run(one, pooling), ReferenceEngine(network, weights).run(one, pooling)) <= 1e-4
    assert capture.captured == 0


def test_a_graph_gives_the_very_bits_that_the_eager_way_gives(model: tuple[Network, NamedWeights]) -> None:
    network, weights = model
    engine, capture = graphed(network, weights, cpu("bf16"))
    for pooling in (None, "mean"):
        one, other = batch(network, 31, 34, 29), batch(network, 20, 30, 40, seed=1)
        eager = engine.run(one, pooling).copy()
        engine.run(other, pooling)  # the second of this size: captured with another batch's numbers
        assert np.array_equal(engine.run(one, pooling), eager)
    assert (capture.captured, capture.replayed) == (2, 4)


def test_a_graph_is_made_for_what_comes_again_and_the_longest_unused_is_given_up(llama: tuple[Network, NamedWeights]) -> None:
    network, weights = llama
    engine, capture = graphed(network, weights, cpu(), most=2)
    small, middle, large = batch(network, 20), batch(network, 50), batch(network, 90)
    engine.run(small)
    assert capture.captured == 0, "what comes once is computed once"
    for one in (small, small, middle, middle, large, large):
        engine.run(one)
    assert engine._graphs is not None
    assert (capture.captured, len(engine._graphs)) == (3, 2)
    engine.run(large)
    assert capture.captured == 3, "it is still there"
    engine.run(small)
    engine.run(small)
    assert capture.captured == 4, "it had been given up"


def test_a_batch_too_large_for_a_graph_is_not_padded(llama: tuple[Network, NamedWeights]) -> None:
    network, weights = llama
    engine, capture = graphed(network, weights, cpu(), met_before=1)
    one = batch(network, 700, 400)
    assert engine.padded_tokens(one.lengths) == engine.attention_rows(one.lengths) == 1100
    assert error(engine.run(one), ReferenceEngine(network, weights).run(one)) <= 1e-4
    assert capture.captured == 0


def test_a_capture_that_fails_leaves_an_engine_that_computes(llama: tuple[Network, NamedWeights], caplog: pytest.LogCaptureFixture) -> None:
    network, weights = llama
    engine, _ = graphed(network, weights, cpu(), met_before=1)

    def failing(compute: object) -> object:
        raise RuntimeError("operation not permitted when stream is capturing\nand more")

    assert engine._graphs is not None
    engine._graphs._capture = failing  # type: ignore[assignment]
    one = batch(network, 20, 30)
    for _ in range(2):
        assert error(engine.run(one), ReferenceEngine(network, weights).run(one)) <= 1e-4
    assert [record.message for record in caplog.records] == ["CUDA graphs are given up: operation not permitted when stream is capturing"]


# Features


@pytest.fixture(scope="module")
def seeing(tmp_path_factory: pytest.TempPathFactory) -> tuple[Network, NamedWeights]:
    folder = families.write_llama_embedder(tmp_path_factory.mktemp("torch") / "seeing")
    config = json.loads((folder / "config.json").read_text())
    return Llama.from_config(config, features=config["hidden_size"]), NamedWeights(Checkpoint.open(folder))


@pytest.mark.parametrize("with_graphs", [False, True])
def test_features_stand_where_they_belong_and_none_is_left_for_the_next_batch(seeing: tuple[Network, NamedWeights], with_graphs: bool) -> None:
    network, weights = seeing
    engine = graphed(network, weights, cpu(), met_before=1)[0] if with_graphs else TorchEngine(network, weights, cpu())
    reference = ReferenceEngine(network, weights)
    random = np.random.default_rng(4)
    plain = batch(network, 20, 30)
    for places in ([2, 3, 25], [40], [0, 49]):
        values = random.normal(size=(len(places), network.feature_width)).astype(np.float32)
        one = Batch(ids=plain.ids, types=plain.types, lengths=plain.lengths, features=Features(np.array(places, np.int32), values))
        assert error(engine.run(one), reference.run(one)) <= 1e-4
        assert error(engine.run(plain), reference.run(plain)) <= 1e-4


# Values that are not computed before they are read


class Counting(PlainKernels):
    """Plain kernels that write down what was asked of them."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def rms_norm(self, *arguments):  # type: ignore[no-untyped-def]
        self.asked.append("norm" if arguments[1] is None else "sum and norm")
        return super().rms_norm(*arguments)

    def silu_gate(self, *arguments):  # type: ignore[no-untyped-def]
        self.asked.append("gate")
        return super().silu_gate(*arguments)


def test_a_sum_is_made_once_together_with_its_norm() -> None:
    kernels = Counting()
    x, y, weight = torch.randn(3, 8), torch.randn(3, 8), torch.randn(8)
    total = Sum(kernels, x, y)
    norm = Norm(kernels, total, weight, 1e-5)
    assert kernels.asked == []
    expected = torch.nn.functional.rms_norm(x + y, (8,), weight, 1e-5)
    assert torch.equal(norm.value(), expected)
    assert torch.equal(norm.value(), expected)
    assert torch.equal(total.value(), x + y)
    assert kernels.asked == ["sum and norm"]
    assert torch.equal(Norm(kernels, total, weight, 1e-5).value(), expected)
    assert kernels.asked == ["sum and norm", "norm"]


def test_a_sum_that_was_read_first_is_not_added_again() -> None:
    kernels = Counting()
    total = Sum(kernels, torch.ones(2, 4), torch.ones(2, 4))
    assert torch.equal(total.value(), torch.full((2, 4), 2.0))
    Norm(kernels, total, torch.ones(4), 1e-5).value()
    assert kernels.asked == ["norm"]


def test_a_gate_and_its_product_are_one() -> None:
    kernels = Counting()
    gate, x = torch.randn(2, 4), torch.randn(2, 4)
    gated = Gated(kernels, Silu(kernels, gate).x, x)
    assert torch.equal(gated.value(), torch.nn.functional.silu(gate) * x)
    assert torch.equal(gated.quantised().numbers, quantise(gated.value()).numbers)
    assert kernels.asked == ["gate"]


def test_the_last_norm_is_not_rounded_to_the_engines_numbers() -> None:
    x, y = torch.randn(3, 64).bfloat16(), torch.randn(3, 64).bfloat16()
    norm = Norm(PlainKernels(), Sum(PlainKernels(), x, y), torch.ones(64).bfloat16(), 1e-5).float32()
    assert norm.dtype == torch.float32
    assert not torch.equal(norm, norm.bfloat16().float())
    total = x.double() + y.double()
    assert torch.allclose(norm.double(), total / (total.square().mean(-1, keepdim=True) + 1e-5).sqrt(), rtol=1e-5)


# FP8


def test_numbers_as_fp8_are_within_a_sixteenth_of_what_they_were_and_zeros_stay() -> None:
    x = torch.randn(50, 64) * torch.logspace(-6, 6, 50)[:, None]
    restored = quantise(x).restored()
    largest = x.abs().amax(-1, keepdim=True)
    assert ((restored - x).abs() <= x.abs() / 16 + largest / 448 * 2**-9).all()
    zero = quantise(torch.zeros(2, 16))
    assert torch.equal(zero.restored(), torch.zeros(2, 16))


def test_the_hardwares_product_is_the_emulated_one() -> None:
    x, weight, bias = torch.randn(7, 64), torch.randn(48, 64), torch.randn(48)
    found = multiply(quantise(x), quantise(weight), bias.bfloat16()).float()
    true = emulated(x, weight) + bias
    assert float((found - true).norm() / true.norm()) <= 0.005
    assert trial(torch.device("cpu")) == ""


@pytest.mark.parametrize(("shape", "large"), [((2048, 8192), True), ((512, 512), True), ((256, 8192), False), ((1, 2048), False), ((1000, 8192), False)])
def test_only_large_matrices_of_even_widths_are_fp8(shape: tuple[int, int], large: bool) -> None:
    assert suits(*shape) is large


def wide_llama(folder: Path) -> tuple[Network, NamedWeights]:
    """Wide enough that rounding errors average out, as in a real model; weights of a real model's spread."""
    made = families.write_llama_reranker(folder, hidden_size=256, intermediate_size=512, num_attention_heads=8, num_key_value_heads=4, head_dim=32)
    return loaded(made, Llama)


def test_fp8_ranks_as_bf16_does(tmp_path: Path) -> None:
    network, weights = wide_llama(tmp_path / "wide")
    one = batch(network, *range(8, 40))
    reference = ReferenceEngine(network, weights).run(one, "mean")
    found = {precision: TorchEngine(network, weights, cpu(precision), fp8_least=64).run(one, "mean") for precision in ("bf16", "fp8")}
    random = np.random.default_rng(0)
    heads = random.normal(size=(200, network.hidden)).astype(np.float32)  # two hundred questions
    agreement = {name: pairs_kept(reference @ heads.T, states @ heads.T) for name, states in found.items()}
    assert cosines(found["fp8"], reference).min() >= 0.97
    assert agreement["bf16"] >= 0.98
    assert agreement["fp8"] >= 0.90
    assert error(found["fp8"], found["bf16"]) > 0.01, "it is FP8 that ran"


def pairs_kept(true: Floats, found: Floats) -> float:
    """Share of pairs of passages (rows) that stand in the same order, over all questions (columns)."""
    differences = [np.sign(scores[:, None] - scores[None, :]) for scores in (true, found)]
    return float((differences[0] == differences[1])[np.triu_indices(len(true), 1)].mean())


# A full memory


def test_a_full_memory_halves_the_batch_and_the_states_are_the_same(llama: tuple[Network, NamedWeights], monkeypatch: pytest.MonkeyPatch) -> None:
    network, weights = llama
    one = batch(network, *LENGTHS)
    true = {pooling: TorchEngine(network, weights, cpu()).run(one, pooling).copy() for pooling in (None, "mean")}
    engine = TorchEngine(network, weights, cpu())
    refuse_from(monkeypatch, 100)
    for pooling, states in true.items():
        assert error(engine.run(one, pooling), states) <= 1e-5
    assert engine._careful.most_tokens is not None


def refuse_from(monkeypatch: pytest.MonkeyPatch, tokens: int) -> None:
    """A device whose memory is full with batches of more tokens than that."""
    upload: Callable[..., object] = torch_engine.upload

    def full(layout, *rest):  # type: ignore[no-untyped-def]
        if layout.size.tokens > tokens:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
        return upload(layout, *rest)

    monkeypatch.setattr(torch_engine, "upload", full)
