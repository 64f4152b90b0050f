"""What runs together: waiting jobs in, the next batch out. Pure: no thread, no clock, no engine.

The job with the least left to do leads the next batch, counted in batches on a doubling scale, the oldest among equals; every
fourth batch is led by the oldest job of all. So a short request passes a request of five hundred passages and waits for a batch, not
for a request; whoever has waited longest gets every fourth batch, so that a long one ends too; and requests of one size finish one
after the other instead of all together at the end, which shortens their median wait and, when there are too many, lets some of them
meet their deadlines where otherwise none would.
Around the leading sequence the batch is filled with sequences of nearly the same length, its own job's first.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from emberank.runtime.job import Job

# What attention costs beside the linear layers, in tokens: a row of length L costs about L²/attention_tokens tokens' worth of
# linear layers (for MiniLM 6·hidden = 2304 by arithmetic alone; attention reaches about a third of the linear layers' speed).
ATTENTION_TOKENS = 768
_ATTENTION_SHARE = 3
# What one more run of the engine costs, in tokens. Two batches are joined only when the padding costs less than this:
# that is why batching is never slower than no batching.
RUN_TOKENS = 24
_STEP = 8  # width of a length class, in tokens
_OLDEST_TURN = 4  # every so manyth batch goes to the oldest job


@dataclass(eq=False, slots=True)
class Waiting:
    """One sequence of a job, not yet run."""

    job: Job
    index: int
    length: int  # tokens


@dataclass(eq=False, slots=True)
class _Entry:
    """One job's place in the backlog."""

    job: Job
    left: int = 0  # tokens
    waiting: dict[Waiting, None] = field(default_factory=dict)  # in the order they shall lead batches
    open: bool = True  # False while only the leading sequence may run


class Backlog:
    """The waiting sequences of all jobs, by job (for who leads) and by length (for batches of like lengths)."""

    def __init__(self, attention_tokens: float = ATTENTION_TOKENS) -> None:
        self._attention_tokens = attention_tokens  # infinite for an engine that pads nothing: then any two sequences may run together
        self._entries: dict[Job, _Entry] = {}
        self._classes: dict[int, dict[Waiting, None]] = {}
        self._turn = 0
        self.tokens = 0

    def __len__(self) -> int:
        """Jobs with something left to run."""
        return len(self._entries)

    def jobs(self) -> Iterator[Job]:
        """The waiting jobs, oldest first."""
        return iter(self._entries)

    def add(self, job: Job) -> None:
        """Put all of a job's sequences in."""
        entry = _Entry(job, open=not job.leads)
        order = sorted(range(job.leads, len(job.sequences)), key=lambda i: len(job.sequences[i].ids))
        for index in [0] * job.leads + order:
            waiting = Waiting(job, index, len(job.sequences[index].ids))
            entry.waiting[waiting] = None
            entry.left += waiting.length
        self.tokens += entry.left
        self._entries[job] = entry
        for waiting in entry.waiting if entry.open else list(entry.waiting)[:1]:
            self._class(waiting)[waiting] = None

    def drop(self, job: Job) -> None:
        """Take a job's remaining sequences out; a job that is not here is no error."""
        entry = self._entries.pop(job, None)
        for waiting in entry.waiting if entry else ():
            self.tokens -= waiting.length
            self._class(waiting).pop(waiting, None)

    def next_batch(self, budget: int) -> list[Waiting]:
        """Remove and return the sequences to run now: at most `budget` tokens, at least one sequence if any waits."""
        if not self._entries:
            return []
        leader = self._leader(budget)
        first = next(iter(leader.waiting))
        self._remove(first)
        batch = [first]
        self._fill_from_own(leader, batch, budget)
        self._fill_from_all(batch, budget)
        return batch

    def _leader(self, budget: int) -> _Entry:
        self._turn += 1
        if self._turn % _OLDEST_TURN == 0:
            return next(iter(self._entries.values()))
        # On a doubling scale: whether a job has two batches left or three is no reason to pass an older one. min() takes the first of equals, the oldest.
        return min(self._entries.values(), key=lambda entry: ((entry.left - 1) // budget).bit_length())

    def _fill_from_own(self, leader: _Entry, batch: list[Waiting], budget: int) -> None:
        """Add the leader's own sequences, which stand in the order of their lengths: a job that ends makes room."""
        tokens = longest = batch[0].length
        for other in list(leader.waiting):
            joins = self._joins(len(batch), longest, other.length)
            if tokens + other.length > budget or (other.length > longest and not joins):
                return
            if joins:
                self._remove(other)
                batch.append(other)
                tokens += other.length
                longest = max(longest, other.length)

    def _fill_from_all(self, batch: list[Waiting], budget: int) -> None:
        """Add sequences of the nearest lengths that fit the budget and are cheaper inside than alone, oldest first within a length class."""
        tokens = sum(waiting.length for waiting in batch)
        longest = max(waiting.length for waiting in batch)
        middle = longest // _STEP
        for key in sorted(self._classes, key=lambda k: (abs(k - middle), k)):
            best = min(max(longest, key * _STEP), key * _STEP + _STEP - 1)  # the class's length nearest to the batch's
            if tokens + key * _STEP > budget or not self._joins(len(batch), longest, best):
                continue
            # A copy: removing changes the class, and removing a leading sequence adds its job's others.
            for other in list(self._classes.get(key, ())):
                if tokens + other.length > budget:
                    break  # members differ by less than a step: what fits no more here hardly fits at all
                if self._joins(len(batch), longest, other.length):
                    self._remove(other)
                    batch.append(other)
                    tokens += other.length
                    longest = max(longest, other.length)

    def _joins(self, count: int, longest: int, length: int) -> bool:
        """Whether a sequence of `length` costs less inside a batch of `count` rows as long as `longest` than in a run of its own."""
        together = max(longest, length)
        extra = (count + 1) * together**2 - count * longest**2 - length**2
        return extra <= RUN_TOKENS * self._attention_tokens

    def _class(self, waiting: Waiting) -> dict[Waiting, None]:
        return self._classes.setdefault(waiting.length // _STEP, {})

    def _remove(self, waiting: Waiting) -> None:
        entry = self._entries[waiting.job]
        del entry.waiting[waiting]
        key = waiting.length // _STEP
        del self._classes[key][waiting]
        if not self._classes[key]:
            del self._classes[key]
        self.tokens -= waiting.length
        entry.left -= waiting.length
        if not entry.waiting:
            del self._entries[waiting.job]
        elif not entry.open:
            entry.open = True
            for other in entry.waiting:
                self._class(other)[other] = None


def row_cost(attention_tokens: int) -> float:
    """For `Backlog`: a network's `attention_tokens`, which is by arithmetic, as engines that pad attention measure it."""
    return max(1.0, attention_tokens / _ATTENTION_SHARE)
