"""Schedules and probes in, what is due and what is being measured out. Knows no page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from emberank.forge.parts import Parts
from emberank.forge.probes import Probe
from emberank.forge.store.schedules import Schedule


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """A schedule, and when it comes next (Unix time)."""

    schedule: Schedule
    next_at_s: float | None


class Planned:
    """Remembers when a schedule comes next until it has come: to reckon that takes longer than to show it."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._next: dict[str, float | None] = {}

    def schedules(self, seen: Callable[[str], bool]) -> list[Due]:
        """What comes next first."""
        book, now_s = self._parts.schedules, self._parts.wall_s()
        current = book.all()
        kept = {one.id: self._next[one.id] for one in current if one.id in self._next}
        for one in current:
            at_s = kept.get(one.id, 0.0)
            if at_s is not None and at_s <= now_s:
                kept[one.id] = book.next_at(one)
        self._next = kept
        found = [Due(schedule=one, next_at_s=kept[one.id]) for one in current if seen(one.slug)]
        return sorted(found, key=lambda one: (one.next_at_s is None, one.next_at_s or 0.0, one.schedule.id))

    def probes(self, seen: Callable[[str], bool]) -> list[Probe]:
        """Those that run or wait, in the order in which they were asked for."""
        return [one for one in reversed(self._parts.probes.all()) if one.state in ("running", "waiting") and seen(one.slug)]
