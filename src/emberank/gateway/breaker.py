"""Successes and failures of one remote server in, whether to ask it out: a circuit breaker. Reads no clock; `now` is monotonic seconds.

closed     it is asked; after so many failures in a row it opens
open       nobody asks it, for a time that doubles whenever the next trial fails too
half-open  the time is over: one request is let through, and what becomes of it decides
"""

from __future__ import annotations

from typing import Literal, TypeAlias

State: TypeAlias = Literal["closed", "open", "half-open"]


class Breaker:
    """Of one server. `begin` every request that `admits` lets through, and tell what became of it."""

    __slots__ = ("_failures", "_first_s", "_in_a_row", "_most_s", "_open_until", "_opened", "_trial")

    def __init__(self, *, failures: int = 5, first_s: float = 5.0, most_s: float = 120.0) -> None:
        self._failures = failures
        self._first_s = first_s
        self._most_s = most_s
        self._in_a_row = 0
        self._opened = 0  # times in a row
        self._open_until: float | None = None
        self._trial = False

    @property
    def failures(self) -> int:
        """How many in a row."""
        return self._in_a_row

    def state(self, now: float) -> State:
        """Which of the three."""
        if self._open_until is None:
            return "closed"
        return "half-open" if now >= self._open_until else "open"

    def admits(self, now: float) -> bool:
        """Whether a request may be sent now."""
        return self._open_until is None or (now >= self._open_until and not self._trial)

    def retry_in_s(self, now: float) -> float:
        """How long until a request may be sent; 0 while the one trial is under way."""
        return 0.0 if self._open_until is None else max(0.0, self._open_until - now)

    def begin(self) -> bool:
        """A request is sent; whether it is the trial. Its `failed` or `abandoned` is told the same."""
        self._trial = self._open_until is not None
        return self._trial

    def succeeded(self) -> None:
        """It answered."""
        self._in_a_row = self._opened = 0
        self._open_until = None
        self._trial = False

    def failed(self, now: float, *, trial: bool, retry_after_s: float = 0.0) -> bool:
        """It did not, and does not wish to be asked for `retry_after_s`; whether the circuit opened by that."""
        self._in_a_row += 1
        if self._open_until is not None and not trial:
            return False  # it was sent before the circuit opened: that is known by now
        if not trial and self._in_a_row < self._failures:
            return False
        self._opened += 1
        self._open_until = now + min(max(self._first_s * 2.0 ** min(self._opened - 1, 60), retry_after_s), self._most_s)
        self._trial = False
        return True

    def abandoned(self, *, trial: bool) -> None:
        """Nobody waited for what became of it."""
        if trial:
            self._trial = False
