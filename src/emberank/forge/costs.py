"""Milliseconds, a price per hour in; US dollars out, and how an amount is shown. Knows no target and where no price comes from.

A request costs what the target costs while the model works for it. A cold request costs the start as well, for the target is taken from its
beginning. Waiting in a queue costs nothing: meanwhile the target works for others.
"""

from __future__ import annotations

from math import floor, log10

MS_PER_HOUR = 3.6e6


def warm_usd(model_ms: float, usd_per_hour: float) -> float:
    """One request to a warm endpoint."""
    return model_ms / MS_PER_HOUR * usd_per_hour


def cold_usd(cold_start_ms: float, model_ms: float, usd_per_hour: float) -> float:
    """The first request to a cold target: its start, then itself."""
    return (cold_start_ms + model_ms) / MS_PER_HOUR * usd_per_hour


def idle_usd(idle_after_s: float, usd_per_hour: float) -> float:
    """What the warm policy costs after the last request, until the endpoint is stopped."""
    return warm_usd(idle_after_s * 1e3, usd_per_hour)


def usd_per_1k_passages(request_usd: float, passages: int) -> float | None:
    """A request's cost per thousand passages; None for a request without any."""
    return request_usd / passages * 1_000 if passages > 0 else None


def shown(value: float | None, digits: int = 4) -> float | None:
    """A figure to four significant digits, as JSON has it: more would be noise. Sums of money are computed from what is not rounded."""
    return None if value is None else float(f"{value:.{digits}g}")


def usd_text(usd: float) -> str:
    """An amount for people: cents, and below ten cents two significant digits; never an exponent: $7.15, $0.35, $0.000021."""
    decimals = 2 if usd <= 0 else max(2, 1 - floor(log10(usd)))
    return f"${usd:,.{decimals}f}"
