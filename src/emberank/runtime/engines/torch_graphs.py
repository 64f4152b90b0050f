"""Batches of a few sizes in, their kernels replayed as one CUDA graph out: a small batch costs its computing, and no launching.

A graph is made for a size (torch_layout.Size) and a pooling, the second time that pair is met, or at start for the commonest. Replaying runs
the very kernels that were captured, on the same padded shapes that the eager way uses, so both give the same bits. Knows no network.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from emberank.runtime.engines.base import Features
from emberank.runtime.engines.torch_import import Device, Dtype, Tensor, torch
from emberank.runtime.engines.torch_inputs import Inputs, Staging, fill_features, views
from emberank.runtime.engines.torch_layout import Layout, Size

Compute = Callable[[Inputs, str | None], Tensor]

MOST_TOKENS = 1024  # rows of the largest graph: from there on computing takes longer than launching
MOST_GRAPHS = 48
MET_BEFORE_CAPTURE = 2
_WARMING_RUNS = 2  # before a capture: libraries make their workspaces, Triton compiles

_capturing = threading.Lock()  # one capture at a time in a process


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """What one graph is for. `features` is their width, 0 for none."""

    size: Size
    pooling: str | None
    features: int


@dataclass(slots=True, eq=False)
class Captured:
    """A graph with the tensors that it reads and writes: their addresses are in it."""

    numbers: Tensor
    inputs: Inputs
    out: Tensor
    replay: Callable[[], Any]


class Capture:
    """Captures with PyTorch's CUDA graphs; the graphs of one engine share one pool of memory, since they never run at the same time."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._pool = torch.cuda.graph_pool_handle()

    def __call__(self, compute: Callable[[], Tensor]) -> tuple[Tensor, Callable[[], Any]]:
        """(what `compute` returned, how to compute it again)."""
        with _capturing:
            for _ in range(_WARMING_RUNS):
                compute()
            self._stream.synchronize()
            graph = torch.cuda.CUDAGraph()
            # thread_local: other engines of this process go on allocating meanwhile.
            with torch.cuda.graph(graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"):
                out = compute()
        return out, graph.replay


class Graphs:
    """The graphs of one engine, the longest unused given up for a new one."""

    def __init__(
        self,
        compute: Compute,
        capture: Callable[[Callable[[], Tensor]], tuple[Tensor, Callable[[], Any]]],
        device: Device,
        dtype: Dtype,
        *,
        most: int = MOST_GRAPHS,
        met_before: int = MET_BEFORE_CAPTURE,
    ) -> None:
        self._compute = compute
        self._capture = capture
        self._device = device
        self._dtype = dtype
        self._most = most
        self._met_before = met_before
        self._met: dict[Key, int] = {}
        self._graphs: OrderedDict[Key, Captured] = OrderedDict()

    def __len__(self) -> int:
        """Graphs that are there."""
        return len(self._graphs)

    def run(self, layout: Layout, features: Features | None, pooling: str | None, staging: Staging) -> Tensor | None:
        """The batch's result, valid until the next run; None when there is no graph for it, and none is to be made yet."""
        key = Key(size=layout.size, pooling=pooling, features=0 if features is None else features.values.shape[1])
        captured = self._graphs.get(key)
        if captured is None:
            self._met[key] = self._met.get(key, 0) + 1
            if self._met[key] < self._met_before:
                return None
        fresh = captured is None
        captured = captured or self._prepared(key)
        captured.numbers.copy_(staging.filled("indices", layout.numbers, torch.int32), non_blocking=True)
        if features is not None:
            assert captured.inputs.features is not None
            assert captured.inputs.featured is not None
            captured.inputs.features.zero_()
            captured.inputs.featured.zero_()
            fill_features(captured.inputs, features, staging)
        if fresh:  # captured on the real batch: its warming runs compute on numbers that make sense
            self._make(key, captured)
        self._graphs.move_to_end(key)
        captured.replay()
        return captured.out

    def _prepared(self, key: Key) -> Captured:
        tokens = key.size.tokens
        numbers = torch.zeros(3 * tokens + key.size.sequences + 1, dtype=torch.int32, device=self._device)
        inputs = views(numbers, key.size)
        if key.features:
            inputs.features = torch.zeros((tokens, key.features), dtype=self._dtype, device=self._device)
            inputs.featured = torch.zeros((tokens, 1), dtype=torch.bool, device=self._device)
        return Captured(numbers, inputs, numbers, lambda: None)

    def _make(self, key: Key, captured: Captured) -> None:
        while len(self._graphs) >= self._most:
            self._graphs.popitem(last=False)

        def compute() -> Tensor:
            # Angles that an earlier run kept are not of this graph: each run makes its own.
            return self._compute(_again(captured.inputs), key.pooling)

        captured.out, captured.replay = self._capture(compute)
        self._graphs[key] = captured
        self._met.pop(key, None)

    def clear(self) -> None:
        """Give all of them up, and their memory."""
        self._graphs.clear()
        self._met.clear()


def _again(inputs: Inputs) -> Inputs:
    """The same tensors, nothing kept from an earlier run."""
    return Inputs(
        size=inputs.size,
        ids=inputs.ids,
        positions=inputs.positions,
        types=inputs.types,
        starts=inputs.starts,
        features=inputs.features,
        featured=inputs.featured,
    )
