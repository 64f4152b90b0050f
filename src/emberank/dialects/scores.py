"""A logit in, the score a caller wants out: raw, between 0 and 1, or calibrated. Pure.

`logit` is the model's own number. `sigmoid` is 1 / (1 + e^−logit): between 0 and 1, in the same order, and no probability. `calibrated` is
σ(a · logit + b) with a and b fitted on judged data (Platt scaling: J. Platt, Probabilistic Outputs for Support Vector Machines, 1999), so that of the passages
with 0.7 about 70 % are relevant, on data like those.
"""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple, TypeAlias

from emberank.contract.errors import BadRequest
from emberank.dialects.reading import flag, shown

Score: TypeAlias = Literal["logit", "sigmoid", "calibrated"]
_MODES: dict[str, Score] = {"raw": "logit", "logit": "logit", "sigmoid": "sigmoid", "calibrated": "calibrated"}


class Calibration(NamedTuple):
    """Of one version of a model."""

    slope: float
    intercept: float


def read_score(fields: dict[str, Any], default: Score) -> Score:
    """The body's `score_mode`; null and absent are the dialect's own. Raises BadRequest for another word."""
    value = fields.get("score_mode")
    if value is None:
        return default
    found = _MODES.get(value.lower()) if isinstance(value, str) else None
    if found is None:
        raise BadRequest(f"score_mode must be one of {', '.join(map(repr, _MODES))}; got {shown(value)}")
    return found


def refuse_raw_and(fields: dict[str, Any], score: Score) -> None:
    """`raw_scores` true and a `score_mode` that is not the logit say two things. Raises BadRequest. (False is what Infinity's client sends with everything.)"""
    if score != "logit" and flag(fields, "raw_scores", default=False):
        raise BadRequest(f"raw_scores true and score_mode '{score}' say two things; send one of the two")


def scored_as(logit: float, score: Score, calibration: Calibration | None = None) -> float:
    """The number a dialect gives for a logit. Raises ValueError for `calibrated` without a calibration: whoever resolves the model refuses that before."""
    if score == "logit":
        return logit
    if score == "sigmoid":
        return sigmoid(logit)
    if calibration is None:
        raise ValueError("there is no calibration")
    return sigmoid(calibration.slope * logit + calibration.intercept)


def sigmoid(logit: float) -> float:
    """1 / (1 + e^−x), without overflow."""
    if logit >= 0:
        return 1.0 / (1.0 + math.exp(-logit))
    grown = math.exp(logit)
    return grown / (1.0 + grown)
