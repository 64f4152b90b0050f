"""A shape in, TFLOP/s out: how fast this machine multiplies matrices in a precision, as the yardstick of an engine's figures."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from emberank.runtime.engines.openvino_weights import Constants, int8_group
from emberank.runtime.engines.prepared import PreparedArrays
from emberank.runtime.engines.quiet_openvino import openvino as ov
from emberank.runtime.engines.quiet_openvino import opset13 as op


class _OneMatrix:
    """networks.ops.Weights of one matrix."""

    def __init__(self, out: int, inputs: int) -> None:
        self._matrix = np.random.default_rng(0).standard_normal((out, inputs), dtype=np.float32)

    def has(self, name: str) -> bool:
        return name == "w"

    def get(self, name: str) -> np.ndarray[Any, np.dtype[np.float32]]:
        return self._matrix

    def shape(self, name: str) -> tuple[int, ...]:
        return self._matrix.shape

    def stored(self, name: str) -> tuple[str, np.ndarray[Any, Any]]:
        return "F32", self._matrix

    def drop(self, name: str) -> None:
        """Nothing is mapped."""


def tflops(rows: int, inputs: int, out: int, precision: str, threads: int, rounds: int = 5) -> float:
    """(rows, inputs) · (inputs, out) by OpenVINO, 2 operations per product, in 10^12 a second: the best of the rounds."""
    group = int8_group(inputs)
    constants = Constants(_OneMatrix(out, inputs), precision, group, PreparedArrays(None))
    x = op.parameter([-1, inputs], np.float32)
    model = ov.Model([op.result(op.matmul(x, constants.matrix(["w"]), False, True))], [x])
    config = {
        "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
        "INFERENCE_NUM_THREADS": threads,
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": group if precision == "int8" else 0,
    }
    request = ov.Core().compile_model(model, "CPU", config).create_infer_request()
    values = np.random.default_rng(1).standard_normal((rows, inputs), dtype=np.float32)
    best = float("inf")
    for _ in range(rounds + 1):  # the first prepares
        began = time.perf_counter()
        request.infer([values], share_inputs=True, share_outputs=True)
        best = min(best, time.perf_counter() - began)
    return 2.0 * rows * inputs * out / best / 1e12
