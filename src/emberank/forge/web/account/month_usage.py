"""Hourly sums of a month in, its days and its groups out: what the account's pictures, tables and file are of. Pure: knows no store and no page."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Literal, TypeAlias

from emberank.forge.answers import Row, usage_rows, usage_total
from emberank.forge.store.usage import UsageHour

By: TypeAlias = Literal["model", "key"]
MOST_GROUPS = 5  # in a picture; the rest is drawn as one
MONTHS_BACK = 12  # so long the sums by hour are kept, and a little longer
OTHERS = "all others"
_MONTH = re.compile(r"20\d\d-(0[1-9]|1[0-2])")
_DAY_S = 86_400
_FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # the wide ones are read as the others in some countries


@dataclass(frozen=True, slots=True, kw_only=True)
class Month:
    """A month, in UTC."""

    first: date

    @property
    def name(self) -> str:
        """`2026-11`, as addresses have it."""
        return f"{self.first:%Y-%m}"

    @property
    def title(self) -> str:
        """`November 2026`."""
        return f"{self.first:%B %Y}"

    @property
    def days(self) -> int:
        """How many it has."""
        return (self.after.first - self.first).days

    @property
    def after(self) -> Month:
        """The next one."""
        return Month(first=(self.first + timedelta(days=31)).replace(day=1))

    @property
    def before(self) -> Month:
        """The one before."""
        return Month(first=(self.first - timedelta(days=1)).replace(day=1))

    @property
    def start_s(self) -> float:
        """Unix time at which it begins."""
        return datetime(self.first.year, self.first.month, 1, tzinfo=UTC).timestamp()


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """What one model, or one key, has used on each day of the month."""

    name: str
    cost_usd: tuple[float, ...]
    requests: tuple[int, ...]


def month_of(now_s: float) -> Month:
    """The month that a time is in."""
    return Month(first=datetime.fromtimestamp(now_s, UTC).date().replace(day=1))


def month_named(text: str, now_s: float) -> Month | None:
    """The month that an address names, if it is one that can be looked at: this one, or one of those before it."""
    if not _MONTH.fullmatch(text):
        return None
    found, last = Month(first=date(int(text[:4]), int(text[5:]), 1)), month_of(now_s).first
    back = (last.year - found.first.year) * 12 + last.month - found.first.month
    return found if 0 <= back <= MONTHS_BACK else None


def by_key_and_model(hours: Iterable[UsageHour]) -> list[Row]:
    """What it came to for each key and model, dearest first."""
    sums: dict[tuple[str, str], list[Row]] = {}
    for row in usage_rows(hours, 31 * _DAY_S):
        sums.setdefault((row["key_id"], row["slug"]), []).append(row)
    rows = [{"key_id": key_id, "slug": slug, **usage_total(found)} for (key_id, slug), found in sums.items()]
    return sorted(rows, key=lambda row: (-row["cost_usd"], -row["requests"], row["key_id"], row["slug"]))


def by_day(hours: Iterable[UsageHour], month: Month) -> list[Row]:
    """Requests, errors, tokens and cost of each day on which there was anything, oldest first."""
    days: dict[int, Row] = {}
    for hour in hours:
        row = days.setdefault(_day(hour, month), {"requests": 0, "errors": 0, "tokens": 0, "cost_usd": 0.0})
        for name in row:
            row[name] += getattr(hour, name)
    return [{"day": (month.first + timedelta(days=day)).isoformat(), **row} for day, row in sorted(days.items()) if 0 <= day < month.days]


def groups(hours: Iterable[UsageHour], month: Month, by: By, names: Mapping[str, str]) -> tuple[Group, ...]:
    """The days of each model or key, those that cost most first; beyond the first few all others together."""
    cost: dict[str, list[float]] = {}
    requests: dict[str, list[int]] = {}
    for hour in hours:
        day, label = _day(hour, month), hour.slug if by == "model" else hour.key_id
        if 0 <= day < month.days:
            cost.setdefault(label, [0.0] * month.days)[day] += hour.cost_usd
            requests.setdefault(label, [0] * month.days)[day] += hour.requests
    order = sorted(cost, key=lambda label: (-sum(cost[label]), -sum(requests[label]), label))
    found = [Group(name=_name(label, by, names), cost_usd=tuple(cost[label]), requests=tuple(requests[label])) for label in order[:MOST_GROUPS]]
    rest = order[MOST_GROUPS:]
    if rest:
        summed = tuple(sum(cost[label][day] for label in rest) for day in range(month.days))
        asked = tuple(sum(requests[label][day] for label in rest) for day in range(month.days))
        found.append(Group(name=OTHERS, cost_usd=summed, requests=asked))
    return tuple(found)


def as_csv(hours: Sequence[UsageHour], names: Mapping[str, str]) -> str:
    """One line for each day, key, model, version and target. A name that a spreadsheet would take for a formula is made text."""
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\r\n")
    lines.writerow(("day", "key_id", "key", "model", "version", "gpu_type", "region", "requests", "errors", "tokens", "passages", "cost_usd"))
    for row in usage_rows(hours, _DAY_S):
        labels = (row["start"][:10], row["key_id"], names.get(row["key_id"], ""), row["slug"], row["model_version"], row["gpu_type"], row["region"])
        figures = (row["requests"], row["errors"], row["tokens"], row["passages"], f"{row['cost_usd']:.9f}")
        lines.writerow((*map(_plain, labels), *figures))
    return text.getvalue()


def _plain(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULAS) else text


def _name(label: str, by: By, names: Mapping[str, str]) -> str:
    return label if by == "model" else names.get(label, label)


def _day(hour: UsageHour, month: Month) -> int:
    return int((hour.hour_s - month.start_s) // _DAY_S)
