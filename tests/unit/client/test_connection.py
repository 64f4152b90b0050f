"""One connection without a socket: any split of any responses gives the same answers, and no bytes whatever make it raise."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emberank.client.answer import Pairs
from emberank.client.connection import Connection
from emberank.contract.errors import DeadlineExceeded


class Wire:
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        self.written = b""
        self.aborted = False
        self.unsent = 0

    def write(self, data: bytes) -> None:
        self.written += data

    def abort(self) -> None:
        self.aborted = True

    def get_write_buffer_size(self) -> int:
        return self.unsent


class Heard:
    """A receiver that keeps what it is told."""

    def __init__(self, told: asyncio.Future[None]) -> None:
        self.told = told
        self.ended = False
        self.status = 0
        self.headers: Pairs = []
        self.body = b""
        self.error: Exception | None = None
        self.heads = 0

    def head(self, status: int, headers: Pairs) -> None:
        self.status, self.headers = status, headers
        self.heads += 1

    def piece(self, data: bytes) -> None:
        self.body += data

    def end(self) -> None:
        assert not self.ended
        self.ended = True

    def fail(self, error: Exception) -> None:
        assert not self.ended
        assert self.error is None
        self.error = error


class Owner:
    """Counts."""

    def __init__(self) -> None:
        self.frees = self.losses = 0

    def free(self, connection: Connection) -> None:
        self.frees += 1

    def lost(self, connection: Connection) -> None:
        self.losses += 1

    def ended(self, connection: Connection) -> None:
        pass


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    fresh = asyncio.new_event_loop()
    yield fresh
    fresh.close()


def connect(loop: asyncio.AbstractEventLoop) -> tuple[Connection, Wire, Owner]:
    wire, owner = Wire(), Owner()
    connection = Connection(loop, owner)
    connection.connection_made(wire)  # type: ignore[arg-type]
    return connection, wire, owner


def ask(loop: asyncio.AbstractEventLoop, connection: Connection, *, no_body: bool = False) -> Heard:
    heard = Heard(loop.create_future())
    connection.send(b"GET", heard, float("inf"), no_body=no_body)
    return heard


TOKENS = st.text("abcdefgh-XYZ", min_size=1, max_size=12).filter(lambda name: name.lower() not in ("connection", "upgrade"))
VALUES = st.text("abc 123;=,", max_size=20).map(str.strip)
HEADERS = st.lists(st.tuples(TOKENS, VALUES), max_size=4)


@st.composite
def responses(draw: st.DrawFn) -> tuple[bytes, int, list[tuple[bytes, bytes]], bytes]:
    """(bytes on the wire, status, headers, body)"""
    status = draw(st.sampled_from([200, 201, 206, 400, 404, 429, 500, 503]))
    headers = draw(HEADERS)
    body = draw(st.binary(max_size=200))
    interim = draw(st.sampled_from(["", "HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n"]))
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
    if draw(st.booleans()):
        cuts = sorted(draw(st.lists(st.integers(0, len(body)), max_size=4)))
        pieces = [body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)])]
        extension = draw(st.sampled_from([b"", b";a=b", b';a="b c"']))
        rest = b"Transfer-Encoding: chunked\r\n\r\n" + b"".join(b"%x%b\r\n%b\r\n" % (len(p), extension, p) for p in pieces if p)
        rest += b"0\r\n" + draw(st.sampled_from([b"", b"X-Sum: 1\r\n"])) + b"\r\n"
        framing = (b"transfer-encoding", b"chunked")
    else:
        rest = b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
        framing = (b"content-length", b"%d" % len(body))
    head = f"{interim}HTTP/1.1 {status} Some Reason\r\n{lines}".encode()
    return head + rest, status, [*((name.lower().encode(), value.encode()) for name, value in headers), framing], body


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    at = sorted(cut % (len(data) + 1) for cut in cuts)
    return [piece for piece in (data[a:b] for a, b in zip([0, *at], [*at, len(data)])) if piece]


@given(answers=st.lists(responses(), min_size=1, max_size=4), cuts=st.lists(st.integers(0, 10_000), max_size=8))
def test_any_split_of_any_responses_gives_the_same_answers(loop: asyncio.AbstractEventLoop, answers: list[Any], cuts: list[int]) -> None:
    connection, wire, owner = connect(loop)
    for number, (said, status, headers, body) in enumerate(answers, 1):
        heard = ask(loop, connection)
        for piece in split(said, cuts):
            assert not heard.ended
            connection.data_received(piece)
        assert heard.error is None
        assert (heard.ended, heard.heads, heard.status, heard.headers, heard.body) == (True, 1, status, headers, body)
        assert (owner.frees, wire.aborted) == (number, False)


@given(said=responses(), upto=st.integers(0, 10_000), end=st.sampled_from([None, ConnectionResetError()]))
def test_a_response_cut_anywhere_is_never_taken_for_a_whole_one(loop: asyncio.AbstractEventLoop, said: Any, upto: int, end: Exception | None) -> None:
    connection, wire, _ = connect(loop)
    heard = ask(loop, connection)
    part = said[0][: upto % len(said[0])]
    if part:
        connection.data_received(part)
    if end is None:
        connection.eof_received()
    connection.connection_lost(end)
    assert (heard.ended, wire.aborted, connection.closed) == (False, True, True)
    assert heard.error is not None


@given(junk=st.lists(st.binary(min_size=1, max_size=60), min_size=1, max_size=5), beginning=st.sampled_from([b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 2"]))
def test_no_bytes_make_it_raise_and_after_bad_ones_it_is_closed(loop: asyncio.AbstractEventLoop, junk: list[bytes], beginning: bytes) -> None:
    connection, wire, owner = connect(loop)
    heard = ask(loop, connection)
    for piece in [beginning, *junk]:
        if piece and not connection.closed:
            connection.data_received(piece)
    connection.connection_lost(None)
    assert heard.ended or heard.error is not None
    assert wire.aborted == connection.closed == (owner.losses == 1)


def test_more_than_was_asked_for_does_not_reach_the_next_one(loop: asyncio.AbstractEventLoop) -> None:
    connection, wire, owner = connect(loop)
    heard = ask(loop, connection)
    connection.data_received(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nX: evil\r\nContent-Length: 4\r\n\r\nevil")
    assert (heard.body, heard.ended, len(heard.headers)) == (b"ok", True, 1)
    assert (wire.aborted, owner.frees, owner.losses) == (True, 1, 1)


def test_a_request_that_was_not_written_to_its_end_leaves_nothing_to_use_again(loop: asyncio.AbstractEventLoop) -> None:
    connection, wire, _ = connect(loop)
    heard = ask(loop, connection)
    wire.unsent = 5
    connection.data_received(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
    assert heard.ended
    assert wire.aborted


def test_one_timer_serves_many_exchanges(monkeypatch: pytest.MonkeyPatch) -> None:
    class Loop:
        def __init__(self) -> None:
            self.timers: list[tuple[float, Any]] = []
            self.cancelled = 0

        def call_later(self, wait_s: float, what: Any) -> Loop:
            self.timers.append((wait_s, what))
            return self

        def cancel(self) -> None:
            self.cancelled += 1

    now = 100.0
    monkeypatch.setattr("emberank.client.connection.time.monotonic", lambda: now)
    loop = Loop()
    connection, _, _ = connect(loop)  # type: ignore[arg-type]

    def exchange(deadline: float, *, answered: bool = True) -> Heard:
        heard = Heard(None)  # type: ignore[arg-type]
        connection.send(b"GET", heard, deadline, no_body=False)
        if answered:
            connection.data_received(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        return heard

    exchange(110.0)
    for later in range(111, 120):
        exchange(float(later))
    assert [wait_s for wait_s, _ in loop.timers] == [10.0]
    exchange(105.0)
    assert ([wait_s for wait_s, _ in loop.timers], loop.cancelled) == ([10.0, 5.0], 1)
    heard = exchange(120.0, answered=False)
    now = 105.0
    loop.timers[-1][1]()  # too early for this one: it looks again
    assert (loop.timers[-1][0], heard.error) == (15.0, None)
    now = 120.0
    loop.timers[-1][1]()
    assert isinstance(heard.error, DeadlineExceeded)
    assert connection.closed


def test_a_deadline_in_the_past_sends_nothing(loop: asyncio.AbstractEventLoop) -> None:
    connection, wire, _ = connect(loop)
    with pytest.raises(DeadlineExceeded):
        connection.send(b"GET", Heard(loop.create_future()), 0.0, no_body=False)
    assert wire.written == b""
