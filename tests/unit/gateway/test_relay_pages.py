"""What a person sees of the gateway itself: a page while the forge is away, one for an address that is none; and streams that end when the gateway does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from emberank.contract.errors import NotReady
from fleets import Asked, FakeEndpoint, Said, ScriptedFleet, fake_endpoint, principal, soon
from gateways import Door, opened
from wire import WAIT_S, Reply, nim_error

BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


def relayed(folder: Path, act: Callable[[Door, FakeEndpoint], Awaitable[Any]], answer: Callable[[Asked], Any] = lambda asked: Said(200, b"{}")) -> Any:
    async def play() -> Any:
        async with fake_endpoint(answer) as forge:
            (folder / "fleet.json").write_text(json.dumps({"url": forge.url, "token": "secret", "pid": 1}))
            async with opened(ScriptedFleet([], [], [principal()]), folder) as door:
                return await act(door, forge)

    return asyncio.run(play())


def without_forge(folder: Path, act: Callable[[Door], Awaitable[Reply]]) -> Reply:
    async def go(door: Door, forge: FakeEndpoint) -> Reply:
        (folder / "fleet.json").write_text(json.dumps({"url": "http://127.0.0.1:1", "token": "t", "pid": 1}))
        return await act(door)

    reply: Reply = relayed(folder, go)
    return reply


@pytest.mark.parametrize("path", ["/", "/models/acme-rank", "/status", "/docs/api", "/account"])
def test_while_the_forge_is_away_a_browser_gets_a_page_that_says_what_works_and_can_ask_again(tmp_path: Path, path: str) -> None:
    reply = without_forge(tmp_path, lambda door: door.get(path, key=None, headers=BROWSER))
    assert (reply.status, reply.headers["content-type"], reply.headers["retry-after"]) == (503, "text/html; charset=utf-8", "2")
    html = reply.body.decode()
    assert "Back in a moment" in html
    assert "inference on warm models goes on without it" in html
    assert "Try again" in html
    assert "'unsafe" not in reply.headers["content-security-policy"]


def test_a_form_that_was_sent_meanwhile_is_not_sent_again_by_itself(tmp_path: Path) -> None:
    reply = without_forge(tmp_path, lambda door: door.ask("/account/keys", b"name=x", BROWSER, key=None))
    assert reply.status == 503
    assert "Try again" not in reply.body.decode()


@pytest.mark.parametrize(("path", "headers"), [("/", {}), ("/web/phases", BROWSER), ("/v1/keys", BROWSER), ("/", {"Accept": "application/json"})])
def test_while_the_forge_is_away_a_program_gets_json(tmp_path: Path, path: str, headers: dict[str, str]) -> None:
    assert "cannot be reached" in nim_error(without_forge(tmp_path, lambda door: door.get(path, key=None, headers=headers)))


def test_an_address_that_is_none_is_a_page_with_a_way_back_for_a_browser(tmp_path: Path) -> None:
    async def act(door: Door, forge: FakeEndpoint) -> tuple[Reply, Reply, Reply]:
        path = '/no/<b>"such'
        replies = [await door.get(one, key=None, headers=headers) for one, headers in ((path, BROWSER), (path, {}), ("/v1/nothing", BROWSER))]
        assert forge.asked == []
        return replies[0], replies[1], replies[2]

    page, program, api = relayed(tmp_path, act)
    html = page.body.decode()
    assert (page.status, page.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert 'href="/"' in html
    assert "/no/&lt;b&gt;&quot;such" in html
    assert "<b>" not in html
    assert page.headers["x-request-id"]
    assert [reply.status for reply in (program, api)] == [404, 404]
    assert "GET /openapi.json lists the routes" in nim_error(program)
    assert "'/v1/nothing'" in nim_error(api)


class _Stream:
    """A forge whose streams of events begin, and go on for ever."""

    def __init__(self) -> None:
        self.open = 0
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        kind = b"text/event-stream; charset=utf-8"
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-type: " + kind + b"\r\n\r\n6\r\nfirst\n\r\n")
        self.open += 1
        try:
            await reader.read()  # until whoever asked has gone
        finally:
            self.open -= 1
            writer.close()


async def streamed(door: Door, *, left: asyncio.Event | None = None) -> tuple[asyncio.Task[None], list[dict[str, Any]]]:
    """A stream that has begun, and every message that its client was sent."""
    sent: list[dict[str, Any]] = []
    gone = left or asyncio.Event()
    bodies = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> dict[str, Any]:
        if bodies:
            return bodies.pop()
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/web/events", "raw_path": b"/web/events", "query_string": b"", "root_path": ""}
    scope |= {"http_version": "1.1", "headers": [], "scheme": "http"}
    task = asyncio.ensure_future(door.app(scope, receive, send))
    await soon(lambda: any(message.get("body") for message in sent) or task.done(), "the first event is there")
    return task, sent


def with_streams(folder: Path, act: Callable[[Door, _Stream], Awaitable[None]]) -> None:
    async def play() -> None:
        forge = _Stream()
        server = await asyncio.start_server(forge.serve, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        (folder / "fleet.json").write_text(json.dumps({"url": url, "token": "secret", "pid": 1}))
        async with opened(ScriptedFleet([], [], [principal()]), folder) as door:
            await act(door, forge)
        await soon(lambda: not forge.open, "nothing stays open")
        server.close()

    asyncio.run(play())


def test_a_gateway_that_ends_ends_its_streams_cleanly_and_starts_no_more(tmp_path: Path) -> None:
    async def act(door: Door, forge: _Stream) -> None:
        streams = [await streamed(door) for _ in range(2)]
        assert forge.open == 2
        door.gateway.drain()
        async with asyncio.timeout(WAIT_S):
            await asyncio.gather(*(task for task, _ in streams))
        for _, sent in streams:
            assert [message.get("body") for message in sent] == [None, b"first\n", b""]
            assert sent[-1]["more_body"] is False
        await soon(lambda: not forge.open, "the forge's connections are closed")
        late, sent = await streamed(door)
        async with asyncio.timeout(WAIT_S):
            await late
        assert sent[-1]["more_body"] is False
        door.gateway.hold.close(NotReady("over"))

    with_streams(tmp_path, act)


def test_a_client_that_leaves_a_stream_takes_it_off_the_forge(tmp_path: Path) -> None:
    async def act(door: Door, forge: _Stream) -> None:
        left = asyncio.Event()
        task, sent = await streamed(door, left=left)
        left.set()
        async with asyncio.timeout(WAIT_S):
            await task
        await soon(lambda: not forge.open, "the forge sees its client leave")
        assert sent[-1]["more_body"] is True  # nobody is there to be told of an end

    with_streams(tmp_path, act)


def test_an_answer_that_has_an_end_is_waited_for_when_the_gateway_ends(tmp_path: Path) -> None:
    gate = asyncio.Event()

    async def slow(asked: Asked) -> Said:
        await gate.wait()
        return Said(200, b"whole", {"Content-Type": "text/html"})

    async def act(door: Door, forge: FakeEndpoint) -> Reply:
        request = asyncio.ensure_future(door.get("/account", key=None))
        await soon(lambda: len(forge.asked) == 1, "the forge was asked")
        door.gateway.drain()
        gate.set()
        return await request

    reply = relayed(tmp_path, act, slow)
    assert (reply.status, reply.body) == (200, b"whole")
