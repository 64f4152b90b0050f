"""The oracle: every operation in NumPy float64, one after the other, as the formula says. Slow, exact, and independent of any framework."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from emberank.runtime.engines.base import Batch, EngineFacts, EngineOptions, pooled
from emberank.runtime.heads import Floats, Pooling
from emberank.runtime.networks.network import Network
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

    def positions(self, first: int = 0) -> Array:
        """Place of each token in its sequence."""
        return self._batch.positions() + first  # type: ignore[return-value]

    def types(self) -> Array:
        """Token type ids."""
        return self._batch.types  # type: ignore[return-value]

    def features(self) -> Array:
        """The batch's features, one row per token."""
        assert self._batch.features is not None, "this network reads features"
        x = np.zeros((len(self._batch.ids), self._batch.features.values.shape[1]))
        x[self._batch.features.at] = self._batch.features.values
        return x

    def insert_features(self, x: Array) -> Array:
        """Rows replaced."""
        if self._batch.features is not None:
            x = x.copy()
            x[self._batch.features.at] = self._batch.features.values
        return x

    def embedding(self, index: Array, name: str) -> Array:
        """Rows of a table."""
        return self._weights.get(name)[index].astype(np.float64)

    def linear(self, x: Array, name: str) -> Array:
        """x · Wᵀ + b."""
        y = x @ self._get(f"{name}.weight").T
        return y + self._get(f"{name}.bias") if self._weights.has(f"{name}.bias") else y

    def linears(self, x: Array, names: Sequence[str]) -> tuple[Array, ...]:
        """One after the other."""
        return tuple(self.linear(x, name) for name in names)

    def layer_norm(self, x: Array, name: str, eps: float) -> Array:
        """Normalise the last axis."""
        mean = x.mean(-1, keepdims=True)
        variance = ((x - mean) ** 2).mean(-1, keepdims=True)
        y = (x - mean) / np.sqrt(variance + eps) * self._get(f"{name}.weight")
        return y + self._get(f"{name}.bias") if self._weights.has(f"{name}.bias") else y

    def rms_norm(self, x: Array, name: str, eps: float, heads: int = 1) -> Array:
        """Each head's part by its root mean square."""
        parts = x.reshape(len(x), heads, -1)
        y = parts / np.sqrt((parts**2).mean(-1, keepdims=True) + eps) * self._get(f"{name}.weight")
        return y.reshape(x.shape)

    def add(self, x: Array, y: Array) -> Array:
        """Sum."""
        return x + y

    def multiply(self, x: Array, y: Array) -> Array:
        """Product."""
        return x * y

    def split(self, x: Array, parts: int) -> tuple[Array, ...]:
        """Equal parts of the last axis."""
        return tuple(np.split(x, parts, axis=-1))

    def gelu(self, x: Array) -> Array:
        """x · Φ(x)."""
        return x * 0.5 * (1.0 + _erf(x / math.sqrt(2.0)))

    def gelu_tanh(self, x: Array) -> Array:
        """The approximation with tanh."""
        return 0.5 * x * (1.0 + np.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3)))

    def silu(self, x: Array) -> Array:
        """x · sigmoid(x)."""
        return x / (1.0 + np.exp(-x))

    def rope(self, x: Array, heads: int, frequencies: Array) -> Array:
        """Rotate the pairs (i, i + d/2) of each head by position · frequency."""
        angle = self._batch.positions()[:, None, None] * frequencies  # (tokens, 1, d/2)
        first, second = np.split(x.reshape(len(x), heads, -1), 2, axis=-1)
        turned = (first * np.cos(angle) - second * np.sin(angle), second * np.cos(angle) + first * np.sin(angle))
        return np.concatenate(turned, axis=-1).reshape(x.shape)

    def attention(self, q: Array, k: Array, v: Array, heads: int, kv_heads: int | None = None, *, causal: bool = False, window: int | None = None) -> Array:
        """One sequence at a time, one softmax per head and query token."""
        out = np.empty((len(q), v.shape[1] // (kv_heads or heads) * heads))
        stops = np.cumsum(self._batch.lengths)
        for start, stop in zip(stops - self._batch.lengths, stops):
            rows = slice(int(start), int(stop))
            # (tokens, heads · head_dim) → (heads, tokens, head_dim); a key head is read by heads / kv_heads query heads
            qs, ks, vs = (
                t[rows].reshape(rows.stop - rows.start, n, -1).transpose(1, 0, 2) for t, n in ((q, heads), (k, kv_heads or heads), (v, kv_heads or heads))
            )
            ks, vs = (np.repeat(t, heads // (kv_heads or heads), axis=0) for t in (ks, vs))
            scores = qs @ ks.transpose(0, 2, 1) / math.sqrt(qs.shape[-1])
            scores = np.where(_seen(rows.stop - rows.start, causal, window), scores, -np.inf)
            weights = np.exp(scores - scores.max(-1, keepdims=True))
            weights /= weights.sum(-1, keepdims=True)
            out[rows] = (weights @ vs).transpose(1, 0, 2).reshape(rows.stop - rows.start, -1)
        return out

    def merge_patches(self, x: Array, side: int) -> Array:
        """Squares of four as one row, written as the formula says."""
        tiles = x.reshape(-1, side, side, x.shape[1])
        merged = [tiles[:, 0::2, 0::2], tiles[:, 0::2, 1::2], tiles[:, 1::2, 0::2], tiles[:, 1::2, 1::2]]
        return np.concatenate(merged, axis=-1).reshape(-1, 4 * x.shape[1])


def _seen(length: int, causal: bool, window: int | None) -> NDArray[np.bool_]:
    """(query, key): which key a query token sees."""
    ahead = np.arange(length)[None, :] - np.arange(length)[:, None]  # key − query
    seen = ahead <= 0 if causal else np.ones_like(ahead, bool)
    return seen if window is None else seen & (np.abs(ahead) <= window)


class ReferenceEngine:
    """A network run eagerly through ReferenceOps."""

    def __init__(self, network: Network, weights: Weights) -> None:
        self._network = network
        self._weights = weights
        self.facts = EngineFacts(engine="reference", device="CPU", precision="fp64", threads=1, detail=f"NumPy {np.__version__}")

    def run(self, batch: Batch, pooling: Pooling | None = None) -> Floats:
        """Hidden states, rounded to float32 at the very end."""
        states = self.run_float64(batch).astype(np.float32)
        return states if pooling is None else pooled(states, batch.lengths // self._network.merged, pooling)

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


def build(network: Network, weights: Weights, options: EngineOptions) -> ReferenceEngine:
    """The registry's builder. Precision is always float64: `options.precision` is not looked at."""
    return ReferenceEngine(network, weights)
