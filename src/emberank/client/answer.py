"""A response's parts in, an answer out: whole, or piece by piece. Knows no parser and no socket."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from emberank.client.failures import AnswerTooLarge
from emberank.contract.errors import DeadlineExceeded

Pairs = list[tuple[bytes, bytes]]
# A stream's pieces in memory: reading stops above the first and goes on below the second.
_HIGH_BYTES, _LOW_BYTES = 256 << 10, 64 << 10


@dataclass(frozen=True, slots=True)
class Answer:
    """A response, read to its end. Header names are in lower case, in the order they came."""

    status: int
    headers: Pairs
    body: bytes

    def header(self, name: str) -> str | None:
        """The first header of this name (lower case)."""
        return find_header(self.headers, name)


def find_header(headers: Pairs, name: str) -> str | None:
    """The first header of this name (lower case) among pairs whose names are in lower case."""
    wanted = name.encode("latin-1")
    for key, value in headers:
        if key == wanted:
            return value.decode("latin-1")
    return None


class Receiver(Protocol):
    """What a connection tells of a response as it comes. `told` is done when there is something to say; `ended` when all of it is there."""

    told: asyncio.Future[None]
    ended: bool

    def head(self, status: int, headers: Pairs) -> None:
        """The final status and the headers are there."""
        ...

    def piece(self, data: bytes) -> None:
        """Some of the body. Raises AnswerTooLarge."""
        ...

    def end(self) -> None:
        """All of it is there."""
        ...

    def fail(self, error: Exception) -> None:
        """No more will come."""
        ...


class Whole:
    """Collects an answer."""

    __slots__ = ("_headers", "_pieces", "_room", "_status", "ended", "told")

    def __init__(self, told: asyncio.Future[None], max_body_bytes: int) -> None:
        self.told = told
        self.ended = False
        self._room = max_body_bytes
        self._pieces: list[bytes] = []

    @property
    def answer(self) -> Answer:
        """The whole of it, once it has ended."""
        pieces = self._pieces
        return Answer(self._status, self._headers, pieces[0] if len(pieces) == 1 else b"".join(pieces))

    def head(self, status: int, headers: Pairs) -> None:
        """Kept for the end."""
        self._status = status
        self._headers = headers

    def piece(self, data: bytes) -> None:
        """Kept, if there is room."""
        self._room -= len(data)
        if self._room < 0:
            raise AnswerTooLarge("the answer's body is larger than is allowed here")
        self._pieces.append(data)

    def end(self) -> None:
        """Whoever waits has it."""
        self.ended = True
        if not self.told.done():
            self.told.set_result(None)

    def fail(self, error: Exception) -> None:
        """Raised where the answer is awaited."""
        if not self.told.done():
            self.told.set_exception(error)


class Flow(Protocol):
    """What can be told to wait."""

    def pause(self) -> None:
        """Read no further."""
        ...

    def resume(self) -> None:
        """Read on."""
        ...

    def unhurry(self) -> None:
        """The deadline was for the head."""
        ...


class Stream:
    """An answer piece by piece, no faster than it is taken: `async for piece in stream`. `told` is done when the head is there."""

    __slots__ = ("_buffered", "_error", "_flow", "_more", "_paused", "_piece_within_s", "_pieces", "ended", "headers", "status", "told")

    def __init__(self, told: asyncio.Future[None], flow: Flow, piece_within_s: float) -> None:
        self.told = told
        self.status = 0
        self.headers: Pairs = []
        self._flow = flow
        self._piece_within_s = piece_within_s
        self._pieces: deque[bytes] = deque()
        self._buffered = 0
        self._paused = self.ended = False
        self._error: Exception | None = None
        self._more: asyncio.Future[None] | None = None

    def header(self, name: str) -> str | None:
        """The first header of this name (lower case)."""
        return find_header(self.headers, name)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Every piece as it comes. Raises what broke it off, after the pieces that came before; DeadlineExceeded when none comes for too long."""
        while True:
            while self._pieces:
                yield self._taken()
            if self._error is not None:
                raise self._error
            if self.ended:
                return
            await self._another()

    def _taken(self) -> bytes:
        data = self._pieces.popleft()
        self._buffered -= len(data)
        if self._paused and self._buffered < _LOW_BYTES and not self.ended:
            self._paused = False
            self._flow.resume()
        return data

    async def _another(self) -> None:
        self._more = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(None if self._piece_within_s == float("inf") else self._piece_within_s):
                await self._more
        except TimeoutError as cause:
            raise DeadlineExceeded(f"nothing more of the answer came for {self._piece_within_s:g} s") from cause
        finally:
            self._more = None

    def head(self, status: int, headers: Pairs) -> None:
        """Whoever waits for the beginning has it."""
        self.status = status
        self.headers = headers
        self._flow.unhurry()
        if not self.told.done():
            self.told.set_result(None)

    def piece(self, data: bytes) -> None:
        """Kept until it is taken; reading stops when too much is kept."""
        self._pieces.append(data)
        self._buffered += len(data)
        if self._buffered > _HIGH_BYTES and not self._paused:
            self._paused = True
            self._flow.pause()
        self._wake()

    def end(self) -> None:
        """No piece comes after those that are kept. The connection is its next user's: it reads on."""
        self.ended = True
        if self._paused:
            self._flow.resume()
        self._wake()

    def fail(self, error: Exception) -> None:
        """Raised where the stream is read, or where its beginning is awaited."""
        self._error = error
        if not self.told.done():
            self.told.set_exception(error)
        self._wake()

    def _wake(self) -> None:
        if self._more is not None and not self._more.done():
            self._more.set_result(None)
