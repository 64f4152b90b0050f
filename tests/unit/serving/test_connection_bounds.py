"""Clients that send a head without an end, or never read what they asked for, on a real socket."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import pytest
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from emberank.serving.connection import MOST_HEAD_BYTES
from emberank.serving.listener import Server, bind, server
from emberank.settings import GatewaySettings
from fleets import soon

LARGE = b"x" * (64 << 20)  # more than all buffers between the two hold


def scene(act: Callable[[Server, int], Awaitable[Any]], content: bytes = b"ok", pieces: Sequence[bytes] = (), **settings: Any) -> Any:
    """A server whose every answer is `content`, or `pieces` one after the other."""

    async def stream() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await (StreamingResponse(stream()) if pieces else Response(content))(scope, receive, send)

    async def play() -> Any:
        given = GatewaySettings(host="127.0.0.1", port=0, keep_alive_s=1, **settings)
        listener, serving = bind(given), server(given, app)
        running = asyncio.get_running_loop().create_task(serving.serve(sockets=[listener]))
        try:
            await soon(lambda: serving.started, "it listens")
            async with asyncio.timeout(20):
                return await act(serving, listener.getsockname()[1])
        finally:
            serving.should_exit = serving.force_exit = True
            await running

    return asyncio.run(play())


def answer_to(*pieces: bytes) -> bytes:
    async def act(serving: Server, port: int) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        status = await reader.readline()
        writer.close()
        return status

    found: bytes = scene(act)
    return found


@pytest.mark.parametrize("begun", [b"GET /?q=", b"GET / HTTP/1.1\r\nHost: t\r\nX-Long: ", b"GET / HTTP/1.1\r\nHost: t\r\n"])
def test_a_head_without_an_end_is_refused_before_it_is_kept(begun: bytes) -> None:
    more = b"a: b\r\n" * 20_000 if begun.endswith(b"\n") else b"a" * 120_000
    assert answer_to(begun, *[more] * 8) == b"HTTP/1.1 431 Request Header Fields Too Large\r\n"


def test_a_head_of_the_size_that_cookies_may_make_it_is_taken() -> None:
    assert answer_to(b"GET / HTTP/1.1\r\nHost: t\r\nCookie: a=" + b"b" * (MOST_HEAD_BYTES - 100) + b"\r\n\r\n") == b"HTTP/1.1 200 OK\r\n"


def test_a_body_of_any_size_is_no_head() -> None:
    head = b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 3000000\r\n\r\n"
    assert answer_to(head, b"x" * 3_000_000) == b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize("asked", [b"GET / HTTP/1.1\r\nHost: t\r\n\r\n", b"GET / HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n"])
def test_an_answer_that_nobody_reads_is_given_up(asked: bytes) -> None:
    async def act(serving: Server, port: int) -> None:
        with socket.create_connection(("127.0.0.1", port)) as sock:
            sock.sendall(asked)
            await soon(lambda: bool(serving.server_state.connections), "it is asked")
            await soon(lambda: not serving.server_state.connections, "it is let go of")

    scene(act, LARGE, read_timeout_s=0.2)


def test_a_reader_that_takes_its_time_gets_it_all() -> None:
    async def act(serving: Server, port: int) -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 12)
        writer.write(b"GET / HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n")
        size, loop = 0, asyncio.get_running_loop()
        while piece := await reader.read(1 << 20):
            size += len(piece)
            turned = asyncio.Event()
            loop.call_later(0.002, turned.set)
            await turned.wait()
        writer.close()
        return size

    assert scene(act, b"x" * (8 << 20), read_timeout_s=0.1) > 8 << 20


def test_a_reader_of_pieces_that_grow_is_not_given_up_while_it_reads() -> None:
    """What waits may be more at every look, although all that waited before was read."""
    pieces = [b"x" * ((1 << 20) + i * (256 << 10)) for i in range(12)]

    async def act(serving: Server, port: int) -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 12)
        writer.write(b"GET / HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n")
        size, loop = 0, asyncio.get_running_loop()
        while piece := await reader.read(1 << 20):
            size += len(piece)
            turned = asyncio.Event()
            loop.call_later(0.002, turned.set)
            await turned.wait()
        writer.close()
        return size

    assert scene(act, pieces=pieces, read_timeout_s=0.1) > sum(map(len, pieces))
