"""Cron lines, and clocks that do not go as they should."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from emberank.contract.errors import BadRequest
from emberank.forge.schedule import MOST_HELD_S, checked, due, next_at, ticked


@dataclass(frozen=True)
class Line:
    cron: str


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


DAILY, EVERY_FIVE = Line("0 8 * * *"), Line("*/5 * * * *")
DAY_S = 86_400.0


@pytest.mark.parametrize(
    ("line", "after", "expected"),
    [
        ("0 8 * * *", "2026-11-21T07:59:59", "2026-11-21T08:00:00"),
        ("0 8 * * *", "2026-11-21T08:00:00", "2026-11-22T08:00:00"),
        ("*/15 * * * *", "2026-11-21T08:01:00", "2026-11-21T08:15:00"),
        ("30 6 * * MON-FRI", "2026-11-20T07:00:00", "2026-11-23T06:30:00"),
        ("0 0 29 2 *", "2026-11-21T00:00:00", "2028-02-29T00:00:00"),
        ("CRON_TZ=Europe/Berlin 0 8 * * *", "2026-01-21T00:00:00", "2026-01-21T07:00:00"),
        ("CRON_TZ=Europe/Berlin 0 8 * * *", "2026-07-21T00:00:00", "2026-07-21T06:00:00"),
        ("CRON_TZ=Europe/Berlin 30 2 * * *", "2026-03-28T12:00:00", "2026-03-29T01:00:00"),  # half past two does not exist that day
    ],
)
def test_a_line_comes_next_in_utc_or_in_its_own_time_zone(line: str, after: str, expected: str) -> None:
    assert next_at(line, at(after)) == at(expected)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("", "five fields are needed"),
        ("* * * *", "five fields are needed"),
        ("* * * * * *", "five fields are needed"),
        ("61 * * * *", "bad minute"),
        ("* * * * NOD", "bad day-of-week"),
        ("0 0 30 2 *", "bad day-of-month"),
        ("CRON_TZ=Europe/Nowhere 0 8 * * *", "names a time zone that is not known"),
        ("CRON_TZ=../../etc/passwd 0 8 * * *", "names a time zone that is not known"),
        ("CRON_TZ= 0 8 * * *", "names a time zone that is not known"),
        ("0 " * 5000, "is too long"),
    ],
)
def test_a_line_that_cannot_be_is_refused_with_what_would_be_right(line: str, why: str) -> None:
    with pytest.raises(BadRequest, match=why) as refused:
        checked(line)
    assert len(refused.value.message) < 600


def test_a_line_is_kept_with_single_blanks() -> None:
    assert checked("  0  8 * *\tMON-FRI ") == "0 8 * * MON-FRI"


@pytest.mark.parametrize(
    ("last", "now", "expected"),
    [
        ("2026-11-21T07:59:00", "2026-11-21T07:59:59", ()),
        ("2026-11-21T07:59:59", "2026-11-21T08:00:00", (DAILY, EVERY_FIVE)),
        ("2026-11-21T08:00:00", "2026-11-21T08:00:01", ()),  # once
        ("2026-11-21T08:04:59", "2026-11-21T08:05:30", (EVERY_FIVE,)),
        ("2026-11-01T00:00:00", "2026-11-21T00:00:00", (DAILY, EVERY_FIVE)),  # weeks in a jump are one
        ("2026-11-21T08:30:00", "2026-11-21T07:30:00", ()),  # backwards
        ("2026-11-21T08:30:00", "2026-11-21T08:30:00", ()),
    ],
)
def test_what_came_since_the_last_tick_is_due_once(last: str, now: str, expected: tuple[Line, ...]) -> None:
    assert due((DAILY, EVERY_FIVE), at(last), at(now)) == expected


def test_a_line_that_cannot_be_read_any_more_is_never_due_and_spoils_no_other() -> None:
    assert due((Line("nonsense"), Line("CRON_TZ=Gone/Zone 0 8 * * *"), DAILY), at("2026-11-20T00:00:00"), at("2026-11-21T00:00:00")) == (DAILY,)


def fired(moments: list[float]) -> list[float]:
    """When the daily line is due, of these ticks."""
    found, last = [], moments[0]
    for now in moments[1:]:
        if due((DAILY,), last, now):
            found.append(now)
        last = ticked(last, now)
    return found


EIGHT = at("2026-11-21T08:00:00")


def steady(start: float, end: float) -> list[float]:
    return [start + i for i in range(0, int(end - start), 10)]


def test_a_clock_that_is_set_back_a_little_does_not_live_the_same_hour_twice() -> None:
    back = EIGHT + 60 - MOST_HELD_S
    assert fired([*steady(EIGHT - 60, EIGHT + 60), *steady(back, EIGHT + 600)]) == [EIGHT]


def test_a_clock_that_was_wrong_by_far_does_not_silence_a_schedule() -> None:
    wrong = EIGHT + 365 * DAY_S - 60
    found = fired([*steady(wrong, wrong + 120), *steady(EIGHT - 60, EIGHT + 60)])
    assert len(found) == 2
    assert found[-1] == EIGHT


def test_a_clock_that_jumps_forwards_by_a_year_makes_it_due_once() -> None:
    late = EIGHT + 365.5 * DAY_S
    assert fired([EIGHT + 60, *steady(late, late + 120)]) == [late]
