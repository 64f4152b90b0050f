"""The fit: it finds what made the data, agrees with another way of minimising the same loss, and says so when there is nothing to find."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from emberank.contract.errors import StartError
from emberank.evaluate.platt import Labels, Numbers, fit_platt, mean_loss, sigmoid, targets


def drawn(slope: float, intercept: float, n: int, *, mean: float = 0.0, spread: float = 3.0, seed: int = 1) -> tuple[Numbers, Labels]:
    """Scores, and labels that are relevant as often as the sigmoid says."""
    random = np.random.default_rng(seed)
    scores = random.normal(mean, spread, n)
    return scores, random.random(n) < sigmoid(slope * scores + intercept)


@pytest.mark.parametrize(("slope", "intercept", "mean"), [(1.0, 0.0, 0.0), (0.35, -2.2, 1.0), (2.5, 4.0, -2.0), (0.02, -1.0, 40.0)])
def test_it_recovers_the_slope_and_the_intercept_that_made_the_data(slope: float, intercept: float, mean: float) -> None:
    scores, relevant = drawn(slope, intercept, 200_000, mean=mean, spread=3.0 / max(slope, 0.1))
    fit = fit_platt(scores, relevant)
    assert fit.slope == pytest.approx(slope, rel=0.03)
    assert fit.logits(np.array([mean]))[0] == pytest.approx(slope * mean + intercept, abs=0.03)
    assert fit.steps < 20


def by_lbfgs(scores: Numbers, relevant: Labels) -> tuple[float, float]:
    """The same loss, in PyTorch's autograd and optimiser."""
    x, wanted = torch.tensor(scores), torch.tensor(targets(relevant))
    at = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([at], max_iter=2000, tolerance_grad=1e-12, tolerance_change=1e-16, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        value = torch.nn.functional.binary_cross_entropy_with_logits(at[0] * x + at[1], wanted)
        value.backward()
        return value

    optimiser.step(loss)
    return at[0].item(), at[1].item()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("n", [60, 2000])
def test_it_agrees_with_another_minimiser_of_the_same_loss(seed: int, n: int) -> None:
    scores, relevant = drawn(0.8, -1.5, n, seed=seed)
    fit = fit_platt(scores, relevant)
    assert (fit.slope, fit.intercept) == pytest.approx(by_lbfgs(scores, relevant), rel=1e-6, abs=1e-7)


def test_targets_are_platts() -> None:
    assert targets(np.array([True, True, True, False])).tolist() == [4 / 5, 4 / 5, 4 / 5, 1 / 3]


def test_separable_data_has_a_finite_fit_that_is_as_sure_as_there_is_data() -> None:
    scores = np.array([-2.0] * 50 + [2.0] * 50)
    relevant = scores > 0
    fit = fit_platt(scores, relevant)
    # Two groups of like scores: the minimum is where each has its target exactly.
    assert sigmoid(fit.logits(np.array([-2.0, 2.0]))).tolist() == pytest.approx([1 / 52, 51 / 52], rel=1e-9)
    spread_out = fit_platt(np.linspace(-4, 4, 100), np.linspace(-4, 4, 100) > 0)
    assert math.isfinite(spread_out.slope)
    assert spread_out.slope > 1


def test_reversed_scores_give_the_same_fit_with_the_other_sign() -> None:
    scores, relevant = drawn(0.8, -1.5, 3000)
    fit, turned = fit_platt(scores, relevant), fit_platt(-scores, relevant)
    assert (turned.slope, turned.intercept) == pytest.approx((-fit.slope, fit.intercept), rel=1e-9)


@settings(max_examples=60, deadline=None)
@given(scale=st.floats(1e-6, 1e6), shift=st.floats(-1e3, 1e3), seed=st.integers(0, 50))
def test_probabilities_do_not_depend_on_the_unit_of_the_scores(scale: float, shift: float, seed: int) -> None:
    scores, relevant = drawn(0.8, -1.5, 300, seed=seed)
    moved = scale * (scores + shift)
    expected = sigmoid(fit_platt(scores, relevant).logits(scores))
    # Far from zero the scores themselves have lost digits: ε · shift / spread of them.
    assert sigmoid(fit_platt(moved, relevant).logits(moved)) == pytest.approx(expected, abs=1e-7)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(-1e4, 1e4, allow_nan=False), st.booleans()), min_size=2, max_size=60))
def test_it_ends_at_the_minimum_or_says_that_there_is_nothing_to_fit(pairs: list[tuple[float, bool]]) -> None:
    scores, relevant = np.array([score for score, _ in pairs]), np.array([label for _, label in pairs])
    if scores.std() <= 1e-9 * max(1.0, abs(scores.mean())):
        with pytest.raises(StartError, match="nothing to calibrate"):
            fit_platt(scores, relevant)
        return
    fit = fit_platt(scores, relevant)
    wanted = targets(relevant)
    here = mean_loss(fit.logits(scores), wanted)
    spread = float(scores.std())
    for turn, lift in ((1e-3, 0), (-1e-3, 0), (0, 1e-3), (0, -1e-3)):
        assert here <= mean_loss((fit.slope + turn / spread) * (scores - scores.mean()) + fit.slope * scores.mean() + fit.intercept + lift, wanted) + 1e-12


def test_scores_that_are_all_alike_are_refused() -> None:
    with pytest.raises(StartError, match=r"every one of the 4 pairs has the score 1\.5: there is nothing to calibrate"):
        fit_platt(np.full(4, 1.5), np.array([True, False, True, False]))


def test_a_loss_of_extreme_logits_is_finite() -> None:
    assert mean_loss(np.array([1e4, -1e4]), np.array([0.0, 1.0])) == 1e4
    assert sigmoid(np.array([-800.0, 0.0, 800.0])).tolist() == [0.0, 0.5, 1.0]
