"""The CPU engine: a network written out as an OpenVINO graph straight from the weights, on packed tokens.

All linear layers run on the sum of the batch's tokens; only attention gathers them into (sequences, length) rows and scatters them
back. Token counts and lengths are rounded up to a grid, because OpenVINO prepares kernels for each new shape and keeps them: the
grid bounds both that work and that memory.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from emberank.contract.errors import SettingError
from emberank.runtime.engines.base import Batch, EngineFacts, EngineOptions
from emberank.runtime.engines.cores import cores, has_amx_bf16
from emberank.runtime.engines.quiet_openvino import openvino as ov
from emberank.runtime.engines.quiet_openvino import opset13 as op
from emberank.runtime.networks.bert import Bert
from emberank.runtime.networks.ops import Weights

Node = Any  # openvino ships no types

INT8_GROUP = 64  # int8: one scale for so many input channels, of a weight's row as of a token's activations
_MASKED = np.float32(-1e9)  # added to the score of a key that is padding; finite, so that a row of padding gives no NaN


def _round_up(n: int, step: int) -> int:
    return -(-n // step) * step


def grid_tokens(tokens: int) -> int:
    """Rows of the packed batch: a multiple of 8, of 16 from 64 on, of 32 from 512 on."""
    return _round_up(tokens, 8 if tokens <= 64 else 16 if tokens <= 512 else 32)


def grid_length(longest: int) -> int:
    """Length of the rows attention works on: a multiple of 8, of 16 from 256 on."""
    return _round_up(longest, 8 if longest <= 256 else 16)


def _const(value: Any, dtype: Any = np.int64) -> Node:
    return op.constant(np.asarray(value, dtype))


def _shared(array: NDArray[np.float32]) -> Node:
    """A constant that reads the checkpoint's memory map in place, where it can; OpenVINO never writes to it."""
    view = array.view()
    try:
        view.flags.writeable = True  # what OpenVINO asks of memory it shares
    except ValueError:
        view = array.copy()  # converted from another type: not a map
    return op.constant(view, shared_memory=True)


class OpenVinoOps:
    """networks.ops.Ops that adds nodes to a graph. Made for one network, then thrown away."""

    def __init__(self, weights: Weights, int8: bool) -> None:
        self._weights = weights
        self._int8 = int8
        self._ids = op.parameter([-1], np.int32, name="ids")  # (tokens,)
        self._positions = op.parameter([-1], np.int32, name="positions")  # (tokens,)
        self._types = op.parameter([-1], np.int32, name="types")  # (tokens,)
        self._rows = op.parameter([-1, -1], np.int32, name="rows")  # (sequences, length): which token stands there
        self._back = op.parameter([-1], np.int32, name="back")  # (tokens,): where each token stands in the rows, flattened
        self._mask = op.parameter([-1, 1, 1, -1], np.float32, name="mask")  # (sequences, 1, 1, length): 0 or a large negative number

    def parameters(self) -> list[Node]:
        """The graph's inputs, in the order `OpenVinoEngine.run` fills them."""
        return [self._ids, self._positions, self._types, self._rows, self._back, self._mask]

    def tokens(self) -> Node:
        """Token ids."""
        return self._ids

    def positions(self) -> Node:
        """Place of each token in its sequence."""
        return self._positions

    def types(self) -> Node:
        """Token type ids."""
        return self._types

    def embedding(self, index: Node, name: str) -> Node:
        """Rows of a table."""
        return op.gather(_shared(self._weights.get(name)), index, _const(0))

    def add(self, x: Node, y: Node) -> Node:
        """Sum."""
        return op.add(x, y)

    def linear(self, x: Node, name: str) -> Node:
        """x · Wᵀ + b."""
        weight = self._weights.get(f"{name}.weight")
        y = op.matmul(x, self._quantised(weight) if self._int8 else _shared(weight), False, True)
        if not self._weights.has(f"{name}.bias"):
            return y
        return op.add(y, op.constant(self._weights.get(f"{name}.bias")[None]))

    def _quantised(self, weight: NDArray[np.float32]) -> Node:
        """Weights as int8 with a scale per output channel and group of inputs; OpenVINO keeps them so and multiplies in integers."""
        out, inputs = weight.shape
        group = INT8_GROUP if inputs % INT8_GROUP == 0 else inputs
        grouped = weight.reshape(out, inputs // group, group)
        scale = np.maximum(np.abs(grouped).max(2, keepdims=True), 1e-12) / np.float32(127)
        integers = np.round(grouped / scale).astype(np.int8)
        node = op.multiply(op.convert(op.constant(integers), np.float32), op.constant(scale.astype(np.float32)))
        return op.reshape(node, _const([out, inputs]), False)

    def layer_norm(self, x: Node, name: str, eps: float) -> Node:
        """Normalise the last axis."""
        y = op.mvn(x, _const([-1]), True, eps, "INSIDE_SQRT")
        return op.add(op.multiply(y, op.constant(self._weights.get(f"{name}.weight")[None])), op.constant(self._weights.get(f"{name}.bias")[None]))

    def gelu(self, x: Node) -> Node:
        """Exact GELU."""
        return op.gelu(x, "ERF")

    def attention(self, q: Node, k: Node, v: Node, heads: int) -> Node:
        """Gather tokens into rows, attend within each row, scatter back."""
        hidden = q.get_output_partial_shape(0)[1].get_length()

        def by_head(t: Node) -> Node:  # (tokens, hidden) → (sequences, heads, length, head_dim)
            rows = op.gather(t, self._rows, _const(0))
            return op.transpose(op.reshape(rows, _const([0, 0, heads, hidden // heads]), True), _const([0, 2, 1, 3]))

        out = op.scaled_dot_product_attention(by_head(q), by_head(k), by_head(v), self._mask)
        flat = op.reshape(op.transpose(out, _const([0, 2, 1, 3])), _const([-1, hidden]), False)
        return op.gather(flat, self._back, _const(0))


class OpenVinoEngine:
    """A compiled graph and one infer request."""

    def __init__(self, network: Bert, weights: Weights, options: EngineOptions) -> None:
        core = ov.Core()
        precision = _precision(options.precision, core)
        threads = options.threads or cores()
        ops = OpenVinoOps(weights, int8=precision == "int8")
        model = ov.Model([op.result(network.forward(ops))], ops.parameters())
        config: dict[str, Any] = {
            # OpenVINO would pick bf16 by itself where it can: say it, so that what we report is what runs.
            "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads,
            # int8 activations only where int8 was asked for; by default OpenVINO turns them on for any compressed weight.
            "DYNAMIC_QUANTIZATION_GROUP_SIZE": INT8_GROUP if precision == "int8" else 0,
        }
        self._compiled = core.compile_model(model, "CPU", config)
        self._request = self._compiled.create_infer_request()
        self.facts = EngineFacts(
            engine="openvino",
            device=str(core.get_property("CPU", "FULL_DEVICE_NAME")),
            precision=precision,
            threads=threads,
            detail=f"OpenVINO {ov.__version__}",
        )

    def run(self, batch: Batch) -> NDArray[np.float32]:
        """Hidden states (tokens, hidden), a view that the next call overwrites."""
        inputs = layout(batch)
        # Shared inputs and outputs: no copy on either side; `inputs` lives until the call returns.
        results = self._request.infer(inputs, share_inputs=True, share_outputs=True)
        hidden: NDArray[np.float32] = results[0]
        return hidden[: len(batch.ids)]

    def padded_tokens(self, lengths: NDArray[np.int32]) -> int:
        """Rows of the linear layers after rounding up to the grid."""
        return grid_tokens(int(lengths.sum()))

    def attention_rows(self, lengths: NDArray[np.int32]) -> int:
        """Every sequence as long as the longest, rounded up to the grid."""
        return len(lengths) * grid_length(int(lengths.max()))

    def close(self) -> None:
        """Drop the graph and its weights."""
        del self._request, self._compiled


def layout(batch: Batch) -> list[NDArray[Any]]:
    """The graph's six inputs: ids, positions, types, rows, back, mask (see OpenVinoOps for their shapes)."""
    tokens, lengths = len(batch.ids), batch.lengths
    padding = grid_tokens(tokens) - tokens
    length = grid_length(int(lengths.max()))
    starts = np.cumsum(lengths, dtype=np.int32) - lengths
    place = np.arange(length, dtype=np.int32)
    real = place[None, :] < lengths[:, None]  # (sequences, length)
    # Padding slots read token 0: any finite value will do, since their keys are masked and their results never read back.
    rows = np.where(real, starts[:, None] + place[None, :], 0).astype(np.int32)
    back = np.flatnonzero(real).astype(np.int32)
    mask = np.where(real, np.float32(0), _MASKED)[:, None, None, :]
    positions = back % length

    def padded(values: NDArray[np.int32]) -> NDArray[np.int32]:
        return np.pad(values, (0, padding)) if padding else np.ascontiguousarray(values)

    return [padded(batch.ids), padded(positions), padded(batch.types), rows, padded(back), mask]


def _precision(asked: str, core: Any) -> str:
    """`auto` is bf16 where the CPU multiplies bf16 matrices in hardware (AMX), fp32 elsewhere."""
    native = has_amx_bf16() and "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if asked == "auto":
        return "bf16" if native else "fp32"
    if asked not in ("fp32", "bf16", "int8"):
        raise SettingError(f"precision {asked!r} is not known to the openvino engine; known: auto, fp32, bf16, int8")
    return asked


def build(network: Bert, weights: Weights, options: EngineOptions) -> OpenVinoEngine:
    """The registry's builder."""
    return OpenVinoEngine(network, weights, options)
