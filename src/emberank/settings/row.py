"""A default, a unit, a sentence and bounds in, one dataclass field out: how a setting is declared. Knows no setting."""

from __future__ import annotations

from dataclasses import field
from typing import Any


def row(default: Any, unit: str, sentence: str, least: float | None = None, most: float | None = None, *, secret: bool = False) -> Any:
    """One setting: its default, its unit, a sentence on what it trades, the bounds of a number. A secret has no flag and is never shown."""
    return field(default=default, repr=not secret, metadata={"unit": unit, "sentence": sentence, "least": least, "most": most, "secret": secret})
