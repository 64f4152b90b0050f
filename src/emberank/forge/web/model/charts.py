"""Numbers in, pictures as SVG text out. Pure: every text is escaped, colours are the stylesheet's, and nothing moves.

A picture has a title and a description that say what a reader who does not see it needs to know.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor, isclose, log10, sqrt
from typing import Literal

from emberank.forge.web.filters import plural

WIDTH, HEIGHT = 360, 210
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 14, 14, 44
_INSIDE, _TALL = WIDTH - _LEFT - _RIGHT, HEIGHT - _TOP - _BOTTOM
_MOST_BINS = 24
_LETTER, _LINE = 6.6, 12.0  # about how wide a letter and how high a line is

Mark = Literal["cached", "first", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """A span of values and the marks on it; from the first mark to the last."""

    marks: tuple[float, ...]
    unit: str = ""

    def at(self, value: float) -> float:
        """Where a value lies: 0 at the first mark, 1 at the last."""
        low, high = self.marks[0], self.marks[-1]
        return (value - low) / (high - low)


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """One start: when (Unix time), how long it took in seconds, and what kind it was. A failed one has no length."""

    at_s: float
    took_s: float | None
    mark: Mark


@dataclass(frozen=True, slots=True, kw_only=True)
class Spot:
    """One target among others: its price an hour and its median time."""

    name: str
    model_ms: float
    usd_per_hour: float
    selected: bool = False


def axis(low: float, high: float, unit: str = "", most: int = 5) -> Axis:
    """Round marks around two values, at most `most` steps apart."""
    if isclose(low, high, abs_tol=1e-9):
        margin = abs(low) * 0.05 or 1.0
        low, high = low - margin if low > 0 else low, high + margin
    raw = (high - low) / most
    power = 10.0 ** floor(log10(raw))
    step = next(power * each for each in (1, 2, 2.5, 5, 10) if power * each >= raw * (1 - 1e-9))
    first = floor(low / step + 1e-9)
    last = max(first + 1, ceil(high / step - 1e-9))
    return Axis(marks=tuple(round(place * step, 12) for place in range(first, last + 1)), unit=unit)


def bins_of(values: Sequence[float]) -> list[tuple[float, float, int]]:
    """Where each bar begins and ends, and how many values lie there. `values` is not empty."""
    across = axis(min(values), max(values))
    bins = max(4, min(_MOST_BINS, ceil(2 * sqrt(len(values)))))
    counts = [0] * bins
    for value in values:
        counts[min(bins - 1, int(across.at(value) * bins))] += 1
    low, width = across.marks[0], (across.marks[-1] - across.marks[0]) / bins
    return [(low + place * width, low + (place + 1) * width, number) for place, number in enumerate(counts)]


def histogram(name: str, title: str, values: Sequence[float], *, middle: tuple[float, float] | None, lines: Sequence[tuple[str, float]]) -> str:
    """How often a time (ms) fell where. `middle` is the median's interval; `lines` are named places such as p50. `values` is not empty."""
    across, bins = axis(min(values), max(values), "ms"), bins_of(values)
    counts = [number for _, _, number in bins]
    up = axis(0, max(counts), most=4 if max(counts) > 3 else max(counts))
    parts = [_frame(across, up, "model time, ms", "requests")]
    if middle is not None:
        left, right = _x(across, middle[0]), _x(across, middle[1])
        parts.append(f'<rect class="band" x="{left:.1f}" y="{_TOP}" width="{max(1.0, right - left):.1f}" height="{_TALL}"/>')
    width = _INSIDE / len(bins)
    for place, number in enumerate(counts):
        if number:
            height = up.at(number) * _TALL
            parts.append(
                f'<rect class="bar" x="{_LEFT + place * width + 0.5:.1f}" y="{_TOP + _TALL - height:.1f}" width="{width - 1:.1f}" height="{height:.1f}"/>'
            )
    parts += [_line(_x(across, value), label, row) for row, (label, value) in enumerate(lines)]
    said = ", ".join(f"{label} {value:.4g} ms" for label, value in lines)
    return _svg(name, title, f"{plural(len(values), 'time')} between {min(values):.4g} and {max(values):.4g} ms; {said}", parts)


def timeline(name: str, title: str, moments: Sequence[Moment], ends: tuple[str, str]) -> str:
    """What starts took, one mark each, oldest on the left. `ends` are the first and the last moment in words. `moments` is not empty."""
    first, last = moments[0].at_s, max(moments[-1].at_s, moments[0].at_s)
    took = [each.took_s for each in moments if each.took_s is not None]
    up = axis(0, max(took, default=1.0), "s", most=4)
    parts = [_frame(None, up, "", "seconds")]
    for each in moments:
        x = _LEFT + 8 + (_INSIDE - 16) * ((each.at_s - first) / (last - first) if last > first else 0.5)
        y = _TOP + _TALL - (0 if each.took_s is None else up.at(each.took_s)) * _TALL
        parts.append(_mark(each.mark, x, y))
    parts.append(f'<text class="tick" x="{_LEFT}" y="{HEIGHT - 26}">{escape(ends[0])}</text>')
    if ends[1] != ends[0]:
        parts.append(f'<text class="tick" x="{WIDTH - _RIGHT}" y="{HEIGHT - 26}" text-anchor="end">{escape(ends[1])}</text>')
    failed = sum(each.mark == "failed" for each in moments)
    said = f"between {min(took):.3g} and {max(took):.3g} seconds" if took else "none became ready"
    return _svg(name, title, f"{plural(len(moments), 'start')} from {ends[0]} to {ends[1]}, {said}, {failed} failed", parts)


def scatter(name: str, title: str, spots: Sequence[Spot], *, said: str = "", note: str = "") -> str:
    """Price an hour over model time: further left is faster, further down is cheaper. `spots` is not empty; `note` is written into the picture."""
    across = axis(0, max(spot.model_ms for spot in spots), "ms", most=4)
    up = axis(0, max(spot.usd_per_hour for spot in spots), "$", most=4)
    parts = [_frame(across, up, "model time p50, ms", "$ an hour")]
    taken: list[tuple[float, float, float]] = []
    for spot in sorted(spots, key=lambda spot: spot.model_ms):
        x, y = _x(across, spot.model_ms), _TOP + _TALL - up.at(spot.usd_per_hour) * _TALL
        chosen = " chosen" if spot.selected else ""
        parts.append(f'<circle class="dot cached{chosen}" cx="{x:.1f}" cy="{y:.1f}" r="5"/>')
        left, under = _free(x, y, len(spot.name) * _LETTER, taken)
        parts.append(f'<text class="name" x="{left:.1f}" y="{under:.1f}">{escape(spot.name)}</text>')
    if note:
        parts.append(f'<text class="label" x="{WIDTH - _RIGHT}" y="{_TOP - 3}" text-anchor="end">{escape(note)}</text>')
    places = "; ".join(f"{spot.name}: {spot.model_ms:.4g} ms at ${spot.usd_per_hour:g} an hour" for spot in spots)
    return _svg(name, title, places + (f".{said}" if said else ""), parts)


def _free(x: float, y: float, width: float, taken: list[tuple[float, float, float]]) -> tuple[float, float]:
    """A place for a name near a point, clear of the names that stand already, if there is one; it is taken from now on."""
    left = min(max(_LEFT, x - width / 2), max(_LEFT, WIDTH - _RIGHT - width))
    places = [y + off for off in (-9, 18, -23, 32, -37, 46) if _TOP + 8 <= y + off <= _TOP + _TALL - 2] or [y]
    clear = (under for under in places if all(abs(under - other) > _LINE or left > end or left + width < start for start, end, other in taken))
    under = next(clear, places[0])
    taken.append((left, left + width, under))
    return left, under


def _svg(name: str, title: str, description: str, parts: Sequence[str]) -> str:
    head = f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img" aria-labelledby="{name}-title {name}-desc">'
    words = f'<title id="{name}-title">{escape(title)}</title><desc id="{name}-desc">{escape(description)}</desc>'
    return head + words + "".join(parts) + "</svg>"


def _frame(across: Axis | None, up: Axis, below: str, beside: str) -> str:
    """Grid lines, marks and what they are of."""
    out = []
    for mark in up.marks:
        y = _TOP + _TALL - up.at(mark) * _TALL
        out.append(f'<line class="grid" x1="{_LEFT}" y1="{y:.1f}" x2="{WIDTH - _RIGHT}" y2="{y:.1f}"/>')
        out.append(f'<text class="tick" x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{mark:g}</text>')
    if across is not None:
        out += [f'<text class="tick" x="{_x(across, mark):.1f}" y="{HEIGHT - 26}" text-anchor="middle">{mark:g}</text>' for mark in across.marks]
        out.append(f'<text class="label" x="{_LEFT + _INSIDE / 2:.1f}" y="{HEIGHT - 8}" text-anchor="middle">{escape(below)}</text>')
    out.append(
        f'<text class="label" x="11" y="{_TOP + _TALL / 2:.1f}" text-anchor="middle" transform="rotate(-90 11 {_TOP + _TALL / 2:.1f})">{escape(beside)}</text>'
    )
    return "".join(out)


def _line(x: float, label: str, row: int) -> str:
    y, side = _TOP + 10 + 13 * row, ("end", -4) if x > WIDTH * 0.7 else ("start", 4)
    return (
        f'<line class="mark" x1="{x:.1f}" y1="{_TOP}" x2="{x:.1f}" y2="{_TOP + _TALL}"/>'
        f'<text class="name" x="{x + side[1]:.1f}" y="{y}" text-anchor="{side[0]}">{escape(label)}</text>'
    )


def _mark(mark: Mark, x: float, y: float) -> str:
    if mark == "failed":
        return f'<path class="cross" d="M{x - 4:.1f} {y - 4:.1f}l8 8m0 -8l-8 8"/>'
    return f'<circle class="dot {mark}" cx="{x:.1f}" cy="{y:.1f}" r="4.5"/>'


def _x(across: Axis, value: float) -> float:
    return _LEFT + across.at(value) * _INSIDE
