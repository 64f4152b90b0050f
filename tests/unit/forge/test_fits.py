"""The line of model time over tokens: right on clean data, unmoved by foul data, never negative."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emberank.forge.fits import MOST_MEASUREMENTS, cross_validated_error, fitted

POINTS = st.lists(st.tuples(st.integers(0, 10_000), st.just(0.0) | st.floats(1e-6, 1e6)), min_size=1, max_size=60)


def arrays(points):
    return tuple(np.array([point[i] for point in points], dtype=np.float64) for i in (0, 1))


@given(POINTS, st.floats(0, 1e6), st.floats(0, 1e6))
def test_a_prediction_is_never_negative_and_grows_with_the_tokens(points: list[tuple[int, float]], first: float, second: float) -> None:
    line = fitted(*arrays(points))
    assert line is not None
    fewer, more = sorted((first, second))
    assert 0 <= line.model_ms(fewer) <= line.model_ms(more)
    assert line.intercept_ms >= 0
    assert line.ms_per_token >= 0


def test_a_clean_line_is_found() -> None:
    tokens = np.arange(50.0, 2_000.0, 37.0)
    line = fitted(tokens, 4.0 + 0.02 * tokens)
    assert line is not None
    assert (line.intercept_ms, line.ms_per_token) == (pytest.approx(4.0), pytest.approx(0.02))
    assert cross_validated_error(tokens, 4.0 + 0.02 * tokens).value == pytest.approx(0, abs=1e-9)


def test_a_fifth_of_stalls_hardly_moves_it() -> None:
    random = np.random.default_rng(3)
    tokens = random.integers(50, 2_000, 200).astype(np.float64)
    ms = (4.0 + 0.02 * tokens) * random.normal(1, 0.03, 200)
    ms[::5] *= 40
    line = fitted(tokens, ms)
    assert line is not None
    assert line.model_ms(1_000) == pytest.approx(24.0, rel=0.1)


def test_two_payloads_are_enough_for_a_slope() -> None:
    line = fitted(np.array([50.0] * 5 + [2_000.0] * 3), np.array([5.0] * 5 + [44.0] * 3))
    assert line is not None
    assert line.model_ms(1_025) == pytest.approx(24.5)


def test_one_length_says_as_long_for_less_and_in_proportion_for_more() -> None:
    line = fitted(np.array([100.0] * 6), np.array([9.0, 10.0, 10.0, 10.0, 11.0, 90.0]))
    assert line is not None
    assert line.of_one_length
    assert [line.model_ms(count) for count in (10, 100, 300)] == [pytest.approx(10.0), pytest.approx(10.0), pytest.approx(30.0)]


def test_a_falling_line_is_flat_and_one_from_below_nought_starts_at_the_origin() -> None:
    tokens = np.array([100.0, 200.0, 300.0])
    falling, steep = fitted(tokens, np.array([30.0, 20.0, 10.0])), fitted(tokens, np.array([1.0, 11.0, 21.0]))
    assert falling is not None
    assert steep is not None
    assert (falling.intercept_ms, falling.ms_per_token) == (20.0, 0.0)
    assert (steep.intercept_ms, steep.ms_per_token) == (0.0, pytest.approx(0.055))


def test_requests_without_a_token_are_predicted_too() -> None:
    line = fitted(np.zeros(3), np.array([1.0, 2.0, 3.0]))
    assert line is not None
    assert line.model_ms(0) == line.model_ms(50) == 2.0


def test_a_line_reaches_a_factor_of_two_beyond_what_was_measured() -> None:
    line = fitted(np.array([100.0, 400.0]), np.array([1.0, 2.0]))
    assert line is not None
    assert [line.reaches(tokens) for tokens in (49, 50, 800, 801)] == [False, True, True, False]


def test_the_latest_measurements_count() -> None:
    tokens = np.tile([100.0, 200.0], MOST_MEASUREMENTS)
    ms = np.concatenate((tokens[:MOST_MEASUREMENTS] * 9, tokens[MOST_MEASUREMENTS:] * 1))
    line = fitted(tokens, ms)
    assert line is not None
    assert (line.n, line.model_ms(100)) == (MOST_MEASUREMENTS, pytest.approx(100.0))


@given(POINTS)
def test_an_error_is_of_measurements_the_line_has_not_seen(points: list[tuple[int, float]]) -> None:
    found = cross_validated_error(*arrays(points))
    assert found.value is None or found.value >= 0
    assert found.n == sum(ms > 0 for _, ms in points)


def test_one_wild_measurement_among_equals_is_not_predicted_by_itself() -> None:
    found = cross_validated_error(np.array([100.0] * 3), np.array([10.0, 10.0, 20.0]))
    assert found.value == pytest.approx(0.5)  # 10 from (10, 20) is 5 too much, twice; 20 from (10, 10) is half


def test_two_measurements_say_nothing_of_an_error_and_none_of_a_line() -> None:
    assert cross_validated_error(np.array([1.0, 2.0]), np.array([1.0, 2.0])).value is None
    assert fitted(np.empty(0), np.empty(0)) is None
