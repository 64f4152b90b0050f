"""What every network says of itself. A network is numbers from a config.json and one function over ops.py; it holds no weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, TypeVar

from emberank.contract.errors import WeightsCorrupt
from emberank.runtime.networks.ops import Ops, Weights

T = TypeVar("T")


class Network(Protocol):
    """The numbers of one network and how it computes. Frozen."""

    @property
    def hidden(self) -> int:
        """Width of what `forward` returns."""

    @property
    def vocabulary(self) -> int:
        """Rows of the token table; 0 for a network that reads no tokens."""

    @property
    def max_positions(self) -> int:
        """The longest sequence, in tokens."""

    @property
    def feature_width(self) -> int:
        """Width of the features that a batch may or must bring; 0 when it brings none."""

    @property
    def merged(self) -> int:
        """Input tokens that become one row of the output: 1, or 4 where patches are merged."""

    @property
    def attention_tokens(self) -> int:
        """Keys whose attention costs as much as one token's linear layers: how dear a row's length is beside its tokens."""

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Every tensor it reads, by its name here, with the shape that config.json promises."""

    def forward(self, ops: Ops[T]) -> T:
        """Last hidden states (tokens / merged, hidden) of the packed batch that `ops` holds."""


def check(network: Network, weights: Weights) -> None:
    """Raises WeightsCorrupt when a tensor is missing or has not the shape that config.json promises. Reads no numbers."""
    for name, shape in network.shapes().items():
        found = weights.shape(name)
        if found != shape:
            raise WeightsCorrupt(f"tensor {name!r} has shape {list(found)}, config.json says {list(shape)}")


def parameters(network: Network) -> int:
    """Numbers in all of its tensors."""
    total = 0
    for shape in network.shapes().values():
        count = 1
        for size in shape:
            count *= size
        total += count
    return total


def number(config: Mapping[str, Any], key: str, default: int | None = None, *, least: int = 1) -> int:
    """A whole number of config.json; raises WeightsCorrupt naming the key."""
    value = config.get(key, default)
    if value is None:
        raise WeightsCorrupt(f"config.json lacks {key!r}, which a checkpoint of this kind must have")
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value < float("inf") or int(value) != value:
        raise WeightsCorrupt(f"config.json: {key} must be a whole number from {least} on, not {value!r}")
    return int(value)


def real(config: Mapping[str, Any], key: str, default: float | None = None) -> float:
    """A positive number of config.json; raises WeightsCorrupt naming the key."""
    value = config.get(key, default)
    if value is None:
        raise WeightsCorrupt(f"config.json lacks {key!r}, which a checkpoint of this kind must have")
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
        raise WeightsCorrupt(f"config.json: {key} must be a number above 0, not {value!r}")
    return float(value)
