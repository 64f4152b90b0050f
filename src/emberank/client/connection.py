"""A request's bytes in, its response told to a receiver out: one HTTP/1.1 connection, one exchange at a time. Knows no pool but by `Owner`.

A connection is used again only when the last exchange left nothing behind: request sent, response read to its end, not a byte more.
In every other case it is closed, so that nobody reads an answer that is not theirs.
"""

from __future__ import annotations

import asyncio
import time
from typing import Protocol, cast

import httptools

from emberank.client.answer import Pairs, Receiver
from emberank.client.failures import BadAnswer, ConnectionLost, TransportError
from emberank.contract.errors import DeadlineExceeded

_MOST_HEAD_BYTES = 64 << 10
_LATEST_LOOK_S = 3600.0
_NEVER = float("inf")
_NO_BODY = (204, 304)


class Owner(Protocol):
    """Whose the connections are."""

    def free(self, connection: Connection) -> None:
        """Its exchange is over; it can take another one unless it is closed."""
        ...

    def lost(self, connection: Connection) -> None:
        """It is closed: not to be used any more."""
        ...

    def ended(self, connection: Connection) -> None:
        """Its socket is gone."""
        ...


class Connection(asyncio.Protocol):
    """One connection, of which `Owner.free` is told when its exchange has come to its end."""

    def __init__(self, loop: asyncio.AbstractEventLoop, owner: Owner) -> None:
        self._loop = loop
        self._owner = owner
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._receiver: Receiver | None = None
        self._deadline = self._look_at = _NEVER
        self._look: asyncio.TimerHandle | None = None
        self._keep = False
        self.closed = False
        self.idle_since = 0.0
        self._begin(no_body=False)

    def _begin(self, *, no_body: bool) -> None:
        self._headers: Pairs = []
        self._status = 0
        self._unaccounted = 0  # bytes since the last that were body: heads, chunk sizes, trailers
        self._started = self._done = False
        self._no_body = no_body

    def send(self, request: bytes, receiver: Receiver, deadline: float, *, no_body: bool) -> None:
        """Begin an exchange. `deadline` is on time.monotonic; `no_body` for HEAD, whose answers have a length and no body."""
        if self.closed:
            raise ConnectionLost("the connection was closed while it was not in use", response_started=False)
        self._begin(no_body=no_body)
        self._deadline = deadline
        if self._look_at > deadline:
            self._look_by(deadline)
        self._receiver = receiver
        cast(asyncio.Transport, self._transport).write(request)

    # One timer for many exchanges: it looks again when it comes too early, which costs nothing while deadlines move on.

    def _look_by(self, deadline: float) -> None:
        now = time.monotonic()
        if deadline <= now:
            raise DeadlineExceeded("the request's deadline had passed before it was sent")
        if self._look is not None:
            self._look.cancel()
        wait_s = min(deadline - now, _LATEST_LOOK_S)
        self._look_at = now + wait_s
        self._look = self._loop.call_later(wait_s, self._on_look)

    def _on_look(self) -> None:
        self._look, self._look_at = None, _NEVER
        if self._receiver is None or self._deadline == _NEVER:
            return
        if self._deadline - time.monotonic() > 0.002:  # loops round to milliseconds
            self._look_by(self._deadline)
        else:
            self._fail(DeadlineExceeded("no answer came within the request's deadline"))

    # What the socket says.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ready to send."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Some of a response; anything else ends the connection."""
        if self._receiver is None:  # nobody asked
            self.close()
            return
        self._started = True
        self._unaccounted += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as cause:
            if not self._done:
                self._fail(_meant(cause))
                return
            self._keep = False  # a whole answer, and then something that is none
        if self._done:
            self._finish()
        elif self._unaccounted > _MOST_HEAD_BYTES:
            self._fail(BadAnswer(f"more than {_MOST_HEAD_BYTES} bytes of headers"))

    def eof_received(self) -> None:
        """The other side has said all. A body of unknown length ends so."""
        self._ended(None)

    def connection_lost(self, cause: Exception | None) -> None:
        """The socket is gone."""
        self._ended(cause)
        if self._look is not None:
            self._look.cancel()
        # The parser, the look and the transport hold this connection as it holds them.
        self._parser = self._look = self._transport = None
        self._owner.ended(self)

    def _ended(self, cause: Exception | None) -> None:
        if self._receiver is not None and cause is None and self._status and not self._chunked_or_sized:
            self._receiver.end()
            self._keep = False
            self._finish()
            return
        error = ConnectionLost("the connection ended before the whole answer was there", response_started=self._started)
        error.__cause__ = cause
        self._fail(error)

    # What the parser says, in the order of a response.

    def on_message_begin(self) -> None:
        """A response begins."""
        if self._done:
            raise BadAnswer("more came after the whole answer")

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header, or after the body a trailer, which is dropped."""
        if not self._status:
            self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """The head is there."""
        status = self._parser.get_status_code()
        if status < 200:
            if status < 100 or status == 101:
                raise BadAnswer(f"status {status}, which nothing asked for")
            return
        self._status = status
        headers = self._headers
        self._chunked_or_sized = any(name in (b"content-length", b"transfer-encoding") for name, _ in headers)
        cast(Receiver, self._receiver).head(status, headers)
        if self._no_body or status in _NO_BODY:
            self._no_body = True
            self.on_message_complete()

    def on_body(self, data: bytes) -> None:
        """Some of the body."""
        if self._done or not self._status:
            raise BadAnswer("a body where there is none")
        self._unaccounted = 0
        cast(Receiver, self._receiver).piece(data)

    def on_message_complete(self) -> None:
        """All of it is there. An interim response (100, 103) is passed over."""
        if not self._status:
            self._headers = []
        elif not self._done:
            self._done = True
            self._keep = self._parser.should_keep_alive()
            cast(Receiver, self._receiver).end()

    # How it ends.

    def _finish(self) -> None:
        transport = cast(asyncio.Transport, self._transport)
        if not self._keep or transport.get_write_buffer_size():  # an answer before the whole request was read
            self.close()
        elif self._no_body:
            self._parser = httptools.HttpResponseParser(self)  # this one would wait for the body
        self._receiver = None
        self._owner.free(self)

    def _fail(self, error: Exception) -> None:
        receiver, self._receiver = self._receiver, None
        self.close()
        if receiver is not None:
            receiver.fail(error)

    @property
    def has_socket(self) -> bool:
        """Whether there is something that will end."""
        return self._transport is not None

    def pause(self) -> None:
        """Read no further: what was read is not taken fast enough."""
        if self._transport is not None and not self.closed:
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read on."""
        if self._transport is not None and not self.closed:
            self._transport.resume_reading()

    def unhurry(self) -> None:
        """No deadline for the rest of this exchange."""
        self._deadline = _NEVER

    def close(self) -> None:
        """End it at once, whatever is under way."""
        if not self.closed:
            self.closed = True
            if self._transport is not None:
                self._transport.abort()
            self._owner.lost(self)


def _meant(cause: httptools.HttpParserError) -> Exception:
    """What a parser's error stands for: our own word where a callback said it."""
    said = cause.__context__
    if isinstance(said, TransportError):
        return said
    error = BadAnswer("what came is not a HTTP response")
    error.__cause__ = cause
    return error
