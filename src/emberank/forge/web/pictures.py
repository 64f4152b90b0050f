"""A version's samples and its target table in, its pictures out, or a sentence where there is nothing to draw. Draws nothing itself: charts.py does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from emberank.forge.answers import Row
from emberank.forge.figures import headline_rows, measured, model_times
from emberank.forge.samples import WEIGHTS_FROM
from emberank.forge.targets import Target
from emberank.forge.web.charts import Mark, Moment, Spot, histogram, scatter, timeline
from emberank.forge.web.filters import plural
from emberank.forge.windows import REASONS, Windows

_MOST_MARKS = 200  # of starts: more would be a smear
_DAY_S = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One picture with its heading and what to read off it; without data `svg` is empty, and `caption` says so."""

    name: str
    title: str
    svg: str
    caption: str


def pictures(windows: Windows, slug: str, version: str, table: Row, pinned: Target | None) -> tuple[Picture, ...]:
    """Latency and starts of one target, and all targets by cost and speed. The target is the pinned one if it was measured, else the first row that was."""
    rows = table["rows"]
    timed = _first(rows, pinned, "model_ms_n")
    begun = _first(rows, pinned, "start_success_rate_n")
    return (_latency(windows, slug, version, timed), _starts(windows, slug, version, begun), _cost_and_speed(table, pinned))


def _first(rows: Sequence[Row], pinned: Target | None, name: str) -> Row | None:
    found = [row for row in rows if row[name]]
    return next((row for row in found if (row["gpu_type"], row["region"]) == pinned), found[0] if found else None)


def _latency(windows: Windows, slug: str, version: str, row: Row | None) -> Picture:
    title = "How model times are spread"
    if row is None:
        return Picture(name="latency", title=title, svg="", caption="No warm request was measured yet: a probe, or the first requests, will fill this picture.")
    target = Target(row["gpu_type"], row["region"])
    times = measured(model_times(headline_rows(windows.of(slug, version, target, row["measured_by"])))[0]).tolist()
    if not times:
        return Picture(name="latency", title=title, svg="", caption="No warm model time was measured yet.")
    interval = row["model_ms_p50_interval"]
    lines = [(word, row[f"model_ms_{word}"]) for word in ("p50", "p95", "p99") if row[f"model_ms_{word}"] is not None]
    svg = histogram("latency", f"Model times on {target}", times, middle=None if interval is None else (interval[0], interval[1]), lines=lines)
    what = "probe" if row["measured_by"] == "probe" else "request"
    shape = f" of {row['payload_shape']}" if row["payload_shape"] else ""
    band = "; the band is the median's 95 % interval" if interval is not None else "; too few for an interval of the median"
    return Picture(name="latency", title=title, svg=svg, caption=f"{target}: n = {plural(len(times), 'warm ' + what)}{shape}{band}.")


def _starts(windows: Windows, slug: str, version: str, row: Row | None) -> Picture:
    title = "Cold starts over time"
    target = None if row is None else Target(row["gpu_type"], row["region"])
    runs = None if target is None else windows.of(slug, version, target, "start").rows()
    if runs is not None:
        runs = runs.compress(runs["reason"] != REASONS.index("no_capacity"))  # it says nothing of the target
    if runs is None or not len(runs):
        return Picture(name="starts", title=title, svg="", caption="No start was measured yet.")
    latest = runs[-_MOST_MARKS:]
    moments = [_moment(float(one["at_s"]), bool(one["ok"]), float(one["cold_start_ms"]), int(one["weights_from"])) for one in latest]
    ends = _ends(moments[0].at_s, moments[-1].at_s)
    svg = timeline("starts", f"Cold starts on {target}", moments, ends)
    more = f" (the latest {_MOST_MARKS} of {len(runs)})" if len(runs) > _MOST_MARKS else ""
    return Picture(name="starts", title=title, svg=svg, caption=f"{target}: n = {plural(len(moments), 'start')}{more}. {_legend(moments)}")


def _moment(at_s: float, ok: bool, took_ms: float, weights_from: int) -> Moment:
    if not ok or np.isnan(took_ms):
        return Moment(at_s=at_s, took_s=None, mark="failed")
    mark: Mark = "first" if weights_from == WEIGHTS_FROM.index("network") else "cached"
    return Moment(at_s=at_s, took_s=took_ms / 1e3, mark=mark)


def _legend(moments: Sequence[Moment]) -> str:
    words = {"cached": "filled: weights were on this machine", "first": "ring: first run, weights fetched first", "failed": "cross: failed"}
    text = "; ".join(words[mark] for mark in ("cached", "first", "failed") if any(each.mark == mark for each in moments))
    return text[:1].upper() + text[1:] + "."


def _ends(first_s: float, last_s: float) -> tuple[str, str]:
    form = "%d %b %H:%M" if last_s - first_s < 2 * _DAY_S else "%d %b %Y"
    first, last = (datetime.fromtimestamp(at_s, UTC).strftime(form) for at_s in (first_s, last_s))
    return first, last


def _cost_and_speed(table: Row, pinned: Target | None) -> Picture:
    """Only rows that measured the same thing as the baseline stand on one picture."""
    title = "Cost against speed"
    rows = [row for row in table["rows"] if row["relative"] is not None and row["cost_per_gpu_hour_usd"] is not None and row["model_ms_p50"] is not None]
    if len(rows) < 2:
        have = "one target" if rows else "no target"
        return Picture(name="cost", title=title, svg="", caption=f"It takes two targets with the same payload measured and a price; {have} has them so far.")
    spots = [
        Spot(
            name=f"{row['gpu_type']} {row['region']}",
            model_ms=row["model_ms_p50"],
            usd_per_hour=row["cost_per_gpu_hour_usd"],
            selected=(row["gpu_type"], row["region"]) == pinned,
        )
        for row in rows
    ]
    least = min(row["model_ms_n"] for row in rows)
    return Picture(
        name="cost",
        title=title,
        svg=scatter("cost", title, spots),
        caption=f"n = {len(spots)} targets, at least {least} runs each. Left is faster, down is cheaper.",
    )
