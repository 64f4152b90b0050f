"""What a request costs, and how an amount is written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emberank.forge.costs import cold_usd, idle_usd, shown, usd_per_1k_passages, usd_text, warm_usd

MS = st.floats(0, 1e9)
PRICE = st.floats(0, 1e3)


@pytest.mark.parametrize(
    ("model_ms", "usd_per_hour", "usd"),
    [
        (186.0, 7.15, 186 / 3_600_000 * 7.15),  # the B200 row of the catalogue page: $0.00037
        (35.0, 1.82, 0.0000176944),
        (3_600_000.0, 1.0, 1.0),  # an hour costs the hour's price
        (0.0, 7.15, 0.0),
        (35.0, 0.0, 0.0),
    ],
)
def test_a_warm_request_costs_its_model_time(model_ms: float, usd_per_hour: float, usd: float) -> None:
    assert warm_usd(model_ms, usd_per_hour) == pytest.approx(usd, rel=1e-4)


@pytest.mark.parametrize(
    ("cold_start_ms", "model_ms", "usd_per_hour", "usd"),
    [(93_000.0, 186.0, 7.15, 0.18508), (15_100.0, 35.0, 1.82, 0.0076516), (0.0, 35.0, 1.82, 0.0000176944)],
)
def test_the_first_cold_request_costs_the_start_too(cold_start_ms: float, model_ms: float, usd_per_hour: float, usd: float) -> None:
    assert cold_usd(cold_start_ms, model_ms, usd_per_hour) == pytest.approx(usd, rel=1e-4)


@pytest.mark.parametrize(("idle_after_s", "usd_per_hour", "usd"), [(900.0, 7.15, 1.7875), (900.0, 1.80, 0.45), (0.0, 7.15, 0.0)])
def test_staying_warm_costs_the_whole_wait(idle_after_s: float, usd_per_hour: float, usd: float) -> None:
    assert idle_usd(idle_after_s, usd_per_hour) == pytest.approx(usd)


def test_a_thousand_passages_cost_a_thousand_times_one_and_none_have_no_price() -> None:
    assert usd_per_1k_passages(0.0006, 3) == pytest.approx(0.2)
    assert usd_per_1k_passages(0.0006, 0) is None


@given(MS, MS, PRICE)
def test_costs_are_never_negative_and_cold_is_never_cheaper(cold_start_ms: float, model_ms: float, price: float) -> None:
    assert 0 <= warm_usd(model_ms, price) <= cold_usd(cold_start_ms, model_ms, price)


@pytest.mark.parametrize(
    ("usd", "text"),
    [
        (7.15, "$7.15"),
        (1234.5, "$1,234.50"),
        (1.8, "$1.80"),
        (0.999, "$1.00"),
        (0.35, "$0.35"),
        (0.5, "$0.50"),
        (0.012, "$0.012"),
        (0.0000213, "$0.000021"),
        (3.7e-10, "$0.00000000037"),
        (0.0, "$0.00"),
    ],
)
def test_money_is_written_for_people_without_an_exponent(usd: float, text: str) -> None:
    assert usd_text(usd) == text


@pytest.mark.parametrize(("value", "seen"), [(186.123456, 186.1), (0.0000176944, 0.00001769), (12_345_678.0, 12_350_000.0), (0.0, 0.0), (None, None)])
def test_figures_are_shown_to_four_digits(value: float | None, seen: float | None) -> None:
    assert shown(value) == seen
