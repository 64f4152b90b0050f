"""networks.ops.Ops that adds nodes to an OpenVINO graph. Made for one network, then thrown away; holds no array of its own.

All linear layers run on the sum of the batch's tokens; only attention gathers them into (sequences, length) rows and scatters them back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emberank.runtime.engines.openvino_weights import Constants
from emberank.runtime.engines.quiet_openvino import opset13 as op
from emberank.runtime.networks.network import Network
from emberank.runtime.networks.ops import Weights

Node = Any  # openvino ships no types

MASKED = np.float32(-1e9)  # added to the score of a key that is not seen; finite, so that a row of padding gives no NaN


@dataclass(frozen=True, slots=True)
class HostTable:
    """A table whose rows are looked up before the graph runs: it stays in the file, in whatever type it is stored."""

    name: str
    parameter: Node  # (tokens, width)


@dataclass(frozen=True, slots=True)
class Turn:
    """Cosines and sines of one set of rotary frequencies, (tokens, head_dim / 2) each, made before the graph runs."""

    frequencies: NDArray[np.float64]
    cosines: Node
    sines: Node


def _const(value: Any, dtype: Any = np.int64) -> Node:
    return op.constant(np.asarray(value, dtype))


class OpenVinoOps:
    """Adds nodes; `parameters` are what a run has to fill."""

    def __init__(self, network: Network, weights: Weights, constants: Constants, *, fuse: bool) -> None:
        self._network = network
        self._weights = weights
        self._constants = constants
        self._fuse = fuse
        self.ids = op.parameter([-1], np.int32, name="ids")  # (tokens,)
        self.place = op.parameter([-1], np.int32, name="positions")  # (tokens,)
        self.kinds = op.parameter([-1], np.int32, name="types")  # (tokens,)
        self.rows = op.parameter([-1, -1], np.int32, name="rows")  # (sequences, length): which token stands there
        self.back = op.parameter([-1], np.int32, name="back")  # (tokens,): where each token stands in the rows, flattened
        self.mask = op.parameter([-1, 1, 1, -1], np.float32, name="mask")  # (sequences, 1, 1, length): 0 or a large negative number
        self.pixels: Node | None = None  # (tokens, width)
        self.table: HostTable | None = None
        self.turns: dict[bytes, Turn] = {}
        self._bands: dict[tuple[bool, int | None], Node] = {}

    def parameters(self) -> list[Node]:
        """The graph's inputs, in the order in which `OpenVinoEngine.run` fills them."""
        more = [node for node in (self.pixels, self.table.parameter if self.table else None) if node is not None]
        turned = [node for turn in self.turns.values() for node in (turn.cosines, turn.sines)]
        return [self.ids, self.place, self.kinds, self.rows, self.back, self.mask, *more, *turned]

    def tokens(self) -> Node:
        """Token ids."""
        return self.ids

    def positions(self, first: int = 0) -> Node:
        """Place of each token in its sequence."""
        return op.add(self.place, _const(first, np.int32)) if first else self.place

    def types(self) -> Node:
        """Token type ids."""
        return self.kinds

    def features(self) -> Node:
        """The batch's features."""
        self.pixels = op.parameter([-1, self._network.feature_width], np.float32, name="features")
        return self.pixels

    def insert_features(self, x: Node) -> Node:
        """Done where the table's rows are looked up, before the graph runs."""
        assert self.table is not None, "features go among the token embeddings"
        assert x is self.table.parameter, "features go among the token embeddings"
        return x

    def embedding(self, index: Node, name: str) -> Node:
        """Rows of a table: in the graph, or before it for the tokens of a table that is not stored in float32 or takes features."""
        if index is self.ids and (self._weights.stored(name)[0] != "F32" or self._network.feature_width):
            self.table = HostTable(name, op.parameter([-1, self._weights.shape(name)[1]], np.float32, name="embedded"))
            return self.table.parameter
        return op.gather(self._constants.table(name), index, _const(0))

    def linear(self, x: Node, name: str) -> Node:
        """x · Wᵀ + b."""
        if extra := self._constants.filling(f"{name}.weight"):
            x = op.pad(x, _const([0, 0]), _const([0, extra]), "constant", _const(0, np.float32))
        return self._biased(op.matmul(x, self._constants.matrix([f"{name}.weight"]), False, True), name)

    def linears(self, x: Node, names: Sequence[str]) -> tuple[Node, ...]:
        """One matrix where that is faster, else one after the other."""
        if not self._fuse:
            return tuple(self.linear(x, name) for name in names)
        y = op.matmul(x, self._constants.matrix([f"{name}.weight" for name in names]), False, True)
        widths = [self._weights.shape(f"{name}.weight")[0] for name in names]
        parts = op.variadic_split(y, _const(1), _const(widths)).outputs()
        return tuple(self._biased(part, name) for part, name in zip(parts, names))

    def _biased(self, y: Node, name: str) -> Node:
        return op.add(y, self._constants.vector(f"{name}.bias")) if self._weights.has(f"{name}.bias") else y

    def layer_norm(self, x: Node, name: str, eps: float) -> Node:
        """Normalise the last axis."""
        y = op.multiply(op.mvn(x, _const([-1]), True, eps, "INSIDE_SQRT"), self._constants.vector(f"{name}.weight"))
        return self._biased(y, name)

    def rms_norm(self, x: Node, name: str, eps: float, heads: int = 1) -> Node:
        """Each head's part by its root mean square; in the form that OpenVINO computes as one kernel."""
        weight = self._constants.vector(f"{name}.weight")
        parts = x if heads == 1 else op.reshape(x, _const([0, heads, -1]), True)
        mean = op.reduce_mean(op.power(parts, _const([2.0], np.float32)), _const([-1]), True)
        y = op.multiply(op.multiply(parts, op.divide(_const([1.0], np.float32), op.sqrt(op.add(mean, _const([eps], np.float32))))), weight)
        return y if heads == 1 else op.reshape(y, _const([0, -1]), True)

    def add(self, x: Node, y: Node) -> Node:
        """Sum."""
        return op.add(x, y)

    def multiply(self, x: Node, y: Node) -> Node:
        """Product."""
        return op.multiply(x, y)

    def split(self, x: Node, parts: int) -> tuple[Node, ...]:
        """Equal parts of the last axis."""
        return tuple(op.split(x, _const(1), parts).outputs())

    def gelu(self, x: Node) -> Node:
        """Exact GELU."""
        return op.gelu(x, "ERF")

    def gelu_tanh(self, x: Node) -> Node:
        """The approximation with tanh."""
        return op.gelu(x, "TANH")

    def silu(self, x: Node) -> Node:
        """x · sigmoid(x)."""
        return op.swish(x)

    def rope(self, x: Node, heads: int, frequencies: NDArray[np.float64]) -> Node:
        """Rotate the pairs (i, i + d/2) of each head. The angles are made outside in float64: at position 8,000 float32 is off by 1e-4."""
        turn = self._turn(frequencies)
        parts = op.split(op.reshape(x, _const([0, heads, -1]), True), _const(2), 2).outputs()
        cosines, sines = (op.unsqueeze(node, _const(1)) for node in (turn.cosines, turn.sines))
        first = op.subtract(op.multiply(parts[0], cosines), op.multiply(parts[1], sines))
        second = op.add(op.multiply(parts[1], cosines), op.multiply(parts[0], sines))
        return op.reshape(op.concat([first, second], 2), _const([0, -1]), True)

    def _turn(self, frequencies: NDArray[np.float64]) -> Turn:
        key = frequencies.tobytes()
        if key not in self.turns:
            cosines, sines = (op.parameter([-1, len(frequencies)], np.float32, name=f"{word}{len(self.turns)}") for word in ("cos", "sin"))
            self.turns[key] = Turn(frequencies, cosines, sines)
        return self.turns[key]

    def attention(self, q: Node, k: Node, v: Node, heads: int, kv_heads: int | None = None, *, causal: bool = False, window: int | None = None) -> Node:
        """Gather tokens into rows, attend within each row, scatter back."""
        kv_heads = kv_heads or heads
        width = q.get_partial_shape()[1].get_length() if hasattr(q, "get_partial_shape") else q.get_output_partial_shape(0)[1].get_length()
        head_dim = width // heads

        def by_head(t: Node, count: int) -> Node:  # (tokens, count · head_dim) → (sequences, count, length, head_dim)
            rows = op.gather(t, self.rows, _const(0))
            split = op.transpose(op.reshape(rows, _const([0, 0, count, head_dim]), True), _const([0, 2, 1, 3]))
            return split if count == heads else self._repeated(split, heads // count)

        out = op.scaled_dot_product_attention(by_head(q, heads), by_head(k, kv_heads), by_head(v, kv_heads), self._unseen(causal, window))
        flat = op.reshape(op.transpose(out, _const([0, 2, 1, 3])), _const([-1, width]), False)
        return op.gather(flat, self.back, _const(0))

    def _repeated(self, t: Node, times: int) -> Node:
        """(s, kv, l, d) → (s, kv · times, l, d), each key head `times` times in a row."""
        wide = op.broadcast(op.unsqueeze(t, _const(2)), _const([1, 1, times, 1, 1]), broadcast_spec="BIDIRECTIONAL")
        shape = op.shape_of(t)
        parts = [op.gather(shape, _const([i]), _const(0)) for i in range(4)]
        return op.reshape(wide, op.concat([parts[0], op.multiply(parts[1], _const([times])), parts[2], parts[3]], 0), False)

    def _unseen(self, causal: bool, window: int | None) -> Node:
        """What is added to each score: (sequences, 1, 1, length), or (sequences, 1, length, length) where a key's place decides too."""
        if not causal and window is None:
            return self.mask
        if (causal, window) not in self._bands:
            length = op.squeeze(op.gather(op.shape_of(self.rows), _const([1]), _const(0)), _const(0))
            place = op.range(_const(0), length, _const(1), output_type="i64")
            ahead = op.subtract(op.unsqueeze(place, _const(0)), op.unsqueeze(place, _const(1)))  # key − query
            rules = [op.less_equal(ahead, _const(0))] if causal else []
            rules += [] if window is None else [op.less_equal(op.abs(ahead), _const(window))]
            seen = rules[0] if len(rules) == 1 else op.logical_and(*rules)
            band = op.select(seen, _const(0, np.float32), op.constant(MASKED))
            self._bands[causal, window] = op.add(self.mask, op.unsqueeze(band, _const([0, 1])))
        return self._bands[causal, window]

    def merge_patches(self, x: Node, side: int) -> Node:
        """Squares of four as one row."""
        width = x.get_output_partial_shape(0)[1].get_length() if hasattr(x, "get_output_partial_shape") else x.get_partial_shape()[1].get_length()
        squares = op.reshape(x, _const([-1, side // 2, 2, side // 2, 2, width]), False)
        return op.reshape(op.transpose(squares, _const([0, 1, 3, 2, 4, 5])), _const([-1, 4 * width]), False)
