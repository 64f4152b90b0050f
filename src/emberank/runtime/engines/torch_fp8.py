"""Matrices and activations in, their e4m3 numbers and scales out, and the product of two such: how FP8 is done. Knows no network.

Weights have one scale per output channel, made once; activations one per row, made for every product ("dynamic", row-wise). A scale
is the largest magnitude over 448, the largest number of e4m3. Source of the product: torch._scaled_mm, whose row-wise form asks for
float32 scales (rows, 1) and (1, columns), widths that are multiples of 16, and answers in bf16.
"""

from __future__ import annotations

from dataclasses import dataclass

from emberank.runtime.engines.torch_import import Device, Tensor, torch

MOST = 448.0  # the largest e4m3 number
LEAST_SIZE = 512  # rows and columns of a matrix that is worth it
_LEAST_SCALE = 1e-12  # a row of zeros stays one


@dataclass(frozen=True, slots=True, eq=False)
class Quantised:
    """Numbers e4m3 (rows, columns) and what each row is to be multiplied by, float32 (rows, 1)."""

    numbers: Tensor
    scales: Tensor

    def restored(self) -> Tensor:
        """What they stand for, float32: for tests."""
        return self.numbers.float() * self.scales


def suits(out: int, inputs: int, least: int = LEAST_SIZE) -> bool:
    """Whether a matrix (out, inputs) is multiplied in FP8: large, and of widths that the hardware takes."""
    return min(out, inputs) >= least and out % 16 == 0 and inputs % 16 == 0


def quantise(x: Tensor) -> Quantised:
    """Rows of any float type as e4m3, each by its own scale."""
    wide = x.float()
    scales = wide.abs().amax(-1, keepdim=True).clamp_min(_LEAST_SCALE) / MOST
    return Quantised((wide / scales).clamp(-MOST, MOST).to(torch.float8_e4m3fn), scales)


def multiply(x: Quantised, weight: Quantised, bias: Tensor | None) -> Tensor:
    """x · Wᵀ + b, bf16 (rows, out). `weight` is (out, inputs) with a scale per output channel."""
    product = torch._scaled_mm(
        x.numbers,
        weight.numbers.t(),
        scale_a=x.scales,
        scale_b=weight.scales.t(),
        out_dtype=torch.bfloat16,
        use_fast_accum=True,  # Hopper's own accumulation; the exact one is a third slower there
    )
    return product if bias is None else product + bias


def emulated(x: Tensor, weight: Tensor) -> Tensor:
    """What `multiply` computes, written as the formula says, float32: the oracle of the tests and of the trial at start."""
    return quantise(x).restored() @ quantise(weight).restored().T


def trial(device: Device) -> str:
    """Empty when FP8 products come out right on `device`; else why they cannot be used."""
    generator = torch.Generator().manual_seed(1)
    x, weight = (torch.randn(rows, 64, generator=generator) for rows in (24, 48))
    try:
        found = multiply(quantise(x.to(device)), quantise(weight.to(device)), None).float().cpu()
    except (RuntimeError, NotImplementedError) as cause:
        return str(cause).partition("\n")[0][:200]
    true = emulated(x, weight)
    off = float((found - true).norm() / true.norm())
    return "" if off <= 0.01 else f"a small product was off by {off:.2%}"
