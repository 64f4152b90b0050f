from __future__ import annotations

import math

import numpy as np
import pytest

from emberank.evaluate.reliability import BINS, figures


def logit(chance: float) -> float:
    return math.log(chance / (1 - chance))


def test_the_figures_of_a_small_example_are_those_of_the_formulas() -> None:
    found = figures("x", np.array([logit(0.93), logit(0.93), logit(0.15), logit(0.15)]), np.array([True, False, False, False]))
    assert found.brier == pytest.approx((0.07**2 + 0.93**2 + 2 * 0.15**2) / 4)
    assert found.log_loss == pytest.approx(-(math.log(0.93) + math.log(0.07) + 2 * math.log(0.85)) / 4)
    assert found.ece == pytest.approx((2 * abs(0.93 - 0.5) + 2 * 0.15) / 4)
    assert [one.n for one in found.bins] == [0, 2, 0, 0, 0, 0, 0, 0, 0, 2]
    assert (found.bins[1].predicted, found.bins[1].relevant) == (pytest.approx(0.15), 0.0)
    assert (found.bins[0].predicted, found.bins[0].relevant) == (None, None)


def test_every_pair_is_in_one_bin_also_where_the_probability_rounds_to_0_or_1() -> None:
    found = figures("x", np.array([-800.0, 0.0, 800.0]), np.array([False, True, True]))
    assert [one.n for one in found.bins] == [1, 0, 0, 0, 0, 1, 0, 0, 0, 1]
    assert (found.bins[0].low, found.bins[-1].high, len(found.bins)) == (0.0, 1.0, BINS)


def test_probabilities_that_are_true_have_hardly_an_error_and_those_that_are_too_sure_have_one() -> None:
    random = np.random.default_rng(3)
    logits = random.normal(-1, 1.5, 100_000)
    relevant = random.random(100_000) < 1 / (1 + np.exp(-logits))
    true, sure = figures("true", logits, relevant), figures("sure", 3 * logits, relevant)
    assert true.ece < 0.005
    assert sure.ece > 0.05
    assert true.brier < sure.brier
    assert true.log_loss < sure.log_loss
