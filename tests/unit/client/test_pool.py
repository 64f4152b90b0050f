"""The pool as a whole, over real sockets: reuse, bounds, deadlines, cancellation, and servers that close when they like."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import random
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest

from emberank.client.failures import AnswerTooLarge, BadAnswer, ConnectFailed, ConnectionLost
from emberank.client.lane import Lane
from emberank.client.pool import Pool
from emberank.contract.errors import DeadlineExceeded
from loopback import Playing, Script, Talk, answer, chunked, echo_ok, playing
from wire import WAIT_S

Run = Callable[[Coroutine[Any, Any, Any]], Any]
SOON_S = 0.05


def due(seconds: float = WAIT_S) -> float:
    return time.monotonic() + seconds


@contextlib.asynccontextmanager
async def pooled(script: Script = echo_ok, **options: Any) -> AsyncIterator[tuple[Pool, Playing]]:
    """A server that plays the script, and a pool for it. When the pool is closed, no connection is left."""
    async with playing(script) as server:
        pool = Pool(**options)
        try:
            yield pool, server
        finally:
            await pool.close()
        await server.all_left()


def once(*pieces: bytes) -> Script:
    """Answers every request with these bytes."""

    async def script(talk: Talk) -> None:
        while True:
            await talk.request()
            for piece in pieces:
                await talk.send(piece)

    return script


def test_a_request_and_its_answer(run: Run) -> None:
    async def go() -> None:
        async with pooled(once(answer(b"{}", b"X-One: 1", b"Server-Timing: engine;dur=3", status=b"201 Created"))) as (pool, server):
            url = f"{server.url}/v1/ranking?a=b"
            got = await pool.request("POST", url, [(b"content-type", b"application/json")], b'{"q":1}', deadline=due())
            assert (got.status, got.body, got.header("server-timing"), got.header("x-none")) == (201, b"{}", "engine;dur=3", None)
            assert got.headers[1] == (b"x-one", b"1")
            assert server.asked[0][1] == (
                f"POST /v1/ranking?a=b HTTP/1.1\r\nhost: 127.0.0.1:{server.port}\r\ncontent-type: application/json\r\ncontent-length: 7\r\n\r\n".encode()
                + b'{"q":1}'
            )
            await pool.request("GET", server.url, {"X-Two": "é"}, deadline=due())
            assert server.asked[1][1] == f"GET / HTTP/1.1\r\nhost: 127.0.0.1:{server.port}\r\nX-Two: é\r\n\r\n".encode("latin-1")
            assert server.opened == 1

    run(go())


def test_the_connection_used_last_is_used_next(run: Run) -> None:
    both = asyncio.Event()

    async def script(talk: Talk) -> None:
        await talk.request()
        if talk.number == 1:
            both.set()
        await both.wait()
        await talk.send(answer())
        while True:
            await talk.request()
            await talk.send(answer())

    async def go() -> None:
        async with pooled(script) as (pool, server):
            await asyncio.gather(*(pool.request("GET", server.url, deadline=due()) for _ in range(2)))
            last = server.asked[-1][0]
            del server.asked[:]
            for _ in range(5):
                await pool.request("GET", server.url, deadline=due())
            assert len({number for number, _ in server.asked}) == 1
            assert last in (0, 1)
            assert server.opened == 2

    run(go())


@pytest.mark.parametrize(
    ("said", "body"),
    [
        (answer(b"hello, world"), b"hello, world"),
        (answer(b""), b""),
        (chunked(b"hello", b", ", b"world"), b"hello, world"),
        (chunked(b"hello", trailers=b"X-Sum: 1\r\nX-More: 2\r\n"), b"hello"),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + answer(b"hello"), b"hello"),
    ],
    ids=["length", "empty", "chunked", "trailers", "interim"],
)
def test_an_answer_may_come_in_any_pieces(run: Run, said: bytes, body: bytes) -> None:
    async def script(talk: Talk) -> None:
        while True:
            await talk.request()
            await talk.send_slowly(said)

    async def go() -> None:
        async with pooled(script) as (pool, server):
            for _ in range(2):
                got = await pool.request("GET", server.url, deadline=due())
                assert (got.status, got.body, got.header("link")) == (200, body, None)
            assert server.opened == 1

    run(go())


@pytest.mark.parametrize(
    ("method", "said", "status"),
    [
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n", 200),
        ("HEAD", b"HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n", 404),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\n", 204),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 1234\r\n\r\n", 304),
        ("DELETE", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200),
    ],
)
def test_an_answer_without_a_body_is_whole_with_its_headers(run: Run, method: str, said: bytes, status: int) -> None:
    async def go() -> None:
        async with pooled(once(said)) as (pool, server):
            for _ in range(3):
                got = await pool.request(method, server.url, deadline=due())
                assert (got.status, got.body) == (status, b"")
            assert server.opened == 1

    run(go())


@pytest.mark.parametrize(
    "said",
    [
        answer(b"ok", b"Connection: close"),
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        answer() + b"more",
        answer() + answer(b"evil"),
        answer() + answer(b""),
        answer() + b"\0",
    ],
)
def test_a_connection_that_may_hold_something_else_is_not_used_again(run: Run, said: bytes) -> None:
    async def go() -> None:
        async with pooled(once(said)) as (pool, server):
            for number in range(3):
                assert (await pool.request("GET", server.url, deadline=due())).body == b"ok"
                assert server.asked[-1][0] == number

    run(go())


def test_a_body_without_a_length_ends_with_the_connection(run: Run) -> None:
    async def script(talk: Talk) -> None:
        await talk.request()
        await talk.send(b"HTTP/1.1 200 OK\r\n\r\nhello")
        await talk.send(b", world")

    async def go() -> None:
        async with pooled(script) as (pool, server):
            for _ in range(2):
                assert (await pool.request("GET", server.url, deadline=due())).body == b"hello, world"

    run(go())


def test_what_comes_while_nobody_asks_ends_the_connection(run: Run) -> None:
    idle = asyncio.Event()

    async def script(talk: Talk) -> None:
        await talk.request()
        await talk.send(answer())
        if talk.number == 0:
            await idle.wait()
            await talk.send(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
        await talk.left()

    async def go() -> None:
        async with pooled(script) as (pool, server):
            await pool.request("GET", server.url, deadline=due())
            idle.set()
            await server.all_left()
            assert (await pool.request("GET", server.url, deadline=due())).status == 200
            assert server.opened == 2

    run(go())


# --- the other side goes away


@pytest.mark.parametrize("started", [b"", b"H", b"HTTP/1.1 200 OK\r\nContent-Le", answer(b"hello")[:-1], chunked(b"hello")[:-2], chunked(b"hello")[:-7]])
def test_a_connection_that_ends_too_early_says_whether_the_answer_had_begun(run: Run, started: bytes) -> None:
    async def script(talk: Talk) -> None:
        await talk.request()
        await talk.send(started)

    async def go() -> None:
        async with pooled(script, max_connections_per_host=1) as (pool, server):
            for _ in range(2):  # the slot is free again
                with pytest.raises(ConnectionLost) as lost:
                    await pool.request("GET", server.url, deadline=due())
                assert lost.value.response_started == bool(started)
            assert len(server.asked) == 2, "a fresh connection that dies is not asked again"

    run(go())


async def dies_when_used_again(talk: Talk) -> None:
    """The first connection answers once, and closes when it is asked again, as one whose idle time ran out does."""
    await talk.request()
    await talk.send(answer(b"first"))
    await talk.request()
    if talk.number:
        await talk.send(answer(b"again"))
        await talk.left()


def test_a_request_that_meets_a_dead_connection_is_sent_once_more_on_a_fresh_one(run: Run) -> None:
    async def go() -> None:
        async with pooled(dies_when_used_again, max_connections_per_host=1) as (pool, server):
            await pool.request("GET", server.url, deadline=due())
            assert (await pool.request("POST", server.url, {}, b"x", deadline=due())).body == b"first"
            assert [number for number, _ in server.asked] == [0, 0, 1]
            assert server.asked[1][1] == server.asked[2][1]

    run(go())


def test_what_must_not_be_done_twice_is_not_sent_twice(run: Run) -> None:
    async def go() -> None:
        async with pooled(dies_when_used_again) as (pool, server):
            await pool.request("GET", server.url, deadline=due())
            with pytest.raises(ConnectionLost) as lost:
                await pool.request("POST", server.url, {}, b"x", deadline=due(), resend=False)
            assert not lost.value.response_started
            assert len(server.asked) == 2

    run(go())


def test_it_is_sent_once_more_and_no_further(run: Run) -> None:
    async def script(talk: Talk) -> None:
        await talk.request()
        if talk.number == 0:
            await talk.send(answer())
            await talk.request()

    async def go() -> None:
        async with pooled(script) as (pool, server):
            await pool.request("GET", server.url, deadline=due())
            with pytest.raises(ConnectionLost):
                await pool.request("GET", server.url, deadline=due())
            assert [number for number, _ in server.asked] == [0, 0, 1]

    run(go())


def test_an_answer_that_has_begun_is_not_asked_for_again(run: Run) -> None:
    async def script(talk: Talk) -> None:
        await talk.request()
        await talk.send(answer())
        await talk.request()
        await talk.send(b"HTTP/1.1 2")

    async def go() -> None:
        async with pooled(script) as (pool, server):
            await pool.request("GET", server.url, deadline=due())
            with pytest.raises(ConnectionLost) as lost:
                await pool.request("GET", server.url, deadline=due())
            assert lost.value.response_started
            assert len(server.asked) == 2

    run(go())


def test_a_connection_that_the_server_closes_while_idle_is_not_tried_and_leaves_its_place(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    noticed = asyncio.Event()
    ended = Lane.ended

    def end(lane: Lane, connection: Any) -> None:
        ended(lane, connection)
        noticed.set()

    async def script(talk: Talk) -> None:
        await talk.request()
        await talk.send(answer())

    async def go() -> None:
        monkeypatch.setattr(Lane, "ended", end)
        async with pooled(script, max_connections_per_host=1) as (pool, server):
            for _ in range(3):
                await pool.request("GET", server.url, deadline=due())
                await noticed.wait()
                noticed.clear()
            assert len(server.asked) == 3

    run(go())


def test_nobody_listening_is_a_failed_connection(run: Run) -> None:
    async def go() -> None:
        async with playing(echo_ok) as server:
            pass
        pool = Pool(max_connections_per_host=1)
        for _ in range(2):
            with pytest.raises(ConnectFailed):
                await pool.request("GET", server.url, deadline=due())
        with pytest.raises(ConnectFailed):
            await pool.request("GET", f"http://{'a' * 64}.invalid", deadline=due())
        await pool.close()

    run(go())


# --- the other side is ill-meaning


@pytest.mark.parametrize(
    "said",
    [
        b"hello\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 000 Zero\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\nContent-Length: 3\r\n\r\nabc" + answer(),
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nbad header\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
    ],
)
def test_what_is_not_http_is_refused_and_the_connection_closed(run: Run, said: bytes) -> None:
    async def script(talk: Talk) -> None:
        await talk.request()
        await talk.send(said)
        await talk.left()

    async def go() -> None:
        async with pooled(script, max_connections_per_host=1) as (pool, server):
            for _ in range(2):
                with pytest.raises(BadAnswer):
                    await pool.request("GET", server.url, deadline=due())
            assert server.opened == 2

    run(go())


OK = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    ("beginning", "endless"),
    [
        (OK, b"a: b\r\n"),
        (OK + b"a: ", b"b" * 100),
        (OK, b"a" * 100),
        (b"HTTP/1.1 200 ", b"O" * 100),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n1;", b"a" * 100),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n", b"a: b\r\n"),
        (b"", b"\r\n" * 50),
    ],
    ids=["headers", "value", "name", "reason", "interim", "extension", "trailers", "blank lines"],
)
def test_what_stands_around_a_body_is_bounded(run: Run, beginning: bytes, endless: bytes) -> None:
    sent = 0

    async def script(talk: Talk) -> None:
        nonlocal sent
        await talk.request()
        await talk.send(beginning)
        while True:
            await talk.send(endless * 10)
            sent += len(endless) * 10

    async def go() -> None:
        async with pooled(script) as (pool, server):
            with pytest.raises((BadAnswer, AnswerTooLarge)):
                await pool.request("GET", server.url, deadline=due())

    run(go())
    assert sent < 32 << 20  # what sockets hold


@pytest.mark.parametrize("said", [answer(b"x" * 1001), chunked(*[b"x" * 100] * 11), OK + b"\r\n" + b"x" * 1001])
def test_a_body_over_the_bound_is_refused(run: Run, said: bytes) -> None:
    async def go() -> None:
        async with pooled(once(said), max_body_bytes=1000) as (pool, server):
            with pytest.raises(AnswerTooLarge):
                await pool.request("GET", server.url, deadline=due())
            await server.all_left()
        async with pooled(once(answer(b"x" * 1000)), max_body_bytes=1000) as (pool, server):
            assert len((await pool.request("GET", server.url, deadline=due())).body) == 1000

    run(go())


def test_an_answer_before_the_whole_request_was_read_is_taken_and_the_connection_closed(run: Run) -> None:
    async def go() -> None:
        over = asyncio.Event()

        async def reads_nothing(talk: Talk) -> None:
            await talk.reader.readuntil(b"\r\n\r\n")
            await talk.send(answer(b"too large", status=b"413 Payload Too Large"))
            await over.wait()

        async with playing(reads_nothing) as server:
            pool = Pool()
            for number in range(2):
                got = await pool.request("POST", server.url, {}, b"x" * (32 << 20), deadline=due())
                assert (got.status, got.body) == (413, b"too large")
                assert server.opened == number + 1
            over.set()
            await pool.close()

    run(go())


# --- deadlines


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"])
def test_a_deadline_ends_the_request_and_its_connection(run: Run, said: bytes) -> None:
    async def script(talk: Talk) -> None:
        await talk.request()
        await talk.send(said)
        await talk.left()

    async def go() -> None:
        async with pooled(script, max_connections_per_host=1) as (pool, server):
            for _ in range(2):
                with pytest.raises(DeadlineExceeded):
                    await pool.request("GET", server.url, deadline=due(SOON_S))
                await server.all_left()

    run(go())


def test_a_later_deadline_on_the_same_connection_is_kept_and_so_is_an_earlier_one(run: Run) -> None:
    async def script(talk: Talk) -> None:
        for _ in range(2):
            await talk.request()
            await talk.send(answer())
        await talk.request()
        await talk.left()

    async def go() -> None:
        async with pooled(script) as (pool, server):
            await pool.request("GET", server.url, deadline=due(SOON_S))
            await pool.request("GET", server.url, deadline=due(600))
            began = time.monotonic()
            with pytest.raises(DeadlineExceeded):
                await pool.request("GET", server.url, deadline=due(2 * SOON_S))
            assert time.monotonic() - began >= 1.9 * SOON_S
            assert server.opened == 1

    run(go())


def test_a_deadline_that_has_passed_sends_nothing(run: Run) -> None:
    async def go() -> None:
        async with pooled(max_connections_per_host=1) as (pool, server):
            with pytest.raises(DeadlineExceeded):
                await pool.request("GET", server.url, deadline=due(-1))
            await pool.request("GET", server.url, deadline=due())
            with pytest.raises(DeadlineExceeded):
                await pool.request("GET", server.url, deadline=due(-1))
            assert len(server.asked) == 1
            assert (await pool.request("GET", server.url, deadline=float("inf"))).status == 200

    run(go())


def test_waiting_for_a_connection_is_bounded_by_the_deadline(run: Run) -> None:
    async def script(talk: Talk) -> None:
        await talk.request()
        await talk.left()

    async def go() -> None:
        async with pooled(script, max_connections_per_host=1) as (pool, server):
            first = asyncio.create_task(pool.request("GET", server.url, deadline=due()))
            await server.some_asked()
            for _ in range(3):
                with pytest.raises(DeadlineExceeded, match="free"):
                    await pool.request("GET", server.url, deadline=due(SOON_S))
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first
            assert len(server.asked) == 1

    run(go())


# --- cancellation


def test_a_cancelled_request_closes_its_connection_and_frees_its_place(run: Run) -> None:
    async def script(talk: Talk) -> None:
        await talk.request()
        if talk.number == 0:
            await talk.send(answer(b"half")[:-2])
            await talk.left()
        else:
            await talk.send(answer(b"mine"))
            await talk.left()

    async def go() -> None:
        async with pooled(script, max_connections_per_host=1) as (pool, server):
            task = asyncio.create_task(pool.request("GET", server.url, deadline=due()))
            await server.some_asked()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert (await pool.request("GET", server.url, deadline=due())).body == b"mine"

    run(go())


def test_whoever_is_cancelled_while_waiting_leaves_their_turn_to_the_next(run: Run) -> None:
    go_on = asyncio.Event()

    async def script(talk: Talk) -> None:
        while True:
            await talk.request()
            await go_on.wait()
            await talk.send(answer())

    async def go() -> None:
        async with pooled(script, max_connections_per_host=1) as (pool, server):
            tasks = [asyncio.create_task(pool.request("GET", f"{server.url}/{i}", deadline=due())) for i in range(4)]
            await server.some_asked()
            tasks[1].cancel()
            tasks[2].cancel()
            go_on.set()
            got = await asyncio.gather(*tasks, return_exceptions=True)
            assert [type(one).__name__ for one in got] == ["Answer", "CancelledError", "CancelledError", "Answer"]
            assert len(server.asked) == 2

    run(go())


def test_whoever_is_cancelled_in_the_moment_their_turn_comes_passes_it_on(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection is in their future already, and they will never look."""
    waiting: list[asyncio.Task[Any]] = []
    freed = Lane.free

    def free(lane: Lane, connection: Any) -> None:
        freed(lane, connection)
        if len(waiting) == 3:
            waiting.pop(0).cancel()

    async def go() -> None:
        async with pooled(max_connections_per_host=1) as (pool, server):
            monkeypatch.setattr(Lane, "free", free)
            first, *others = (asyncio.create_task(pool.request("GET", server.url, deadline=due())) for _ in range(4))
            waiting.extend(others)
            got = await asyncio.gather(first, *others, return_exceptions=True)
            assert [type(one).__name__ for one in got] == ["Answer", "CancelledError", "Answer", "Answer"]

    run(go())


def test_a_request_cancelled_when_its_answer_is_there_takes_nobodys_connection_away(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its connection has gone to the next one by then, who must not lose it."""
    tasks: list[asyncio.Task[Any]] = []
    freed = Lane.free

    def free(lane: Lane, connection: Any) -> None:
        freed(lane, connection)
        tasks[0].cancel()

    async def go() -> None:
        async with pooled(max_connections_per_host=1) as (pool, server):
            monkeypatch.setattr(Lane, "free", free)
            tasks.extend(asyncio.create_task(pool.request("GET", server.url, deadline=due())) for _ in range(2))
            got = await asyncio.gather(*tasks, return_exceptions=True)
            assert [type(one).__name__ for one in got] == ["CancelledError", "Answer"]
            assert server.opened == 1

    run(go())


def test_cancelling_while_connecting_leaves_no_socket(run: Run) -> None:
    async def go() -> None:
        async with pooled(max_connections_per_host=1) as (pool, server):
            for turns in range(6):
                task = asyncio.create_task(pool.request("GET", server.url, deadline=due()))
                for _ in range(turns):
                    await asyncio.sleep(0)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
            assert (await pool.request("GET", server.url, deadline=due())).status == 200

    run(go())


# --- many at once


def test_a_herd_on_a_small_pool_is_answered_in_order_over_no_more_connections_than_allowed(run: Run) -> None:
    async def go() -> None:
        async with pooled(max_connections_per_host=1) as (pool, server):
            await asyncio.gather(*(pool.request("GET", f"{server.url}/{i}", deadline=due()) for i in range(100)))
            assert [int(asked.split()[1][1:]) for _, asked in server.asked] == list(range(100))
            assert server.opened == 1
        async with pooled(max_connections_per_host=4) as (pool, server):
            got = await asyncio.gather(*(pool.request("GET", f"{server.url}/{i}", deadline=due()) for i in range(300)))
            assert {one.status for one in got} == {200}
            assert server.opened == 4

    run(go())


def test_a_herd_whose_server_breaks_every_other_connection_ends_with_each_told(run: Run) -> None:
    async def script(talk: Talk) -> None:
        await talk.request()
        if talk.number % 2:
            await talk.send(answer())
            await talk.request()
            await talk.send(answer())

    async def go() -> None:
        async with pooled(script, max_connections_per_host=3) as (pool, server):
            got = await asyncio.gather(*(pool.request("GET", server.url, deadline=due()) for _ in range(100)), return_exceptions=True)
            assert {type(one).__name__ for one in got} == {"Answer", "ConnectionLost"}

    run(go())


def test_after_a_storm_of_cancellations_every_place_is_free_and_nobody_got_another_s_answer(run: Run) -> None:
    places = 4
    gate: list[asyncio.Event] = []

    async def script(talk: Talk) -> None:
        while True:
            asked = await talk.request()
            if asked.startswith(b"GET /together"):
                if sum(b"/together" in one for _, one in talk.server.asked) == places:
                    gate[0].set()
                await gate[0].wait()
            await talk.send(answer(asked.split()[1]))

    async def go() -> None:
        gate.append(asyncio.Event())
        chance = random.Random(7)
        async with pooled(script, max_connections_per_host=places) as (pool, server):

            async def one(number: int) -> None:
                assert (await pool.request("GET", f"{server.url}/{number}", deadline=due())).body == b"/%d" % number

            tasks: list[asyncio.Task[None]] = []
            for number in range(600):
                tasks.append(asyncio.create_task(one(number)))
                for _ in range(chance.randrange(3)):
                    await asyncio.sleep(0)
                if chance.random() < 0.5:
                    chance.choice(tasks[-20:]).cancel()
            got = await asyncio.gather(*tasks, return_exceptions=True)
            assert {type(each) for each in got} == {type(None), asyncio.CancelledError}
            # Each of these is answered only when all of them have been asked.
            together = (pool.request("GET", f"{server.url}/together", deadline=due()) for _ in range(places))
            assert len(await asyncio.gather(*together)) == places

    run(go())
    gate.clear()


# --- the end


def test_closing_ends_what_is_under_way_and_what_waits(run: Run) -> None:
    async def script(talk: Talk) -> None:
        await talk.request()
        await talk.left()

    async def go() -> None:
        async with playing(script) as server:
            pool = Pool(max_connections_per_host=1)
            tasks = [asyncio.create_task(pool.request("GET", server.url, deadline=due())) for _ in range(2)]
            await server.some_asked()
            await pool.close()
            await pool.close()
            got = await asyncio.gather(*tasks, return_exceptions=True)
            assert [type(one).__name__ for one in got] == ["ConnectionLost", "ConnectFailed"]
            with pytest.raises(ConnectFailed):
                await pool.request("GET", server.url, deadline=due())
            await server.all_left()

    run(go())


def test_a_connection_that_nobody_needs_is_closed_in_time_and_its_origin_forgotten(run: Run) -> None:
    async def go() -> None:
        async with pooled(max_idle_s=SOON_S) as (pool, server):
            await asyncio.gather(*(pool.request("GET", server.url, deadline=due()) for _ in range(3)))
            await server.all_left()
            assert (await pool.request("GET", server.url, deadline=due())).status == 200

    run(go())


def test_requests_leave_no_garbage_for_the_collector(run: Run) -> None:
    async def go() -> None:
        async with pooled() as (pool, server):
            await pool.request("GET", server.url, deadline=due())
            gc.collect()
            gc.disable()
            try:
                for _ in range(50):
                    await pool.request("POST", server.url, [(b"a", b"b")], b"x", deadline=due())
                assert gc.collect() < 20, "a cycle for every request"
            finally:
                gc.enable()

    run(go())
