"""One call's work as the batcher sees it: sequences in, hidden states handed back one sequence at a time. Knows no task and no wire."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from emberank.runtime.engines.base import Features
from emberank.runtime.heads import Pooling

Take = Callable[[int, NDArray[np.float32]], None]


@dataclass(frozen=True, slots=True)
class Sequence:
    """Token ids as the network reads them, special tokens included. `types` None means all 0."""

    ids: NDArray[np.int32]  # (tokens,)
    types: NDArray[np.int32] | None = None  # (tokens,)
    features: Features | None = None  # counted from its own first token


@dataclass(eq=False, slots=True)
class Job:
    """Sequences to run and what to do with each one's hidden states.

    `take(index, hidden)` is called on the engine's thread, once per sequence; `hidden` (tokens, hidden) is a view that the
    next batch overwrites, so it must keep what it needs. With `leads`, sequence 0 is taken before any other: a reranker's
    query, so that each passage can be scored the moment it is there instead of being kept.
    With `pooling`, `hidden` may be (1, hidden), already pooled so: a head that pools again gets the same.
    `deadline` is on the clock of `time.monotonic`, in seconds.
    """

    sequences: list[Sequence]
    take: Take
    deadline: float
    leads: bool = False
    pooling: Pooling | None = None

    # Filled in by the batcher.
    done: asyncio.Future[None] | None = None
    submitted: float = 0.0  # s, monotonic
    started: float = 0.0  # s, monotonic: when its first sequence was given to the engine
    engine_s: float = 0.0  # s: runs of the engine it had a part in, each counted by its share of the tokens
    left: int = field(default=0)  # sequences not yet taken

    @property
    def tokens(self) -> int:
        """Tokens of all its sequences."""
        return sum(len(sequence.ids) for sequence in self.sequences)
