"""A payload and what was measured on one target in, the time and cost of the request out, and how sure that is. Never uses a published figure.

The sample payload is the one the target table speaks of, and its estimate is the table's median. Any other payload is read off a line of model time over
tokens (fits.py), through traffic if there is enough of that length, else through probes if there are enough, never through both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np

from emberank.forge.costs import cold_usd, idle_usd, shown, usd_per_1k_passages, warm_usd
from emberank.forge.figures import MIN_SAMPLES, StartFigures, headline_rows, model_times, warm_rows
from emberank.forge.fits import Fit, Floats, cross_validated_error, fitted
from emberank.forge.samples import shape_of
from emberank.forge.standing import Measured, MeasuredBy, measured_at
from emberank.forge.statistics import NOTHING, Figure, median
from emberank.forge.target_rows import starts
from emberank.forge.targets import Price
from emberank.forge.windows import Rows, Series, Windows

Confidence: TypeAlias = Literal["none", "low", "medium", "high"]
MEDIUM_N, MEDIUM_ERROR = MIN_SAMPLES, 0.5
HIGH_N, HIGH_ERROR = 30, 0.15
_SPEAKERS: tuple[MeasuredBy, ...] = ("traffic", "probe")


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """What a request holds. None: not known; it is then reckoned from the other, by the tokens a passage usually has."""

    tokens: int | None = None
    passages: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What the warm runs of a series say of the next: model time over tokens, and what a request takes beside it."""

    fit: Fit | None
    overhead_ms: Figure  # request time − model time
    tokens_per_passage: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """A warm request's time. `n` measurements are behind the model's, `request_n` behind what is added to it or said instead of it."""

    measured_by: MeasuredBy | None = None
    payload: Payload = Payload()
    model_ms: float | None = None
    request_ms: float | None = None
    n: int = 0
    request_n: int = 0
    error: Figure = NOTHING  # median absolute relative error
    measured_tokens: tuple[float, float] | None = None  # the shortest and the longest request, where this one is far from both


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What one request is expected to take. Times and money are None where nothing was measured, or no price is known."""

    warm: Expected
    starts: StartFigures
    cold_request_ms: float | None
    warm_request_usd: float | None
    cold_request_usd: float | None
    confidence: Confidence
    cold_confidence: Confidence


def estimate(windows: Windows, slug: str, version: str, target: tuple[str, str], payload: Payload | None, price: Price | None) -> Estimate:
    """What a request of that payload takes on that target; None is the sample payload."""
    measured = measured_at(windows, slug, version, target)
    series = {kind: windows.of(slug, version, target, kind) for kind in _SPEAKERS}
    warm = _expected_of_sample(measured, series) if payload is None else _expected(payload, series)
    cold_start_ms = measured.starts.typical_ms.value
    usd = None if price is None else price.usd_per_hour
    return Estimate(
        warm=warm,
        starts=measured.starts,
        cold_request_ms=None if warm.request_ms is None or cold_start_ms is None else cold_start_ms + warm.request_ms,
        warm_request_usd=None if warm.model_ms is None or usd is None else warm_usd(warm.model_ms, usd),
        cold_request_usd=None if warm.model_ms is None or usd is None or cold_start_ms is None else cold_usd(cold_start_ms, warm.model_ms, usd),
        confidence=_confidence(warm),
        cold_confidence=_by_count(measured.starts.typical_ms.n),
    )


def run_estimate(
    windows: Windows,
    slug: str,
    version: str,
    target: tuple[str, str],
    payload: Payload | None = None,
    price: Price | None = None,
    idle_after_s: float | None = None,
) -> dict[str, Any]:
    """The run estimate, ready for JSON. `idle_after_s` is for how long the endpoint stays warm after the request; that is paid too."""
    found = estimate(windows, slug, version, target, payload, price)
    warm, usd = found.warm, None if price is None else price.usd_per_hour
    tokens, passages = warm.payload.tokens, warm.payload.passages
    per_1k = None if found.warm_request_usd is None or passages is None else usd_per_1k_passages(found.warm_request_usd, passages)
    return {
        "slug": slug,
        "model_version": version,
        "gpu_type": target[0],
        "region": target[1],
        "payload": {"tokens": tokens, "passages": passages, "shape": shape_of(passages, tokens, "texts"), "is_sample": payload is None},
        "estimated_model_ms": shown(warm.model_ms),
        "estimated_warm_request_ms": shown(warm.request_ms),
        "estimated_warm_request_cost_usd": shown(found.warm_request_usd),
        "estimated_cold_request_ms": shown(found.cold_request_ms),
        "estimated_cold_request_cost_usd": shown(found.cold_request_usd),
        "estimated_usd_per_1k_passages": shown(per_1k),
        "cost_per_gpu_hour_usd": usd,
        "price_source": None if price is None else price.source,
        "price_date": None if price is None else price.date,
        "idle_after_s": idle_after_s,
        "idle_tail_cost_usd": None if usd is None or idle_after_s is None else shown(idle_usd(idle_after_s, usd)),
        "confidence": found.confidence,
        "cold_confidence": found.cold_confidence,
        "error": shown(warm.error.value),
        "error_n": warm.error.n,
        "measured_by": warm.measured_by,
        "samples": {
            "model_ms": warm.n,
            "request_ms": warm.request_n,
            "cold_start_ms": found.starts.typical_ms.n,
            "first_run_ms": found.starts.first_run_ms.n,
        },
        **starts(found.starts),
        "message": _message(found, slug, target),
    }


def line_of(windows: Windows, slug: str, version: str, target: tuple[str, str], *, lag: int = 64) -> Line:
    """The line a request's actual time is held against after its run: of traffic if there is enough, else of probes.

    Drawn anew only after `lag` further samples, so that it can be asked for after every request.
    """
    traffic = windows.of(slug, version, target, "traffic").derive(line_of_series, lag=lag)
    if traffic.fit is not None and traffic.fit.n >= MIN_SAMPLES:
        return traffic
    return windows.of(slug, version, target, "probe").derive(line_of_series, lag=lag)


def error_of(estimated: float | None, actual: float) -> float | None:
    """By which part of the actual figure an estimate was too high, or (negative) too low. None where there is nothing to compare."""
    return None if estimated is None or actual <= 0 else (estimated - actual) / actual


def line_of_series(series: Series) -> Line:
    """The line through the warm runs of a series."""
    warm = warm_rows(series)
    tokens, times = _points(warm)
    both = warm["request_ms"] - model_times(warm)[0]
    counted = warm[(warm["passages"] > 0) & (warm["tokens"] > 0)]
    return Line(
        fit=fitted(tokens, times),
        overhead_ms=median(np.maximum(0.0, both[~np.isnan(both)])),
        tokens_per_passage=float(np.median(counted["tokens"] / counted["passages"])) if len(counted) else None,
    )


def error_of_series(series: Series) -> Figure:
    """How far the line through a series is off, on measurements it has not seen."""
    return cross_validated_error(*_points(warm_rows(series)))


def error_of_headline(series: Series) -> Figure:
    """The same for the runs that the target table counts: of probes, those of the sample payload."""
    return cross_validated_error(*_points(headline_rows(series)))


def _points(warm: Rows) -> tuple[Floats, Floats]:
    times, _ = model_times(warm)
    known = (times >= 0) & (warm["tokens"] >= 0)
    return warm["tokens"][known].astype(np.float64), times[known]


def _expected_of_sample(measured: Measured, series: Mapping[MeasuredBy, Series]) -> Expected:
    """What the table says of it."""
    by, figures = measured.measured_by, measured.headline
    if by is None:
        return Expected()
    return Expected(
        measured_by=by,
        payload=Payload(tokens=figures.tokens, passages=figures.passages),
        model_ms=figures.model_ms.p50.value,
        request_ms=figures.request_ms.p50.value,
        n=figures.model_ms.n,
        request_n=figures.request_ms.n,
        error=series[by].derive(error_of_headline),
    )


def _expected(asked: Payload, series: Mapping[MeasuredBy, Series]) -> Expected:
    """What the line says of it that fits best: through enough requests of that length, else through enough, and of equals through traffic."""
    lines = [(by, series[by].derive(line_of_series)) for by in _SPEAKERS]
    by, line = max(lines, key=lambda found: _fitness(found[1], _counted(asked, found[1]).tokens))
    payload = _counted(asked, line)
    if line.fit is None or payload.tokens is None:
        return Expected(payload=payload, n=0 if line.fit is None else line.fit.n)
    model_ms = line.fit.model_ms(payload.tokens)
    return Expected(
        measured_by=by,
        payload=payload,
        model_ms=model_ms,
        request_ms=model_ms + (line.overhead_ms.value or 0.0),
        n=line.fit.n,
        request_n=line.overhead_ms.n,
        error=series[by].derive(error_of_series),
        measured_tokens=None if line.fit.reaches(payload.tokens) else (line.fit.least_tokens, line.fit.most_tokens),
    )


def _fitness(line: Line, tokens: int | None) -> tuple[bool, bool, bool]:
    if line.fit is None:
        return False, False, False
    enough = line.fit.n >= MIN_SAMPLES
    return enough and tokens is not None and line.fit.reaches(tokens), enough, True


def _counted(asked: Payload, line: Line) -> Payload:
    if asked.tokens is None and asked.passages is not None and line.tokens_per_passage is not None:
        return Payload(tokens=round(asked.passages * line.tokens_per_passage), passages=asked.passages)
    return asked


def _confidence(warm: Expected) -> Confidence:
    """none: no figure · low: few, or off by more than half, or of another length · high: thirty, and off by 15 % at most · else medium."""
    if warm.model_ms is None:
        return "none"
    error = warm.error.value
    if warm.n < MEDIUM_N or error is None or error > MEDIUM_ERROR or warm.measured_tokens is not None:
        return "low"
    return "high" if warm.n >= HIGH_N and error <= HIGH_ERROR else "medium"


def _by_count(n: int) -> Confidence:
    return "none" if n == 0 else "low" if n < MEDIUM_N else "medium" if n < HIGH_N else "high"


def _message(found: Estimate, slug: str, target: tuple[str, str]) -> str:
    """What a reader should know or do; empty when all is well."""
    warm, probe = found.warm, f"`emberank probe {slug} --gpu-type {target[0]} --region {target[1]}`"
    if warm.model_ms is None:
        return "say how many tokens the request has: `tokens=`" if warm.n else f"nothing was measured on this target: {probe} measures it"
    parts = []
    if warm.measured_tokens is not None:
        least, most = warm.measured_tokens
        lengths = f"{least:.0f}" if least == most else f"{least:.0f} to {most:.0f}"
        parts.append(f"only requests of {lengths} tokens were measured")
    elif found.confidence == "low":
        parts.append(f"few or scattered measurements: {probe} adds to them")
    if found.starts.typical is None:
        first = found.starts.first_run_ms.value
        apart = "" if first is None else f"; the first, uncached one took {first / 1e3:.1f} s"
        parts.append(f"no start from a cache was measured{apart}")
    return ". ".join(parts)
