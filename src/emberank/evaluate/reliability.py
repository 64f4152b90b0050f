"""Calibrated logits and labels in, Brier score, log loss and expected calibration error out, with the bins they are of. Does not know how the logits were made.

Expected calibration error: M. P. Naeini, G. F. Cooper and M. Hauskrecht, Obtaining Well Calibrated Probabilities Using Bayesian Binning, AAAI 2015; with bins
of equal width. Brier score: G. W. Brier, Verification of Forecasts Expressed in Terms of Probability, 1950; the mean square of p − relevance, 0.25 for a constant ½.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from emberank.evaluate.platt import Labels, Numbers, mean_loss, sigmoid

BINS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """The pairs whose probability lies from `low` up to `high` (the last bin holds its upper end): what was said of them, and what was true."""

    low: float
    high: float
    n: int
    predicted: float | None  # mean probability; None where n is 0
    relevant: float | None  # the share that was relevant


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """How far probabilities can be believed. All three are better when smaller; log loss in natural logarithms."""

    name: str
    brier: float
    log_loss: float
    ece: float
    bins: tuple[Bin, ...]


def figures(name: str, logits: Numbers, relevant: Labels) -> Figures:
    """The figures of σ(logits), (n,), against (n,) labels."""
    chances, truth = sigmoid(logits), relevant.astype(np.float64)
    bins = tuple(_bins(chances, truth))
    gaps = [one.n * abs(one.predicted - one.relevant) for one in bins if one.predicted is not None and one.relevant is not None]
    return Figures(
        name=name,
        brier=float(np.mean((chances - truth) ** 2)),
        log_loss=mean_loss(logits, truth),
        ece=sum(gaps) / len(truth),
        bins=bins,
    )


def _bins(chances: Numbers, truth: Numbers) -> list[Bin]:
    edges = np.linspace(0.0, 1.0, BINS + 1)
    places = np.clip(np.searchsorted(edges, chances, side="right") - 1, 0, BINS - 1)
    made = []
    for i in range(BINS):
        inside = places == i
        n = int(inside.sum())
        predicted, share = (float(chances[inside].mean()), float(truth[inside].mean())) if n else (None, None)
        made.append(Bin(low=float(edges[i]), high=float(edges[i + 1]), n=n, predicted=predicted, relevant=share))
    return made
