"""The operations of torch_kernels.py fused, in Triton: each reads and writes the device's memory once. Imported only where Triton is there.

One program a row. Arithmetic is float32; what is stored is rounded once, except that a sum is rounded before its norm is taken, as the
plain operations do. Runs on a CPU in Triton's interpreter (TRITON_INTERPRET=1), which is how it is tested without a GPU.
"""

from __future__ import annotations

import triton
import triton.language as tl

from emberank.runtime.engines.torch_fp8 import Quantised
from emberank.runtime.engines.torch_import import Tensor, torch

MOST_WIDTH = 65536  # numbers of a row that one program holds


@triton.jit
def _store_quantised(value, numbers, scales, row, column, inside, width):
    """A row as e4m3 with its scale. `value` is 0 outside the row."""
    scale = tl.maximum(tl.max(tl.abs(value), axis=0) / 448.0, 1e-12)
    tl.store(scales + row, scale)
    scaled = tl.minimum(tl.maximum(value / scale, -448.0), 448.0)
    tl.store(numbers + row * width + column, scaled.to(numbers.dtype.element_ty), mask=inside)


@triton.jit
def _rms_norm(x, x_row, other, other_row, weight, total, norm, scales, width, eps, ADDS: tl.constexpr, QUANTISES: tl.constexpr, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, BLOCK)
    inside = column < width
    value = tl.load(x + row * x_row + column, mask=inside, other=0.0).to(tl.float32)
    if ADDS:
        value += tl.load(other + row * other_row + column, mask=inside, other=0.0).to(tl.float32)
        rounded = value.to(total.dtype.element_ty)
        tl.store(total + row * width + column, rounded, mask=inside)
        value = rounded.to(tl.float32)
    square = tl.sum(value * value, axis=0) / width
    value = value * tl.rsqrt(square + eps) * tl.load(weight + column, mask=inside, other=0.0).to(tl.float32)
    if QUANTISES:
        _store_quantised(value, norm, scales, row, column, inside, width)
    else:
        tl.store(norm + row * width + column, value.to(norm.dtype.element_ty), mask=inside)


@triton.jit
def _silu_gate(gate, gate_row, x, x_row, out, scales, width, QUANTISES: tl.constexpr, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, BLOCK)
    inside = column < width
    opened = tl.load(gate + row * gate_row + column, mask=inside, other=0.0).to(tl.float32)
    value = opened * tl.sigmoid(opened) * tl.load(x + row * x_row + column, mask=inside, other=0.0).to(tl.float32)
    if QUANTISES:
        _store_quantised(value, out, scales, row, column, inside, width)
    else:
        tl.store(out + row * width + column, value.to(out.dtype.element_ty), mask=inside)


@triton.jit
def _quantise(x, x_row, out, scales, width, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, BLOCK)
    inside = column < width
    value = tl.load(x + row * x_row + column, mask=inside, other=0.0).to(tl.float32)
    _store_quantised(value, out, scales, row, column, inside, width)


@triton.jit
def _rope(x, x_row, cos, sin, out, heads, half, HEADS: tl.constexpr, HALF: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    head = tl.arange(0, HEADS)[:, None]
    pair = tl.arange(0, HALF)[None, :]
    inside = (head < heads) & (pair < half)
    place = head * 2 * half + pair
    first = tl.load(x + row * x_row + place, mask=inside, other=0.0).to(tl.float32)
    second = tl.load(x + row * x_row + place + half, mask=inside, other=0.0).to(tl.float32)
    c = tl.load(cos + row * half + pair, mask=pair < half, other=0.0)
    s = tl.load(sin + row * half + pair, mask=pair < half, other=0.0)
    to = out + row * 2 * half * heads + place
    tl.store(to, (first * c - second * s).to(out.dtype.element_ty), mask=inside)
    tl.store(to + half, (second * c + first * s).to(out.dtype.element_ty), mask=inside)


class TritonKernels:
    """torch_kernels.Kernels, fused."""

    name = "triton"

    def rms_norm(self, x: Tensor, other: Tensor | None, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
        """Sum and norm in one pass."""
        norm = torch.empty(x.shape, dtype=x.dtype, device=x.device)
        return self._norm(x, other, weight, eps, norm, None), norm

    def rms_norm_quantised(self, x: Tensor, other: Tensor | None, weight: Tensor, eps: float) -> tuple[Tensor, Quantised]:
        """Sum, norm and e4m3 in one pass."""
        out = _fp8_like(x)
        return self._norm(x, other, weight, eps, out.numbers, out.scales), out

    def _norm(self, x: Tensor, other: Tensor | None, weight: Tensor, eps: float, norm: Tensor, scales: Tensor | None) -> Tensor:
        rows, width = x.shape
        total = x if other is None else torch.empty((rows, width), dtype=x.dtype, device=x.device)
        second = x if other is None else other  # not read without ADDS
        _rms_norm[(rows,)](
            _packed(x),
            x.stride(0),
            _packed(second),
            second.stride(0),
            weight,
            total,
            norm,
            weight if scales is None else scales,  # not written without QUANTISES
            width,
            eps,
            ADDS=other is not None,
            QUANTISES=scales is not None,
            **_block(width),
        )
        return total

    def silu_gate(self, gate: Tensor, x: Tensor) -> Tensor:
        """Gate and product in one pass."""
        out = torch.empty(x.shape, dtype=x.dtype, device=x.device)
        _silu_gate[(len(x),)](_packed(gate), gate.stride(0), _packed(x), x.stride(0), out, out, x.shape[1], QUANTISES=False, **_block(x.shape[1]))
        return out

    def silu_gate_quantised(self, gate: Tensor, x: Tensor) -> Quantised:
        """Gate, product and e4m3 in one pass."""
        out, width = _fp8_like(x), x.shape[1]
        _silu_gate[(len(x),)](_packed(gate), gate.stride(0), _packed(x), x.stride(0), out.numbers, out.scales, width, QUANTISES=True, **_block(width))
        return out

    def quantise(self, x: Tensor) -> Quantised:
        """e4m3 in one pass."""
        out = _fp8_like(x)
        _quantise[(len(x),)](_packed(x), x.stride(0), out.numbers, out.scales, x.shape[1], **_block(x.shape[1]))
        return out

    def rope(self, x: Tensor, heads: int, cos: Tensor, sin: Tensor) -> Tensor:
        """All heads of a token in one pass."""
        out = torch.empty(x.shape, dtype=x.dtype, device=x.device)
        half = x.shape[1] // heads // 2
        blocks = {"HEADS": triton.next_power_of_2(heads), "HALF": triton.next_power_of_2(half)}
        _rope[(len(x),)](_packed(x), x.stride(0), cos, sin, out, heads, half, **blocks)
        return out


def _packed(x: Tensor) -> Tensor:
    """The kernels read rows whose numbers stand one behind the other; rows may lie apart."""
    if x.stride(1) != 1 or x.shape[1] > MOST_WIDTH:
        raise ValueError(f"a row of {x.shape[1]} numbers {x.stride(1)} apart is not one that these kernels read")
    return x


def _fp8_like(x: Tensor) -> Quantised:
    return Quantised(
        torch.empty(x.shape, dtype=torch.float8_e4m3fn, device=x.device),
        torch.empty((x.shape[0], 1), dtype=torch.float32, device=x.device),
    )


def _block(width: int) -> dict[str, int]:
    block = triton.next_power_of_2(width)
    return {"BLOCK": block, "num_warps": 4 if block <= 2048 else 8 if block <= 8192 else 16}
