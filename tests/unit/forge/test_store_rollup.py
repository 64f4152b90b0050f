"""Sums of usage: by hour, by month in UTC, and nothing in them that no sum survives."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from emberank.contract.errors import BadRequest
from emberank.forge.store.rollup import HourOf, Spent, Sums, by_hour, by_month, month_of, require_sound
from stores import NOON_S, record


@pytest.fixture(params=["Pacific/Kiritimati", "Pacific/Pago_Pago"])
def somewhere_else(request: pytest.FixtureRequest) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("TZ", request.param)
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("somewhere_else")
@pytest.mark.parametrize(
    ("moment", "month"),
    [
        (datetime(2026, 11, 30, 23, 59, 59, 999_000, UTC), "2026-11"),
        (datetime(2026, 12, 1, tzinfo=UTC), "2026-12"),
        (datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC), "2026-12"),
        (datetime(2027, 1, 1, tzinfo=UTC), "2027-01"),
        (datetime(2028, 2, 29, 12, tzinfo=UTC), "2028-02"),
        (datetime(1970, 1, 1, tzinfo=UTC), "1970-01"),
    ],
)
def test_a_month_is_utc_wherever_the_server_stands(moment: datetime, month: str) -> None:
    assert month_of(moment.timestamp()) == month


def test_records_add_up_by_hour_and_everything_else_that_is_asked_for() -> None:
    sums = by_hour([record(at_s=NOON_S + 3599.9, status=503), record(), record(at_s=NOON_S - 0.1), record(region="eu")])
    assert list(sums) == sorted(sums)
    assert sums[HourOf(int(NOON_S), "k1", "minilm", "v1", "CPU", "local")] == Sums(requests=2, errors=1, tokens=200, passages=6, model_ms=16.0, cost_usd=0.5)
    assert [one.requests for one in sums.values()] == [1, 1, 2]


def test_each_record_is_in_the_month_of_its_own_time() -> None:
    midnight = datetime(2026, 12, 1, tzinfo=UTC).timestamp()
    assert by_month([record(at_s=midnight), record(at_s=midnight - 1), record(at_s=midnight), record(at_s=midnight, key_id="k2")]) == {
        ("2026-11", "k1"): Spent(0.25, 100),
        ("2026-12", "k1"): Spent(0.5, 200),
        ("2026-12", "k2"): Spent(0.25, 100),
    }


def test_no_records_are_no_sums() -> None:
    require_sound([])
    assert by_hour([]) == by_month([]) == {}


@pytest.mark.parametrize("field", ["at_s", "request_ms", "model_ms", "queue_ms", "cold_start_ms", "cost_usd"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_figure_that_is_not_finite_is_refused(field: str, value: float) -> None:
    with pytest.raises(BadRequest, match="a figure that cannot be"):
        require_sound([record(), record(**{field: value})])


@pytest.mark.parametrize("field", ["status", "tokens", "passages", "chars"])
@pytest.mark.parametrize("value", [-1, 2**62])
def test_a_count_that_cannot_be_is_refused(field: str, value: int) -> None:
    with pytest.raises(BadRequest, match="a figure that cannot be"):
        require_sound([record(**{field: value})])


def test_a_slightly_negative_duration_of_a_clock_that_was_set_is_no_reason_to_lose_usage() -> None:
    require_sound([record(queue_ms=-0.5)])
