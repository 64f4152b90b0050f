"""A refusal in, how long to wait before asking again out. Pure."""

from __future__ import annotations

from emberank.contract.errors import EmberankError

MOST_RETRIES = 5
_RETRIED = (429, 503)


def retry_wait_s(error: EmberankError, retries: int, left_s: float) -> float | None:
    """Seconds until the next try, or None: give up. `retries` were made; `left_s` until the deadline.

    Only what the server asks for is waited out: a 429 or 503 without Retry-After is not asked again, and one whose time comes after the deadline is said now.
    """
    if error.http_status not in _RETRIED or error.retry_after_s is None or retries >= MOST_RETRIES:
        return None
    return error.retry_after_s if error.retry_after_s < left_s else None
