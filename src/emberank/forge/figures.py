"""One series of samples in, its figures out: what its requests took, what its starts took. Does not know what follows from a figure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from emberank.contract.fleet import FailureReason
from emberank.forge.samples import WEIGHTS_FROM, WeightsFrom, shape_of
from emberank.forge.statistics import NOTHING, Figure, Quantiles, median, quantiles, rate
from emberank.forge.windows import REASONS, Rows, Series

# A median has a 95 % interval from six measurements on. With fewer, no target is verified, and none is called the fastest.
MIN_SAMPLES = 6
# Which payload is the most frequent one is judged by this many of the latest probes, so that a new sample payload soon takes over.
LATEST_PROBES = 100
# Whether requests fail now is judged by this many of the latest: one may be bad luck.
FAILED_IN_A_ROW = 3

_PAYLOAD = ("shape", "passages", "tokens")

ModelMsFrom: TypeAlias = Literal["model", "request"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A run that failed. `number` puts it in order with the runs of other series."""

    number: int
    reason: FailureReason | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestFigures:
    """What the requests of one series took. Times are of warm requests that succeeded; of probes, of the most frequent payload only."""

    runs: int
    newest_at_s: float | None
    success: Figure
    failures: Mapping[FailureReason, int]
    newest_ok: int  # the number of the latest run that succeeded, 0 if none did
    failed_since: tuple[Failure, ...]  # the latest runs, if they failed; oldest first, at most FAILED_IN_A_ROW
    request_ms: Quantiles
    latest_request_ms: float | None
    model_ms: Quantiles
    model_ms_from: ModelMsFrom  # "request" where the model reports no time of its own: then it is the caller's
    tokens_per_s: Figure
    tokens: int | None
    passages: int | None
    shape: str
    peak_memory: Figure  # bytes: the most that was seen

    @property
    def enough(self) -> bool:
        """Whether there are enough model times to publish a median with its interval."""
        return self.model_ms.n >= MIN_SAMPLES


@dataclass(frozen=True, slots=True, kw_only=True)
class StartFigures:
    """What starts took, by where the weights came from."""

    runs: int
    success: Figure
    failures: Mapping[FailureReason, int]
    newest_ok: int
    failed_last: Failure | None  # the latest start, if it failed for a reason of its own
    cold_start_ms: Mapping[WeightsFrom, Quantiles]  # without "network"
    first_run_ms: Figure  # starts that fetched the weights first: part of no other figure
    typical: WeightsFrom | None  # which of `cold_start_ms` is the headline
    peak_memory: Figure  # bytes: the most that was seen

    @property
    def typical_ms(self) -> Figure:
        """The headline: the median of the most frequent kind of start."""
        return NOTHING if self.typical is None else self.cold_start_ms[self.typical].p50


def request_figures(series: Series) -> RequestFigures:
    """The figures of a series of probes or of traffic."""
    rows = series.rows()
    warm = headline_rows(series)
    times, source = model_times(warm)
    request_ms = measured(warm["request_ms"])
    tokens, passages = _typical_count(warm["tokens"]), _typical_count(warm["passages"])
    return RequestFigures(
        runs=len(rows),
        newest_at_s=float(rows["at_s"][-1]) if len(rows) else None,
        success=rate(int(rows["ok"].sum()), len(rows)),
        failures=_failures(rows),
        newest_ok=_newest_ok(rows),
        failed_since=_failed_since(rows),
        request_ms=quantiles(request_ms),
        latest_request_ms=float(request_ms[-1]) if len(request_ms) else None,
        model_ms=quantiles(measured(times)),
        model_ms_from=source,
        tokens_per_s=_tokens_per_s(warm["tokens"], times),
        tokens=tokens,
        passages=passages,
        shape=_shape(series, warm, passages, tokens),
        peak_memory=_peak(rows),
    )


def start_figures(series: Series) -> StartFigures:
    """The figures of a series of starts. A start that found no free slot says nothing of the target, and is only counted."""
    rows = series.rows()
    failures = _failures(rows)
    rows = rows.compress(rows["reason"] != REASONS.index("no_capacity"))
    ready = rows.compress(rows["ok"] & (rows["cold_start_ms"] >= 0))
    unknown = WEIGHTS_FROM.index("unknown")
    sources = np.where(ready["weights_from"] < 0, unknown, ready["weights_from"])
    groups = {source: quantiles(ready["cold_start_ms"][sources == index]) for index, source in enumerate(WEIGHTS_FROM) if (sources == index).any()}
    first = groups.pop("network", None)
    return StartFigures(
        runs=len(rows),
        success=rate(int(rows["ok"].sum()), len(rows)),
        failures=failures,
        newest_ok=_newest_ok(rows),
        failed_last=_failed_since(rows)[-1] if len(rows) and not rows["ok"][-1] else None,
        cold_start_ms=groups,
        first_run_ms=NOTHING if first is None else first.p50,
        typical=_most_frequent(groups),
        peak_memory=_peak(rows),
    )


def warm_rows(series: Series) -> Rows:
    """The runs that succeeded and were not held for a start, oldest first."""
    rows = series.rows()
    # compress is eight times as fast as an index by truth values, for whole rows.
    return rows.compress(rows["ok"] & ~(rows["cold_start_ms"] > 0))


def headline_rows(series: Series) -> Rows:
    """The warm runs; of probes only those of the most frequent payload, for two payloads do not average."""
    warm = warm_rows(series)
    if series.key.kind != "probe" or not len(warm):
        return warm
    latest = Counter(zip(*(warm[name][-LATEST_PROBES:].tolist() for name in _PAYLOAD), strict=True))
    typical, _ = latest.most_common(1)[0]  # among equals the one that was there first
    same = [warm[name] == value for name, value in zip(_PAYLOAD, typical, strict=True)]
    return warm.compress(same[0] & same[1] & same[2])


def model_times(warm: Rows) -> tuple[NDArray[np.float64], ModelMsFrom]:
    """Model times of warm runs, NaN where one was not measured; the caller's times if the model reports none at all."""
    if len(warm) and np.isnan(warm["model_ms"]).all():
        return warm["request_ms"], "request"
    return warm["model_ms"], "model"


def measured(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Without what was not measured."""
    return values[values >= 0]


def _most_frequent(groups: Mapping[WeightsFrom, Quantiles]) -> WeightsFrom | None:
    # Among equals the first, and that is the slower one.
    return next((source for source in groups if groups[source].n == max(found.n for found in groups.values())), None)


def _tokens_per_s(tokens: NDArray[np.int32], times: NDArray[np.float64]) -> Figure:
    known = (tokens >= 0) & (times > 0)
    return median(tokens[known] / times[known] * 1e3)


def _typical_count(counts: NDArray[np.int32]) -> int | None:
    known = counts[counts >= 0]
    return int(np.median(known)) if len(known) else None


def _shape(series: Series, warm: Rows, passages: int | None, tokens: int | None) -> str:
    if series.key.kind == "probe" and len(warm):
        return series.shapes[warm["shape"][-1]] or shape_of(passages, tokens)
    words = shape_of(passages, tokens, "texts")
    return f"median {words}" if words else ""


def _failures(rows: Rows) -> dict[FailureReason, int]:
    counts = np.bincount(rows["reason"][~rows["ok"] & (rows["reason"] >= 0)], minlength=len(REASONS)).tolist()
    return {reason: count for reason, count in zip(REASONS, counts, strict=True) if count}


def _newest_ok(rows: Rows) -> int:
    good = rows["number"][rows["ok"]]
    return int(good[-1]) if len(good) else 0


def _failed_since(rows: Rows) -> tuple[Failure, ...]:
    latest = rows[-FAILED_IN_A_ROW:]
    after = latest[latest["number"] > _newest_ok(rows)]
    return tuple(Failure(number=int(row["number"]), reason=REASONS[row["reason"]] if row["reason"] >= 0 else None) for row in after)


def _peak(rows: Rows) -> Figure:
    known = measured(rows["peak_memory_bytes"])
    return Figure(value=float(known.max()), n=len(known)) if len(known) else NOTHING
