"""Scores and whether each was of a relevant passage in, the slope and intercept of σ(a · score + b) out: Platt scaling. Does not know where the pairs are from.

J. Platt, Probabilistic Outputs for Support Vector Machines and Comparisons to Regularized Likelihood Methods, 1999: maximum likelihood of a sigmoid, towards
targets a little inside 0 and 1. H.-T. Lin, C.-J. Lin and R. C. Weng, A Note on Platt's Probabilistic Outputs for Support Vector Machines, Machine Learning 68,
2007: Newton's method with backtracking, and a logarithm that neither overflows nor cancels. Platt's own sign is the other way round: his A is −a, his B is −b.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from emberank.contract.errors import StartError

Numbers: TypeAlias = NDArray[np.float64]
Labels: TypeAlias = NDArray[np.bool_]

MOST_STEPS = 100  # Newton's: it takes five to ten
_GRADIENT = 1e-10  # of the mean loss in standardised scores, where the fit counts as found
_SHORTEST_STEP = 1e-10
_ARMIJO = 1e-4  # a step has to gain this share of what the gradient promises


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """σ(slope · score + intercept), and how many of Newton's steps it took."""

    slope: float
    intercept: float
    steps: int

    def logits(self, scores: Numbers) -> Numbers:
        """(n,) scores → (n,) calibrated logits; their sigmoid is the probability."""
        return self.slope * scores + self.intercept


def targets(relevant: Labels) -> Numbers:
    """(n,) what the sigmoid is drawn towards: (N₊ + 1) / (N₊ + 2) and 1 / (N₋ + 2), never 1 and 0, so that separable data has a fit as well."""
    positive = int(relevant.sum())
    negative = len(relevant) - positive
    return np.where(relevant, (positive + 1) / (positive + 2), 1 / (negative + 2))


def fit_platt(scores: Numbers, relevant: Labels) -> Fit:
    """The maximum-likelihood fit of (n,) scores to (n,) labels, in float64. `slope` has the sign that the data has.

    Raises StartError when every score is the same, or when Newton's method has not converged.
    """
    mean, spread = float(scores.mean()), float(scores.std())
    # Scores that differ by rounding alone are one score: dividing by such a spread would make noise of it.
    if not spread > 1e-9 * max(1.0, abs(mean)):
        raise StartError(f"every one of the {len(scores)} pairs has the score {mean:g}: there is nothing to calibrate")
    # Standardised, the two unknowns are of one size whatever the scale of a model's logits, and the Hessian is well-conditioned.
    design = np.stack([(scores - mean) / spread, np.ones(len(scores))])  # (2, n)
    found, steps = _newton(design, targets(relevant))
    slope = float(found[0]) / spread
    return Fit(slope=slope, intercept=float(found[1]) - slope * mean, steps=steps)


def _newton(design: Numbers, wanted: Numbers) -> tuple[Numbers, int]:
    """(2,) the minimum of the mean loss, and the steps to it. The loss is strictly convex: there is one minimum, from wherever one starts."""
    count = design.shape[1]
    share = float(wanted.mean())
    at: Numbers = np.array([0.0, np.log(share / (1 - share))])
    for step in range(MOST_STEPS):
        chances = sigmoid(at @ design)
        gradient = design @ (chances - wanted) / count
        if float(np.abs(gradient).max()) < _GRADIENT:
            return at, step
        curvature = (design * (chances * (1 - chances))) @ design.T / count
        direction = -np.linalg.solve(curvature + 1e-14 * np.eye(2), gradient)
        at = _shortened(at, direction, float(gradient @ direction), design, wanted)
    raise StartError(f"the calibration did not converge within {MOST_STEPS} steps: gradient {float(np.abs(gradient).max()):.2g}")


def _shortened(at: Numbers, direction: Numbers, promised: float, design: Numbers, wanted: Numbers) -> Numbers:
    """One step along `direction`, halved until the loss falls as the gradient promised."""
    before, length = mean_loss(at @ design, wanted), 1.0
    while length >= _SHORTEST_STEP:
        there: Numbers = at + length * direction
        # Near the minimum the gain is below the loss's own rounding; a full step of Newton's is then the right one.
        if mean_loss(there @ design, wanted) <= before + _ARMIJO * length * promised + 1e-15:
            return there
        length /= 2
    raise StartError("the calibration did not converge: no step makes its loss smaller")


def mean_loss(logits: Numbers, wanted: Numbers) -> float:
    """Mean of −t · log p − (1 − t) · log(1 − p) in natural logarithms, from (n,) logits, so that a p that rounds to 0 or 1 costs what it should."""
    return float(np.mean(np.logaddexp(0.0, logits) - wanted * logits))


def sigmoid(logits: Numbers) -> Numbers:
    """(n,) 1 / (1 + e^−x), without overflow."""
    small = np.exp(-np.abs(logits))
    return np.where(logits >= 0, 1.0, small) / (1.0 + small)
