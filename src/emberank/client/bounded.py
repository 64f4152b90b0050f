"""A response of http.client in, the same out with one deadline for all of it. Knows no client.

A socket's time-out is for each piece that comes, so a server that sends a byte now and then would never meet it.
"""

from __future__ import annotations

import http.client
import io
import socket
import time
from typing import Any

from emberank.contract.errors import DeadlineExceeded


def left_s(deadline: float) -> float:
    """Seconds until the deadline (time.monotonic). Raises DeadlineExceeded when it has passed."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise DeadlineExceeded("no answer came within the call's time-out")
    return left


class BoundedResponse(http.client.HTTPResponse):
    """Every read ends by the deadline: with TimeoutError, or DeadlineExceeded when it has passed already."""

    def __init__(self, deadline: float, sock: socket.socket, *positional: Any, **named: Any) -> None:
        super().__init__(sock, *positional, **named)
        self.fp = io.BufferedReader(_BoundedReader(self.fp.detach(), sock, deadline))


class _BoundedReader(io.RawIOBase):
    """A socket's bytes, each piece waited for no longer than is left."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket, deadline: float) -> None:
        self._raw = raw
        self._sock = sock
        self._deadline = deadline

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int | None:
        """Some bytes, 0 at the end."""
        self._sock.settimeout(left_s(self._deadline))
        return self._raw.readinto(buffer)

    def close(self) -> None:
        """And the socket's own file with it."""
        if not self.closed:
            self._raw.close()
        super().close()
