"""The days of a month in, a picture of stacked bars as SVG text out. Pure: every text is escaped, colours are the stylesheet's.

What the colours say stands beside the picture and in the table below it; the picture's description has the sums.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from math import ceil

from emberank.forge.web.model.charts import Axis, axis

_WIDTH, _HEIGHT = 360, 190
_RIGHT, _TOP, _BOTTOM = 6, 10, 24
_TALL = _HEIGHT - _TOP - _BOTTOM
_LETTER = 7.4  # how wide a digit is in the widest of our fonts
_GAP = 1.5
_MARKED = (1, 8, 15, 22, 29)  # days with a number below them


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One colour of the bars, by its name in the stylesheet, and its value on each day."""

    colour: str
    values: Sequence[float]


def month_chart(
    name: str,
    title: str,
    layers: Sequence[Layer],
    said: Callable[[float], str],
    tick: Callable[[float], str],
    day: Callable[[int], str],
    *,
    whole: bool = False,
) -> str:
    """Bars of a month; `said` writes a value, `tick` one beside the axis, and `day` the name of a day (from 0). Empty where there is nothing to draw.

    `whole`: the values are counts, and so are the marks of the axis.
    """
    days = len(layers[0].values) if layers else 0
    totals = [sum(layer.values[index] for layer in layers) for index in range(days)]
    if not any(totals):
        return ""
    most = max(totals)
    up = _up(most, whole)
    left = 12 + _LETTER * max(len(tick(mark)) for mark in up.marks)
    parts = []
    for mark in up.marks:
        y = _TOP + _TALL - up.at(mark) * _TALL
        parts.append(f'<line class="grid" x1="{left:.1f}" y1="{y:.1f}" x2="{_WIDTH - _RIGHT}" y2="{y:.1f}"/>')
        parts.append(f'<text class="tick" x="{left - 5:.1f}" y="{y + 4:.1f}" text-anchor="end">{escape(tick(mark))}</text>')
    wide = (_WIDTH - left - _RIGHT) / days
    for index, total in enumerate(totals):
        x = left + index * wide
        if index + 1 in _MARKED:
            parts.append(f'<text class="tick" x="{x + wide / 2:.1f}" y="{_HEIGHT - 7}" text-anchor="middle">{index + 1}</text>')
        if total:
            parts.append(_bar(layers, index, x, wide - _GAP, up.marks[-1], f"{day(index)}: {said(total)}"))
    peak = totals.index(most)
    words = f"{said(sum(totals))} in all; the most on {day(peak)}: {said(most)}. By day in the table below."
    head = f'<svg class="chart usage-chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}" role="img" aria-labelledby="{name}-title {name}-desc">'
    return f'{head}<title id="{name}-title">{escape(title)}</title><desc id="{name}-desc">{escape(words)}</desc>{"".join(parts)}</svg>'


def _up(most: float, whole: bool) -> Axis:
    """The axis of values up to `most`: about three steps, of whole numbers where half of one would mean nothing."""
    tried = (axis(0.0, most, most=steps) for steps in (3, 2, 1))
    return next((one for one in tried if not whole or all(mark.is_integer() for mark in one.marks)), axis(0.0, ceil(most), most=1))


def _bar(layers: Sequence[Layer], index: int, x: float, wide: float, top: float, words: str) -> str:
    """One day's bar from the bottom up, the first layer lowest. Its hint is the day's sum."""
    out, under = [f"<g><title>{escape(words)}</title>"], float(_TOP + _TALL)
    for layer in layers:
        height = layer.values[index] / top * _TALL
        if height > 0:
            under -= height
            out.append(f'<rect class="usage-{layer.colour}" x="{x:.1f}" y="{under:.2f}" width="{wide:.1f}" height="{height:.2f}"/>')
    return "".join((*out, "</g>"))
