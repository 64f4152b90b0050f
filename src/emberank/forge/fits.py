"""Tokens and milliseconds of past requests in, a line that predicts the next one out. Knows no series and no money.

The line is Theil's and Sen's: its slope is the median of the slopes between all pairs of measurements, its intercept the median of what is left
(Sen, "Estimates of the regression coefficient based on Kendall's tau", Journal of the American Statistical Association 63, 1968), so that neither a
stall nor a third of foul measurements moves it. Neither may be negative: a request takes no less than no time, and more tokens take no less. A
negative slope becomes 0, a negative intercept a line through the origin.

Where all measurements have nearly one length, a slope cannot be had from them. Then a shorter request is expected to take as long as they did, and a
longer one proportionally longer, which for every line with an intercept is too much rather than too little.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emberank.forge.statistics import Figure, median

# The latest: what a target did yesterday matters less than what it does now, and the pairs grow with the square.
MOST_MEASUREMENTS = 128
# Lengths that differ by less than this factor say nothing of a slope.
LEAST_SPREAD = 1.25
FOLDS = 10

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """intercept + slope · tokens, for at least `floor_tokens`; from measurements of `least_tokens` to `most_tokens`."""

    intercept_ms: float
    ms_per_token: float
    floor_tokens: float
    least_tokens: float
    most_tokens: float
    n: int

    def model_ms(self, tokens: float) -> float:
        """What a request of that many tokens is expected to take."""
        return self.intercept_ms + self.ms_per_token * max(tokens, self.floor_tokens)

    @property
    def of_one_length(self) -> bool:
        """Whether no slope was measured."""
        return self.floor_tokens > 0

    def reaches(self, tokens: float, factor: float = 2.0) -> bool:
        """Whether requests of about that length were measured: within a factor beyond the shortest and the longest."""
        return self.least_tokens / factor <= tokens <= self.most_tokens * factor


def fitted(tokens: Floats, ms: Floats) -> Fit | None:
    """The line through the latest measurements, oldest first; None without any. Tokens and times are finite and not negative."""
    tokens, ms = tokens[-MOST_MEASUREMENTS:], ms[-MOST_MEASUREMENTS:]
    if not len(ms):
        return None
    least, most = float(tokens.min()), float(tokens.max())
    intercept, slope, floor = _one_length(tokens, ms) if most <= least * LEAST_SPREAD else _line(tokens, ms)
    return Fit(intercept_ms=intercept, ms_per_token=slope, floor_tokens=floor, least_tokens=least, most_tokens=most, n=len(ms))


def cross_validated_error(tokens: Floats, ms: Floats) -> Figure:
    """The median of |predicted − measured| / measured, each measurement predicted from a line through the others, in ten parts.

    Ten measurements or fewer are left out one by one. No value from fewer than three: a line through one point has nothing to be wrong about.
    """
    tokens, ms = tokens[-MOST_MEASUREMENTS:], ms[-MOST_MEASUREMENTS:]
    known = ms > 0
    tokens, ms = tokens[known], ms[known]
    if len(ms) < 3:
        return Figure(value=None, n=len(ms))
    # Every tenth, and not a tenth in a row: neighbours were measured in one breath.
    part = np.arange(len(ms)) % min(FOLDS, len(ms))
    errors = np.empty(len(ms))
    for index in range(int(part.max()) + 1):
        held = part == index
        line = fitted(tokens[~held], ms[~held])
        assert line is not None
        predicted = np.array([line.model_ms(count) for count in tokens[held]])
        errors[held] = np.abs(predicted - ms[held]) / ms[held]
    return median(errors)


def _line(tokens: Floats, ms: Floats) -> tuple[float, float, float]:
    first, second = np.triu_indices(len(ms), 1)
    apart = tokens[second] - tokens[first]
    differ = apart != 0
    slope = max(0.0, float(np.median((ms[second] - ms[first])[differ] / apart[differ])))
    intercept = float(np.median(ms - slope * tokens))
    if intercept < 0:
        some = tokens > 0
        return 0.0, float(np.median(ms[some] / tokens[some])), 0.0
    return intercept, slope, 0.0


def _one_length(tokens: Floats, ms: Floats) -> tuple[float, float, float]:
    typical, length = float(np.median(ms)), float(np.median(tokens))
    return (0.0, typical / length, length) if length > 0 else (typical, 0.0, 0.0)
