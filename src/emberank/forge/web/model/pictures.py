"""A version's samples and its target table in, its pictures out, or a sentence where there is nothing to draw. Draws nothing itself: charts.py does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from emberank.forge.answers import Row
from emberank.forge.catalog import Quality, Version
from emberank.forge.figures import headline_rows, measured, model_times
from emberank.forge.samples import WEIGHTS_FROM
from emberank.forge.targets import Target
from emberank.forge.web.filters import count, fine, ms, plural, usd
from emberank.forge.web.model.charts import Mark, Moment, Spot, bins_of, histogram, scatter, timeline
from emberank.forge.windows import REASONS, Windows

_MOST_MARKS = 200  # of starts: more would be a smear
_MOST_ROWS = 40  # of them in the table
_DAY_S = 86_400.0
_WORDS: dict[Mark, str] = {"cached": "weights were here", "first": "first run, weights fetched", "failed": "failed"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One picture with its heading, what to read off it, and the same as a table; without data `svg` is empty, and `caption` says so."""

    name: str
    title: str
    svg: str
    caption: str
    heads: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()


def pictures(windows: Windows, slug: str, version: Version, table: Row, pinned: Target | None) -> tuple[Picture, ...]:
    """Latency and starts of one target, and all targets by cost and speed. The target is the pinned one if it was measured, else the first row that was."""
    rows, name = table["rows"], version.name
    timed = _first(rows, pinned, "model_ms_n")
    begun = _first(rows, pinned, "start_success_rate_n")
    return (_latency(windows, slug, name, timed), _starts(windows, slug, name, begun), _cost_and_speed(table, pinned, version.quality))


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
    cells = tuple((f"{fine(low)} to {fine(high)}", count(number)) for low, high, number in bins_of(times) if number)
    caption = f"{target}: n = {plural(len(times), 'warm ' + what)}{shape}{band}."
    return Picture(name="latency", title=title, svg=svg, caption=caption, heads=("Model time", "Requests"), rows=cells)


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
    moments.sort(key=lambda one: one.at_s)  # several gateways' samples come as they come
    ends = _ends(moments[0].at_s, moments[-1].at_s)
    svg = timeline("starts", f"Cold starts on {target}", moments, ends)
    more = f" (the latest {_MOST_MARKS} of {len(runs)})" if len(runs) > _MOST_MARKS else ""
    caption = f"{target}: n = {plural(len(moments), 'start')}{more}. {_legend(moments)}"
    shown = [(_at(one.at_s), "—" if one.took_s is None else ms(one.took_s * 1e3), _WORDS[one.mark]) for one in moments[-_MOST_ROWS:]]
    return Picture(name="starts", title=title, svg=svg, caption=caption, heads=("Began (UTC)", "Took", "Kind"), rows=tuple(reversed(shown)))


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


def _at(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _judged(quality: Sequence[Quality]) -> str:
    """Quality belongs to the weights: it is the same on every target, and what differs from target to target is cost and speed."""
    said = (f"{one.metric} {one.value:.4g} on {one.data}, {plural(one.queries, 'query', 'queries')}" for one in quality)
    return f" At {' and '.join(said)}, on every target alike." if quality else " Its quality was not measured: `emberank eval` does."


def _cost_and_speed(table: Row, pinned: Target | None, quality: Sequence[Quality]) -> Picture:
    """Only rows that measured the same thing as the baseline stand on one picture."""
    title = "Cost against speed"
    rows = [row for row in table["rows"] if row["relative"] is not None and row["cost_per_gpu_hour_usd"] is not None and row["model_ms_p50"] is not None]
    if len(rows) < 2:
        have = "one target" if rows else "no target"
        return Picture(
            name="cost",
            title=title,
            svg="",
            caption=f"It takes two targets with the same payload measured and a price; {have} has them so far.{_judged(quality)}",
        )
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
    words = _judged(quality)
    figure = "" if not quality else f"{quality[0].metric} {quality[0].value:.4g}"
    cells = []
    for row in rows:
        warm = usd(row["estimated_warm_request_cost_usd"])
        cells.append((f"{row['gpu_type']} in {row['region']}", fine(row["model_ms_p50"]), usd(row["cost_per_gpu_hour_usd"]), warm, figure or "not measured"))
    return Picture(
        name="cost",
        title=title,
        svg=scatter("cost", title, spots, said=words, note=figure),
        caption=f"n = {len(spots)} targets, at least {least} runs each. Left is faster, down is cheaper.{words}",
        heads=("Target", "Model time p50", "An hour", "A request", "Quality"),
        rows=tuple(cells),
    )
