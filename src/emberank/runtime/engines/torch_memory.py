"""A way to run a batch in, one that survives a full memory out: halves the batch, tries again, and remembers what was too much. Knows no device."""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np

from emberank.contract.errors import ServerFault
from emberank.runtime.engines.base import Batch, Features
from emberank.runtime.heads import Floats, Pooling

log = logging.getLogger(__name__)

Run = Callable[[Batch, Pooling | None], Floats]


class Careful:
    """Runs batches. `free` gives memory back that nothing needs; `full` is the error that says there is no more."""

    def __init__(self, run: Run, free: Callable[[], None], full: type[Exception]) -> None:
        self._run = run
        self._free = free
        self._full = full
        self.most_tokens: int | None = None  # of a batch of several sequences; None: nothing was too much yet

    def __call__(self, batch: Batch, pooling: Pooling | None) -> Floats:
        """The states of all sequences, in order; raises ServerFault when not even one of them fits."""
        if not self._too_much(batch):
            states = self._try(batch, pooling)
            if states is not None:
                return states
        # Copies: the array of the first half may be overwritten by the second.
        return np.concatenate([self(half, pooling).copy() for half in halves(batch)])

    def _too_much(self, batch: Batch) -> bool:
        return self.most_tokens is not None and len(batch.ids) > self.most_tokens and len(batch.lengths) > 1

    def _try(self, batch: Batch, pooling: Pooling | None) -> Floats | None:
        tokens = len(batch.ids)
        try:
            return self._run(batch, pooling)
        except self._full as cause:
            failure = cause.with_traceback(None)  # its frames hold the tensors that are in the way
        self._free()
        if len(batch.lengths) == 1:
            raise ServerFault(f"the device's memory does not hold one sequence of {tokens} tokens") from failure
        self.most_tokens = max(1, tokens // 2)
        log.warning("memory is full: smaller batches from here on", extra={"action": "memory_full", "tokens": tokens, "most_tokens": self.most_tokens})
        return None


def halves(batch: Batch) -> tuple[Batch, Batch]:
    """The batch cut between two sequences, as near to its middle as may be. It has two or more."""
    ends = np.cumsum(batch.lengths)
    cut = int(np.clip(np.searchsorted(ends, ends[-1] / 2) + 1, 1, len(ends) - 1))
    middle = int(ends[cut - 1])
    first = Batch(ids=batch.ids[:middle], types=batch.types[:middle], lengths=batch.lengths[:cut], features=_between(batch.features, 0, middle))
    rest = _between(batch.features, middle, len(batch.ids))
    return first, Batch(ids=batch.ids[middle:], types=batch.types[middle:], lengths=batch.lengths[cut:], features=rest)


def _between(features: Features | None, start: int, stop: int) -> Features | None:
    if features is None:
        return None
    inside = (features.at >= start) & (features.at < stop)
    return Features((features.at[inside] - start).astype(np.int32), features.values[inside]) if inside.any() else None
