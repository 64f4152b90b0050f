"""One version on one target in, its row of the target table out, ready for JSON. Compares nothing with other rows.

A figure `x` has `x_n`, how many measurements it is of, and `x_interval`, its 95 % interval; null where there are too few.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, TypeAlias

from emberank.forge.catalog import Published
from emberank.forge.costs import cold_usd, shown, usd_per_1k_passages, warm_usd
from emberank.forge.figures import RequestFigures, StartFigures
from emberank.forge.standing import Measured, standing
from emberank.forge.statistics import Figure, Quantiles
from emberank.forge.targets import Offer, Price

Row: TypeAlias = dict[str, Any]


def row(offer: Offer, measured: Measured, *, probe_pending: bool, now_s: float) -> Row:
    """The row: status, headline figures, starts, money, then probes and traffic apart, then what somebody else published."""
    judged, headline = standing(offer, measured, probe_pending=probe_pending), measured.headline
    return {
        "gpu_type": offer.target.gpu_type,
        "region": offer.target.region,
        "status": judged.status,
        "reason": judged.reason,
        "message": judged.message,
        "runnable": offer.runnable,
        "measured_by": measured.measured_by,
        "enough_samples": headline.enough,
        **requests(headline),
        **starts(measured.starts),
        **_memory(measured),
        **money(measured, offer.price),
        "last_probe_at": _iso(measured.probe.newest_at_s),
        "last_probe_age_s": None if measured.probe.newest_at_s is None else round(max(0.0, now_s - measured.probe.newest_at_s), 1),
        "last_traffic_at": _iso(measured.traffic.newest_at_s),
        "failure_reasons": _failures(measured),
        "probe": requests(measured.probe),
        "traffic": requests(measured.traffic),
        "published": None if offer.published is None else _published(offer.published),
    }


def requests(figures: RequestFigures) -> Row:
    """What requests took and how many of them succeeded. A row has this three times: as its headline, of probes, of traffic."""
    return {
        "payload_shape": figures.shape,
        "payload_tokens": figures.tokens,
        "payload_passages": figures.passages,
        "request_ms": shown(figures.latest_request_ms),
        **_quantiles("request_ms", figures.request_ms),
        **_quantiles("model_ms", figures.model_ms),
        "model_ms_from": figures.model_ms_from if figures.model_ms.n else None,
        **_figure("tokens_per_s", figures.tokens_per_s),
        **_figure("observed_success_rate", figures.success),
    }


def starts(figures: StartFigures) -> Row:
    """What cold starts took: the headline, each source of weights apart, and the first, uncached run apart from all."""
    return {
        **_figure("cold_start_ms_p50", figures.typical_ms),
        "cold_start_weights_from": figures.typical,
        "cold_starts": {source: _quantiles("cold_start_ms", found) for source, found in figures.cold_start_ms.items()},
        **_figure("first_run_ms", figures.first_run_ms),
        **_figure("start_success_rate", figures.success),
    }


def money(measured: Measured, price: Price | None) -> Row:
    """What the target costs, who says so and when, and what the headline's median request costs there."""
    if price is None:
        names = ("estimated_warm_request_cost_usd", "estimated_cold_request_cost_usd", "estimated_usd_per_1k_passages")
        return {"cost_per_gpu_hour_usd": None, "price_source": None, "price_date": None, **dict.fromkeys(names)}
    model_ms, cold_start_ms = measured.headline.model_ms.p50.value, measured.starts.typical_ms.value
    warm = None if model_ms is None else warm_usd(model_ms, price.usd_per_hour)
    cold = None if model_ms is None or cold_start_ms is None else cold_usd(cold_start_ms, model_ms, price.usd_per_hour)
    per_1k = None if warm is None else usd_per_1k_passages(warm, measured.headline.passages or 0)
    return {
        "cost_per_gpu_hour_usd": price.usd_per_hour,
        "price_source": price.source,
        "price_date": price.date,
        "estimated_warm_request_cost_usd": shown(warm),
        "estimated_cold_request_cost_usd": shown(cold),
        "estimated_usd_per_1k_passages": shown(per_1k),
    }


def _memory(measured: Measured) -> Row:
    peaks = [figures.peak_memory for figures in (measured.starts, measured.probe, measured.traffic)]
    seen = [peak.value for peak in peaks if peak.value is not None]
    return {"memory_peak_bytes": int(max(seen)) if seen else None, "memory_peak_n": sum(peak.n for peak in peaks)}


def _failures(measured: Measured) -> dict[str, int]:
    counts: dict[str, int] = {}
    for figures in (measured.starts, measured.probe, measured.traffic):
        for reason, count in figures.failures.items():
            counts[reason] = counts.get(reason, 0) + count
    return counts


def _published(published: Published) -> Row:
    return {name: value for name, value in asdict(published).items() if name not in ("gpu_type", "region")}


def _quantiles(name: str, found: Quantiles) -> Row:
    cells: Row = {f"{name}_n": found.n}
    for which, figure in (("p50", found.p50), ("p95", found.p95), ("p99", found.p99)):
        cells[f"{name}_{which}"] = shown(figure.value)
        cells[f"{name}_{which}_interval"] = _interval(figure)
    return cells


def _figure(name: str, figure: Figure) -> Row:
    return {name: shown(figure.value), f"{name}_n": figure.n, f"{name}_interval": _interval(figure)}


def _interval(figure: Figure) -> list[float | None] | None:
    return None if figure.interval is None else [shown(end) for end in figure.interval]


def _iso(at_s: float | None) -> str | None:
    return None if at_s is None else datetime.fromtimestamp(at_s, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
