"""A principal and a moment in, admitted or refused out: requests a minute, requests at one time, a month's dollars and tokens. Reads no clock.

What a key has spent is what the forge counted, and what this gateway has used since: the reports that the forge's sums do not include yet. Requests a
minute and at one time are counted by each gateway for itself. `now` is monotonic; `wall_s`, Unix time, is for the month only.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache

from emberank.contract.errors import LimitExceeded
from emberank.contract.fleet import Principal
from emberank.serving.amounts import counted, written_out


@dataclass(slots=True)
class _Spent:
    """One report's spending of one key."""

    number: int
    month: str
    usd: float = 0.0
    tokens: int = 0


@dataclass(slots=True)
class _Account:
    """One key's state here."""

    in_flight: int = 0
    room: float | None = None  # requests that may come at once; None: as many as a minute's
    filled_at: float = 0.0
    uncounted: deque[_Spent] = field(default_factory=deque)


class Limits:
    """Every key's use of its limits in this process."""

    def __init__(self) -> None:
        self._accounts: dict[str, _Account] = {}

    @contextmanager
    def admitted(self, principal: Principal, now: float, wall_s: float) -> Iterator[None]:
        """Room for one request while it runs. Raises LimitExceeded."""
        account = self._accounts.get(principal.key_id)
        if account is None:
            account = self._accounts[principal.key_id] = _Account()
        if principal.concurrency is not None and account.in_flight >= principal.concurrency:
            raise LimitExceeded(f"the key '{principal.name}' may have {counted(principal.concurrency, 'request')} running at one time", retry_after_s=1)
        _check_month(principal, account, wall_s)
        if principal.requests_per_minute is not None:
            _take(principal.name, principal.requests_per_minute, account, now)
        account.in_flight += 1
        try:
            yield
        finally:
            account.in_flight -= 1

    def check_budget(self, principal: Principal, wall_s: float, *, usd: float = 0.0, tokens: int = 0) -> None:
        """That its month's budget has room now, with what the request that asks has taken already. Raises LimitExceeded."""
        _check_month(principal, self._accounts.get(principal.key_id) or _Account(), wall_s, usd, tokens)

    def spend(self, key_id: str, *, number: int, wall_s: float, usd: float, tokens: int) -> None:
        """Count a request that goes out with report `number`."""
        account = self._accounts.setdefault(key_id, _Account())
        month = month_of(wall_s)
        last = account.uncounted[-1] if account.uncounted else None
        if last is None or last.number != number or last.month != month:
            account.uncounted.append(last := _Spent(number, month))
        last.usd += usd
        last.tokens += tokens

    def counted(self, number: int) -> None:
        """The forge's sums include every report up to this one."""
        for account in self._accounts.values():
            while account.uncounted and account.uncounted[0].number <= number:
                account.uncounted.popleft()

    def forget(self, known: set[str]) -> None:
        """Let go of keys that are no more, so that accounts do not gather."""
        self._accounts = {key_id: account for key_id, account in self._accounts.items() if key_id in known or account.in_flight or account.uncounted}


def _take(name: str, per_minute: int, account: _Account, now: float) -> None:
    """Take one from a bucket that fills up evenly, to a minute's worth at most."""
    rate = per_minute / 60
    room = per_minute if account.room is None else min(per_minute, account.room + (now - account.filled_at) * rate)
    account.filled_at = now
    account.room = room
    if room < 1:
        raise LimitExceeded(f"the key '{name}' may send {counted(per_minute, 'request')} a minute", retry_after_s=(1 - room) / rate)
    account.room = room - 1


def _check_month(principal: Principal, account: _Account, wall_s: float, more_usd: float = 0.0, more_tokens: int = 0) -> None:
    if principal.monthly_usd is None and principal.monthly_tokens is None:
        return
    month = month_of(wall_s)
    usd, tokens = (principal.spent_usd, principal.spent_tokens) if principal.month == month else (0.0, 0)
    for spent in account.uncounted:
        if spent.month == month:
            usd += spent.usd
            tokens += spent.tokens
    usd, tokens = usd + more_usd, tokens + more_tokens
    if principal.monthly_usd is not None and usd >= principal.monthly_usd:
        _refuse(principal, f"budget of {written_out(principal.monthly_usd)} USD", f"{written_out(usd)} USD", wall_s)
    if principal.monthly_tokens is not None and tokens >= principal.monthly_tokens:
        _refuse(principal, f"budget of {principal.monthly_tokens} tokens", f"{tokens} tokens", wall_s)


def _refuse(principal: Principal, budget: str, spent: str, wall_s: float) -> None:
    ends_s = month_ends(wall_s)
    day = time.strftime("%Y-%m-%d", time.gmtime(ends_s))
    message = (
        f"the key '{principal.name}' has used up its monthly {budget} ({spent} spent); a new month begins on {day} at 00:00 UTC, or have the budget raised"
    )
    raise LimitExceeded(message, retry_after_s=ends_s - wall_s)


def month_of(wall_s: float) -> str:
    """The month of a moment, in UTC: `2026-11`."""
    return _month_of_hour(int(wall_s // 3600))


@lru_cache(maxsize=8)
def _month_of_hour(hour: int) -> str:
    moment = time.gmtime(hour * 3600)
    return f"{moment.tm_year:04}-{moment.tm_mon:02}"


def month_ends(wall_s: float) -> float:
    """When the next month begins, as Unix time."""
    moment = time.gmtime(wall_s)
    days = moment.tm_mday - 1
    seconds = moment.tm_hour * 3600 + moment.tm_min * 60 + moment.tm_sec
    first = int(wall_s) - days * 86_400 - seconds
    after = time.gmtime(first + 32 * 86_400)  # some day of the next month
    return float(first + (32 - (after.tm_mday - 1)) * 86_400)
