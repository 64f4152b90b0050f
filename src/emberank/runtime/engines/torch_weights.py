"""A checkpoint's tensors in, the same on the device out: each copied once, straight from the file's pages, and never twice.

Matrices that multiply one input stand in one tensor. No copy of the whole checkpoint is made in the host's memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emberank.runtime.engines.torch_fp8 import Quantised, quantise, suits
from emberank.runtime.engines.torch_import import Device, Dtype, Tensor, torch
from emberank.runtime.engines.torch_trace import Names, Uses
from emberank.runtime.networks.ops import Weights


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Matrix:
    """One or several linear layers as one: weight (out, inputs), in FP8 or not, and where each one's outputs end."""

    weight: Tensor | None
    fp8: Quantised | None
    bias: Tensor | None  # (out,)
    sizes: list[int]  # outputs of each


class DeviceWeights:
    """Everything a network reads, on one device in one number type. `fp8_least`: the least size of a matrix that is kept in FP8; None: none is."""

    def __init__(self, weights: Weights, uses: Uses, device: Device, dtype: Dtype, fp8_least: int | None = None) -> None:
        self._weights = weights
        self._device = device
        self._dtype = dtype
        self._fp8_least = fp8_least
        self._shapes = uses.shapes  # a file may have the same numbers in another shape: a convolution that is a linear layer
        self._tensors: dict[str, Tensor] = {}
        self._matrices: dict[Names, Matrix] = {}
        for names in uses.matrices:
            self._matrices[names] = self._matrix(names)
        for name in uses.tables:
            self._tensors[name] = self._loaded(name)
        for norm in uses.vectors:
            for name in (f"{norm}.weight", f"{norm}.bias"):
                if name in self._shapes:
                    self._tensors[name] = self._loaded(name)
        del self._weights  # nothing is read later, and the files may be let go

    def tensor(self, name: str) -> Tensor:
        """A table or a vector."""
        return self._tensors[name]

    def optional(self, name: str) -> Tensor | None:
        """The same, or None when the checkpoint has none of that name."""
        return self._tensors.get(name)

    def matrix(self, names: Names) -> Matrix:
        """Matrices that are multiplied as one."""
        return self._matrices[names]

    @property
    def bytes(self) -> int:
        """Memory of all of them on the device."""
        kept = list(self._tensors.values())
        for matrix in self._matrices.values():
            parts = (matrix.weight, matrix.bias, *((matrix.fp8.numbers, matrix.fp8.scales) if matrix.fp8 else ()))
            kept += [part for part in parts if part is not None]
        return sum(tensor.numel() * tensor.element_size() for tensor in kept)

    def _matrix(self, names: Names) -> Matrix:
        shapes = [self._shapes[f"{name}.weight"] for name in names]
        sizes = [shape[0] for shape in shapes]
        weight = torch.empty((sum(sizes), shapes[0][1]), dtype=self._dtype, device=self._device)
        for name, part in zip(names, torch.split(weight, sizes)):
            part.copy_(host(self._weights, f"{name}.weight").view(part.shape))
            self._weights.drop(f"{name}.weight")
        bias = None
        if any(f"{name}.bias" in self._shapes for name in names):
            bias = torch.zeros(sum(sizes), dtype=self._dtype, device=self._device)
            for name, part in zip(names, torch.split(bias, sizes)):
                if f"{name}.bias" in self._shapes:
                    part.copy_(host(self._weights, f"{name}.bias"))
        if self._fp8_least is not None and suits(weight.shape[0], weight.shape[1], self._fp8_least):
            return Matrix(weight=None, fp8=quantise(weight), bias=bias, sizes=sizes)
        return Matrix(weight=weight, fp8=None, bias=bias, sizes=sizes)

    def _loaded(self, name: str) -> Tensor:
        shape = self._shapes[name]
        return torch.empty(shape, dtype=self._dtype, device=self._device).copy_(host(self._weights, name).view(shape))


def host(weights: Weights, name: str) -> Tensor:
    """The tensor as it is stored, in the host's memory: a view of the file's pages where that can be."""
    kind, numbers = weights.stored(name)
    tensor = torch.from_numpy(_writable(numbers))
    return tensor.view(torch.bfloat16) if kind == "BF16" else tensor


def _writable(numbers: NDArray[Any]) -> NDArray[Any]:
    # PyTorch warns of memory that it must not write to. It never writes to this; maps that could not be written are copied.
    view = numbers.view()
    try:
        view.flags.writeable = True
    except ValueError:
        return np.array(numbers)
    return view
