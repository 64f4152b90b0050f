"""The operations networks are written in. An engine implements them: eagerly on arrays, or by adding nodes to a graph.

All tensors are packed: the sequences of a batch stand one behind the other, with no padding, so a hidden state is
(tokens, hidden) with `tokens` the sum over the batch. Only `attention` knows where sequences begin and end.
Weights are named, never passed: an engine decides how to hold them.
"""

from __future__ import annotations

from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")


class Ops(Protocol[T]):
    """What a network may ask for. `T` is an array for an eager engine, a graph node for a compiling one."""

    def tokens(self) -> T:
        """Token ids, (tokens,)."""

    def positions(self) -> T:
        """Place of each token in its own sequence from 0, (tokens,)."""

    def types(self) -> T:
        """Token type ids (0 first text, 1 second), (tokens,)."""

    def embedding(self, index: T, name: str) -> T:
        """Rows of the table `name` (rows, hidden) → (tokens, hidden)."""

    def add(self, x: T, y: T) -> T:
        """Elementwise sum."""

    def linear(self, x: T, name: str) -> T:
        """x · Wᵀ + b with W = `name`.weight (out, in) and b = `name`.bias (out,) → (tokens, out)."""

    def layer_norm(self, x: T, name: str, eps: float) -> T:
        """(x − mean) / sqrt(var + eps) · `name`.weight + `name`.bias over the last axis, biased variance."""

    def gelu(self, x: T) -> T:
        """x · Φ(x), the exact form with erf (what Hugging Face calls "gelu")."""

    def attention(self, q: T, k: T, v: T, heads: int) -> T:
        """softmax(q·kᵀ/√head_dim)·v within each sequence, every token seeing every other; all (tokens, heads · head_dim)."""


class Weights(Protocol):
    """Named tensors of one checkpoint."""

    def has(self, name: str) -> bool:
        """Whether the tensor exists."""

    def get(self, name: str) -> NDArray[np.float32]:
        """The tensor in float32 (a view of the file where it is stored so). Raises WeightsError when it is missing."""
