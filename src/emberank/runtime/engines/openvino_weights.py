"""A checkpoint's tensors in, constants of an OpenVINO graph out: in place from the file where it can be, else from a prepared file.

OpenVINO packs every matrix for its kernels and keeps the constant besides, since a new shape may want it packed in another way. So a
constant in our own memory would be held twice for ever. One that looks at a mapped file costs nothing once it is packed: the kernel
takes its pages back, and reads them again if they are ever wanted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emberank.runtime.engines.prepared import PreparedArrays
from emberank.runtime.engines.quiet_openvino import openvino as ov
from emberank.runtime.engines.quiet_openvino import opset13 as op
from emberank.runtime.networks.ops import Weights

Node = Any  # openvino ships no types

FINE_GROUP, COARSE_GROUP = 64, 128  # int8: one scale for so many input channels, of a weight's row as of a token's activations
_CACHED = 1 << 17  # numbers that are rounded at a time
WIDE = 1024  # from this width on the coarse group is as good (docs/behaviour/precision.md) and a tenth faster


def int8_group(hidden: int) -> int:
    """Input channels that share a scale, in a network of this width."""
    return COARSE_GROUP if hidden >= WIDE and hidden % COARSE_GROUP == 0 else FINE_GROUP


class Constants:
    """Makes the constants of one graph. Whoever compiles the graph keeps this object as long: it owns the memory that constants look at."""

    def __init__(self, weights: Weights, precision: str, group: int, prepared: PreparedArrays) -> None:
        self._weights = weights
        self._precision = precision
        self._group = group
        self._prepared = prepared
        self._kept: list[NDArray[Any]] = []

    def vector(self, name: str) -> Node:
        """A bias or a norm's weight as (1, width), in float32."""
        return op.constant(self._weights.get(name)[None])

    def table(self, name: str) -> Node:
        """Rows to be looked up, in float32."""
        return self._shared(self._weights.get(name), None)

    def filling(self, name: str) -> int:
        """Zeros that the input of this matrix needs behind each row."""
        return filling(self._weights.shape(name)[1], self._group) if self._precision == "int8" else 0

    def matrix(self, names: Sequence[str]) -> Node:
        """The matrices of those names, (out, in) each, one below the other."""
        if self._precision == "int8":
            return self._quantised(names)
        kinds = {self._weights.stored(name)[0] for name in names}
        if self._precision == "bf16" and kinds == {"BF16"}:
            return op.convert(self._bfloat16(names), np.float32)
        if kinds == {"F32"} and len(names) == 1:
            return self._shared(self._weights.get(names[0]), None)
        return self._shared(self._prepared.get("f32 " + " ".join(names), self._widened(names))[0], None)

    def _bfloat16(self, names: Sequence[str]) -> Node:
        parts = [self._weights.stored(name)[1] for name in names]
        joined = parts[0] if len(parts) == 1 else self._prepared.get("bf16 " + " ".join(names), lambda: [np.concatenate(parts)])[0]
        return self._shared(joined, ov.Type.bf16)

    def _quantised(self, names: Sequence[str]) -> Node:
        """Weights as int8 with a scale per output channel and group of inputs; OpenVINO keeps them so and multiplies in integers."""
        integers, scale = self._prepared.get(f"int8 {self._group} " + " ".join(names), self._quantise(names))
        out, groups, group = integers.shape
        node = op.multiply(op.convert(self._shared(integers, None), np.float32), self._shared(scale, None))
        return op.reshape(node, op.constant(np.asarray([out, groups * group], np.int64)), False)

    def _quantise(self, names: Sequence[str]) -> Callable[[], list[NDArray[Any]]]:
        def made() -> list[NDArray[Any]]:
            parts = [quantise(self._weights.get(name), self._group) for name in names]
            self._drop(names)
            return [np.concatenate([part[i] for part in parts]) for i in (0, 1)]

        return made

    def _widened(self, names: Sequence[str]) -> Callable[[], list[NDArray[Any]]]:
        def made() -> list[NDArray[Any]]:
            parts = [self._weights.get(name) for name in names]
            self._drop(names)
            return [parts[0] if len(parts) == 1 else np.concatenate(parts)]

        return made

    def _drop(self, names: Sequence[str]) -> None:
        for name in names:
            self._weights.drop(name)

    def _shared(self, array: NDArray[Any], kind: Any) -> Node:
        """A constant that looks at `array` and copies nothing. OpenVINO never writes to it."""
        view = array.view()
        try:
            view.flags.writeable = True  # what OpenVINO asks of memory it shares
        except ValueError:
            view = array.copy()  # converted from another type: not a map
        self._kept.append(view)
        if kind is None:
            return op.constant(view, shared_memory=True)
        return op.constant(ov.Tensor(view, list(view.shape), kind), shared_memory=True)


def filling(inputs: int, group: int) -> int:
    """Zeros behind so many input channels that make them whole groups."""
    return -inputs % group if inputs > group else 0


def quantise(weight: NDArray[np.float32], group: int) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """(out, in) → integers −127 … 127 (out, in / group, group) and the scale of each group (out, in / group, 1), symmetric around 0.

    A width that is no multiple of `group` is filled up with zeros; one below it is one group.
    """
    out, inputs = weight.shape
    size = min(group, inputs)
    groups = (inputs + filling(inputs, group)) // size
    integers, scales = np.empty((out, groups, size), np.int8), np.empty((out, groups, 1), np.float32)
    step = max(1, _CACHED // inputs)
    for start in range(0, out, step):  # so many rows at a time stay in the CPU's cache: four times as fast as all at once
        rows = slice(start, start + step)
        integers[rows], scales[rows] = _quantised(weight[rows], group, size)
    return integers, scales


def _quantised(weight: NDArray[np.float32], group: int, size: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Rows of `quantise`; the integers still as float32."""
    out, inputs = weight.shape
    if extra := filling(inputs, group):
        weight = np.pad(weight, ((0, 0), (0, extra)))
    grouped = weight.reshape(out, -1, size)
    scale = np.maximum(np.maximum(grouped.max(2, keepdims=True), -grouped.min(2, keepdims=True)), np.float32(1e-12)) / np.float32(127)
    scaled = grouped / scale
    return np.rint(scaled, out=scaled), scale
