"""The setup in, the small operations' kernels out: Triton's where they work and agree with the plain ones, else the plain ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

from emberank.runtime.engines.torch_import import Tensor, torch
from emberank.runtime.engines.torch_kernels import Kernels, PlainKernels
from emberank.runtime.engines.torch_setup import Setup

_AGREES = {torch.float32: 1e-5, torch.bfloat16: 0.01, torch.float16: 0.002}  # relative; one rounding of the number type, with room
_AGREES_FP8 = 0.05  # e4m3 has 3 bits: numbers at the edge of two steps fall either way


@dataclass(frozen=True, slots=True)
class Fused:
    """The kernels, and in a few words why these."""

    kernels: Kernels
    why: str


def _triton() -> Kernels:
    kernels: Kernels = import_module("emberank.runtime.engines.torch_triton").TritonKernels()
    return kernels


def choose(setup: Setup, fused: Callable[[], Kernels] = _triton) -> Fused:
    """Fused kernels on a GPU, after a trial of each. Triton compiles with a C compiler; where there is none, the plain ones are right as well."""
    plain = PlainKernels()
    if not setup.cuda and fused is _triton:
        return Fused(plain, "plain kernels")
    try:
        kernels = fused()
        off = trial(kernels, plain, setup)
    except Exception as cause:  # noqa: BLE001  a missing compiler, an unknown chip: nothing that plain PyTorch minds
        return Fused(plain, f"plain kernels ({type(cause).__name__}: {str(cause).partition(chr(10))[0][:160]})")
    return Fused(plain, f"plain kernels ({off})") if off else Fused(kernels, f"{kernels.name} kernels")


def trial(kernels: Kernels, plain: Kernels, setup: Setup) -> str:
    """Empty when every operation gives what the plain one gives, on slices of wider rows as a network has them; else the one that does not."""
    generator = torch.Generator().manual_seed(3)
    wide = torch.randn(7, 3 * 96, generator=generator).to(setup.device, setup.dtype)
    x, other, gate = torch.split(wide, 96, dim=1)
    weight = torch.randn(96, generator=generator).to(setup.device, setup.dtype)
    angle = torch.randn(7, 8, generator=generator).to(setup.device)
    calls: list[tuple[str, Callable[[Kernels], tuple[Tensor, ...]]]] = [
        ("rms_norm", lambda k: k.rms_norm(x, None, weight, 1e-5)),
        ("rms_norm of a sum", lambda k: k.rms_norm(x, other, weight, 1e-5)),
        ("silu_gate", lambda k: (k.silu_gate(gate, x),)),
        ("rope", lambda k: (k.rope(x, 6, angle.cos(), angle.sin()),)),
    ]
    if setup.fp8:
        calls += [
            ("quantise", lambda k: (k.quantise(x).restored(),)),
            ("rms_norm as FP8", lambda k: (k.rms_norm_quantised(x, other, weight, 1e-5)[1].restored(),)),
            ("silu_gate as FP8", lambda k: (k.silu_gate_quantised(gate, x).restored(),)),
        ]
    for name, call in calls:
        most = _AGREES_FP8 if "quantise" in name or "FP8" in name else _AGREES[setup.dtype]
        for found, true in zip(call(kernels), call(plain)):
            off = float((found.float() - true.float()).norm() / true.float().norm())
            if not off <= most:  # NaN is no agreement
                return f"{name} differs by {off:.1e}"
    return ""
