"""Run as a program: holds the Triton kernels against the plain ones on the CPU, in Triton's interpreter. Exit status 1 and a sentence when one differs.

The interpreter must be chosen before Triton is imported, so this is a process of its own.
"""

from __future__ import annotations

import os

os.environ["TRITON_INTERPRET"] = "1"

import sys

import torch

from emberank.runtime.engines import torch_fusing
from emberank.runtime.engines.torch_fp8 import Quantised
from emberank.runtime.engines.torch_kernels import PlainKernels
from emberank.runtime.engines.torch_triton import TritonKernels
from torch_engines import cpu

FUSED, PLAIN = TritonKernels(), PlainKernels()


def main() -> str:
    for precision in ("fp32", "bf16", "fp16"):
        if off := torch_fusing.trial(FUSED, PLAIN, cpu(precision)):
            return f"{precision}: {off}"
    torch.manual_seed(5)
    for rows, width in ((40, 64), (30, 100), (5, 2048)):
        wide = torch.randn(rows, 3 * width).bfloat16()
        x, other, gate = torch.split(wide, width, dim=1)
        weight = torch.randn(width).bfloat16()
        pairs = {
            "quantise": (FUSED.quantise(x), PLAIN.quantise(x)),
            "norm as FP8": (FUSED.rms_norm_quantised(x, other, weight, 1e-5)[1], PLAIN.rms_norm_quantised(x, other, weight, 1e-5)[1]),
            "gate as FP8": (FUSED.silu_gate_quantised(gate, x), PLAIN.silu_gate_quantised(gate, x)),
        }
        for name, (found, true) in pairs.items():
            if off := differs(found, true):
                return f"{name} of {rows} × {width}: {off}"
    try:
        FUSED.quantise(torch.randn(8, 8).t())
    except ValueError:
        return ""
    return "a row whose numbers lie apart was taken"


def differs(found: Quantised, true: Quantised) -> str:
    scale = float((found.scales / true.scales - 1).abs().max())
    if not scale <= 0.01:
        return f"scales differ by {scale:.1%}"
    ours, theirs = found.numbers.float(), true.numbers.float()
    # The interpreter does not carry when a number is rounded up to the next power of two: it comes out as half of it. A GPU's own conversion does.
    halved = ours * 2 == theirs
    if float(halved.float().mean()) > 0.06:
        return "too many numbers are half of what they should be"
    off = float((ours - theirs)[~halved].norm() / theirs[~halved].norm())
    return "" if off <= 0.05 else f"numbers differ by {off:.1%}"


if __name__ == "__main__":
    if said := main():
        sys.exit(said)
