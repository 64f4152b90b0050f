"""A sign-in that leaves for the provider in; the same out when its browser comes back, once and within ten minutes. In memory; knows no HTTP.

A browser is known by a cookie of its own, so that nobody can finish in one browser what was begun in another. Only hashes are kept of the two values
that a browser carries.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

LASTS_S = 600.0
MOST = 5000  # under way at once; the oldest makes room
_BYTES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Departure:
    """What goes with a browser to the provider, and what stays here until it comes back."""

    state: str = field(repr=False)
    nonce: str = field(repr=False)
    verifier: str = field(repr=False)  # PKCE's: its hash goes along
    after: str  # the page to go to in the end


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    departure: Departure
    browser: bytes
    ends: float


class Pending:
    """The sign-ins under way."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._kept: dict[bytes, _Kept] = {}  # by the state's digest, oldest first

    def begin(self, browser: str, after: str) -> Departure:
        """A new one, of the browser with that cookie."""
        while self._kept and (len(self._kept) >= MOST or next(iter(self._kept.values())).ends <= self._clock()):
            del self._kept[next(iter(self._kept))]
        found = Departure(state=_random(), nonce=_random(), verifier=_random(), after=after)
        self._kept[_digest(found.state)] = _Kept(departure=found, browser=_digest(browser), ends=self._clock() + LASTS_S)
        return found

    def take(self, state: str, browser: str) -> Departure | None:
        """The one with that state, which is used up by this; None when there is none, it is too old, or another browser began it."""
        found = self._kept.pop(_digest(state), None)
        if found is None or found.ends <= self._clock() or not hmac.compare_digest(found.browser, _digest(browser)):
            return None
        return found.departure


def new_browser() -> str:
    """A cookie for a browser that has none."""
    return _random()


def _random() -> str:
    return secrets.token_urlsafe(_BYTES)  # 43 characters, as PKCE asks for at least


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "replace")).digest()
