"""Kept usage in, how many requests were answered and how many failed in the last hour and day out. Knows no page.

Counting reads the store, which has one thread for everything: what was counted is kept for a while, longer when counting took long, and at most
MOST of the latest requests are read, whatever the traffic is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from emberank.contract.errors import EmberankError
from emberank.forge.parts import Parts
from emberank.forge.statistics import Figure, rate
from emberank.forge.store.usage import Outcomes

HOUR_S, DAY_S = 3600.0, 86_400.0
MOST = 100_000
KEPT_S = 5.0
_SHARE = 20.0  # at most a twentieth of the store's time goes into counting
_WITHIN_S = 2.0  # a page does not wait longer for a slow store


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The requests of a while: how many, how many were refused as the caller's fault (4xx), and how many of the others failed (5xx)."""

    requests: int = 0
    refused: int = 0
    failed: int = 0

    @property
    def failure_rate(self) -> Figure:
        """Of those that were not the caller's fault, with Wilson's interval."""
        return rate(self.failed, self.requests - self.refused)

    def __add__(self, other: Window) -> Window:
        """Both together."""
        return Window(requests=self.requests + other.requests, refused=self.refused + other.refused, failed=self.failed + other.failed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """One version on one target; `gpu_type` is empty for requests that reached none."""

    slug: str
    version: str
    gpu_type: str
    region: str
    hour: Window
    day: Window


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """All of it, the most failures first. `reach_s` is how far back it goes: a day, or less where there was too much to count. `problem`: why there is nothing."""

    lines: tuple[Answered, ...] = ()
    reach_s: float = DAY_S
    problem: str = ""

    def hour(self) -> Window:
        """The last hour of all."""
        return sum((one.hour for one in self.lines), Window())

    def day(self) -> Window:
        """The last day of all."""
        return sum((one.day for one in self.lines), Window())


class AnsweredLately:
    """Counts, not too often."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._counted = Counted()
        self._good_until = float("-inf")  # on the monotonic clock
        self._counting = asyncio.Lock()

    async def of(self, seen: Callable[[str], bool], on: Callable[[tuple[str, str]], bool]) -> Counted:
        """What was counted of the models and targets that these two leave."""
        async with self._counting:
            if self._parts.clock() >= self._good_until:
                await self._count()
        found = self._counted
        lines = tuple(one for one in found.lines if seen(one.slug) and on((one.gpu_type, one.region)))
        return Counted(lines=lines, reach_s=found.reach_s, problem=found.problem)

    async def _count(self) -> None:
        parts, began, now_s = self._parts, self._parts.clock(), self._parts.wall_s()
        try:
            async with asyncio.timeout(_WITHIN_S):
                rows = await parts.stored(lambda store: store.usage.outcomes(now_s - DAY_S, now_s - HOUR_S, MOST))
        except TimeoutError:
            self._counted = Counted(problem="the database is too slow at the moment")
        except EmberankError as error:
            self._counted = Counted(problem=error.message)
        else:
            self._counted = counted(rows, now_s)
        now = parts.clock()
        self._good_until = now + max(KEPT_S, _SHARE * (now - began))


def counted(rows: Sequence[Outcomes], now_s: float) -> Counted:
    """The store's sums, in order. Where the most that is read was read, the oldest of it is how far back they go."""
    whole = sum(row.requests for row in rows) < MOST
    reach_s = DAY_S if whole else min(DAY_S, max(0.0, now_s - min(row.first_at_s for row in rows)))
    lines = [
        Answered(
            slug=row.slug,
            version=row.version,
            gpu_type=row.gpu_type,
            region=row.region,
            hour=Window(requests=row.late_requests, refused=row.late_refused, failed=row.late_failed),
            day=Window(requests=row.requests, refused=row.refused, failed=row.failed),
        )
        for row in rows
    ]
    return Counted(lines=tuple(sorted(lines, key=_order)), reach_s=reach_s)


def by_target(lines: Iterable[Answered]) -> dict[tuple[str, str], tuple[Window, Window]]:
    """The last hour and the last day of each target."""
    sums: dict[tuple[str, str], tuple[Window, Window]] = {}
    for one in lines:
        hour, day = sums.get((one.gpu_type, one.region), (Window(), Window()))
        sums[(one.gpu_type, one.region)] = (hour + one.hour, day + one.day)
    return sums


def _order(one: Answered) -> tuple[object, ...]:
    return (-one.hour.failed, -one.day.failed, -one.hour.requests, -one.day.requests, one.slug, one.version, one.gpu_type, one.region)
