"""A fake engine for tests of everything above an engine: hidden states are a fixed hash of each token, no network is run.

It can be told to be slow, to stop at a gate or to fail, so that tests prove interleaving without sleeping. Never used unless named.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from emberank.runtime.engines.base import Batch, EngineFacts, EngineOptions, pooled
from emberank.runtime.heads import Floats, Pooling
from emberank.runtime.networks.network import Network
from emberank.runtime.networks.ops import Weights


class FakeEngine:
    """Hidden state of a token = a pseudo-random unit vector of its id. Records the batches it was given."""

    def __init__(self, hidden: int = 8, merged: int = 1) -> None:
        self.facts = EngineFacts(engine="fake", device="none", precision="none", threads=0, detail="FAKE: for tests only, computes no network")
        self.batches: list[Batch] = []
        self.gate: threading.Event | None = None  # when set to an Event, every run waits for it (at most 30 s)
        self.before_run: Callable[[Batch], None] = lambda batch: None
        self._hidden = hidden
        self._merged = merged

    def run(self, batch: Batch, pooling: Pooling | None = None) -> Floats:
        """(tokens, hidden); equal ids give equal rows. Nothing is learnt from features."""
        self.batches.append(batch)
        if self.gate is not None and not self.gate.wait(30):
            raise TimeoutError("the test never opened the fake engine's gate")
        self.before_run(batch)
        phase = np.outer(batch.ids.astype(np.float64) + 1.0, np.arange(1, self._hidden + 1))
        rows = np.cos(phase * 12.9898)
        states = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)[:: self._merged]
        return states if pooling is None else pooled(states, batch.lengths // self._merged, pooling)

    def padded_tokens(self, lengths: NDArray[np.int32]) -> int:
        """No padding."""
        return int(lengths.sum())

    def attention_rows(self, lengths: NDArray[np.int32]) -> int:
        """No padding."""
        return int(lengths.sum())

    def close(self) -> None:
        """Holds nothing."""


def build(network: Network, weights: Weights, options: EngineOptions) -> FakeEngine:
    """The registry's builder."""
    return FakeEngine(network.hidden, network.merged)
