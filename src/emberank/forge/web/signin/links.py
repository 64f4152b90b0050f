"""Nothing in, a token for a sign-in link out; that token in, whether it still opens out: once, and for a quarter of an hour. Keeps no token, only its hash.

In memory: a link does not outlive the forge that printed it.
"""

from __future__ import annotations

import contextlib
import hashlib
import secrets
import time
from collections.abc import Callable, Iterator

LASTS_S = 900.0
MOST = 20  # links that may be open at once; the oldest makes room
_TOKEN_BYTES = 32


class Links:
    """The open sign-in links."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._ends: dict[bytes, float] = {}  # by digest, oldest first

    def new(self) -> str:
        """A token."""
        while len(self._ends) >= MOST:
            del self._ends[next(iter(self._ends))]
        token = secrets.token_urlsafe(_TOKEN_BYTES)
        self._ends[_digest(token)] = self._clock() + LASTS_S
        return token

    def is_open(self, token: str) -> bool:
        """Whether it could be used now."""
        return self._ends.get(_digest(token), float("-inf")) > self._clock()

    @contextlib.contextmanager
    def taken(self, token: str) -> Iterator[bool]:
        """Use it up, unless what runs inside fails; False when it was used, is too old, or never was one."""
        digest = _digest(token)
        ends = self._ends.pop(digest, float("-inf"))
        opens = ends > self._clock()
        try:
            yield opens
        except BaseException:  # also when whoever used it has gone before they had the answer
            if opens:
                self._ends[digest] = ends
            raise


def link_at(base: str, token: str) -> str:
    """The link that a token is in; `base` is where browsers find the pages."""
    return f"{base.rstrip('/')}/signin?token={token}"


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()  # 256 random bits need no key to be hashed with
