"""A reliability answer or a run estimate in, plain text for a terminal out. Reads the JSON, so that it also shows what another machine answered.

A table is never wider than asked: what matters least is left out first, and then the longest texts are cut.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from textwrap import wrap
from typing import Any, NamedTuple

from emberank.forge.costs import usd_text

WIDTH = 100
NOTHING = "-"
_GAP = "  "
_MOST_TARGET = 30  # a longer one is cut before any column is left out for it
_CROWNS = (
    ("fastest", "*", "fastest_supported_target", "fastest_reason"),
    ("lowest cost", "$", "lowest_cost_supported_target", "lowest_cost_reason"),
)

Row = Mapping[str, Any]


class Column(NamedTuple):
    """A heading, what it shows of a row, and its place in the queue of columns that are left out: 0 stays."""

    title: str
    cell: Callable[[Row], str]
    leaves: int = 0
    right: bool = True


def as_table(answer: Row, width: int = WIDTH) -> str:
    """The target table: a line on the whole, one row a target, and why what is not works is not."""
    rows = answer["rows"]
    # An older forge does not say.
    label = " (random weights)" if answer.get("random_weights") else ""
    title = f"{answer['slug']} {answer['model_version']}{label}: {answer['readiness']}"
    if not rows:
        return title
    table = _lines(_fitting(_columns(answer), rows, width), rows, width)
    return "\n".join([title, "", *table, "", *_notes(answer, width)])


def as_lines(found: Row, width: int = WIDTH) -> str:
    """A run estimate: what is asked, then one figure a line."""
    target = f"{found['gpu_type']}/{found['region']}"
    payload = found["payload"]["shape"] or "unknown payload"
    samples, confidence = found["samples"], found["confidence"]
    error = "" if found["error"] is None else f", off by {found['error']:.0%} (n={found['error_n']})"
    pairs = [
        ("warm request", _both(found["estimated_warm_request_ms"], found["estimated_warm_request_cost_usd"]), f"n={samples['model_ms']}, {confidence}{error}"),
        (
            "first cold request",
            _both(found["estimated_cold_request_ms"], found["estimated_cold_request_cost_usd"]),
            f"n={samples['cold_start_ms']}, {found['cold_confidence']}",
        ),
        ("1,000 passages", _usd(found["estimated_usd_per_1k_passages"]), ""),
        ("an hour", _usd(found["cost_per_gpu_hour_usd"]), f"{found['price_source']}, {found['price_date']}" if found["price_source"] else "no price known"),
        ("staying warm after", _usd(found["idle_tail_cost_usd"]), "" if found["idle_after_s"] is None else _ms(found["idle_after_s"] * 1e3)),
    ]
    shown = [(name, value, note) for name, value, note in pairs if value != NOTHING or name == "warm request"]
    wide = [max(len(line[index]) for line in shown) for index in range(2)]
    lines = [f"{name.ljust(wide[0])}  {value.ljust(wide[1])}  {note}".rstrip() for name, value, note in shown]
    title = f"{found['slug']} {found['model_version']} on {target}: {payload}"
    return "\n".join(line for text in (title, *lines, found["message"]) for line in _wrapped(text, width))


def _columns(answer: Row) -> list[Column]:
    return [
        Column("target", lambda row: _target(row) + _marks(answer, row), right=False),
        Column("status", lambda row: row["status"], right=False),
        Column("memory", lambda row: _gb(row["memory_peak_bytes"]), leaves=5),
        Column("start", lambda row: _start(row)),
        Column("model p50", lambda row: _ms(row["model_ms_p50"])),
        Column("95 %", lambda row: _range(row["model_ms_p50_interval"]), leaves=4),
        Column("p95", lambda row: _ms(row["model_ms_p95"]), leaves=2),
        Column("p99", lambda row: _ms(row["model_ms_p99"]), leaves=1),
        Column("n", lambda row: str(row["model_ms_n"])),
        Column("speed", lambda row: f"{row['relative']['speed_percent']}%" if row["relative"] else NOTHING, leaves=3),
        Column("tok/s", lambda row: NOTHING if row["tokens_per_s"] is None else f"{row['tokens_per_s']:.0f}", leaves=6),
        Column("$/h", lambda row: _usd(row["cost_per_gpu_hour_usd"])),
        Column("ok", lambda row: NOTHING if row["observed_success_rate"] is None else f"{row['observed_success_rate']:.0%}"),
    ]


def _fitting(columns: Sequence[Column], rows: Sequence[Row], width: int) -> list[Column]:
    """The columns there is room for; one in which nothing was measured has none."""
    kept = [column for column in columns if not column.leaves or any(column.cell(row) != NOTHING for row in rows)]
    for column in sorted((column for column in kept if column.leaves), key=lambda column: column.leaves):
        if sum(_widths(kept, rows)) + len(_GAP) * (len(kept) - 1) <= width:
            break
        kept.remove(column)
    return kept


def _lines(columns: Sequence[Column], rows: Sequence[Row], width: int) -> list[str]:
    widths = _widths(columns, rows)
    widths[0] = max(8, widths[0] - max(0, sum(widths) + len(_GAP) * (len(columns) - 1) - width))
    table = [[column.title for column in columns], *([column.cell(row) for column in columns] for row in rows)]
    return [_line(columns, cells, widths) for cells in table]


def _line(columns: Sequence[Column], cells: Sequence[str], widths: Sequence[int]) -> str:
    placed = []
    for column, cell, width in zip(columns, cells, widths, strict=True):
        text = _cut(cell, width)
        placed.append(text.rjust(width) if column.right else text.ljust(width))
    return _GAP.join(placed).rstrip()


def _widths(columns: Sequence[Column], rows: Sequence[Row]) -> list[int]:
    widths = [max(len(column.title), *(len(column.cell(row)) for row in rows)) for column in columns]
    return [min(widths[0], _MOST_TARGET), *widths[1:]]


def _notes(answer: Row, width: int) -> list[str]:
    notes = []
    for name, mark, key, why in _CROWNS:
        found = answer[key]
        unclear = " (the next is within the doubt)" if found and found.get("clear") is False else ""
        notes.append(f"{mark} {name}: {_target(found) if found else 'none'}{unclear}: {answer[why]}")
    notes += [f"{_target(row)}: {row['message']}" for row in answer["rows"] if row["message"]]
    if any(_start(row).startswith("(") for row in answer["rows"]):
        notes.append("a start in brackets is the first, uncached one")
    shapes = sorted({f"{row['payload_shape']} ({row['measured_by']})" for row in answer["rows"] if row["payload_shape"]})
    if shapes:
        notes.append("measured with " + "; ".join(shapes))
    return [line for note in notes for line in _wrapped(note, width)]


def _marks(answer: Row, row: Row) -> str:
    crowned = "".join(mark for _, mark, key, _ in _CROWNS if answer[key] and _target(answer[key]) == _target(row))
    return f" {crowned}" if crowned else ""


def _target(row: Row) -> str:
    return f"{row['gpu_type']}/{row['region']}" if row["region"] else row["gpu_type"]


def _start(row: Row) -> str:
    if row["cold_start_ms_p50"] is None and row["first_run_ms"] is not None:
        return f"({_ms(row['first_run_ms'])})"
    return _ms(row["cold_start_ms_p50"])


def _ms(ms: float | None) -> str:
    """186 ms, 1.50 s, 12.3 s, 1m 33s."""
    if ms is None:
        return NOTHING
    if ms < 999.5:
        return f"{ms:.0f} ms" if ms >= 9.995 else f"{ms:.2f} ms"
    if ms < 59_950:
        return f"{ms / 1e3:.1f} s" if ms >= 9_995 else f"{ms / 1e3:.2f} s"
    minutes, seconds = divmod(round(ms / 1e3), 60)
    return f"{minutes}m {seconds:02d}s"


def _range(interval: Sequence[float] | None) -> str:
    return NOTHING if interval is None else f"{interval[0]:.4g}..{interval[1]:.4g}"


def _gb(amount_bytes: float | None) -> str:
    return NOTHING if amount_bytes is None else f"{amount_bytes / 1e9:.1f} GB"


def _usd(usd: float | None) -> str:
    return NOTHING if usd is None else usd_text(usd)


def _both(ms: float | None, usd: float | None) -> str:
    return NOTHING if ms is None else _ms(ms) + ("" if usd is None else f", {usd_text(usd)}")


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def _wrapped(text: str, width: int) -> list[str]:
    return [line.rstrip() for line in wrap(text, width, subsequent_indent=_GAP, drop_whitespace=False, break_on_hyphens=False)]
