"""Both Python clients behind one face, and scripted servers in threads of their own for them to talk to. Knows no fixture."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import orjson
import pytest

from emberank.client import AsyncClient, Client
from emberank.contract.errors import EmberankError
from emberank.dialects.errors import render_error
from loopback import Playing, Script, Talk, answer, playing
from wire import WAIT_S

KEY = "fk-0123456789abcdef"
RANKED = b'{"rankings":[{"index":1,"logit":2.5},{"index":0,"logit":-1}],"usage":{"prompt_tokens":9,"total_tokens":9}}'
Calling = Callable[[Any], Any]


@contextlib.contextmanager
def served(script: Script, tls: Any = None) -> Iterator[Playing]:
    """A server that plays in a thread of its own."""
    started, ended = threading.Event(), asyncio.Event()
    found: list[tuple[Playing, asyncio.AbstractEventLoop]] = []

    async def serve() -> None:
        async with playing(script, tls) as server:
            found.append((server, asyncio.get_running_loop()))
            started.set()
            await ended.wait()

    with ThreadPoolExecutor(1) as thread:
        done = thread.submit(asyncio.run, serve())
        assert started.wait(WAIT_S)
        try:
            yield found[0][0]
        finally:
            found[0][1].call_soon_threadsafe(ended.set)
            done.result(WAIT_S)


def always(said: bytes) -> Script:
    async def script(talk: Talk) -> None:
        while True:
            await talk.request()
            await talk.send(said)

    return script


class Kind:
    """One of the two clients: `ask` makes one, does one thing with it and closes it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.slept: list[float] = []

    def ask(self, base: str, calling: Calling, **options: Any) -> Any:
        options = {"base_url": base, "api_key": KEY, "timeout_s": WAIT_S, "jitter": lambda: 0.0} | options
        if self.name == "Client":
            with Client(**options, sleep=self.slept.append) as client:
                return calling(client)

        async def go() -> Any:
            async def sleep(seconds: float) -> None:
                self.slept.append(seconds)

            async with AsyncClient(**options, sleep=sleep) as client:
                return await calling(client)

        return asyncio.run(go())

    def refused(self, base: str, calling: Calling, **options: Any) -> EmberankError:
        with pytest.raises(EmberankError) as raised:
            self.ask(base, calling, **options)
        assert KEY not in f"{raised.value!r} {raised.value} {raised.value.__cause__!r}"
        return raised.value


def asked(server: Playing, at: int = -1) -> tuple[str, dict[str, str], Any]:
    """(request line, headers, body) of a request."""
    head, _, body = server.asked[at][1].partition(b"\r\n\r\n")
    line, *rest = head.decode("latin-1").split("\r\n")
    return line.removesuffix(" HTTP/1.1"), {name.lower(): value for name, value in (each.split(": ", 1) for each in rest)}, orjson.loads(body) if body else None


def in_turn(*said: bytes, then: bytes = answer(RANKED)) -> Script:
    """These, one after the other over all connections, and then always the same."""
    left = list(said)

    async def script(talk: Talk) -> None:
        while True:
            await talk.request()
            await talk.send(left.pop(0) if left else then)

    return script


def said(loaded: object, status: bytes = b"200 OK") -> bytes:
    """A JSON answer."""
    return answer(orjson.dumps(loaded), status=status)


def refusal(error: EmberankError, *headers: bytes) -> bytes:
    """A refused answer."""
    return answer(render_error(error, "r", "nim"), *headers, status=b"%d Busy" % error.http_status)
