"""The contract of every engine: a packed batch in, float32 hidden states out. Knows no model, no text and no task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from emberank.runtime.heads import Floats, Pooling, pool
from emberank.runtime.networks.network import Network
from emberank.runtime.networks.ops import Weights


@dataclass(frozen=True, slots=True)
class Features:
    """Numbers that stand in the place of token embeddings: image states in a text, or the patches of a tile."""

    at: NDArray[np.int32]  # (rows,) which token each row stands for
    values: NDArray[np.float32]  # (rows, width)


@dataclass(frozen=True, slots=True)
class Batch:
    """Sequences one behind the other, no padding. `lengths` sum to the number of tokens."""

    ids: NDArray[np.int32]  # (tokens,)
    types: NDArray[np.int32]  # (tokens,)
    lengths: NDArray[np.int32]  # (sequences,)

    features: Features | None = None  # `at` counts through the whole batch

    @classmethod
    def of(cls, sequences: list[NDArray[np.int32]], types: list[NDArray[np.int32]] | None = None, features: list[Features | None] | None = None) -> Batch:
        """Pack sequences of token ids; without `types` every token has type 0. Each one's `features` count from its own first token."""
        ids = np.concatenate(sequences)
        lengths = np.fromiter((len(s) for s in sequences), np.int32, len(sequences))
        return cls(
            ids=ids,
            types=np.zeros_like(ids) if types is None else np.concatenate(types),
            lengths=lengths,
            features=_joined(features or [], np.cumsum(lengths) - lengths),
        )

    def positions(self) -> NDArray[np.int32]:
        """Place of each token in its own sequence, (tokens,)."""
        starts = np.cumsum(self.lengths) - self.lengths
        return (np.arange(len(self.ids)) - np.repeat(starts, self.lengths)).astype(np.int32)


def _joined(features: list[Features | None], starts: NDArray[np.int32]) -> Features | None:
    here = [(one, start) for one, start in zip(features, starts) if one is not None]
    if not here:
        return None
    return Features(np.concatenate([one.at + start for one, start in here]).astype(np.int32), np.concatenate([one.values for one, _ in here]))


def pooled(states: Floats, lengths: NDArray[np.int32], how: Pooling) -> Floats:
    """States (tokens, hidden) → (sequences, hidden), for engines that leave it to the CPU."""
    stops = np.cumsum(lengths)
    return np.stack([pool(states[stop - length : stop], how) for stop, length in zip(stops, lengths)])


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineFacts:
    """What an engine is and runs on, for /v1/metadata and the logs."""

    engine: str
    device: str
    precision: str
    threads: int
    detail: str
    batch_tokens: int = 1024  # tokens in one run that keep the device busy: the budget of a batch where no setting says another
    packed: bool = False  # whether sequences of any lengths may share a batch at no cost: attention pads nothing
    gpu: Mapping[str, str | int] | None = None  # what is known of the device, for /v1/metadata; None on a CPU


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """How an engine shall be built. `threads` 0 means one per core; in the folder `prepared` an engine may keep what it makes of these weights."""

    precision: str = "auto"
    threads: int = 0
    device: str = "auto"  # "cpu", "cuda", "cuda:1"; "auto" is whatever is best of what the engine can use
    prepared: Path | None = None


class Engine(Protocol):
    """One network with its weights, ready to run. Not thread-safe: one thread owns it."""

    facts: EngineFacts

    def run(self, batch: Batch, pooling: Pooling | None = None) -> Floats:
        """Last hidden states (tokens / merged, hidden), or with `pooling` one row per sequence (sequences, hidden), pooled in float32.

        The array may be reused: it is valid until the next call.
        """

    def padded_tokens(self, lengths: NDArray[np.int32]) -> int:
        """Rows of the linear layers that a batch of these lengths costs, padding included."""

    def attention_rows(self, lengths: NDArray[np.int32]) -> int:
        """Rows of the attention layers that a batch of these lengths costs, padding included."""

    def close(self) -> None:
        """Give its memory back."""


class EngineBuilder(Protocol):
    """What the registry holds: builds an engine from a network and its weights; raises StartError."""

    def __call__(self, network: Network, weights: Weights, options: EngineOptions) -> Engine:
        """Build it."""
