"""What could run the linear layers of a large network on a CPU, side by side: OpenVINO, PyTorch eager and compiled, ONNX Runtime.

    python bench/backends.py                               # OpenVINO and PyTorch, in turns
    ORT_PYTHON bench/backends.py onnxruntime               # in an environment with onnxruntime and onnx

One block of the 1B shape without attention (seven matrices of 2048 and 8192, two norms, a gate) on 1,024 tokens, 4 blocks deep. Each round
every candidate runs once; the table has the medians, and each one's share of OpenVINO's plain matrix product of the same round.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np

TOKENS, HIDDEN, KV, WIDE, DEPTH = 1024, 2048, 512, 8192, 4
MATRICES = {
    "q": (HIDDEN, HIDDEN),
    "k": (KV, HIDDEN),
    "v": (KV, HIDDEN),
    "o": (HIDDEN, HIDDEN),
    "gate": (WIDE, HIDDEN),
    "up": (WIDE, HIDDEN),
    "down": (HIDDEN, WIDE),
}
WORK = 2.0 * TOKENS * DEPTH * sum(out * into for out, into in MATRICES.values())

Run = Callable[[], object]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("which", nargs="?", default="here", choices=("here", "onnxruntime"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    if options.which == "onnxruntime":
        candidates = onnxruntime(options.threads)
    else:
        candidates = {**openvino(options.threads), **pytorch(options.threads)}
    for run in candidates.values():
        run()
        run()
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(options.rounds):
        for name, run in candidates.items():
            began = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - began)
    for name, found in seconds.items():
        print(f"{name:40s} {WORK / statistics.median(found) / 1e12:.3f} TFLOP/s  [{WORK / max(found) / 1e12:.3f}..{WORK / min(found) / 1e12:.3f}]")


def values(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((TOKENS, HIDDEN), dtype=np.float32)


def matrices(seed: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    return {name: random.standard_normal(shape, dtype=np.float32) * np.float32(0.02) for name, shape in MATRICES.items()}


def openvino(threads: int) -> dict[str, Run]:
    """Our own operations and settings."""
    from dataclasses import dataclass

    from emberank.runtime.engines.openvino_ops import OpenVinoOps
    from emberank.runtime.engines.openvino_weights import Constants, int8_group
    from emberank.runtime.engines.prepared import PreparedArrays
    from emberank.runtime.engines.quiet_openvino import openvino as ov
    from emberank.runtime.engines.quiet_openvino import opset13 as op

    @dataclass
    class Blocks:
        arrays: dict[str, np.ndarray]

        def has(self, name: str) -> bool:
            return name in self.arrays

        def get(self, name: str) -> np.ndarray:
            return self.arrays[name]

        def shape(self, name: str) -> tuple[int, ...]:
            return self.arrays[name].shape

        def stored(self, name: str) -> tuple[str, np.ndarray]:
            return "F32", self.arrays[name]

        def drop(self, name: str) -> None:
            pass

    arrays = {f"{i}.{name}.weight": matrix for i in range(DEPTH) for name, matrix in matrices(i).items()}
    arrays |= {f"{i}.{norm}.weight": np.ones(HIDDEN, np.float32) for i in range(DEPTH) for norm in ("n1", "n2")}
    weights = Blocks(arrays)

    def built(precision: str) -> Run:
        constants = Constants(weights, precision, int8_group(HIDDEN), PreparedArrays(None))
        ops = OpenVinoOps(None, weights, constants, fuse=precision == "bf16")  # type: ignore[arg-type]
        x = first = op.parameter([-1, HIDDEN], np.float32)
        for i in range(DEPTH):
            q, k, v = ops.linears(ops.rms_norm(x, f"{i}.n1", 1e-5), [f"{i}.{part}" for part in "qkv"])
            narrow = op.concat([op.add(k, v)] * (HIDDEN // KV), 1)
            x = ops.add(x, ops.linear(ops.add(q, narrow), f"{i}.o"))
            gate, up = ops.linears(ops.rms_norm(x, f"{i}.n2", 1e-5), [f"{i}.gate", f"{i}.up"])
            x = ops.add(x, ops.linear(ops.multiply(ops.silu(gate), up), f"{i}.down"))
        config = {
            "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
            "INFERENCE_NUM_THREADS": threads,
            "DYNAMIC_QUANTIZATION_GROUP_SIZE": int8_group(HIDDEN) if precision == "int8" else 0,
        }
        request = ov.Core().compile_model(ov.Model([op.result(x)], [first]), "CPU", config).create_infer_request()
        given = [values(99)]
        return lambda: (request.infer(given, share_inputs=True, share_outputs=True), constants)

    return {f"OpenVINO {ov.__version__[:8]} {precision}": built(precision) for precision in ("fp32", "int8")}


def pytorch(threads: int) -> dict[str, Run]:
    """Eager, and compiled with frozen weights (which needs a C++ compiler)."""
    import torch
    from torch import nn

    torch.set_num_threads(threads)

    class Block(nn.Module):
        def __init__(self, seed: int) -> None:
            super().__init__()
            for name, matrix in matrices(seed).items():
                layer = nn.Linear(*reversed(matrix.shape), bias=False)
                layer.weight = nn.Parameter(torch.from_numpy(matrix), requires_grad=False)
                setattr(self, name, layer)
            self.n1, self.n2 = nn.RMSNorm(HIDDEN, 1e-5), nn.RMSNorm(HIDDEN, 1e-5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            a = self.n1(x)
            x = x + self.o(self.q(a) + (self.k(a) + self.v(a)).repeat(1, HIDDEN // KV))
            a = self.n2(x)
            return x + self.down(nn.functional.silu(self.gate(a)) * self.up(a))

    network = nn.Sequential(*(Block(i) for i in range(DEPTH))).eval().requires_grad_(False)
    given = torch.from_numpy(values(99))

    def inference(module: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> Run:
        def run() -> object:
            with torch.no_grad():  # freezing does not work in inference mode
                return module(x)

        return run

    found = {f"PyTorch {torch.__version__} eager fp32": inference(network, given)}
    import torch._inductor.config as inductor

    inductor.freezing = True
    compiled = torch.compile(network)
    try:
        inference(compiled, given)()
        found["PyTorch compiled and frozen fp32"] = inference(compiled, given)
    except Exception as cause:  # noqa: BLE001  no compiler, or one it cannot use
        print(f"torch.compile does not work here: {str(cause).splitlines()[0]}", file=sys.stderr)
    torch.backends.quantized.engine = "onednn"
    dynamic = torch.ao.quantization.quantize_dynamic(network, {nn.Linear}, dtype=torch.qint8)
    found["PyTorch dynamic int8 (oneDNN)"] = inference(dynamic, given)
    return found


def onnxruntime(threads: int) -> dict[str, Run]:
    """A graph of the same products: float32, and MatMulInteger with dynamically quantised activations."""
    import tempfile
    from pathlib import Path

    import onnx
    import onnxruntime as ort
    from onnx import TensorProto, helper, numpy_helper
    from onnxruntime.quantization import QuantType, quantize_dynamic

    nodes, constants, x = [], [], "x"
    for i in range(DEPTH):
        constants += [numpy_helper.from_array(np.ascontiguousarray(matrix.T), f"{i}.{name}") for name, matrix in matrices(i).items()]
        constants += [numpy_helper.from_array(np.ones(HIDDEN, np.float32), f"{i}.{norm}") for norm in ("n1", "n2")]

        def add(kind: str, inputs: list[str], output: str, **more: object) -> str:
            nodes.append(helper.make_node(kind, inputs, [output], **more))
            return output

        def norm(value: str, name: str, i: int = i, add: Callable[..., str] = add) -> str:
            return add("SimplifiedLayerNormalization", [value, f"{i}.{name}"], f"{i}.{name}.out", epsilon=1e-5, axis=-1)

        a = norm(x, "n1")
        q, k, v = (add("MatMul", [a, f"{i}.{part}"], f"{i}.{part}.out") for part in "qkv")
        narrow = add("Concat", [add("Add", [k, v], f"{i}.kv")] * (HIDDEN // KV), f"{i}.wide", axis=1)
        x = add("Add", [x, add("MatMul", [add("Add", [q, narrow], f"{i}.qkv"), f"{i}.o"], f"{i}.o.out")], f"{i}.x1")
        a = norm(x, "n2")
        gate, up = (add("MatMul", [a, f"{i}.{part}"], f"{i}.{part}.out") for part in ("gate", "up"))
        silu = add("Mul", [gate, add("Sigmoid", [gate], f"{i}.sigmoid")], f"{i}.silu")
        x = add("Add", [x, add("MatMul", [add("Mul", [silu, up], f"{i}.gated"), f"{i}.down"], f"{i}.down.out")], f"{i}.x2")
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, HIDDEN])
    taken = helper.make_tensor_value_info(x, TensorProto.FLOAT, [None, HIDDEN])
    model = helper.make_model(helper.make_graph(nodes, "blocks", [given], [taken], constants), opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    with tempfile.TemporaryDirectory() as folder:
        plain, int8 = Path(folder, "plain.onnx"), Path(folder, "int8.onnx")
        onnx.save(model, plain)
        quantize_dynamic(plain, int8, weight_type=QuantType.QInt8, per_channel=True, extra_options={"DefaultTensorType": TensorProto.FLOAT})
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        sessions = {name: ort.InferenceSession(path, options, providers=["CPUExecutionProvider"]) for name, path in (("fp32", plain), ("dynamic int8", int8))}
    batch = values(99)
    return {f"ONNX Runtime {ort.__version__} {name}": (lambda session=session: session.run(None, {"x": batch})) for name, session in sessions.items()}


if __name__ == "__main__":
    main()
