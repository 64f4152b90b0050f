"""A principal and a moment in, admitted or refused out: every limit, when there is room again, and what the forge has not counted yet."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emberank.contract.errors import LimitExceeded
from emberank.contract.fleet import Principal
from emberank.gateway.limits import Limits, month_ends, month_of
from fleets import principal

NOV_21 = 1_795_219_200.0  # 2026-11-21T00:00Z


def admit(limits: Limits, who: Principal, now: float = 0.0, wall_s: float = NOV_21) -> None:
    with limits.admitted(who, now, wall_s):
        pass


def refused(limits: Limits, who: Principal, now: float = 0.0, wall_s: float = NOV_21) -> LimitExceeded:
    with pytest.raises(LimitExceeded) as caught:
        admit(limits, who, now, wall_s)
    assert caught.value.http_status == 429
    return caught.value


def test_a_key_without_limits_has_none() -> None:
    limits = Limits()
    for _ in range(1000):
        admit(limits, principal())


def test_a_minutes_requests_may_come_at_once_and_then_one_by_one() -> None:
    limits, who = Limits(), principal(requests_per_minute=30)
    for _ in range(30):
        admit(limits, who)
    error = refused(limits, who)
    assert error.message == "the key 'tests' may send 30 requests a minute"
    assert error.retry_after_s == pytest.approx(2)
    refused(limits, who, now=1.9)
    admit(limits, who, now=2.0)
    refused(limits, who, now=2.0)
    for _ in range(30):  # a long silence gives a minute's worth, not more
        admit(limits, who, now=10_000)
    refused(limits, who, now=10_000)


@given(st.lists(st.floats(0, 100), min_size=1, max_size=200), st.integers(1, 50))
def test_in_no_minute_come_more_than_two_minutes_worth(moments: list[float], per_minute: int) -> None:
    limits, who, admitted = Limits(), principal(requests_per_minute=per_minute), []
    for now in sorted(moments):
        try:
            admit(limits, who, now)
        except LimitExceeded:
            continue
        admitted.append(now)
    for begin in admitted:
        assert sum(begin <= now < begin + 60 for now in admitted) <= 2 * per_minute


def test_requests_at_one_time_are_counted_while_they_run() -> None:
    limits, who = Limits(), principal(concurrency=2)
    with ExitStack() as running:
        running.enter_context(limits.admitted(who, 0, NOV_21))
        running.enter_context(limits.admitted(who, 0, NOV_21))
        error = refused(limits, who)
        assert error.message == "the key 'tests' may have 2 requests running at one time"
        assert error.retry_after_s == 1
    admit(limits, who)


def test_a_request_that_fails_gives_its_place_back() -> None:
    limits, who = Limits(), principal(concurrency=1)
    with pytest.raises(ZeroDivisionError), limits.admitted(who, 0, NOV_21):
        raise ZeroDivisionError
    admit(limits, who)


def test_a_refused_request_takes_nothing_from_the_minute() -> None:
    limits, who = Limits(), principal(requests_per_minute=1, monthly_tokens=10, month="2026-11", spent_tokens=10)
    refused(limits, who)
    admit(limits, principal(requests_per_minute=1))


def test_limits_of_two_keys_are_apart() -> None:
    limits = Limits()
    admit(limits, principal(requests_per_minute=1))
    admit(limits, principal(key_id="k2", requests_per_minute=1))
    refused(limits, principal(requests_per_minute=1))


def test_a_budget_is_the_forges_sum_and_ours_that_it_does_not_include() -> None:
    limits, who = Limits(), principal(monthly_usd=1.0, month="2026-11", spent_usd=0.5)
    limits.spend("k1", number=1, wall_s=NOV_21, usd=0.25, tokens=0)
    admit(limits, who)
    limits.spend("k1", number=2, wall_s=NOV_21, usd=0.25, tokens=0)
    error = refused(limits, who)
    assert error.message.startswith("the key 'tests' has used up its monthly budget of 1 USD (1 USD spent); a new month begins on 2026-12-01 at 00:00 UTC")
    assert error.retry_after_s == 10 * 86_400
    limits.counted(1)  # and the sum that came with it: report 1 is not counted twice
    refused(limits, principal(monthly_usd=1.0, month="2026-11", spent_usd=0.75))
    limits.counted(2)
    admit(limits, principal(monthly_usd=1.0, month="2026-11", spent_usd=0.99))


def test_a_budget_of_tokens_is_used_up_within_the_process_before_the_forge_counts_it() -> None:
    limits, who = Limits(), principal(monthly_tokens=100, month="2026-11")
    for _ in range(10):
        admit(limits, who)
        limits.spend("k1", number=1, wall_s=NOV_21, usd=0, tokens=10)
    assert "monthly budget of 100 tokens (100 tokens spent)" in refused(limits, who).message


def test_a_new_month_begins_with_nothing_spent() -> None:
    limits, who = Limits(), principal(monthly_usd=1.0, month="2026-11", spent_usd=1.0)
    limits.spend("k1", number=1, wall_s=NOV_21, usd=5.0, tokens=0)
    refused(limits, who, wall_s=month_ends(NOV_21) - 1)
    admit(limits, who, wall_s=month_ends(NOV_21))
    limits.spend("k1", number=1, wall_s=month_ends(NOV_21), usd=1.0, tokens=0)
    refused(limits, who, wall_s=month_ends(NOV_21))


@pytest.mark.parametrize(
    ("wall_s", "month", "ends"),
    [(NOV_21, "2026-11", "2026-12"), (1_798_761_599.0, "2026-12", "2027-01"), (1_803_859_199.0, "2027-02", "2027-03"), (0.0, "1970-01", "1970-02")],
)
def test_months_are_those_of_utc(wall_s: float, month: str, ends: str) -> None:
    assert month_of(wall_s) == month
    assert month_of(month_ends(wall_s)) == ends
    assert month_of(month_ends(wall_s) - 1) == month


def test_accounts_of_keys_that_are_no_more_do_not_gather() -> None:
    limits = Limits()
    for i in range(10):
        admit(limits, principal(key_id=f"k{i}", requests_per_minute=1))
    limits.spend("k3", number=1, wall_s=NOV_21, usd=1, tokens=1)
    limits.forget({"k1"})
    assert set(limits._accounts) == {"k1", "k3"}
