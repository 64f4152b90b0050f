"""Which device, which numbers, which attention and which kernels the torch engine takes, and what it refuses."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from emberank.contract.errors import SettingError
from emberank.runtime.engines import nvml, registry, torch_attention, torch_fusing
from emberank.runtime.engines.base import EngineOptions
from emberank.runtime.engines.cores import has_amx_bf16
from emberank.runtime.engines.registry import builder
from emberank.runtime.engines.torch_kernels import PlainKernels
from emberank.runtime.engines.torch_setup import choose_device, choose_precision, set_up
from emberank.runtime.engines.torch_trace import AttentionShape
from torch_engines import cpu, varlen

PLAIN = AttentionShape(heads=4, kv_heads=4, head_dim=16, causal=False, window=None)
SHAPES = (
    PLAIN,
    AttentionShape(heads=4, kv_heads=2, head_dim=16, causal=False, window=None),
    AttentionShape(heads=4, kv_heads=1, head_dim=8, causal=True, window=None),
    AttentionShape(heads=2, kv_heads=2, head_dim=16, causal=False, window=3),
    AttentionShape(heads=2, kv_heads=2, head_dim=16, causal=True, window=64),
)


# The device


@pytest.mark.parametrize(
    ("asked", "gpus", "device"),
    [("auto", 0, "cpu"), ("auto", 2, "cuda:0"), ("cpu", 2, "cpu"), ("cuda", 2, "cuda:0"), ("cuda:0", 1, "cuda:0"), ("cuda:1", 2, "cuda:1")],
)
def test_a_device_is_taken_as_it_is_named(asked: str, gpus: int, device: str) -> None:
    assert choose_device(asked, gpus) == torch.device(device)


@pytest.mark.parametrize("asked", ["gpu", "cuda:", "cuda:x", "cuda:-1", "CUDA", "", "mps"])
def test_a_device_that_is_none_is_refused_with_those_that_are(asked: str) -> None:
    with pytest.raises(SettingError, match=f"device '{asked}' is not known; known: auto, cpu, cuda, cuda:0"):
        choose_device(asked, 1)


def test_a_gpu_that_is_not_there_is_refused_and_never_replaced_by_the_cpu() -> None:
    with pytest.raises(SettingError, match=r"device 'cuda' was asked for, and PyTorch .* sees no GPU here; device=cpu"):
        choose_device("cuda", 0)
    with pytest.raises(SettingError, match="device 'cuda:2' was asked for, and there are 2 GPUs here"):
        choose_device("cuda:2", 2)


# The precision


@pytest.mark.parametrize(
    ("asked", "device", "capability", "precision"),
    [
        ("auto", "cuda", (9, 0), "bf16"),
        ("auto", "cuda", (8, 0), "bf16"),
        ("auto", "cuda", (7, 5), "fp16"),
        ("fp32", "cuda", (7, 0), "fp32"),
        ("fp16", "cuda", (7, 0), "fp16"),
        ("fp8", "cuda", (8, 9), "fp8"),
        ("fp8", "cuda", (9, 0), "fp8"),
        ("fp8", "cuda", (12, 0), "fp8"),
        ("bf16", "cpu", (0, 0), "bf16"),
        ("auto", "cpu", (0, 0), "bf16" if has_amx_bf16() else "fp32"),
    ],
)
def test_a_precision_is_what_was_asked_for_or_what_the_device_does_best(asked: str, device: str, capability: tuple[int, int], precision: str) -> None:
    assert choose_precision(asked, device, capability) == precision


@pytest.mark.parametrize(
    ("asked", "device", "capability", "words"),
    [
        ("fp8", "cpu", (0, 0), "needs a GPU of compute capability 8.9 or newer .* and this is a CPU; use bf16"),
        ("fp8", "cuda", (8, 6), "needs a GPU of compute capability 8.9 or newer .* this is a GPU of compute capability 8.6"),
        ("bf16", "cuda", (7, 5), "needs a GPU of compute capability 8.0 or newer, and this one has 7.5; use fp16"),
        ("int8", "cuda", (9, 0), "'int8' is not known to the torch engine; known: auto, fp32, bf16, fp16, fp8"),
    ],
)
def test_a_precision_that_the_device_has_not_is_refused(asked: str, device: str, capability: tuple[int, int], words: str) -> None:
    with pytest.raises(SettingError, match=words):
        choose_precision(asked, device, capability)


def test_a_setup_for_the_cpu_has_the_cpus_budget() -> None:
    setup = set_up(EngineOptions(precision="fp32", device="cpu", threads=3))
    assert (setup.cuda, setup.fp8, setup.threads, setup.batch_tokens) == (False, False, 3, 1024)


# The engine that `auto` stands for


def test_auto_is_the_engine_of_the_device_that_was_asked_for() -> None:
    assert registry.best("cpu") == "openvino"
    assert registry.best("cuda") == registry.best("cuda:1") == "torch"


@pytest.mark.parametrize(
    ("gpus", "hidden", "sees", "engine"), [(0, None, True, "openvino"), (1, None, True, "torch"), (1, "", True, "openvino"), (1, None, False, "openvino")]
)
def test_auto_takes_a_gpu_that_is_there_not_hidden_and_usable(monkeypatch: pytest.MonkeyPatch, gpus: int, hidden: str | None, sees: bool, engine: str) -> None:
    monkeypatch.setattr(registry, "gpu_count", lambda: gpus)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: sees)
    if hidden is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    assert registry.best("auto") == engine


def test_an_engine_for_cpus_is_not_given_a_gpu() -> None:
    with pytest.raises(SettingError, match="engine 'openvino' computes on the CPU, and device 'cuda:0' was asked for; engine=torch"):
        builder("openvino", "cuda:0")


def test_without_pytorch_the_torch_engine_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "emberank.runtime.engines.torch_import")
    monkeypatch.delitem(sys.modules, "emberank.runtime.engines.torch_engine", raising=False)
    with pytest.raises(SettingError, match=r"needs PyTorch, which is not installed: pip install 'emberank\[torch\]'"):
        builder("torch")


# What the driver says


class Driver(SimpleNamespace):
    def nvmlInit(self) -> None: ...

    def nvmlDeviceGetCount(self) -> int:
        return 2

    def nvmlDeviceGetHandleByUUID(self, uuid: bytes) -> bytes:
        return uuid

    def nvmlDeviceGetMemoryInfo(self, handle: bytes) -> Any:
        return SimpleNamespace(total=85_520_809_984, free=80_000_000_000)

    def nvmlDeviceGetName(self, handle: bytes) -> bytes:
        return b"NVIDIA H100 80GB HBM3"

    def nvmlDeviceGetUUID(self, handle: bytes) -> str:
        return handle.decode()

    def nvmlSystemGetDriverVersion(self) -> str:
        return "580.159.04"


def test_a_gpus_facts_are_the_drivers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", Driver())
    assert nvml.gpu_count() == 2
    assert nvml.gpu_facts("GPU-1") == {
        "name": "NVIDIA H100 80GB HBM3",
        "uuid": "GPU-1",
        "driver": "580.159.04",
        "memory_bytes": 85_520_809_984,
        "memory_free_bytes": 80_000_000_000,
    }


def test_without_a_driver_there_are_no_facts_and_no_gpus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class NoDriver(Driver):
        def nvmlInit(self) -> None:
            raise RuntimeError("Driver Not Loaded")

    monkeypatch.setitem(sys.modules, "pynvml", NoDriver())
    (tmp_path / "nvidia0").touch()
    assert (nvml.gpu_facts("GPU-1"), nvml.gpu_count(tmp_path)) == ({}, 0)


def test_without_the_drivers_library_gpus_are_counted_by_their_device_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm"):
        (tmp_path / name).touch()
    assert (nvml.gpu_facts("GPU-1"), nvml.gpu_count(tmp_path)) == ({}, 2)


# The way to attend


def test_packed_attention_is_taken_when_it_agrees_on_every_shape() -> None:
    chosen = torch_attention.choose(cpu("bf16"), SHAPES, varlen)
    assert (chosen.attention.packed, chosen.why) == (True, "packed flash attention")


def test_packed_attention_of_a_pytorch_that_is_not_asked_for_groups_is_taken_when_it_has_them() -> None:
    def older(q: Tensor, k: Tensor, v: Tensor, *rest: Any, window_size: tuple[int, int]) -> Tensor:
        return varlen(q, k, v, *rest, window_size=window_size, enable_gqa=True)

    assert torch_attention.choose(cpu("bf16"), SHAPES, older).attention.packed


def ignoring(name: str) -> Callable[..., Tensor]:
    """Packed attention with a fault: it does not look at the window, or mixes the key heads up."""

    def faulty(q: Tensor, k: Tensor, v: Tensor, *rest: Any, window_size: tuple[int, int], enable_gqa: bool) -> Tensor:
        if name == "window":
            window_size = (-1, -1)
        if name == "heads":
            k = k.flip(1)
        return varlen(q, k, v, *rest, window_size=window_size, enable_gqa=enable_gqa)

    return faulty


@pytest.mark.parametrize(("fault", "shape"), [("window", SHAPES[2]), ("window", SHAPES[3]), ("window", SHAPES[4]), ("heads", SHAPES[1])])
def test_packed_attention_that_differs_is_not_taken(fault: str, shape: AttentionShape) -> None:
    chosen = torch_attention.choose(cpu("bf16"), [PLAIN, shape], ignoring(fault))
    assert not chosen.attention.packed
    assert "grouped attention (the packed way differs by" in chosen.why


@pytest.mark.parametrize("failure", [RuntimeError("no kernel image"), TypeError("unexpected keyword"), ImportError("no varlen")])
def test_packed_attention_that_fails_is_not_taken_and_the_reason_is_kept(failure: Exception) -> None:
    def failing(*arguments: Any, **more: Any) -> Tensor:
        raise failure

    chosen = torch_attention.choose(cpu("bf16"), [PLAIN], failing)
    assert (chosen.attention.packed, chosen.why) == (False, f"grouped attention ({type(failure).__name__}: {failure})")


@pytest.mark.parametrize(
    ("precision", "capability", "why"),
    [("bf16", (7, 5), "flash attention needs compute capability 8.0"), ("fp32", (9, 0), "flash attention needs bf16 or fp16")],
)
def test_what_a_gpu_cannot_do_is_not_tried(precision: str, capability: tuple[int, int], why: str) -> None:
    setup = cpu(precision)
    on_gpu = type(setup)(device=torch.device("cuda", 0), precision=precision, dtype=setup.dtype, threads=1, capability=capability)
    assert torch_attention.choose(on_gpu, SHAPES).why == f"grouped attention ({why})"


# The kernels


class Off(PlainKernels):
    """Fused kernels with a fault in one of them."""

    name = "off"

    def silu_gate(self, gate: Tensor, x: Tensor) -> Tensor:
        return super().silu_gate(gate, x) * 1.05


def test_fused_kernels_are_taken_when_each_agrees() -> None:
    class Same(PlainKernels):
        name = "same"

    for precision in ("fp32", "bf16", "fp16", "fp8"):
        assert torch_fusing.choose(cpu(precision), Same).why == "same kernels"


def test_fused_kernels_that_differ_or_fail_are_not_taken() -> None:
    differ = torch_fusing.choose(cpu("bf16"), Off)
    assert isinstance(differ.kernels, PlainKernels)
    assert "plain kernels (silu_gate differs by" in differ.why

    def missing() -> PlainKernels:
        raise RuntimeError("Failed to find C compiler. Please specify via CC")

    assert torch_fusing.choose(cpu("bf16"), missing).why == "plain kernels (RuntimeError: Failed to find C compiler. Please specify via CC)"
