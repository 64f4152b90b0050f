"""A batch in, the arrays that an OpenVINO graph's parameters take out: padding to the grid, rows for attention, looked-up embeddings, angles.

Token counts and lengths are rounded up to a grid, because OpenVINO prepares kernels for each new shape and keeps them: the grid bounds
both that work and that memory.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from emberank.runtime.engines.base import Batch, Features
from emberank.runtime.engines.openvino_ops import MASKED, OpenVinoOps
from emberank.runtime.networks.network import Network
from emberank.runtime.networks.ops import Weights


def _round_up(n: int, step: int) -> int:
    return -(-n // step) * step


def grid_tokens(tokens: int) -> int:
    """Rows of the packed batch: a multiple of 8, of 16 from 64 on, of 32 from 512 on."""
    return _round_up(tokens, 8 if tokens <= 64 else 16 if tokens <= 512 else 32)


def grid_length(longest: int) -> int:
    """Length of the rows attention works on: a multiple of 8, of 16 from 256 on."""
    return _round_up(longest, 8 if longest <= 256 else 16)


class Inputs:
    """Fills the parameters of one graph, in the order of `OpenVinoOps.parameters`."""

    def __init__(self, network: Network, weights: Weights, ops: OpenVinoOps) -> None:
        # Patches come in whole tiles of one length: there is nothing to round, and merging them could not bear rows in between.
        self._exact = network.merged > 1
        self._pixels = ops.pixels is not None
        self._table = weights.stored(ops.table.name) if ops.table else None
        self._turns = [Angles(turn.frequencies) for turn in ops.turns.values()]

    def of(self, batch: Batch) -> list[NDArray[Any]]:
        """The arrays of one batch."""
        arrays = layout(batch, exact=self._exact)
        ids, positions = arrays[0], arrays[1]
        if self._pixels:
            assert batch.features is not None, "this network reads features"
            arrays.append(scattered(batch.features, len(ids)))
        if self._table is not None:
            embedded = looked_up(self._table, ids)
            if batch.features is not None:
                embedded[batch.features.at] = batch.features.values
            arrays.append(embedded)
        for turn in self._turns:
            arrays += turn.at(positions)
        return arrays


def layout(batch: Batch, *, exact: bool = False) -> list[NDArray[Any]]:
    """ids, positions, types, rows, back, mask (see OpenVinoOps for their shapes). `exact`: nothing is rounded up."""
    tokens, lengths = len(batch.ids), batch.lengths
    padding = 0 if exact else grid_tokens(tokens) - tokens
    longest = int(lengths.max())
    length = longest if exact else grid_length(longest)
    starts = np.cumsum(lengths, dtype=np.int32) - lengths
    place = np.arange(length, dtype=np.int32)
    real = place[None, :] < lengths[:, None]  # (sequences, length)
    # Padding slots read token 0: any finite value will do, since their keys are masked and their results never read back.
    rows = np.where(real, starts[:, None] + place[None, :], 0).astype(np.int32)
    back = np.flatnonzero(real).astype(np.int32)
    mask = np.where(real, np.float32(0), MASKED)[:, None, None, :]
    positions = back % length

    def padded(values: NDArray[np.int32]) -> NDArray[np.int32]:
        return np.pad(values, (0, padding)) if padding else np.ascontiguousarray(values)

    return [padded(batch.ids), padded(positions), padded(batch.types), rows, padded(back), mask]


def scattered(features: Features, tokens: int) -> NDArray[np.float32]:
    """(tokens, width) with each feature in its token's row."""
    if len(features.at) == tokens and (np.diff(features.at) == 1).all():
        return np.ascontiguousarray(features.values)
    rows = np.zeros((tokens, features.values.shape[1]), np.float32)
    rows[features.at] = features.values
    return rows


def looked_up(table: tuple[str, NDArray[Any]], ids: NDArray[np.int32]) -> NDArray[np.float32]:
    """Rows of a table as it is stored, in float32."""
    kind, values = table
    rows = values[ids]
    if kind != "BF16":
        return rows.astype(np.float32)
    wide: NDArray[np.uint32] = rows.astype(np.uint32)
    wide <<= 16  # bfloat16 is the upper half of a float32
    return wide.view(np.float32)


class Angles:
    """Cosines and sines of position · frequency, made once per position in float64 and kept in float32."""

    def __init__(self, frequencies: NDArray[np.float64]) -> None:
        self._frequencies = frequencies
        self._cosines = self._sines = np.zeros((0, len(frequencies)), np.float32)

    def at(self, positions: NDArray[np.int32]) -> list[NDArray[np.float32]]:
        """(tokens, head_dim / 2) each."""
        if (needed := int(positions.max()) + 1) > len(self._cosines):
            angle = np.arange(2 * needed)[:, None] * self._frequencies
            self._cosines, self._sines = np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)
        return [self._cosines[positions], self._sines[positions]]
