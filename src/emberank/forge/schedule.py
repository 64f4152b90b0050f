"""Cron lines and two moments in, which of them are due out: prewarming and probing by the clock. Pure; wakes and probes nothing, and reads no clock.

A clock that jumps makes a schedule due once at most. Forwards: whatever was passed over counts as one. Backwards by little: hours that come again are
not lived twice. Backwards by much: the clock had been wrong, and counting begins anew. Times are Unix time.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, tzinfo
from typing import Protocol, TypeVar
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from emberank.contract.errors import BadRequest

MOST_HELD_S = 7200.0  # a clock that was set back by no more than this is waited for
_ZONE = "CRON_TZ="
_MOST_CHARS = 200
_FORM = "minute, hour, day of month, month, day of week, such as '0 7 * * MON-FRI', in UTC, or with 'CRON_TZ=Europe/Berlin ' before it"


class Scheduled(Protocol):
    """Anything with a cron line."""

    @property
    def cron(self) -> str:
        """Five fields, a time zone before them if it is not UTC."""
        ...


S = TypeVar("S", bound=Scheduled)


def checked(line: str) -> str:
    """The line, with single blanks. Raises BadRequest for one that cannot be read, or whose day never comes."""
    shown = repr(line[:_MOST_CHARS])
    if len(line) > _MOST_CHARS:
        raise BadRequest(f"cron {shown}… is too long: it has to be {_FORM}")
    try:
        coming = next_at(line, 0.0)
    except CronSimError as cause:
        raise BadRequest(f"cron {shown} cannot be read ({str(cause).lower()}): it has to be {_FORM}") from cause
    except ValueError as cause:
        raise BadRequest(f"cron {shown} names a time zone that is not known; it has to be one such as Europe/Berlin") from cause
    if coming is None:
        raise BadRequest(f"cron {shown} names a day that never comes")
    return " ".join(line.split())


def next_at(line: str, after: float) -> float | None:
    """When a line next comes after a moment; None when it does not within fifty years. Raises CronSimError, or ValueError for the time zone."""
    words = line.split()
    zone: tzinfo = UTC
    if words and words[0].startswith(_ZONE):
        zone = _zone(words.pop(0).removeprefix(_ZONE))
    if len(words) != 5:
        raise CronSimError("five fields are needed")
    try:
        return next(CronSim(" ".join(words), datetime.fromtimestamp(after, zone))).timestamp()
    except StopIteration:
        return None


def due(schedules: Iterable[S], last_tick: float, now: float) -> tuple[S, ...]:
    """Those that came after `last_tick` and not after `now`: each once, however often it did. One that cannot be read is never due."""
    return tuple(schedule for schedule in schedules if _came(schedule.cron, last_tick, now))


def ticked(last_tick: float, now: float) -> float:
    """What `last_tick` is from here on."""
    return last_tick if last_tick - MOST_HELD_S <= now < last_tick else now


def _came(line: str, last_tick: float, now: float) -> bool:
    try:
        coming = next_at(line, last_tick) if now > last_tick else None
    except (CronSimError, ValueError):
        return False
    return coming is not None and coming <= now


def _zone(name: str) -> tzinfo:
    try:
        return ZoneInfo(name)
    except (KeyError, OSError) as cause:  # ValueError, for what is no name at all, is its own
        raise ValueError(f"no time zone {name!r}") from cause
