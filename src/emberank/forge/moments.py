"""Unix time in, ISO 8601 in UTC out, and back: how every time is written here. Reads no clock."""

from __future__ import annotations

from datetime import UTC, datetime

from emberank.contract.errors import BadRequest
from emberank.dialects.reading import kind, shown

LATEST_S = 32_503_680_000.0  # the year 3000


def iso(at_s: float | None) -> str | None:
    """`2026-11-21T04:30:00Z`, with milliseconds where there are some."""
    if at_s is None:
        return None
    moment = datetime.fromtimestamp(min(max(at_s, 0.0), LATEST_S), UTC)
    return moment.isoformat(timespec="milliseconds" if moment.microsecond >= 1000 else "seconds").replace("+00:00", "Z")


def moment(value: object, name: str) -> float:
    """The Unix time of a text; a day is its beginning, and a time without a zone is UTC. Raises BadRequest."""
    example = "a day or a time such as 2026-11-21 or 2026-11-21T04:30:00Z"
    if not isinstance(value, str):
        raise BadRequest(f"{name} must be {example}, not {kind(value)}")
    try:
        # A plus sign that was not escaped in a query is a blank by now.
        found = datetime.fromisoformat(value.strip().replace(" ", "+") if "T" in value else value.strip())
        at_s = (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError) as cause:
        raise BadRequest(f"{name} must be {example}; got {shown(value)}") from cause
    if not 0 <= at_s < LATEST_S:
        raise BadRequest(f"{name} must be a time between 1970 and 3000; got {shown(value)}")
    return at_s
