"""A version's target table and a selection in, the figures that a reader looks for first out: how fast, how reliable, how soon, at what price. Knows no HTML.

They are of the selected target; where none is selected, of the fastest verified one, else of the first that can run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from emberank.forge.answers import Row
from emberank.forge.costs import usd_text
from emberank.forge.web.filters import count, fine, ms, pct, plural, usd
from emberank.forge.web.model.selection import Selection

_MISSING = "not measured"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One figure with its unit; `note` says of how many. `known` is false where nothing was measured."""

    name: str
    value: str
    note: str
    known: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Glance:
    """The figures of one target. `of` names it where it is not the selected one."""

    of: str
    figures: tuple[Figure, ...]


def glance(table: Row, selection: Selection) -> Glance | None:
    """What stands at the head of the page; None where no target can be meant."""
    row = _meant(table, selection)
    if row is None:
        return None
    exact = (row["gpu_type"], row["region"]) == (selection.gpu_type, selection.region)
    of = "" if exact else f"{row['gpu_type']} in {row['region']}"
    return Glance(of=of, figures=(_speed(row), _reliability(row), _cold_start(row), _price(row), _verified(table)))


def _meant(table: Row, selection: Selection) -> Row | None:
    rows: Sequence[Row] = table["rows"]
    fits = [row for row in rows if selection.gpu_type in ("", row["gpu_type"]) and selection.region in ("", row["region"])]
    fastest = table["fastest_supported_target"]
    best = next((row for row in fits if fastest and (row["gpu_type"], row["region"]) == (fastest["gpu_type"], fastest["region"])), None)
    works = next((row for row in fits if row["status"] == "works"), None)
    can = next((row for row in fits if row["runnable"]), None)
    return best or works or can or (fits[0] if fits and selection.pinned else None)


def _speed(row: Row) -> Figure:
    if not row["model_ms_n"]:
        return Figure(name="Model time, p50", value=_MISSING, note="", known=False)
    kind = {"probe": "probe runs", "traffic": "requests"}[row["measured_by"]]
    tail = f"; p95 {fine(row['model_ms_p95'])}" if row["model_ms_p95"] is not None else ""
    return Figure(name="Model time, p50", value=fine(row["model_ms_p50"]), note=f"n = {count(row['model_ms_n'])} {kind}{tail}")


def _reliability(row: Row) -> Figure:
    if not row["observed_success_rate_n"]:
        return Figure(name="Success rate", value=_MISSING, note="", known=False)
    return Figure(name="Success rate", value=pct(row["observed_success_rate"]), note=f"n = {plural(row['observed_success_rate_n'], 'request')}")


def _cold_start(row: Row) -> Figure:
    if row["cold_start_ms_p50_n"]:
        return Figure(name="Cold start, p50", value=ms(row["cold_start_ms_p50"]), note=f"n = {plural(row['cold_start_ms_p50_n'], 'start')}")
    if row["first_run_ms_n"]:
        return Figure(name="Cold start", value=ms(row["first_run_ms"]), note=f"first run, n = {count(row['first_run_ms_n'])}")
    return Figure(name="Cold start", value=_MISSING, note="", known=False)


def _price(row: Row) -> Figure:
    price, cost = row["cost_per_gpu_hour_usd"], row["estimated_warm_request_cost_usd"]
    if price is None:
        return Figure(name="Price", value="not known", note="", known=False)
    return Figure(name="Price", value=f"{usd(price)} per hour", note="" if cost is None else f"about {usd_text(cost)} per request")


def _verified(table: Row) -> Figure:
    verified, _, rest = str(table["readiness"]).partition(" · ")
    return Figure(name="Verified targets", value=verified.removesuffix(" verified"), note=rest)
