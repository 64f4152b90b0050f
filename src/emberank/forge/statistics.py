"""A few measurements in, figures that say how sure they are out. Does not know what was measured.

Quantiles are Hyndman and Fan's definition 8 ("Sample quantiles in statistical packages", The American Statistician 50, 1996), which is nearly
median-unbiased whatever the distribution: h = (n + 1/3)·p + 1/3, linear between the neighbouring order statistics. The median is the ordinary one.

Their intervals are distribution-free: the number of measurements below the true p-quantile is binomial(n, p), so [x(l), x(u)] holds it with a
probability of at least P(l ≤ B ≤ u − 1) (Hahn and Meeker, "Statistical Intervals", 1991, section 5.2; David and Nagaraja, "Order Statistics", 2003,
section 7.1). Of the pairs of ranks that reach 95 % the closest is taken, of equally close ones the surer, then the higher; it depends on n and p
alone, never on the measurements. Where no pair reaches 95 % there is no interval: the median has one from n = 6, p95 from n = 59, p99 from n = 299.

Rates have Wilson's score interval ("Probable inference", Journal of the American Statistical Association 22, 1927).

All this takes measurements to be independent and of one distribution. Runs that follow each other closely are neither quite: read the intervals as
the least doubt there is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import floor, log, log1p, sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95
_Z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A value, from how many measurements, and its 95 % interval. No value: too few to say. No interval: too few to have one."""

    value: float | None
    n: int
    low: float | None = None
    high: float | None = None

    @property
    def interval(self) -> list[float] | None:
        """[low, high], as JSON has it."""
        return None if self.low is None or self.high is None else [self.low, self.high]


NOTHING = Figure(value=None, n=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantiles:
    """The three that are published, all of the same `n` measurements."""

    n: int
    p50: Figure
    p95: Figure
    p99: Figure


def quantiles(measurements: Sequence[float] | NDArray[np.float64]) -> Quantiles:
    """Median, p95 and p99 of finite measurements in any order."""
    ordered = np.sort(np.asarray(measurements, dtype=np.float64))
    p50, p95, p99 = (_quantile(ordered, p) for p in (0.5, 0.95, 0.99))
    return Quantiles(n=len(ordered), p50=p50, p95=p95, p99=p99)


def median(measurements: Sequence[float] | NDArray[np.float64]) -> Figure:
    """The median of finite measurements in any order."""
    return _quantile(np.sort(np.asarray(measurements, dtype=np.float64)), 0.5)


def rate(successes: int, n: int) -> Figure:
    """A share of successes with Wilson's interval, which holds at 0 of n and n of n too."""
    if n == 0:
        return NOTHING
    share, z2 = successes / n, _Z * _Z
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z * sqrt(share * (1 - share) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    # At the ends the formula gives 0 and 1 but for rounding, which must not put the share outside its own interval.
    return Figure(value=share, n=n, low=min(share, max(0.0, middle - half)), high=max(share, min(1.0, middle + half)))


def _quantile(ordered: NDArray[np.float64], p: float) -> Figure:
    n = len(ordered)
    if not speaks(n, p):
        return Figure(value=None, n=n)
    place = min(max((n + 1 / 3) * p + 1 / 3, 1.0), float(n))
    below = floor(place)
    value = float(ordered[below - 1])
    if below < n:
        value += (place - below) * (float(ordered[below]) - value)
    ranks = interval_ranks(n, p)
    if ranks is None:
        return Figure(value=value, n=n)
    return Figure(value=value, n=n, low=float(ordered[ranks[0] - 1]), high=float(ordered[ranks[1] - 1]))


def speaks(n: int, p: float) -> bool:
    """Whether n measurements say anything of their p-quantile: one of them is expected beyond it. A median speaks from the first on."""
    return n >= 1 and (p <= 0.5 or n * (1 - p) >= 1 - 1e-9)


@lru_cache(maxsize=8192)
def interval_ranks(n: int, p: float, confidence: float = CONFIDENCE) -> tuple[int, int] | None:
    """Ranks (l, u), counted from 1, such that [x(l), x(u)] holds the p-quantile with at least that confidence; None where no ranks do."""
    if n < 2:
        return None
    below = _binomial_cumulative(n, p)  # (n + 1,): P(B ≤ k)
    lows = np.arange(1, n)
    # u − 1 is the first k with P(l ≤ B ≤ k) = P(B ≤ k) − P(B ≤ l − 1) ≥ confidence. Beyond n − 1 there is no order statistic.
    highs = np.searchsorted(below, confidence + below[lows - 1]) + 1
    lows, highs = lows[highs <= n], highs[highs <= n]
    if not len(lows):
        return None
    widths = highs - lows
    closest = widths == widths.min()
    lows, highs = lows[closest], highs[closest]
    # Rounded, so that two pairs which are mirror images tie on every machine. Then the higher is taken: of times, the slower.
    held = np.round(below[highs - 1] - below[lows - 1], 9)
    best = int(np.flatnonzero(held == held.max())[-1])
    return int(lows[best]), int(highs[best])


def _binomial_cumulative(n: int, p: float) -> NDArray[np.float64]:
    factorials = _log_factorials(1 << n.bit_length())[: n + 1]
    k = np.arange(n + 1)
    return np.cumsum(np.exp(factorials[n] - factorials - factorials[::-1] + k * log(p) + (n - k) * log1p(-p)))


@lru_cache(maxsize=32)
def _log_factorials(most: int) -> NDArray[np.float64]:
    """log k! for k = 0 … most."""
    return np.concatenate(([0.0], np.cumsum(np.log(np.arange(1, most + 1)))))
