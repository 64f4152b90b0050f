"""networks.ops.Ops on PyTorch tensors, eagerly, for one batch: every operation of a network at once, on packed tokens. Keeps nothing between batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
from numpy.typing import NDArray

from emberank.runtime.engines.torch_attention import Attention
from emberank.runtime.engines.torch_fp8 import multiply
from emberank.runtime.engines.torch_import import Tensor, functional, torch
from emberank.runtime.engines.torch_inputs import Inputs
from emberank.runtime.engines.torch_kernels import Kernels
from emberank.runtime.engines.torch_pending import Gated, Norm, Silu, Sum, Value, quantised, value
from emberank.runtime.engines.torch_trace import AttentionShape
from emberank.runtime.engines.torch_weights import DeviceWeights


class TorchOps:
    """All values are (tokens, width) in the engine's number type, but for ids, positions and types: int32 (tokens,)."""

    def __init__(self, weights: DeviceWeights, inputs: Inputs, attention: Attention, kernels: Kernels) -> None:
        self._weights = weights
        self._inputs = inputs
        self._attention = attention
        self._kernels = kernels

    def tokens(self) -> Value:
        """Token ids."""
        return self._inputs.ids

    def positions(self, first: int = 0) -> Value:
        """Place of each token in its sequence."""
        return self._inputs.positions + first if first else self._inputs.positions

    def types(self) -> Value:
        """Token type ids."""
        return self._inputs.types

    def features(self) -> Value:
        """The batch's features, one row per token."""
        assert self._inputs.features is not None, "this network reads features"
        return self._inputs.features

    def insert_features(self, x: Value) -> Value:
        """Rows replaced where the batch has features."""
        if self._inputs.features is None or self._inputs.featured is None:
            return x
        return torch.where(self._inputs.featured, self._inputs.features, value(x))

    def embedding(self, index: Value, name: str) -> Value:
        """Rows of a table."""
        return functional.embedding(value(index), self._weights.tensor(name))

    def linear(self, x: Value, name: str) -> Value:
        """x · Wᵀ + b."""
        return self._product(x, (name,))

    def linears(self, x: Value, names: Sequence[str]) -> tuple[Value, ...]:
        """One product, cut into each one's columns: slices, not copies."""
        return torch.split(self._product(x, tuple(names)), self._weights.matrix(tuple(names)).sizes, dim=1)

    def _product(self, x: Value, names: tuple[str, ...]) -> Tensor:
        matrix = self._weights.matrix(names)
        if matrix.fp8 is not None:
            return multiply(quantised(x, self._kernels), matrix.fp8, matrix.bias)
        return functional.linear(value(x), cast(Tensor, matrix.weight), matrix.bias)

    def layer_norm(self, x: Value, name: str, eps: float) -> Value:
        """PyTorch's own, float32 inside."""
        weight = self._weights.tensor(f"{name}.weight")
        return functional.layer_norm(value(x), weight.shape, weight, self._weights.optional(f"{name}.bias"), eps)

    def rms_norm(self, x: Value, name: str, eps: float, heads: int = 1) -> Value:
        """Of whole rows later, when somebody reads it; of heads at once."""
        weight = self._weights.tensor(f"{name}.weight")
        if heads == 1:
            return Norm(self._kernels, x if isinstance(x, Sum) else value(x), weight, eps)
        rows = value(x)
        return functional.rms_norm(rows.reshape(len(rows), heads, -1), weight.shape, weight, eps).view(rows.shape)

    def add(self, x: Value, y: Value) -> Value:
        """Later, when somebody reads it."""
        return Sum(self._kernels, value(x), value(y))

    def multiply(self, x: Value, y: Value) -> Value:
        """Elementwise; with a gate later."""
        return Gated(self._kernels, x.x, value(y)) if isinstance(x, Silu) else value(x) * value(y)

    def split(self, x: Value, parts: int) -> tuple[Value, ...]:
        """Equal slices of the last axis."""
        return value(x).chunk(parts, dim=-1)

    def gelu(self, x: Value) -> Value:
        """x · Φ(x)."""
        return functional.gelu(value(x))

    def gelu_tanh(self, x: Value) -> Value:
        """The approximation with tanh."""
        return functional.gelu(value(x), approximate="tanh")

    def silu(self, x: Value) -> Value:
        """x · sigmoid(x), later."""
        return Silu(self._kernels, value(x))

    def rope(self, x: Value, heads: int, frequencies: NDArray[np.float64]) -> Value:
        """Angles are made once a batch, not once a layer."""
        return self._kernels.rope(value(x), heads, *self._inputs.turns(frequencies))

    def attention(self, q: Value, k: Value, v: Value, heads: int, kv_heads: int | None = None, *, causal: bool = False, window: int | None = None) -> Value:
        """Within each sequence."""
        queries = value(q)
        shape = AttentionShape(heads=heads, kv_heads=kv_heads or heads, head_dim=queries.shape[1] // heads, causal=causal, window=window)
        return self._attention(queries, value(k), value(v), shape, self._inputs)

    def merge_patches(self, x: Value, side: int) -> Value:
        """(tiles, rows of squares, row in it, columns of squares, column in it, c) → squares with their four patches behind each other."""
        rows = value(x)
        width, half = rows.shape[1], side // 2
        return rows.reshape(-1, half, 2, half, 2, width).transpose(2, 3).reshape(-1, 4 * width)


def pool(states: Tensor, starts: Tensor, how: str) -> Tensor:
    """(rows, hidden) → (sequences, hidden) float32. `starts` (sequences + 1,) counts rows; an empty sequence gives numbers of no meaning.

    Every sum is made by one thread from the first row to the last: the same batch gives the same bits.
    """
    last = states.shape[0] - 1
    if how == "cls":
        return states[starts[:-1].clamp_max(last)].float()
    if how == "last":
        return states[(starts[1:] - 1).clamp_min(0)].float()
    if how == "max":
        return torch.segment_reduce(states.float(), "max", offsets=starts, axis=0, unsafe=True)
    total = torch.segment_reduce(states.float(), "sum", offsets=starts, axis=0, unsafe=True)
    count = starts.diff().clamp_min(1).float()[:, None]
    return total / (count if how == "mean" else count.sqrt())
