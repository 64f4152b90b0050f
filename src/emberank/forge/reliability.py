"""A version's targets and what was measured there in; the reliability answer out, ready for JSON. Pure: knows no store, no route and no clock.

Rows are compared only where they measured the same thing: the same payload by probes, or, where no row has enough probes, the rate at which
traffic's tokens are read. Nothing is the fastest or the cheapest on fewer than MIN_SAMPLES measurements, nor while more than one request in
ten certainly fails.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from emberank.contract.fleet import TargetStatus
from emberank.forge.catalog import Model, Version
from emberank.forge.figures import MIN_SAMPLES
from emberank.forge.standing import measured_at
from emberank.forge.statistics import CONFIDENCE
from emberank.forge.target_rows import Row, row
from emberank.forge.targets import Offer, matching
from emberank.forge.windows import Windows

MIN_SUCCESS_RATE = 0.9
STATUSES: tuple[TargetStatus, ...] = ("works", "awaiting probe", "not probed", "unavailable")
# What a target is called elsewhere in the answer, in the words the page's script reads.
_TARGET_KEYS = (
    "gpu_type",
    "region",
    "status",
    "measured_by",
    "payload_shape",
    "request_ms",
    "request_ms_p50",
    "request_ms_n",
    "model_ms_p50",
    "model_ms_p50_interval",
    "model_ms_n",
    "tokens_per_s",
    "cold_start_ms_p50",
    "estimated_warm_request_cost_usd",
    "cost_per_gpu_hour_usd",
    "observed_success_rate",
    "observed_success_rate_n",
)


class Basis(NamedTuple):
    """What a row's figures were measured with. Rows of different bases are not compared."""

    measured_by: str
    shape: str


def reliability(
    model: Model,
    version: Version,
    offers: Sequence[Offer],
    windows: Windows,
    *,
    now_s: float,
    pending: Collection[tuple[str, str]] = (),
    filters: Mapping[str, str] | None = None,
    baseline: tuple[str, str] | None = None,
) -> dict[str, Any]:
    """The whole answer, of the offers that the filters `gpu_type` and `region` leave. Raises NotFound for an unknown one.

    `pending` are the targets a probe waits for or runs on. `baseline` is the target the others are shown relative to; by default the fastest.
    """
    asked = dict(filters or {})
    left = matching(offers, asked.get("gpu_type"), asked.get("region"))
    rows = ordered([row_of(model, version, offer, windows, now_s=now_s, pending=pending) for offer in left])
    compared, basis = comparable(rows)
    fastest, cheapest = (compared[0] if compared else None), _cheapest(rows)
    root = _relate(rows, baseline or (_identity(fastest) if fastest else None))
    statuses = Counter(each["status"] for each in rows)
    return {
        "slug": model.slug,
        "model_version": version.name,
        "reliability_status": _overall(rows),
        "readiness": _readiness(statuses, len(rows)),
        "supported_rows": statuses["works"],
        "total_rows": len(rows),
        "filters": asked,
        "fastest_supported_target": _target(fastest, clear=_is_clear(compared, basis)),
        "fastest_reason": _why_fastest(rows, compared, basis),
        "lowest_cost_supported_target": _target(cheapest),
        "lowest_cost_reason": _why_cheapest(rows, cheapest),
        "baseline": root,
        "status_counts": {status: statuses[status] for status in STATUSES if statuses[status]},
        "failure_reason_counts": dict(sum((Counter(each["failure_reasons"]) for each in rows), Counter[str]())),
        "rows": rows,
        "rules": {"min_samples": MIN_SAMPLES, "min_success_rate": MIN_SUCCESS_RATE, "confidence": CONFIDENCE},
    }


def row_of(model: Model, version: Version, offer: Offer, windows: Windows, *, now_s: float, pending: Collection[tuple[str, str]] = ()) -> Row:
    """One row, without what only other rows can say."""
    measured = measured_at(windows, model.slug, version.name, offer.target)
    return row(offer, measured, probe_pending=offer.target in pending, now_s=now_s)


def ordered(rows: Sequence[Row]) -> list[Row]:
    """Rows in order of preference: what works first, among them the fastest of those that are compared, then by name."""
    rank = {_identity(each): place for place, each in enumerate(comparable(rows)[0])}
    return sorted(rows, key=lambda each: (STATUSES.index(each["status"]), rank.get(_identity(each), len(rank)), _identity(each)))


def comparable(rows: Sequence[Row]) -> tuple[list[Row], Basis | None]:
    """The verified rows that share a basis, fastest first, and that basis: of probed payloads the one most rows share, else traffic."""
    fit = [each for each in rows if _may_be_crowned(each)]
    probed = Counter(_basis(each) for each in fit if each["measured_by"] == "probe")
    if probed:
        basis = max(probed, key=lambda found: (probed[found], found.shape))
        same = [each for each in fit if _basis(each) == basis]
        return sorted(same, key=lambda each: (each["model_ms_p50"], _identity(each))), basis
    # One row needs no common measure. Several of traffic have their own payloads each, and a rate is what they have in common.
    rated = fit if len(fit) < 2 else [each for each in fit if each["tokens_per_s"] is not None]
    return sorted(rated, key=lambda each: (-(each["tokens_per_s"] or 0), _identity(each))), Basis("traffic", "") if rated else None


def _may_be_crowned(each: Row) -> bool:
    certain = each["observed_success_rate_interval"]
    return each["status"] == "works" and certain is not None and certain[1] >= MIN_SUCCESS_RATE


def _cheapest(rows: Sequence[Row]) -> Row | None:
    """The lowest price an hour; where that is equal, the lowest cost of a request."""
    priced = [each for each in rows if _may_be_crowned(each) and each["cost_per_gpu_hour_usd"] is not None]
    return min(priced, key=lambda each: (each["cost_per_gpu_hour_usd"], each["estimated_warm_request_cost_usd"], _identity(each)), default=None)


def _is_clear(compared: Sequence[Row], basis: Basis | None) -> bool | None:
    """Whether the fastest and the next have intervals apart; None where there is no next, or no interval."""
    if len(compared) < 2 or basis is None:
        return None
    name = "model_ms_p50_interval" if basis.measured_by == "probe" else "tokens_per_s_interval"
    first, second = compared[0][name], compared[1][name]
    if first is None or second is None:
        return None
    return bool(first[1] < second[0] or second[1] < first[0])


def _relate(rows: Sequence[Row], baseline: tuple[str, str] | None) -> Row | None:
    """Put into each row how it stands to the baseline; returns which that is."""
    root = next((each for each in rows if _identity(each) == baseline), None)
    for each in rows:
        each["relative"] = None if root is None else relative(each, root)
    return None if root is None else {"gpu_type": root["gpu_type"], "region": root["region"], **_basis(root)._asdict()}


def relative(each: Row, root: Row) -> Row | None:
    """A row's speed in percent of the baseline's: `19% · -81%`. None where the two did not measure the same thing."""
    if _basis(each) != _basis(root):
        return None
    if each["measured_by"] == "traffic":
        ours, theirs = each["tokens_per_s"], root["tokens_per_s"]
    else:
        ours, theirs = root["model_ms_p50"], each["model_ms_p50"]
    if not ours or not theirs:
        return None
    speed = round(ours / theirs * 100)
    return {"speed_percent": speed, "change_percent": speed - 100, "text": f"{speed}%" + (f" · {speed - 100:+d}%" if each is not root else "")}


def _basis(each: Row) -> Basis:
    return Basis(each["measured_by"] or "", each["payload_shape"] if each["measured_by"] == "probe" else "")


def _identity(each: Row) -> tuple[str, str]:
    return each["gpu_type"], each["region"]


def _target(each: Row | None, **more: Any) -> Row | None:
    return None if each is None else {**{key: each[key] for key in _TARGET_KEYS}, **more}


def _overall(rows: Sequence[Row]) -> str:
    """One word: what the best row says, or `degraded` where some work and others have begun to fail."""
    statuses = {each["status"] for each in rows}
    if "works" in statuses:
        return "degraded" if any(each["status"] == "unavailable" and each["runnable"] for each in rows) else "verified"
    return next((status for status in STATUSES if status in statuses), "not probed")


def _readiness(statuses: Mapping[str, int], total: int) -> str:
    # The page counts a target that was never probed among those that await one.
    waiting = statuses["awaiting probe"] + statuses["not probed"]
    parts = [f"{statuses['works']}/{total} verified"]
    parts += [f"{count} {word}" for count, word in ((waiting, "awaiting probe"), (statuses["unavailable"], "unavailable")) if count]
    return " · ".join(parts)


def _why_fastest(rows: Sequence[Row], compared: Sequence[Row], basis: Basis | None) -> str:
    if not compared or basis is None:
        return _why_none(rows)
    if basis.measured_by == "probe":
        return f"lowest median warm model time of a probe of {basis.shape or 'one payload'}, among {len(compared)} verified with it"
    return f"most tokens read per second of traffic, among {len(compared)} verified by traffic"


def _why_cheapest(rows: Sequence[Row], cheapest: Row | None) -> str:
    if cheapest is not None:
        return "lowest price an hour among verified targets"
    return "no verified target has a price" if any(_may_be_crowned(each) for each in rows) else _why_none(rows)


def _why_none(rows: Sequence[Row]) -> str:
    if any(each["status"] == "works" for each in rows):
        return f"no verified target answers {MIN_SUCCESS_RATE:.0%} of its requests"
    return f"no target has {MIN_SAMPLES} warm measurements: `emberank probe` makes them"
