"""The CPU engine: a network written out as an OpenVINO graph straight from the weights, on packed tokens."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from emberank.contract.errors import SettingError
from emberank.runtime.engines.base import Batch, EngineFacts, EngineOptions, pooled
from emberank.runtime.engines.cores import cores, has_amx_bf16
from emberank.runtime.engines.openvino_inputs import Inputs, grid_length, grid_tokens
from emberank.runtime.engines.openvino_ops import OpenVinoOps
from emberank.runtime.engines.openvino_weights import WIDE, Constants, int8_group
from emberank.runtime.engines.prepared import PreparedArrays
from emberank.runtime.engines.quiet_openvino import openvino as ov
from emberank.runtime.engines.quiet_openvino import opset13 as op
from emberank.runtime.heads import Floats, Pooling
from emberank.runtime.networks.network import Network
from emberank.runtime.networks.ops import Weights


class OpenVinoEngine:
    """A compiled graph and one infer request."""

    def __init__(self, network: Network, weights: Weights, options: EngineOptions) -> None:
        core = ov.Core()
        precision = _precision(options.precision, core)
        threads = options.threads or cores()
        group = int8_group(network.hidden)
        prepared = PreparedArrays(options.prepared)
        constants = Constants(weights, precision, group, prepared)
        ops = OpenVinoOps(network, weights, constants, fuse=precision == "bf16")
        model = ov.Model([op.result(network.forward(ops))], ops.parameters())
        config: dict[str, Any] = {
            # OpenVINO would pick bf16 by itself where it can: say it, so that what we report is what runs.
            "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads,
            # int8 activations only where int8 was asked for; by default OpenVINO turns them on for any compressed weight.
            "DYNAMIC_QUANTIZATION_GROUP_SIZE": group if precision == "int8" else 0,
        }
        self._compiled = core.compile_model(model, "CPU", config)
        self._request = self._compiled.create_infer_request()
        self._network = network
        self._kept = constants  # its memory is what the graph's constants look at
        self._inputs = Inputs(network, weights, ops)
        self._prepared = prepared
        self._runs = 0
        self.facts = EngineFacts(
            engine="openvino",
            device=str(core.get_property("CPU", "FULL_DEVICE_NAME")),
            precision=precision,
            threads=threads,
            detail=f"OpenVINO {ov.__version__}",
            batch_tokens=batch_tokens(network.hidden, threads),
        )

    def run(self, batch: Batch, pooling: Pooling | None = None) -> Floats:
        """Hidden states (tokens / merged, hidden), a view that the next call overwrites; or (sequences, hidden)."""
        inputs = self._inputs.of(batch)
        # Shared inputs and outputs: no copy on either side; `inputs` lives until the call returns.
        results = self._request.infer(inputs, share_inputs=True, share_outputs=True)
        hidden: Floats = results[0]
        self._runs += 1
        if self._runs & (self._runs - 1) == 0:  # matrices are packed when they are first needed, and for some shapes anew: the 1st, 2nd, 4th, 8th … run
            self._prepared.drop_pages()
        states = hidden[: len(batch.ids) // self._network.merged]
        return states if pooling is None else pooled(states, batch.lengths // self._network.merged, pooling)

    def padded_tokens(self, lengths: NDArray[np.int32]) -> int:
        """Rows of the linear layers after rounding up to the grid."""
        tokens = int(lengths.sum())
        return tokens if self._network.merged > 1 else grid_tokens(tokens)

    def attention_rows(self, lengths: NDArray[np.int32]) -> int:
        """Every sequence as long as the longest, rounded up to the grid."""
        longest = int(lengths.max())
        return len(lengths) * (longest if self._network.merged > 1 else grid_length(longest))

    def close(self) -> None:
        """Drop the graph and its weights."""
        del self._request, self._compiled, self._kept, self._inputs, self._prepared


def batch_tokens(hidden: int, threads: int) -> int:
    """Tokens in one run: 1,024, and in a wide network only as many as keep the cores busy, since its runs take seconds and the next request waits for one."""
    return 1024 if hidden < WIDE else min(1024, max(256, 128 * threads))


def _precision(asked: str, core: Any) -> str:
    """`auto` is bf16 where the CPU multiplies bf16 matrices in hardware (AMX), fp32 elsewhere."""
    native = has_amx_bf16() and "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if asked == "auto":
        return "bf16" if native else "fp32"
    if asked not in ("fp32", "bf16", "int8"):
        raise SettingError(f"precision {asked!r} is not known to the openvino engine; known: auto, fp32, bf16, int8")
    return asked


def build(network: Network, weights: Weights, options: EngineOptions) -> OpenVinoEngine:
    """The registry's builder."""
    return OpenVinoEngine(network, weights, options)
