"""A refusal in, how long to wait before asking again out. Pure."""

from __future__ import annotations

from emberank.contract.errors import BadRequest, EmberankError

MOST_RETRIES = 5
SPREAD = 0.25  # of what the server asks for, on top of it: callers that were refused together do not come back together
_RETRIED = (429, 503)


def retry_wait_s(error: EmberankError, retries: int, left_s: float, jitter: float = 0.0) -> float | None:
    """Seconds until the next try, or None: give up. `retries` were made; `left_s` until the deadline; `jitter` from 0 to 1.

    Only what the server asks for is waited out: a 429 or 503 without Retry-After is not asked again, and one whose time comes after the deadline is said now.
    Never sooner than the server says.
    """
    if error.http_status not in _RETRIED or error.retry_after_s is None or retries >= MOST_RETRIES or error.retry_after_s >= left_s:
        return None
    spread_s = error.retry_after_s * (1 + SPREAD * jitter)
    return spread_s if spread_s < left_s else error.retry_after_s


def checked_timeout_s(timeout_s: float) -> float:
    """Raises BadRequest for what no deadline can be made of."""
    if not 0 < timeout_s < 1e9:
        raise BadRequest(f"timeout_s must be a number of seconds greater than 0; got {timeout_s!r}")
    return timeout_s
