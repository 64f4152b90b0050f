"""An endpoint's URL in, whether it answers out: asks `/v1/health/ready` again and again, each time on a thread, so that a hung one holds nobody up.

Knows no deployment, and does not decide what follows from the answer. Time is an argument.
"""

from __future__ import annotations

import contextlib
import http.client
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias
from urllib.parse import urlsplit

from emberank.forge.launchers.base import Running

log = logging.getLogger(__name__)

# unknown: not asked yet, or no answer yet · ready · failing: the last answers were not what they should be · unreachable: as many as are too many
Health: TypeAlias = Literal["unknown", "ready", "failing", "unreachable"]
Ask: TypeAlias = Callable[[Running, float], bool]
_PATH = "/v1/health/ready"
_DOUBT_S = 1.0


def is_ready(running: Running, timeout_s: float) -> bool:
    """Whether the endpoint answers 200 on its readiness route. Whatever goes wrong is a no."""
    headers = {"Authorization": f"Bearer {running.secret}"} if running.secret else {}
    try:
        parts = urlsplit(running.url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        with contextlib.closing(kind(parts.hostname or "", parts.port, timeout=timeout_s)) as connection:
            connection.request("GET", parts.path.rstrip("/") + _PATH, headers=headers)
            return connection.getresponse().status == 200
    except (OSError, ValueError, http.client.HTTPException):
        return False


def on_a_thread(run: Callable[[], None]) -> None:
    """Run it on a thread that nothing waits for."""
    threading.Thread(target=run, name="health", daemon=True).start()


@dataclass(slots=True)
class _Check:
    """One question under way."""

    asked_at: float
    answer: bool | None = None


@dataclass(slots=True)
class _Watched:
    """One endpoint."""

    next_at: float
    failures: int = 0
    answered: bool = False
    hurried: bool = False
    check: _Check | None = None


class EndpointProbe:
    """Keeps asking the endpoints that are looked at; one question at a time for each."""

    def __init__(
        self,
        *,
        every_s: float = 5.0,
        timeout_s: float = 2.0,
        failures: int = 3,
        ask: Ask = is_ready,
        spawn: Callable[[Callable[[], None]], None] = on_a_thread,
    ) -> None:
        self._every_s = every_s
        self._timeout_s = timeout_s
        self._failures = failures
        self._ask = ask
        self._spawn = spawn
        self._watched: dict[str, _Watched] = {}

    def look(self, running: Running, now: float) -> Health:
        """What is known of its health; asks again when it is time. Returns at once."""
        watched = self._watched.setdefault(running.id, _Watched(next_at=now))
        self._settle(watched, now)
        if watched.check is None and now >= watched.next_at:
            self._begin(watched, running, now)
            self._settle(watched, now)
        if watched.failures >= self._failures:
            return "unreachable"
        return "failing" if watched.failures else "ready" if watched.answered else "unknown"

    def hurry(self, endpoint_id: str) -> None:
        """Somebody could not reach it: ask now, and go on asking without a pause until it answers or is unreachable."""
        watched = self._watched.setdefault(endpoint_id, _Watched(next_at=float("-inf")))
        watched.hurried = True
        watched.next_at = float("-inf")

    def hurrying(self) -> bool:
        """Whether any endpoint is in doubt: then it is worth looking more often."""
        return any(watched.hurried for watched in self._watched.values())

    def forget(self, endpoint_id: str) -> None:
        """It is not looked at any more."""
        self._watched.pop(endpoint_id, None)

    def forget_others(self, endpoint_ids: set[str]) -> None:
        """Only these are looked at."""
        for endpoint_id in self._watched.keys() - endpoint_ids:
            del self._watched[endpoint_id]

    def _begin(self, watched: _Watched, running: Running, now: float) -> None:
        check = watched.check = _Check(now)

        def run() -> None:
            try:
                check.answer = self._ask(running, self._timeout_s)
            except Exception:  # a fault of ours in asking must not look like an answer that never comes
                log.exception("asking an endpoint for its health failed", extra={"action": "health_failed", "endpoint": running.id})
                check.answer = False

        self._spawn(run)

    def _settle(self, watched: _Watched, now: float) -> None:
        check = watched.check
        if check is None:
            return
        if check.answer is None:
            # A server that sends a byte now and then outlives the socket's time-out: its answer is not awaited any longer.
            if now - check.asked_at < 2 * self._timeout_s:
                return
            check.answer = False
        watched.check = None
        watched.answered = watched.answered or check.answer
        watched.failures = 0 if check.answer else watched.failures + 1
        if check.answer:
            watched.hurried = False
        # One that failed is asked again soon: what hangs is found out in seconds, and what was only busy has a little time.
        again_s = min(_DOUBT_S, self._every_s) if watched.failures else self._every_s
        watched.next_at = now if watched.hurried else now + again_s
