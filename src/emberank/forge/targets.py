"""Where a model can run: (gpu_type, region) targets, and the pools of this installation that provide them. Knows nothing of models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple


class Target(NamedTuple):
    """A kind of machine in a place. A CPU machine's gpu_type is `CPU`, this machine's region `local`."""

    gpu_type: str
    region: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What an hour of a target costs, who says so, and when."""

    usd_per_hour: float
    source: str
    date: str  # ISO


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """Machines of one target that this installation may use: how much fits, and how a process is started there."""

    target: Target
    memory_bytes: int
    slots: int  # endpoints at one time; on a GPU pool the number of GPUs
    launcher: Literal["process", "remote", "fake"] = "process"
    price: Price | None = None
    devices: tuple[str, ...] = ()  # what CUDA_VISIBLE_DEVICES may name; empty on a CPU
    settings: Mapping[str, str] = field(default_factory=dict)  # runtime settings of everything started here
