"""A broken hop in, the reason as a type out: what can go wrong between a request and its answer. Knows no route and no error body.

TransportError
├── ConnectFailed     no connection could be had; nothing of this request was read by anybody
├── ConnectionLost    the connection ended before the whole answer was there; `response_started` says whether any of it came
├── BadAnswer         what came is not HTTP
└── AnswerTooLarge    the body, or what stands around it, is over its bound

A passed deadline is `contract.errors.DeadlineExceeded`. These are not EmberankErrors: whoever sends decides what a caller is told.
"""

from __future__ import annotations


class TransportError(Exception):
    """The root. The text names no host, no path and no header."""


class ConnectFailed(TransportError):
    """Refused, unknown host, no route, TLS refused, not within the connect time-out, or the pool is closed."""


class ConnectionLost(TransportError):
    """The other side, or the network, ended the connection."""

    def __init__(self, message: str, *, response_started: bool) -> None:
        super().__init__(message)
        self.response_started = response_started


class BadAnswer(TransportError):
    """Not HTTP, or HTTP that nobody asked for."""


class AnswerTooLarge(TransportError):
    """More than was allowed; the rest was not read."""
