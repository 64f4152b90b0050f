"""A number in, how a sentence says it out: without an exponent, and with its noun in the right number. Knows no unit."""

from __future__ import annotations

from decimal import Decimal


def written_out(number: float) -> str:
    """Six significant digits, every zero written: `0.0000001`, where Python says `1e-07`."""
    return f"{Decimal(f'{number:.6g}'):f}"


def counted(number: int, noun: str) -> str:
    """`1 request`, `2 requests`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
