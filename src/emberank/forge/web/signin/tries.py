"""An address in, how long it must wait before it may try to sign in out: few tries a minute. Knows no key and no request."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass

MOST = 10
WINDOW_S = 60.0
MOST_ADDRESSES = 10_000
_NETWORK_BITS = 64  # of an IPv6 address: one household, or one machine, has all of the rest


@dataclass(slots=True)
class _Window:
    ends: float
    tries: int = 0


class Tries:
    """Counts tries by address."""

    def __init__(self, clock: Callable[[], float], most: int = MOST) -> None:
        self._clock = clock
        self._most = most
        self._windows: dict[str, _Window] = {}  # oldest first

    def count(self, address: str) -> float:
        """One try more; seconds to wait when that is too many, else 0."""
        now, whose = self._clock(), _network(address)
        window = self._windows.get(whose)
        if window is None or window.ends <= now:
            self._windows.pop(whose, None)
            self._make_room(now)
            window = self._windows[whose] = _Window(now + WINDOW_S)
        window.tries += 1
        return window.ends - now if window.tries > self._most else 0.0

    def _make_room(self, now: float) -> None:
        """Windows are as long as one another, so the first ones end first."""
        while self._windows:
            first = next(iter(self._windows))
            if self._windows[first].ends > now and len(self._windows) < MOST_ADDRESSES:
                return
            del self._windows[first]


def _network(address: str) -> str:
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return "unknown"
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return str(ipaddress.ip_network((found, _NETWORK_BITS), strict=False))
    return str(found)
