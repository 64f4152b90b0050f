"""Quantiles, rates and their intervals, against definitions computed the slow way."""

from __future__ import annotations

from fractions import Fraction
from math import comb
from statistics import median as plain_median

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emberank.forge.statistics import CONFIDENCE, Figure, interval_ranks, median, quantiles, rate, speaks

TIMES = st.lists(st.floats(0, 1e7), min_size=1, max_size=400)


def coverage(n: int, low: int, high: int, p: Fraction) -> Fraction:
    """P(low ≤ B ≤ high − 1) for B binomial(n, p), exactly."""
    return sum((comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(low, high)), Fraction(0))


@pytest.mark.parametrize("n", [2, 5, 6, 7, 10, 25, 59, 80])
@pytest.mark.parametrize("p", [Fraction(1, 2), Fraction(95, 100)])
def test_ranks_reach_the_confidence_and_no_closer_pair_does(n: int, p: Fraction) -> None:
    ranks = interval_ranks(n, float(p))
    pairs = [(low, high) for low in range(1, n) for high in range(low + 1, n + 1) if coverage(n, low, high, p) >= Fraction(95, 100)]
    if ranks is None:
        assert not pairs
    else:
        assert ranks in pairs
        assert ranks[1] - ranks[0] == min(high - low for low, high in pairs)


def test_ranks_of_a_median_are_those_of_the_sign_test_or_closer() -> None:
    # The sign test's, which are symmetric: 6: 1..6, 8: 1..8, 9: 2..8, 15: 4..12, 25: 8..18.
    assert {n: interval_ranks(n, 0.5) for n in (6, 8, 9, 15, 25)} == {6: (1, 6), 8: (2, 8), 9: (2, 8), 15: (4, 12), 25: (8, 18)}


@pytest.mark.parametrize(("p", "least"), [(0.5, 6), (0.95, 59), (0.99, 299)])
def test_an_interval_begins_where_the_text_says(p: float, least: int) -> None:
    assert interval_ranks(least - 1, p) is None
    assert interval_ranks(least, p) is not None


@pytest.mark.parametrize(("n", "p"), [(6, 0.5), (30, 0.5), (1000, 0.5), (100, 0.95), (400, 0.95), (1000, 0.95), (400, 0.99), (1000, 0.99)])
def test_intervals_hold_the_true_quantile_as_often_as_they_claim(n: int, p: float) -> None:
    ranks = interval_ranks(n, p)
    assert ranks is not None
    # Of uniform numbers the p-quantile is p. A skewed distribution changes nothing: only ranks are used.
    drawn = np.sort(np.random.default_rng(7).random((4000, n)), axis=1)
    held = (drawn[:, ranks[0] - 1] <= p) & (p <= drawn[:, ranks[1] - 1])
    assert held.mean() >= CONFIDENCE - 0.011  # three standard errors of 4,000 trials


@given(TIMES)
def test_quantiles_grow_with_p_and_stand_inside_their_intervals(times: list[float]) -> None:
    found = quantiles(times)
    spoken = [figure for figure in (found.p50, found.p95, found.p99) if figure.value is not None]
    assert [figure.value for figure in spoken] == sorted(figure.value for figure in spoken)
    for figure in spoken:
        assert min(times) <= figure.value <= max(times)
        if figure.interval is not None:
            assert figure.low <= figure.value <= figure.high


@given(TIMES, st.randoms())
def test_quantiles_do_not_depend_on_the_order(times: list[float], random) -> None:
    shuffled = random.sample(times, len(times))
    assert quantiles(shuffled) == quantiles(times)


@given(TIMES)
def test_the_median_is_the_ordinary_one(times: list[float]) -> None:
    assert median(times).value == pytest.approx(plain_median(times))
    assert median(times) == quantiles(times).p50


def test_a_quantile_is_silent_until_one_measurement_is_expected_beyond_it() -> None:
    assert [speaks(n, 0.5) for n in (0, 1)] == [False, True]
    assert [speaks(n, 0.95) for n in (19, 20)] == [False, True]
    assert [speaks(n, 0.99) for n in (99, 100)] == [False, True]
    assert quantiles([35.0, 36.0, 690.0]).p95 == Figure(value=None, n=3)


@pytest.mark.parametrize("p", [0.5, 0.95])
@pytest.mark.parametrize("n", [1, 7, 20, 333])
def test_quantiles_are_numpys_median_unbiased_ones(n: int, p: float) -> None:
    times = np.random.default_rng(n).lognormal(3, 1, n)
    found = quantiles(times)
    figure = found.p50 if p == 0.5 else found.p95
    if figure.value is not None:
        assert figure.value == pytest.approx(np.quantile(times, p, method="median_unbiased"))


@given(st.integers(1, 2000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_a_rate_stands_inside_its_interval_and_the_interval_inside_nought_and_one(counts: tuple[int, int]) -> None:
    found = rate(*counts)
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert found.low < found.high


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"), [(0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (1, 1, 0.2065, 1.0), (81, 263, 0.2553, 0.3662), (95, 100, 0.8882, 0.9785)]
)
def test_wilsons_interval_is_that_of_the_literature(successes: int, n: int, low: float, high: float) -> None:
    # 81 of 263 is Newcombe's example, Statistics in Medicine 17 (1998), method 3.
    found = rate(successes, n)
    assert (found.low, found.high) == (pytest.approx(low, abs=1e-4), pytest.approx(high, abs=1e-4))


def test_nothing_measured_is_no_figure_and_no_error() -> None:
    assert rate(0, 0) == median([]) == quantiles([]).p99 == Figure(value=None, n=0)
    assert median([]).interval is None
