"""The oracle: every operation in NumPy float64, one after the other, as the formula says. Slow, exact, and independent of any framework."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from emberank.runtime.engines.base import Batch, EngineFacts, EngineOptions
from emberank.runtime.networks.bert import Bert
from emberank.runtime.networks.ops import Weights

Array = NDArray[np.float64]
_erf = np.vectorize(math.erf, otypes=[np.float64])


class ReferenceOps:
    """networks.ops.Ops on float64 arrays, for one batch."""

    def __init__(self, weights: Weights, batch: Batch) -> None:
        self._weights = weights
        self._batch = batch

    def _get(self, name: str) -> Array:
        return self._weights.get(name).astype(np.float64)

    def tokens(self) -> Array:
        """Token ids; integers, whatever the annotation says: only `embedding` takes them."""
        return self._batch.ids  # type: ignore[return-value]

    def positions(self) -> Array:
        """Place of each token in its sequence."""
        return self._batch.positions()  # type: ignore[return-value]

    def types(self) -> Array:
        """Token type ids."""
        return self._batch.types  # type: ignore[return-value]

    def embedding(self, index: Array, name: str) -> Array:
        """Rows of a table."""
        return self._weights.get(name)[index].astype(np.float64)

    def add(self, x: Array, y: Array) -> Array:
        """Sum."""
        return x + y

    def linear(self, x: Array, name: str) -> Array:
        """x · Wᵀ + b."""
        y = x @ self._get(f"{name}.weight").T
        return y + self._get(f"{name}.bias") if self._weights.has(f"{name}.bias") else y

    def layer_norm(self, x: Array, name: str, eps: float) -> Array:
        """Normalise the last axis."""
        mean = x.mean(-1, keepdims=True)
        variance = ((x - mean) ** 2).mean(-1, keepdims=True)
        return (x - mean) / np.sqrt(variance + eps) * self._get(f"{name}.weight") + self._get(f"{name}.bias")

    def gelu(self, x: Array) -> Array:
        """x · Φ(x)."""
        return x * 0.5 * (1.0 + _erf(x / math.sqrt(2.0)))

    def attention(self, q: Array, k: Array, v: Array, heads: int) -> Array:
        """One sequence at a time, one softmax per head and query token."""
        out = np.empty_like(q)
        start = 0
        for length in self._batch.lengths:
            rows = slice(start, start + int(length))
            # (tokens, heads · head_dim) → (heads, tokens, head_dim)
            qs, ks, vs = (t[rows].reshape(int(length), heads, -1).transpose(1, 0, 2) for t in (q, k, v))
            scores = qs @ ks.transpose(0, 2, 1) / math.sqrt(qs.shape[-1])
            weights = np.exp(scores - scores.max(-1, keepdims=True))
            weights /= weights.sum(-1, keepdims=True)
            out[rows] = (weights @ vs).transpose(1, 0, 2).reshape(int(length), -1)
            start += int(length)
        return out


class ReferenceEngine:
    """A network run eagerly through ReferenceOps."""

    def __init__(self, network: Bert, weights: Weights) -> None:
        self._network = network
        self._weights = weights
        self.facts = EngineFacts(engine="reference", device="CPU", precision="fp64", threads=1, detail=f"NumPy {np.__version__}")

    def run(self, batch: Batch) -> NDArray[np.float32]:
        """Hidden states, rounded to float32 at the very end."""
        return self.run_float64(batch).astype(np.float32)

    def run_float64(self, batch: Batch) -> Array:
        """Hidden states in full precision, for parity tests."""
        return self._network.forward(ReferenceOps(self._weights, batch))

    def padded_tokens(self, lengths: NDArray[np.int32]) -> int:
        """No padding at all."""
        return int(lengths.sum())

    def attention_rows(self, lengths: NDArray[np.int32]) -> int:
        """No padding at all."""
        return int(lengths.sum())

    def close(self) -> None:
        """Holds nothing of its own."""


def build(network: Bert, weights: Weights, options: EngineOptions) -> ReferenceEngine:
    """The registry's builder. Precision is always float64: `options.precision` is not looked at."""
    return ReferenceEngine(network, weights)
