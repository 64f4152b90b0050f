"""One origin's connections in, one at a time to whoever asks, in order of asking. Knows nothing of requests.

A *slot* is the right to hold one connection. An idle connection holds its slot itself. Whoever takes one has the slot, until the connection says that the
exchange has come to its end (`free`), or until they give it up.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections import OrderedDict
from collections.abc import Callable

from emberank.client.connection import Connection
from emberank.client.failures import ConnectFailed
from emberank.client.url import Origin
from emberank.contract.errors import DeadlineExceeded

Waiter = asyncio.Future[Connection | None]


class Lane:
    """The connections to one origin, at most `limit`. The one used last is used next, so that those not needed grow old and are closed."""

    def __init__(self, origin: Origin, limit: int, connect_timeout_s: float, tls: Callable[[], ssl.SSLContext], on_idle: Callable[[], None]) -> None:
        self.idle: list[Connection] = []  # the one used last is last
        self.taken = 0  # slots, those of idle connections among them
        self.all: set[Connection] = set()
        self._origin = origin
        self._limit = limit
        self._connect_timeout_s = connect_timeout_s
        self._tls = tls
        self._on_idle = on_idle
        self.loop = asyncio.get_running_loop()
        self._waiting: OrderedDict[Waiter, None] = OrderedDict()
        self._closed = False
        self._all_ended: asyncio.Future[None] | None = None

    async def take(self, deadline: float) -> Connection | None:
        """A connection, or None with the slot to open one. Waits its turn until the deadline."""
        if self._closed:
            raise ConnectFailed("the pool is closed")
        if self.idle:
            return self.idle.pop()
        if self.taken < self._limit:
            self.taken += 1
            return None
        return await self._turn(deadline)

    async def _turn(self, deadline: float) -> Connection | None:
        waiter: Waiter = self.loop.create_future()
        self._waiting[waiter] = None
        late = None if deadline == float("inf") else self.loop.call_later(max(0.0, deadline - time.monotonic()), self._too_late, waiter)
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self.give_up(waiter.result())  # it was given something in the moment it stopped waiting
            raise
        finally:
            self._waiting.pop(waiter, None)
            if late is not None:
                late.cancel()

    def _too_late(self, waiter: Waiter) -> None:
        if not waiter.done():
            waiter.set_exception(DeadlineExceeded("no connection to the endpoint was free within the request's deadline"))

    async def connect(self, deadline: float) -> Connection:
        """Open a connection in a slot that is held; the slot is released when that fails."""
        scheme, host, port = self._origin
        tls = self._tls() if scheme == "https" else None
        left_s = deadline - time.monotonic()
        try:
            async with asyncio.timeout(min(left_s, self._connect_timeout_s)):
                _, connection = await self.loop.create_connection(lambda: Connection(self.loop, self), host, port, ssl=tls)
        except BaseException as cause:
            self.release()
            if isinstance(cause, TimeoutError) and left_s <= self._connect_timeout_s:
                raise DeadlineExceeded("no connection was made within the request's deadline") from cause
            if isinstance(cause, TimeoutError):
                raise ConnectFailed(f"no connection was made within {self._connect_timeout_s:g} s") from cause
            if isinstance(cause, OSError | UnicodeError):  # an impossible host name is a UnicodeError
                raise ConnectFailed("no connection could be made") from cause
            raise
        # Only now: a loop that is cancelled while it connects closes the socket itself, and uvloop does so without a word to the protocol.
        if connection.has_socket:
            self.all.add(connection)
        if self._closed:
            self.give_up(connection)
            raise ConnectFailed("the pool is closed")
        return connection

    def give_up(self, connection: Connection | None) -> None:
        """Give back a slot with a connection that was not used to its end: something may still come on it, so it is closed."""
        if connection is not None:
            connection.close()
        self.release()

    def release(self) -> None:
        """A slot is not used any more: whoever waits longest may open a connection in it."""
        waiter = self._first()
        if waiter is not None:
            waiter.set_result(None)
        else:
            self.taken -= 1

    def _first(self) -> Waiter | None:
        while self._waiting:
            waiter, _ = self._waiting.popitem(last=False)
            if not waiter.done():
                return waiter
        return None

    # What connections say.

    def free(self, connection: Connection) -> None:
        """Its exchange is over: on to whoever waits longest, or it is idle."""
        if connection.closed:
            self.release()
            return
        waiter = self._first()
        if waiter is not None:
            waiter.set_result(connection)
            return
        connection.idle_since = time.monotonic()
        self.idle.append(connection)
        self._on_idle()

    def lost(self, connection: Connection) -> None:
        """An idle one takes its slot with it; the slot of one in use is its user's."""
        if connection in self.idle:
            self.idle.remove(connection)
            self.release()

    def ended(self, connection: Connection) -> None:
        """Its socket is gone."""
        self.all.discard(connection)
        if not self.all and self._all_ended is not None and not self._all_ended.done():
            self._all_ended.set_result(None)

    # How it ends.

    def close_idle(self, before: float) -> None:
        """Close what has been idle since before then (time.monotonic)."""
        while self.idle and self.idle[0].idle_since <= before:
            self.idle[0].close()

    @property
    def unused(self) -> bool:
        """Whether nobody holds or waits for anything here."""
        return not self.taken and not self._waiting

    async def close(self) -> None:
        """Close everything; who waits or is being answered gets ConnectFailed or ConnectionLost."""
        self._closed = True
        while waiter := self._first():
            waiter.set_exception(ConnectFailed("the pool is closed"))
        for connection in list(self.all):
            connection.close()
        if self.all:
            self._all_ended = self.loop.create_future()
            await self._all_ended
