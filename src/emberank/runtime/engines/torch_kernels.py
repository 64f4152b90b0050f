"""The small operations between matrix products, in plain PyTorch: norms, rotation, gates. torch_triton.py has the same ones fused.

Arithmetic is float32 inside each, whatever the tensors hold. Knows no weights by name.
"""

from __future__ import annotations

from typing import Protocol

from emberank.runtime.engines.torch_fp8 import Quantised, quantise
from emberank.runtime.engines.torch_import import Tensor, functional, torch


class Kernels(Protocol):
    """What is worth fusing. Every `x` is (tokens, width), its rows perhaps a slice of wider ones."""

    name: str

    def rms_norm(self, x: Tensor, other: Tensor | None, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
        """(x + other, its norm · weight), both of x's type; without `other` x itself comes first."""

    def rms_norm_quantised(self, x: Tensor, other: Tensor | None, weight: Tensor, eps: float) -> tuple[Tensor, Quantised]:
        """The same, the norm as FP8."""

    def silu_gate(self, gate: Tensor, x: Tensor) -> Tensor:
        """silu(gate) · x."""

    def silu_gate_quantised(self, gate: Tensor, x: Tensor) -> Quantised:
        """The same as FP8."""

    def quantise(self, x: Tensor) -> Quantised:
        """Rows as FP8."""

    def rope(self, x: Tensor, heads: int, cos: Tensor, sin: Tensor) -> Tensor:
        """Halves of each head's numbers turned as pairs; cos and sin are float32 (tokens, head_dim / 2)."""


class PlainKernels:
    """One PyTorch operation after the other: on any device, and what the fused ones are held against."""

    name = "plain"

    def rms_norm(self, x: Tensor, other: Tensor | None, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
        """PyTorch's own, which is float32 inside."""
        total = x if other is None else x + other
        return total, functional.rms_norm(total, (total.shape[-1],), weight, eps)

    def rms_norm_quantised(self, x: Tensor, other: Tensor | None, weight: Tensor, eps: float) -> tuple[Tensor, Quantised]:
        """One after the other."""
        total, norm = self.rms_norm(x, other, weight, eps)
        return total, quantise(norm)

    def silu_gate(self, gate: Tensor, x: Tensor) -> Tensor:
        """One after the other."""
        return functional.silu(gate) * x

    def silu_gate_quantised(self, gate: Tensor, x: Tensor) -> Quantised:
        """One after the other."""
        return quantise(self.silu_gate(gate, x))

    def quantise(self, x: Tensor) -> Quantised:
        """As torch_fp8.py says."""
        return quantise(x)

    def rope(self, x: Tensor, heads: int, cos: Tensor, sin: Tensor) -> Tensor:
        """In float32, rounded once at the end."""
        first, second = x.view(x.shape[0], heads, -1).float().chunk(2, dim=-1)
        cos, sin = cos[:, None], sin[:, None]
        turned = torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)
        return turned.reshape(x.shape).to(x.dtype)
