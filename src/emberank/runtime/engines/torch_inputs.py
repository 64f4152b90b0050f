"""A batch's index arrays and features in, tensors on the device out: one copy for all indices, through pinned memory where that is faster."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from emberank.runtime.engines.base import Features
from emberank.runtime.engines.torch_import import Device, Dtype, Tensor, torch
from emberank.runtime.engines.torch_layout import Layout, Size, grouped


@dataclass(slots=True, eq=False, kw_only=True)
class DeviceGroup:
    """torch_layout.Group on the device."""

    sequences: int
    length: int
    full: bool  # no padding in it
    rows: Tensor  # int64 (sequences · length,): the token that stands there
    real: Tensor  # int64 (tokens of the group,): the rows that are no padding
    kept: Tensor  # int64 (tokens of the group,): the token of each of those
    seen: Tensor  # bool (sequences, 1, 1, length): keys that are no padding
    _masks: dict[tuple[bool, int | None], Tensor | None] = field(default_factory=dict)

    def mask(self, causal: bool, window: int | None) -> Tensor | None:
        """Which keys a query sees, True where it does; None when it sees all."""
        key = (causal, window)
        if key not in self._masks:
            self._masks[key] = self._mask(causal, window)
        return self._masks[key]

    def _mask(self, causal: bool, window: int | None) -> Tensor | None:
        if not causal and window is None:
            return None if self.full else self.seen
        place = torch.arange(self.length, device=self.rows.device)
        ahead = place[None, :] - place[:, None]  # key − query
        near = ahead <= 0 if causal else torch.ones_like(ahead, dtype=torch.bool)
        if window is not None:
            near = near & (ahead.abs() <= window)
        # A token always sees itself: so a query that is padding has a key, and gives a number and not NaN.
        return near[None, None] if self.full else near & (self.seen | (ahead == 0))


@dataclass(slots=True, eq=False, kw_only=True)
class Inputs:
    """What a network computes on. Views of one tensor, but for the features."""

    size: Size
    ids: Tensor  # int32 (tokens,)
    positions: Tensor  # int32 (tokens,)
    types: Tensor  # int32 (tokens,)
    starts: Tensor  # int32 (sequences + 1,)
    features: Tensor | None = None  # (tokens, width); rows without features are 0
    featured: Tensor | None = None  # bool (tokens, 1)
    lengths: NDArray[np.int32] | None = None  # of all sequences, on the host; None while a graph is captured
    _turns: dict[bytes, tuple[Tensor, Tensor]] = field(default_factory=dict)
    _groups: list[DeviceGroup] | None = None

    @property
    def longest(self) -> int:
        """Tokens of the longest sequence, or more."""
        return self.size.longest

    def turns(self, frequencies: NDArray[np.float64]) -> tuple[Tensor, Tensor]:
        """cos and sin of position · frequency, float32 (tokens, head_dim / 2); the angle in float64, since float32 is off by 5e-4 at 8,192."""
        key = frequencies.tobytes()
        if key not in self._turns:
            angles = self.positions.double()[:, None] * _constant(frequencies, self.ids.device)
            self._turns[key] = (angles.cos().float(), angles.sin().float())
        return self._turns[key]

    def groups(self) -> list[DeviceGroup]:
        """Sequences of like lengths."""
        assert self.lengths is not None, "attention in groups needs to know the lengths"
        if self._groups is None:
            self._groups = [_on_device(group.rows, group.real, self.ids.device) for group in grouped(self.lengths)]
        return self._groups


def _on_device(rows: NDArray[np.int64], real: NDArray[np.bool_], device: Device) -> DeviceGroup:
    flat = np.flatnonzero(real)
    on_device = (torch.from_numpy(array).to(device, non_blocking=True) for array in (rows, flat, rows[flat], real[:, None, None, :]))
    there, kept_rows, kept, seen = on_device
    return DeviceGroup(sequences=real.shape[0], length=real.shape[1], full=bool(real.all()), rows=there, real=kept_rows, kept=kept, seen=seen)


_constants: dict[tuple[bytes, Device], Tensor] = {}


def _constant(numbers: NDArray[np.float64], device: Device) -> Tensor:
    """The numbers on the device, kept: copying from the host is not allowed while a graph is captured. A model has one or two such arrays."""
    key = (numbers.tobytes(), device)
    if key not in _constants:
        _constants[key] = torch.from_numpy(np.array(numbers, np.float64)).to(device)
    return _constants[key]


class Staging:
    """Host memory that the device copies from and to by itself: pinned on a GPU machine, ordinary memory elsewhere. Grows, never shrinks."""

    def __init__(self, pinned: bool) -> None:
        self._pinned = pinned
        self._kept: dict[tuple[str, Dtype], Tensor] = {}

    def take(self, name: str, count: int, dtype: Dtype) -> Tensor:
        """`count` numbers, what was there before; valid until the next call with this name."""
        key = (name, dtype)
        kept = self._kept.get(key)
        if kept is None or kept.numel() < count:
            kept = self._kept[key] = torch.empty(max(count, 1024), dtype=dtype, pin_memory=self._pinned)
        return kept[:count]

    def filled(self, name: str, numbers: NDArray[np.generic], dtype: Dtype) -> Tensor:
        """A copy of `numbers`, flat."""
        taken = self.take(name, numbers.size, dtype)
        taken.numpy()[:] = numbers.reshape(-1)
        return taken


def views(numbers: Tensor, size: Size) -> Inputs:
    """The parts of Layout.numbers on the device."""
    t = size.tokens
    return Inputs(size=size, ids=numbers[:t], positions=numbers[t : 2 * t], types=numbers[2 * t : 3 * t], starts=numbers[3 * t :])


def upload(layout: Layout, features: Features | None, device: Device, dtype: Dtype, staging: Staging | None = None) -> Inputs:
    """A batch on the device. Copies do not wait for the device; `staging` must not be used again before it is done."""
    staging = staging or Staging(pinned=False)
    inputs = views(staging.filled("indices", layout.numbers, torch.int32).to(device, non_blocking=True, copy=True), layout.size)
    lengths = np.diff(layout.numbers[3 * layout.size.tokens :])
    inputs.lengths = lengths[lengths > 0]  # those that hold padding included
    if features is not None:
        width = features.values.shape[1]
        inputs.features = torch.zeros((layout.size.tokens, width), dtype=dtype, device=device)
        inputs.featured = torch.zeros((layout.size.tokens, 1), dtype=torch.bool, device=device)
        fill_features(inputs, features, staging)
    return inputs


def fill_features(inputs: Inputs, features: Features, staging: Staging) -> None:
    """Put features at their places in `inputs.features`, which is all 0."""
    assert inputs.features is not None
    assert inputs.featured is not None
    at = staging.filled("at", features.at, torch.int64).to(inputs.ids.device, non_blocking=True)
    rows = staging.filled("features", features.values, torch.float32).view(features.values.shape).to(inputs.ids.device, non_blocking=True)
    inputs.features.index_copy_(0, at, rows.to(inputs.features.dtype))
    inputs.featured.index_fill_(0, at, True)
