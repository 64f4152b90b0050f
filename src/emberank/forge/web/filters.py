"""A number in, what a page writes for it out. Knows no page; what was not measured is a dash, never a zero."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

NOTHING = "—"
_SHORT = ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k"))
_BYTES = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))  # powers of ten, as memory is given everywhere
_TURNING = dict.fromkeys([0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)])
_AGES = ((86_400.0, "day"), (3600.0, "hour"), (60.0, "minute"), (1.0, "second"))


def ms(value: float | None) -> str:
    """A time in milliseconds: `4.2 ms`, `186 ms`, `12.3 s`, `1m 33s`."""
    if value is None:
        return NOTHING
    if value < 999.5:
        return f"{value:.1f} ms" if value < 9.95 else f"{value:.0f} ms"
    if value < 59_950:
        return f"{value / 1000:.1f} s"
    minutes, seconds = divmod(round(value / 1000), 60)
    return f"{minutes}m {seconds}s" if minutes < 60 else f"{minutes // 60}h {minutes % 60}m"


def fine(value_ms: float | None) -> str:
    """A measured time with three digits, as its interval has: beside that, a rounded one could lie outside."""
    return ms(value_ms) if value_ms is None or value_ms >= 999.5 else f"{value_ms:.3g} ms"


def usd(value: float | None) -> str:
    """US dollars: to the cent, and below a cent with two figures that say something."""
    if value is None:
        return NOTHING
    if value == 0:
        return "$0"
    if abs(value) >= 0.01:
        return f"${value:,.2f}"
    text = f"{value:.12f}".rstrip("0")
    leading = len(text) - len(text.lstrip("-0."))
    return f"${value:.{min(12, leading)}f}"


def bytes_(value: float | None) -> str:
    """Bytes: `15.1 GB`."""
    if value is None:
        return NOTHING
    for size, unit in _BYTES:
        if value >= size:
            return f"{value / size:.1f} {unit}"
    return f"{value:.0f} B"


def count(value: float | None) -> str:
    """A whole number with its thousands apart: `8,192`."""
    return NOTHING if value is None else f"{value:,.0f}"


def short(value: float | None) -> str:
    """A large number in a few letters: `1.2 B`, `33 M`."""
    if value is None:
        return NOTHING
    for size, unit in _SHORT:
        if value >= size:
            return f"{f'{value / size:.1f}'.removesuffix('.0')} {unit}"
    return f"{value:.0f}"


def pct(value: float | None, digits: int = 0) -> str:
    """A share of one: `98%`."""
    return NOTHING if value is None else f"{value * 100:.{digits}f}%"


def ago(at_s: float | None, now_s: float) -> str:
    """How long before `now_s` a Unix time was: `3 minutes ago`."""
    if at_s is None:
        return "never"
    age_s = now_s - at_s
    for size_s, unit in _AGES:
        if age_s >= size_s:
            number = int(age_s // size_s)
            return f"{number} {unit}{'' if number == 1 else 's'} ago"
    return "now"


def plural(value: float, one: str, many: str = "") -> str:
    """A number and its noun: `1 model`, `3 models`."""
    return f"{count(value)} {one if value == 1 else many or one + 's'}"


def segment(value: object) -> str:
    """Text as one segment of a path."""
    return quote(str(value), safe="")


def straight(value: object) -> str:
    """Text without the signs that turn the direction of what follows them: in a page's title nothing else could keep them in."""
    return str(value).translate(_TURNING)


FILTERS: Mapping[str, Callable[..., Any]] = {
    "ms": ms,
    "fine": fine,
    "usd": usd,
    "bytes_": bytes_,
    "count": count,
    "short": short,
    "pct": pct,
    "ago": ago,
    "plural": plural,
    "segment": segment,
    "straight": straight,
}
