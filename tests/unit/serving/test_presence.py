"""The client that leaves: by a connection that says so, or by a watcher where the server has none."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from starlette.requests import Request

from emberank.serving.presence import EXTENSION, WhileConnected, client_left
from wire import WAIT_S


class FakeLine:
    """A connection that is lost when a test says so."""

    whole = True

    def __init__(self) -> None:
        self.call: Callable[[], object] | None = None
        self.lost = False

    def on_lost(self, call: Callable[[], object] | None) -> None:
        self.call = call
        if call is not None and self.lost:
            call()


def request_on(line: FakeLine | None, gone: asyncio.Event | None = None) -> Request:
    async def receive() -> Any:
        assert gone is not None, "with a line of ours nobody has to listen"
        await gone.wait()
        return {"type": "http.disconnect"}

    return Request({"type": "http", "headers": [], **({"extensions": {EXTENSION: line}} if line else {})}, receive)


async def cancelled(request: Request, leave: Callable[[], object]) -> asyncio.CancelledError:
    async def work() -> None:
        with WhileConnected(request):
            leave()
            await asyncio.Event().wait()

    with pytest.raises(asyncio.CancelledError) as caught:
        async with asyncio.timeout(WAIT_S):
            await asyncio.create_task(work())
    return caught.value


def test_a_lost_connection_cancels_what_runs_for_it() -> None:
    async def play() -> None:
        line = FakeLine()
        assert client_left(await cancelled(request_on(line), lambda: line.call and line.call()))

    asyncio.run(play())


def test_a_connection_that_was_lost_before_cancels_at_once() -> None:
    async def play() -> None:
        line = FakeLine()
        line.lost = True
        assert client_left(await cancelled(request_on(line), lambda: None))

    asyncio.run(play())


def test_without_a_line_the_server_is_listened_to() -> None:
    async def play() -> None:
        gone = asyncio.Event()
        assert client_left(await cancelled(request_on(None, gone), gone.set))

    asyncio.run(play())


def test_what_is_over_is_not_cancelled_any_more() -> None:
    async def play() -> None:
        line = FakeLine()
        with WhileConnected(request_on(line)):
            assert line.call is not None
        assert line.call is None
        gone = asyncio.Event()
        with WhileConnected(request_on(None, gone)):
            pass
        gone.set()
        await asyncio.sleep(0)

    asyncio.run(play())


def test_another_cancellation_is_not_the_clients() -> None:
    assert not client_left(asyncio.CancelledError())
    assert not client_left(asyncio.CancelledError("shutting down"))
