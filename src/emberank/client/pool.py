"""A request in, its answer out, over connections that are kept: the asyncio HTTP/1.1 client of the data path. Knows no route and no error body.

One exchange costs a few tens of microseconds: no redirects, no cookies, no decompression, no proxies from the environment. A request is sent a second
time in one case only: a connection that was used before died before a byte of the answer came, as one does whose server closed it while it was idle.
What must not be done twice is sent with `resend=False`. A pool belongs to one event loop, and to its thread.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from emberank.client.answer import Answer, Receiver, Stream, Whole
from emberank.client.connection import Connection
from emberank.client.failures import ConnectFailed, ConnectionLost
from emberank.client.lane import Lane
from emberank.client.request import Headers, render_request
from emberank.client.url import Origin, Url, parse_url

R = TypeVar("R", bound=Receiver)


class Pool:
    """Connections to any number of origins. `max_body_bytes` bounds a whole answer's body, not a stream's."""

    def __init__(
        self,
        *,
        max_connections_per_host: int = 256,
        max_idle_s: float = 60.0,
        connect_timeout_s: float = 5.0,
        max_body_bytes: int = 64 << 20,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._max_connections = max_connections_per_host
        self._max_idle_s = max_idle_s
        self._connect_timeout_s = connect_timeout_s
        self._max_body_bytes = max_body_bytes
        self._tls = tls
        self._lanes: dict[Origin, Lane] = {}
        self._sweep: asyncio.TimerHandle | None = None
        self._closed = False

    async def request(self, method: str, url: str | Url, headers: Headers = (), body: bytes = b"", *, deadline: float, resend: bool = True) -> Answer:
        """The whole answer, whatever its status. `deadline` is on time.monotonic.

        Raises DeadlineExceeded, ConnectFailed, ConnectionLost, BadAnswer, AnswerTooLarge; ValueError for what cannot be a request. Whatever is
        raised, and when the caller is cancelled, the connection is closed.
        """
        limit = self._max_body_bytes
        whole, _, _ = await self._exchange(method, url, headers, body, deadline, resend, lambda told, _: Whole(told, limit))
        return whole.answer

    @asynccontextmanager
    async def stream(
        self, method: str, url: str | Url, headers: Headers = (), body: bytes = b"", *, deadline: float, piece_within_s: float = 60.0, resend: bool = True
    ) -> AsyncIterator[Stream]:
        """An answer piece by piece. `deadline` is for its head; after that no pause between two pieces may be longer than `piece_within_s`.

        Nothing is read that is not taken, but for a quarter of a megabyte. Leaving before the end closes the connection.
        """
        stream, connection, lane = await self._exchange(
            method, url, headers, body, deadline, resend, lambda told, connection: Stream(told, connection, piece_within_s)
        )
        try:
            yield stream
        finally:
            if not stream.ended:
                lane.give_up(connection)

    async def _exchange(
        self,
        method: str,
        url: str | Url,
        headers: Headers,
        body: bytes,
        deadline: float,
        resend: bool,
        receiver_of: Callable[[asyncio.Future[None], Connection], R],
    ) -> tuple[R, Connection, Lane]:
        """Send, and wait until the receiver has something to say."""
        url = parse_url(url) if isinstance(url, str) else url
        wire = render_request(method, url, headers, body)
        lane = self._lanes.get(url.origin) or self._open_lane(url.origin)
        connection = await lane.take(deadline)
        while True:
            used = connection is not None
            if connection is None:
                connection = await lane.connect(deadline)
            receiver = receiver_of(lane.loop.create_future(), connection)
            try:
                connection.send(wire, receiver, deadline, no_body=method == "HEAD")
                await receiver.told
                return receiver, connection, lane
            except BaseException as error:
                if used and resend and isinstance(error, ConnectionLost) and not error.response_started:
                    connection = None  # its slot is still ours: once more, on a connection that nobody has used
                    continue
                if not receiver.ended:
                    lane.give_up(connection)
                raise

    def _open_lane(self, origin: Origin) -> Lane:
        if self._closed:
            raise ConnectFailed("the pool is closed")
        lane = self._lanes[origin] = Lane(origin, self._max_connections, self._connect_timeout_s, self._context, self._sweep_later)
        return lane

    def _context(self) -> ssl.SSLContext:
        """For https, with the system's authorities; made once, for it costs 20 ms."""
        if self._tls is None:
            self._tls = ssl.create_default_context()
            self._tls.set_alpn_protocols(["http/1.1"])
        return self._tls

    # Idle connections are closed when their time comes; one timer for all.

    def _sweep_later(self) -> None:
        if self._sweep is None:
            self._sweep = asyncio.get_running_loop().call_later(self._max_idle_s, self._sweep_now)

    def _sweep_now(self) -> None:
        self._sweep = None
        now = time.monotonic()
        for lane in self._lanes.values():
            lane.close_idle(now - self._max_idle_s + 0.002)
        # Processes come and go, each on a port of its own.
        self._lanes = {origin: lane for origin, lane in self._lanes.items() if not lane.unused}
        oldest = min((lane.idle[0].idle_since for lane in self._lanes.values() if lane.idle), default=None)
        if oldest is not None:
            self._sweep = asyncio.get_running_loop().call_later(oldest + self._max_idle_s - now, self._sweep_now)

    async def close(self) -> None:
        """Close every connection and wait until their sockets are gone. What is under way fails with ConnectionLost or ConnectFailed."""
        self._closed = True
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        for lane in self._lanes.values():
            await lane.close()
        self._lanes = {}
