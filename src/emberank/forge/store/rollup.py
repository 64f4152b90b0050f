"""Usage records in, their sums by hour and by month out. Pure: knows no database and no clock."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple

from emberank.contract.errors import BadRequest
from emberank.contract.fleet import UsageRecord

HOUR_S = 3600
LATEST_S = 32_503_680_000.0  # the year 3000: a time beyond it is another unit or a broken clock
MOST_COUNTED = 2**43  # of anything in one request: a million such requests still fit in a sum


class HourOf(NamedTuple):
    """Whose, and what: the row that a request is counted in. `hour_s` is the Unix time at which the hour begins."""

    hour_s: int
    key_id: str
    slug: str
    version: str
    gpu_type: str
    region: str


class MonthOf(NamedTuple):
    """The row that a key's budget is counted in."""

    month: str  # "2026-11", UTC
    key_id: str


class Spent(NamedTuple):
    """What a key has used in a month."""

    usd: float
    tokens: int


@dataclass(slots=True, kw_only=True)
class Sums:
    """What adds up. `errors` are the requests that were answered with 400 or more."""

    requests: int = 0
    errors: int = 0
    tokens: int = 0
    passages: int = 0
    model_ms: float = 0.0
    cost_usd: float = 0.0

    def add(self, record: UsageRecord) -> None:
        """One request more."""
        self.requests += 1
        self.errors += record.status >= 400
        self.tokens += record.tokens
        self.passages += record.passages
        self.model_ms += record.model_ms
        self.cost_usd += record.cost_usd


def month_of(at_s: float) -> str:
    """The month that a time is in, in UTC wherever the server stands: `2026-11`."""
    return _month_of_hour(int(at_s // HOUR_S))


@lru_cache(maxsize=1024)  # a report's records are of few hours
def _month_of_hour(hour: int) -> str:
    return datetime.fromtimestamp(hour * HOUR_S, UTC).strftime("%Y-%m")


def by_hour(records: Iterable[UsageRecord]) -> dict[HourOf, Sums]:
    """Sums by hour, key, model, version and target, in that order."""
    sums: dict[HourOf, Sums] = {}
    for record in records:
        hour_s = int(record.at_s // HOUR_S) * HOUR_S
        row = HourOf(hour_s, record.key_id, record.slug, record.version, record.gpu_type, record.region)
        sums.setdefault(row, Sums()).add(record)
    return dict(sorted(sums.items()))


def by_month(records: Iterable[UsageRecord]) -> dict[MonthOf, Spent]:
    """What each key has used by month, each record in the month of its own time."""
    sums: dict[MonthOf, Spent] = {}
    for record in records:
        row = MonthOf(month_of(record.at_s), record.key_id)
        usd, tokens = sums.get(row, (0.0, 0))
        sums[row] = Spent(usd + record.cost_usd, tokens + record.tokens)
    return dict(sorted(sums.items()))


def require_sound(records: Iterable[UsageRecord]) -> None:
    """Refuse figures that no sum survives. One such record would otherwise spoil a key's budget for the rest of the month."""
    for record in records:
        counts = (record.status, record.tokens, record.passages, record.chars)
        times = (record.request_ms, record.model_ms, record.queue_ms, record.cold_start_ms)
        sound = all(math.isfinite(one) for one in times) and all(0 <= one <= MOST_COUNTED for one in counts)
        if not (sound and 0 <= record.at_s < LATEST_S and 0 <= record.cost_usd < math.inf):
            raise BadRequest("a usage record has a figure that cannot be: expected finite numbers, counts and costs of 0 or more, and a Unix time in seconds")
