"""The contract of every engine: a packed batch in, float32 hidden states out. Knows no model, no text and no task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from emberank.runtime.networks.bert import Bert
from emberank.runtime.networks.ops import Weights


@dataclass(frozen=True, slots=True)
class Batch:
    """Sequences one behind the other, no padding. `lengths` sum to the number of tokens."""

    ids: NDArray[np.int32]  # (tokens,)
    types: NDArray[np.int32]  # (tokens,)
    lengths: NDArray[np.int32]  # (sequences,)

    @classmethod
    def of(cls, sequences: list[NDArray[np.int32]], types: list[NDArray[np.int32]] | None = None) -> Batch:
        """Pack sequences of token ids; without `types` every token has type 0."""
        ids = np.concatenate(sequences)
        return cls(
            ids=ids,
            types=np.zeros_like(ids) if types is None else np.concatenate(types),
            lengths=np.fromiter((len(s) for s in sequences), np.int32, len(sequences)),
        )

    def positions(self) -> NDArray[np.int32]:
        """Place of each token in its own sequence, (tokens,)."""
        starts = np.cumsum(self.lengths) - self.lengths
        return (np.arange(len(self.ids)) - np.repeat(starts, self.lengths)).astype(np.int32)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineFacts:
    """What an engine is and runs on, for /v1/metadata and the logs."""

    engine: str
    device: str
    precision: str
    threads: int
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """How an engine shall be built. `threads` 0 means one per core."""

    precision: str = "auto"
    threads: int = 0


class Engine(Protocol):
    """One network with its weights, ready to run. Not thread-safe: one thread owns it."""

    facts: EngineFacts

    def run(self, batch: Batch) -> NDArray[np.float32]:
        """Last hidden states (tokens, hidden). The array may be reused: it is valid until the next call."""

    def padded_tokens(self, lengths: NDArray[np.int32]) -> int:
        """Rows of the linear layers that a batch of these lengths costs, padding included."""

    def attention_rows(self, lengths: NDArray[np.int32]) -> int:
        """Rows of the attention layers that a batch of these lengths costs, padding included."""

    def close(self) -> None:
        """Give its memory back."""


class EngineBuilder(Protocol):
    """What the registry holds: builds an engine from a network and its weights; raises StartError."""

    def __call__(self, network: Bert, weights: Weights, options: EngineOptions) -> Engine:
        """Build it."""
