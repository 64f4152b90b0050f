"""What a GPU has and a CPU has not, written out for tests: packed attention one sequence at a time, and a capture that computes again when it is replayed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as functional
from torch import Tensor

from emberank.runtime.engines.torch_attention import PackedAttention
from emberank.runtime.engines.torch_engine import TorchEngine
from emberank.runtime.engines.torch_graphs import Graphs
from emberank.runtime.engines.torch_setup import DTYPES, Setup
from emberank.runtime.networks.network import Network
from emberank.runtime.networks.ops import Weights


def cpu(precision: str = "fp32") -> Setup:
    """A setup for the CPU, fp8 as well: what a user is refused, so that a test may compute it."""
    return Setup(device=torch.device("cpu"), precision=precision, dtype=DTYPES[precision], threads=2)


def varlen(
    q: Tensor, k: Tensor, v: Tensor, starts: Tensor, key_starts: Tensor, longest: int, key_longest: int, *, window_size: tuple[int, int], enable_gqa: bool
) -> Tensor:
    """torch.nn.attention.varlen.varlen_attn as its documentation says, for a CPU; what it does not write is NaN."""
    out = torch.full_like(q, float("nan"))
    for start, stop in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True):
        length = stop - start
        assert length <= longest == key_longest
        if not length:
            continue
        ahead = torch.arange(length)[None, :] - torch.arange(length)[:, None]
        left, right = window_size
        seen = (ahead >= -left if left >= 0 else torch.ones_like(ahead, dtype=torch.bool)) & (ahead <= right if right >= 0 else torch.ones_like(ahead).bool())
        rows = slice(start, stop)
        one = functional.scaled_dot_product_attention(*(t[rows].transpose(0, 1)[None] for t in (q, k, v)), attn_mask=seen, enable_gqa=enable_gqa)
        out[rows] = one[0].transpose(0, 1)
    return out


class Recomputing:
    """Stands for torch_graphs.Capture. Counts captures and replays."""

    def __init__(self) -> None:
        self.captured = self.replayed = 0

    def __call__(self, compute: Callable[[], Tensor]) -> tuple[Tensor, Callable[[], Any]]:
        out = compute().clone()
        out.fill_(float("nan"))  # nothing of the capture itself may be taken for a result
        self.captured += 1

        def replay() -> None:
            self.replayed += 1
            out.copy_(compute())

        return out, replay


def graphed(network: Network, weights: Weights, setup: Setup, **options: Any) -> tuple[TorchEngine, Recomputing]:
    """An engine as on a GPU, with packed attention and graphs, and the counter of its graphs."""
    engine, capture = TorchEngine(network, weights, setup), Recomputing()
    engine._attention = PackedAttention(varlen)
    engine._graphs = Graphs(engine._compute, capture, setup.device, setup.dtype, **options)
    return engine, capture
