"""A version's target table as the API answers it in, the lines of the page's two tables out. Compares only what others published; our own comparisons are the API's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from emberank.forge.answers import Row
from emberank.forge.costs import usd_text
from emberank.forge.standing import SENTENCES
from emberank.forge.web.filters import bytes_, count, fine, ms, pct
from emberank.forge.web.model.remedies import remedy
from emberank.forge.web.model.selection import Selection

MOST_N_SHOWN = 3  # names of failures


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One target here. `row` is the API's; links are addresses of this page, empty where there is nothing to link to.

    Lines of one `basis` measured the same thing and may be compared: by `time_ms`, of probes, or by `rate`, the tokens a second of traffic.
    """

    row: Row
    name: str
    href: str
    baseline_href: str
    selected: bool
    is_baseline: bool
    chips: tuple[str, ...]
    interval: str  # of the median model time
    details: tuple[tuple[str, str], ...]
    basis: str
    time_ms: float | None
    rate: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedLine:
    """One target as somebody else published it; `here` is its status in this installation."""

    gpu_type: str
    region: str
    figures: Row
    relative: str
    usd_per_hour: float | None
    price_source: str
    here: str
    baseline_href: str


def lines(table: Row, selection: Selection) -> tuple[Line, ...]:
    """The targets that are not known from others only."""
    return tuple(_line(row, table, selection) for row in table["rows"] if not _only_published(row))


def published_lines(table: Row, selection: Selection) -> tuple[PublishedLine, ...]:
    """What others published, relative to the chosen row of theirs, else to their fastest."""
    rows = [row for row in table["rows"] if row["published"] is not None]
    rows.sort(key=lambda row: (row["gpu_type"], row["region"]))
    timed = [row for row in rows if _speaks(row)]
    root = next((row for row in timed if f"{row['gpu_type']}/{row['region']}".lower() == selection.baseline.lower()), None)
    root = root or min(timed, key=lambda row: float(row["published"]["model_ms_p50"]), default=None)
    return tuple(
        PublishedLine(
            gpu_type=row["gpu_type"],
            region=row["region"],
            figures=row["published"],
            relative=_relative(row, root),
            usd_per_hour=row["cost_per_gpu_hour_usd"],
            price_source=_price_source(row),
            here=row["status"],
            baseline_href=selection.against(row["gpu_type"], row["region"]).page + "#published" if _speaks(row) and row is not root else "",
        )
        for row in rows
    )


def _line(row: Row, table: Row, selection: Selection) -> Line:
    target = row["gpu_type"], row["region"]
    base = table["baseline"]
    is_baseline = base is not None and (base["gpu_type"], base["region"]) == target
    return Line(
        row=row,
        name=" in ".join(filter(None, target)),
        href=selection.at(table["model_version"], *target).page if row["runnable"] else "",
        baseline_href=selection.against(*target).page + "#targets" if row["model_ms_n"] and not is_baseline else "",
        selected=target == (selection.gpu_type, selection.region),
        is_baseline=is_baseline,
        chips=_chips(table, target),
        interval=_interval(row["model_ms_p50_interval"]),
        details=_details(row),
        basis=row["measured_by"] + (f": {row['payload_shape']}" if row["measured_by"] == "probe" else "") if row["measured_by"] else "",
        time_ms=row["model_ms_p50"] if row["measured_by"] == "probe" else None,
        rate=row["tokens_per_s"] if row["measured_by"] == "traffic" else None,
    )


def _chips(table: Row, target: tuple[str, str]) -> tuple[str, ...]:
    """What a line may be called. Where the intervals of the first two overlap, none is called the fastest: who looks for it finds the reason above the table."""
    fastest, cheapest = table["fastest_supported_target"], table["lowest_cost_supported_target"]
    crowned = (("fastest", fastest if fastest is None or fastest["clear"] is not False else None), ("most affordable", cheapest))
    return tuple(name for name, one in crowned if one is not None and (one["gpu_type"], one["region"]) == target)


def _details(row: Row) -> tuple[tuple[str, str], ...]:
    """What does not fit into a cell, each with its name; only what is known."""
    found: list[tuple[str, str]] = [("Reason", row["message"] or (SENTENCES[row["reason"]] if row["reason"] else ""))]
    found.append(("What to do", remedy(row["reason"])))
    failures = ", ".join(f"{reason} ({number})" for reason, number in sorted(row["failure_reasons"].items(), key=lambda each: -each[1])[:MOST_N_SHOWN])
    found.append(("Failures seen", failures))
    if row["measured_by"]:
        of = {"probe": "probes", "traffic": "requests of users"}[row["measured_by"]]
        shape = f" of {row['payload_shape']}" if row["payload_shape"] else ""
        found.append(("Measured by", f"{of}{shape}"))
    for which in ("p50", "p95", "p99"):
        interval = _interval(row[f"model_ms_{which}_interval"])
        value = fine(row[f"model_ms_{which}"]) if row[f"model_ms_{which}"] is not None else ""
        within = f", 95 % in {interval}" if interval else ""
        found.append((f"Model time {which}", _with_n(value + within, row["model_ms_n"]) if value else ""))
    found.append(("Whole request p50", _with_n(ms(row["request_ms_p50"]), row["request_ms_n"]) if row["request_ms_n"] else ""))
    found.append(
        ("Requests that succeeded", _with_n(pct(row["observed_success_rate"]), row["observed_success_rate_n"]) if row["observed_success_rate_n"] else "")
    )
    found += _starts(row)
    found.append(("Most memory seen", _with_n(bytes_(row["memory_peak_bytes"]), row["memory_peak_n"]) if row["memory_peak_n"] else ""))
    cost = row["estimated_warm_request_cost_usd"]
    found.append(("Cost of such a request", "" if cost is None else usd_text(cost)))
    found.append(("Price", _price_source(row)))
    found.append(("Latest probe", _utc(row["last_probe_at"])))
    found.append(("Latest request", _utc(row["last_traffic_at"])))
    return tuple((name, text) for name, text in found if text)


def _starts(row: Row) -> list[tuple[str, str]]:
    found = [
        (f"Start, weights from {source}", _with_n(ms(starts["cold_start_ms_p50"]), starts["cold_start_ms_n"])) for source, starts in row["cold_starts"].items()
    ]
    found.append(("First, uncached start", _with_n(ms(row["first_run_ms"]), row["first_run_ms_n"]) if row["first_run_ms_n"] else ""))
    found.append(("Starts that became ready", _with_n(pct(row["start_success_rate"]), row["start_success_rate_n"]) if row["start_success_rate_n"] else ""))
    return found


def _utc(moment: str | None) -> str:
    return "" if moment is None else moment[:19].replace("T", " ") + " UTC"


def _interval(ends: Sequence[float] | None) -> str:
    """Both ends, with three digits."""
    if ends is None:
        return ""
    return f"{ends[0]:.3g} to {ends[1]:.3g} ms" if ends[1] < 999.5 else f"{ends[0] / 1e3:.3g} to {ends[1] / 1e3:.3g} s"


def _with_n(text: str, n: int) -> str:
    return f"{text}, n = {count(n)}"


def _only_published(row: Row) -> bool:
    """Known from others only: no pool here provides it, and nothing was ever measured."""
    measured: Any = row["measured_by"] or row["start_success_rate_n"] or row["failure_reasons"]
    return row["published"] is not None and not row["runnable"] and not measured and row["message"].startswith("no pool here provides")


def _speaks(row: Row) -> bool:
    return bool(row["published"]["status"] == "works" and row["published"]["model_ms_p50"])


def _relative(row: Row, root: Row | None) -> str:
    if root is None or not _speaks(row):
        return ""
    speed = round(root["published"]["model_ms_p50"] / row["published"]["model_ms_p50"] * 100)
    return f"{speed}%" + (f" · {speed - 100:+d}%" if row is not root else "")


def _price_source(row: Row) -> str:
    if row["price_source"] is None:
        return ""
    return f"{row['price_source']}, {row['price_date']}"


def price_sources(published: Sequence[PublishedLine]) -> tuple[str, ...]:
    """Where the prices of the lines are from, and of when; each once."""
    return tuple(dict.fromkeys(line.price_source for line in published if line.price_source))


def sources(published: Sequence[PublishedLine]) -> tuple[str, ...]:
    """Who published the lines, and when; each once."""
    return tuple(dict.fromkeys(f"{line.figures['source']}, {line.figures['published']}" for line in published))
