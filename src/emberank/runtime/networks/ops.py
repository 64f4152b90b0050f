"""The operations networks are written in. An engine implements them: eagerly on arrays, or by adding nodes to a graph.

All tensors are packed: the sequences of a batch stand one behind the other, with no padding, so a hidden state is
(tokens, hidden) with `tokens` the sum over the batch. Only `attention` knows where sequences begin and end.
Weights are named, never passed: an engine decides how to hold them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")


class Ops(Protocol[T]):
    """What a network may ask for. `T` is an array for an eager engine, a graph node for a compiling one."""

    # What the batch holds.

    def tokens(self) -> T:
        """Token ids, (tokens,)."""

    def positions(self, first: int = 0) -> T:
        """Place of each token in its own sequence, counted from `first`, (tokens,)."""

    def types(self) -> T:
        """Token type ids (0 first text, 1 second), (tokens,)."""

    def features(self) -> T:
        """The batch's own numbers in the place of token ids, (tokens, width): the pixels of patches."""

    def insert_features(self, x: T) -> T:
        """`x` (tokens, hidden) with the rows that the batch has features for replaced by them: image states among token embeddings."""

    # Weights at work.

    def embedding(self, index: T, name: str) -> T:
        """Rows of the table `name` (rows, hidden) → (tokens, hidden)."""

    def linear(self, x: T, name: str) -> T:
        """x · Wᵀ + b with W = `name`.weight (out, in) and b = `name`.bias (out,) where there is one → (tokens, out)."""

    def linears(self, x: T, names: Sequence[str]) -> tuple[T, ...]:
        """`linear` of one input by each name; an engine may multiply them as one matrix."""

    def layer_norm(self, x: T, name: str, eps: float) -> T:
        """(x − mean) / sqrt(var + eps) · `name`.weight + `name`.bias (where there is one) over the last axis, biased variance."""

    def rms_norm(self, x: T, name: str, eps: float, heads: int = 1) -> T:
        """x / sqrt(mean(x²) + eps) · `name`.weight over each head's part of the last axis; the weight is (width / heads,), one for all heads."""

    # Arithmetic.

    def add(self, x: T, y: T) -> T:
        """Elementwise sum."""

    def multiply(self, x: T, y: T) -> T:
        """Elementwise product."""

    def split(self, x: T, parts: int) -> tuple[T, ...]:
        """The last axis in equal parts."""

    def gelu(self, x: T) -> T:
        """x · Φ(x), the exact form with erf (what Hugging Face calls "gelu")."""

    def gelu_tanh(self, x: T) -> T:
        """½x · (1 + tanh(√(2/π) · (x + 0.044715 x³))) ("gelu_pytorch_tanh", "gelu_new")."""

    def silu(self, x: T) -> T:
        """x · sigmoid(x)."""

    def rope(self, x: T, heads: int, frequencies: NDArray[np.float64]) -> T:
        """Rotary positions, halves of a head's numbers paired (i, i + d/2): angle = position · frequencies[i]. x (tokens, heads · d), frequencies (d/2,) in radians."""

    def attention(self, q: T, k: T, v: T, heads: int, kv_heads: int | None = None, *, causal: bool = False, window: int | None = None) -> T:
        """softmax(q·kᵀ/√head_dim)·v within each sequence → (tokens, heads · head_dim).

        q is (tokens, heads · head_dim), k and v (tokens, kv_heads · head_dim); query head j reads key head j // (heads / kv_heads).
        Every token sees every other, unless `causal` (none after it) or `window` (|i − j| ≤ window only).
        """

    def merge_patches(self, x: T, side: int) -> T:
        """Each square of 2 × 2 neighbouring patches as one row: (tiles · side², c) → (tiles · side²/4, 4c).

        Within a tile patches stand row by row; merged row (s, q) holds (2s, 2q), (2s, 2q+1), (2s+1, 2q), (2s+1, 2q+1) one behind the other
        (Eagle 2's pixel shuffle, version 2, ratio ½).
        """


class Weights(Protocol):
    """Named tensors of one checkpoint."""

    def has(self, name: str) -> bool:
        """Whether the tensor exists."""

    def get(self, name: str) -> NDArray[np.float32]:
        """The tensor in float32 (a view of the file where it is stored so). Raises WeightsError when it is missing."""

    def shape(self, name: str) -> tuple[int, ...]:
        """Its sizes, without reading a number. Raises WeightsError when it is missing."""

    def stored(self, name: str) -> tuple[str, NDArray[Any]]:
        """The tensor as the file has it, not copied: safetensors' word for its type and the numbers (BF16 as uint16)."""

    def drop(self, name: str) -> None:
        """Say that a tensor was copied: its pages of the file need not stay in memory. It can still be read."""
