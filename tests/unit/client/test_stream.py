"""Answers piece by piece: as they come, no faster than they are taken, and to the end or an error."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from emberank.client.answer import Stream
from emberank.client.failures import ConnectionLost
from emberank.client.pool import Pool
from emberank.contract.errors import DeadlineExceeded
from loopback import Script, Talk, answer, chunked, playing
from wire import WAIT_S

Run = Callable[[Coroutine[Any, Any, Any]], Any]
SOON_S = 0.05


def due(seconds: float = WAIT_S) -> float:
    return time.monotonic() + seconds


async def taken(pool: Pool, url: str, got: bytearray, piece_within_s: float = WAIT_S) -> None:
    """Take a whole stream."""
    async with pool.stream("GET", url, deadline=due(), piece_within_s=piece_within_s) as stream:
        async for piece in stream:
            got += piece


class Flow:
    """Counts."""

    def __init__(self) -> None:
        self.paused = False
        self.pauses = 0

    def pause(self) -> None:
        self.paused = True
        self.pauses += 1

    def resume(self) -> None:
        self.paused = False

    def unhurry(self) -> None:
        pass


def test_reading_stops_while_too_much_is_not_taken_and_goes_on_when_it_is(run: Run) -> None:
    async def go() -> None:
        flow = Flow()
        stream = Stream(asyncio.get_running_loop().create_future(), flow, WAIT_S)
        stream.head(200, [])
        for _ in range(4):
            stream.piece(b"x" * 65536)
            assert not flow.paused
        stream.piece(b"x")
        assert flow.paused
        pieces = aiter(stream)
        for _ in range(3):
            await anext(pieces)
            assert flow.paused
        for _ in range(2):
            await anext(pieces)
        assert not flow.paused
        stream.piece(b"x" * (1 << 20))
        assert (flow.paused, flow.pauses) == (True, 2)
        stream.end()
        assert not flow.paused, "the connection is somebody else's now"
        assert len(await anext(pieces)) == 1 << 20
        assert await anext(pieces, None) is None

    run(go())


def test_pieces_come_while_the_answer_is_still_being_written(run: Run) -> None:
    heard = asyncio.Event()

    async def script(talk: Talk) -> None:
        while True:
            await talk.request()
            await talk.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
            for number in range(3):
                await talk.send(b"9\r\ndata: %d\n\n\r\n" % number)
                await heard.wait()
                heard.clear()
            await talk.send(b"0\r\n\r\n")

    async def go() -> None:
        async with playing(script) as server:
            pool = Pool()
            for _ in range(2):
                async with pool.stream("GET", server.url, deadline=due()) as stream:
                    assert (stream.status, stream.header("content-type")) == (200, "text/event-stream")
                    got = []
                    async for piece in stream:
                        got.append(piece)
                        heard.set()
                    assert b"".join(got) == b"data: 0\n\ndata: 1\n\ndata: 2\n\n"
            assert server.opened == 1
            await pool.close()

    run(go())


def test_a_large_answer_that_is_taken_slowly_arrives_whole_and_not_ahead_of_time(run: Run) -> None:
    body = bytes(range(256)) * (32 << 12)  # 32 MiB
    sent = 0

    async def script(talk: Talk) -> None:
        nonlocal sent
        while True:
            await talk.request()
            await talk.send(answer(body)[: -len(body)])
            for at in range(0, len(body), 1 << 16):
                await talk.send(body[at : at + (1 << 16)])
                sent += 1 << 16

    async def go() -> None:
        async with playing(script) as server:
            pool = Pool()
            async with pool.stream("GET", server.url, deadline=due()) as stream:
                pieces = aiter(stream)
                first = await anext(pieces)
                for _ in range(2000):  # turns of the loop in which nothing is taken
                    await asyncio.sleep(0)
                assert sent < len(body) - (1 << 20), "all of it was read although nobody took it"
                whole = bytearray(first)
                async for piece in pieces:
                    whole += piece
                assert bytes(whole) == body
            assert (await pool.request("GET", server.url, deadline=due())).body == body
            assert server.opened == 1
            await pool.close()

    run(go())


@pytest.mark.parametrize(("said", "before"), [(answer(b"hello")[:-1], b"hell"), (chunked(b"hello", b"world")[:-8], b"hello")])
def test_an_answer_that_breaks_off_is_not_taken_for_a_whole_one(run: Run, said: bytes, before: bytes) -> None:
    async def script(talk: Talk) -> None:
        await talk.request()
        await talk.send(said)

    async def go() -> None:
        async with playing(script) as server:
            pool = Pool(max_connections_per_host=1)
            for _ in range(2):
                got = bytearray()
                with pytest.raises(ConnectionLost):
                    await taken(pool, server.url, got)
                assert got[: len(before)] == before
            await pool.close()

    run(go())


def stops_after(said: bytes) -> Script:
    async def script(talk: Talk) -> None:
        await talk.request()
        await talk.send(said)
        await talk.left()

    return script


def test_leaving_before_the_end_closes_the_connection(run: Run) -> None:
    async def go() -> None:
        async with playing(stops_after(answer(b"hello")[:-1])) as server:
            pool = Pool(max_connections_per_host=1)
            for _ in range(2):
                async with pool.stream("GET", server.url, deadline=due()) as stream:
                    async for _piece in stream:
                        break
                await server.all_left()
            with pytest.raises(RuntimeError, match="mine"):
                async with pool.stream("GET", server.url, deadline=due()):
                    raise RuntimeError("mine")
            await server.all_left()
            await pool.close()

    run(go())


def test_the_deadline_is_for_the_head_and_the_pause_for_what_follows(run: Run) -> None:
    heard = asyncio.Event()

    async def script(talk: Talk) -> None:
        await talk.request()
        if talk.number == 0:
            await talk.left()
            return
        await talk.send(answer(b"hello")[:-2])
        await heard.wait()
        await talk.send(b"l")
        await talk.left()

    async def go() -> None:
        async with playing(script) as server:
            pool = Pool()
            with pytest.raises(DeadlineExceeded):
                async with pool.stream("GET", server.url, deadline=due(SOON_S)):
                    raise AssertionError
            async with pool.stream("GET", server.url, deadline=due(2 * SOON_S), piece_within_s=float("inf")) as stream:
                pieces = aiter(stream)
                assert await anext(pieces) == b"hel"
                asyncio.get_running_loop().call_later(3 * SOON_S, heard.set)  # after the deadline
                assert await anext(pieces) == b"l"
            heard.clear()
            with pytest.raises(DeadlineExceeded, match="nothing more"):
                await taken(pool, server.url, bytearray(), SOON_S)
            await pool.close()

    run(go())


def test_closing_the_pool_ends_a_stream(run: Run) -> None:
    async def go() -> None:
        async with playing(stops_after(answer(b"hello")[:-1])) as server:
            pool = Pool()
            async with pool.stream("GET", server.url, deadline=due()) as stream:
                pieces = aiter(stream)
                await anext(pieces)
                await pool.close()
                with pytest.raises(ConnectionLost):
                    await anext(pieces)
            await server.all_left()

    run(go())
