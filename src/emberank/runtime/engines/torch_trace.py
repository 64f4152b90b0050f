"""A network in, what it will ask of an engine out: its matrices in groups, its tables and vectors, and the shapes of its attention.

The network is run once over widths in the place of tensors: no number is read and nothing is computed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from emberank.runtime.networks.network import Network

Names = tuple[str, ...]  # matrices that are multiplied as one


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class AttentionShape:
    """One kind of attention. `window` None: no window."""

    heads: int
    kv_heads: int
    head_dim: int
    causal: bool
    window: int | None


@dataclass(slots=True)
class Uses:
    """What a network reads, in the order it reads it, without repetition. `shapes` is network.shapes()."""

    shapes: Mapping[str, tuple[int, ...]]
    tables: dict[str, None] = field(default_factory=dict)
    vectors: dict[str, None] = field(default_factory=dict)  # norms, by their name without `.weight`
    matrices: dict[Names, None] = field(default_factory=dict)  # by their names without `.weight`
    attention: dict[AttentionShape, None] = field(default_factory=dict)


class Tracer:
    """networks.ops.Ops on widths: a tensor (tokens, width) is the number `width`."""

    def __init__(self, network: Network) -> None:
        self.uses = Uses(shapes=network.shapes())
        self._network = network

    def tokens(self) -> int:
        """One number a token."""
        return 1

    def positions(self, first: int = 0) -> int:
        """One number a token."""
        return 1

    def types(self) -> int:
        """One number a token."""
        return 1

    def features(self) -> int:
        """As wide as the network says."""
        return self._network.feature_width

    def insert_features(self, x: int) -> int:
        """Some rows are others."""
        return x

    def embedding(self, index: int, name: str) -> int:
        """A table."""
        self.uses.tables[name] = None
        return self.uses.shapes[name][1]

    def linear(self, x: int, name: str) -> int:
        """A matrix alone."""
        return self.linears(x, [name])[0]

    def linears(self, x: int, names: Sequence[str]) -> tuple[int, ...]:
        """Matrices that are one."""
        self.uses.matrices[tuple(names)] = None
        return tuple(self.uses.shapes[f"{name}.weight"][0] for name in names)

    def layer_norm(self, x: int, name: str, eps: float) -> int:
        """A vector, and perhaps a second."""
        self.uses.vectors[name] = None
        return x

    def rms_norm(self, x: int, name: str, eps: float, heads: int = 1) -> int:
        """A vector."""
        self.uses.vectors[name] = None
        return x

    def add(self, x: int, y: int) -> int:
        """As wide as both."""
        return x

    def multiply(self, x: int, y: int) -> int:
        """As wide as both."""
        return x

    def split(self, x: int, parts: int) -> tuple[int, ...]:
        """Equal parts."""
        return (x // parts,) * parts

    def gelu(self, x: int) -> int:
        """Elementwise."""
        return x

    def gelu_tanh(self, x: int) -> int:
        """Elementwise."""
        return x

    def silu(self, x: int) -> int:
        """Elementwise."""
        return x

    def rope(self, x: int, heads: int, frequencies: Any) -> int:
        """Turned, not widened."""
        return x

    def attention(self, q: int, k: int, v: int, heads: int, kv_heads: int | None = None, *, causal: bool = False, window: int | None = None) -> int:
        """As many heads as the queries have."""
        shape = AttentionShape(heads=heads, kv_heads=kv_heads or heads, head_dim=q // heads, causal=causal, window=window)
        self.uses.attention[shape] = None
        return v // (kv_heads or heads) * heads

    def merge_patches(self, x: int, side: int) -> int:
        """Four rows as one."""
        return 4 * x


def trace(network: Network) -> Uses:
    """Everything that `network` reads."""
    tracer = Tracer(network)
    network.forward(tracer)
    return tracer.uses
