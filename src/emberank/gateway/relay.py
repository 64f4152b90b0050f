"""A control request in, the forge's own answer out, as it is, piece by piece. Knows no route: the forge checks the key and says what is what."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager, nullcontext, suppress
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from emberank.client.answer import Stream
from emberank.client.failures import TransportError
from emberank.client.pool import Pool
from emberank.client.request import passed_on
from emberank.client.url import read_url
from emberank.contract.errors import DeadlineExceeded
from emberank.gateway.errors import ForgeAway
from emberank.gateway.forge_link import Address
from emberank.serving.credentials import FLEET_HEADER
from emberank.serving.exchange import Exchange
from emberank.serving.presence import WhileConnected, client_left

_PIECE_WITHIN_S = 60.0
_END_WITHIN_S = 1.0  # of a client that does not read
_ENDED = "the gateway ends"
_END = {"type": "http.response.body", "body": b"", "more_body": False}
# What we say of ourselves, whoever said it before. Host stays the caller's: the forge's pages name the address that they were asked by.
_OURS = (FLEET_HEADER, b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"x-request-id", b"x-request-timeout")


class Relay:
    """The way to the forge."""

    def __init__(self, address: Callable[[], Address], pool: Pool) -> None:
        self._address = address
        self._pool = pool
        self._endless = Endless()

    async def answer(self, exchange: Exchange) -> Response:
        """The forge's answer, whose body is still coming. Raises ForgeAway, DeadlineExceeded."""
        scope = exchange.request.scope
        query = scope["query_string"].decode("latin-1")
        stack = AsyncExitStack()
        try:
            path = scope.get("raw_path") or scope["path"].encode()
            address = self._address()
            url = read_url(f"{address.url}{path.decode('latin-1')}{'?' if query else ''}{query}")
            stream = self._pool.stream(
                scope["method"], url, _headers(exchange, address.token), exchange.body, deadline=exchange.deadline, piece_within_s=_PIECE_WITHIN_S
            )
            return Relayed(await stack.enter_async_context(stream), stack, self._endless)
        except (TransportError, ValueError) as cause:
            message = "the forge, which answers this, cannot be reached; inference on warm models goes on without it"
            raise ForgeAway(message, retry_after_s=2) from cause

    def drain(self) -> None:
        """End what would never end by itself: a page's stream of events."""
        self._endless.end()


class Endless:
    """The answers on their way that have no end, so that the process need not wait for them when it has one."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self._ended = False

    @contextmanager
    def among(self) -> Iterator[None]:
        """The current task passes one on; it is cancelled when they are to end."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        if self._ended:
            task.cancel(_ENDED)
        try:
            yield
        finally:
            self._tasks.discard(task)

    def end(self) -> None:
        """Now."""
        self._ended = True
        for task in self._tasks:
            task.cancel(_ENDED)


def _headers(exchange: Exchange, token: str) -> list[tuple[bytes, bytes]]:
    scope = exchange.request.scope
    headers = [(name, value) for name, value in passed_on(scope["headers"]) if name not in _OURS]
    host = next((value for name, value in scope["headers"] if name == b"host"), b"")
    client = scope.get("client")
    left_s = max(exchange.deadline - time.monotonic(), 0.001)
    return [
        *headers,
        (b"x-request-id", exchange.request_id.encode("latin-1")),
        (b"x-request-timeout", b"%.3f" % left_s),
        (b"x-forwarded-for", client[0].encode("latin-1") if client else b"unknown"),
        (b"x-forwarded-proto", scope["scheme"].encode("latin-1")),
        (b"x-forwarded-host", host),
        (FLEET_HEADER, token.encode("latin-1", "replace")),
    ]


class Relayed(Response):
    """An answer that is passed on while it comes."""

    def __init__(self, stream: Stream, stack: AsyncExitStack, endless: Endless) -> None:
        super().__init__(status_code=stream.status)
        # Frames are this connection's own affair, but for a length that is known.
        length = [(name, value) for name, value in stream.headers if name == b"content-length"]
        self.raw_headers = [*(pair for pair in passed_on(stream.headers) if pair[0] != b"date"), *length]
        self._stream = stream
        self._stack = stack
        # One that ends by itself is waited for.
        self._endless = endless if (stream.header("content-type") or "").startswith("text/event-stream") else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass it on. A client that leaves ends it, and so does a forge that breaks off: in the middle of a body nothing else can be said."""
        async with self._stack:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            try:
                with WhileConnected(Request(scope, receive)), self._endless.among() if self._endless else nullcontext():
                    async for piece in self._stream:
                        await send({"type": "http.response.body", "body": piece, "more_body": True})
                    await send(_END)
            except (TransportError, DeadlineExceeded):
                return  # the server closes a connection whose answer was not finished
            except asyncio.CancelledError as cause:
                if cause.args == (_ENDED,):
                    with suppress(TimeoutError):
                        async with asyncio.timeout(_END_WITHIN_S):
                            await send(_END)
                elif not client_left(cause):
                    raise
