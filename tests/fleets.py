"""A scripted forge and a scripted endpoint: what a gateway stands between, with every answer in the test's hand. On loopback, in one event loop."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from emberank.contract.errors import EmberankError
from emberank.contract.fleet import Endpoint, LoadReport, ModelRow, Principal, Revisions, Snapshot, TargetRow, VersionRow, Wish
from emberank.gateway.errors import ForgeAway
from wire import WAIT_S

SECRET = "ab" * 32
KEY = "fk-test"
CPU = TargetRow(gpu_type="CPU", region="local", status="works", runnable=True, price_usd_per_hour=3.6)
RANKING = {"query": {"text": "which way?"}, "passages": [{"text": "two roads"}, {"text": "the ice"}]}
RANKED = json.dumps({"rankings": [{"index": 1, "logit": 2.5}, {"index": 0, "logit": -1.0}], "usage": {"prompt_tokens": 12, "total_tokens": 12}}).encode()
EMBEDDED = json.dumps(
    {"object": "list", "data": [{"object": "embedding", "index": 0, "embedding": [1.0]}], "model": "m", "usage": {"prompt_tokens": 4, "total_tokens": 4}}
).encode()
TIMING = {"Server-Timing": "tokenize;dur=0.20, queue;dur=0.50, engine;dur=10.00", "Emberank-Prompt-Tokens": "12"}


def digest(key: str = KEY) -> str:
    return hmac.new(bytes.fromhex(SECRET), key.encode(), hashlib.sha256).hexdigest()


def principal(key: str = KEY, **fields: Any) -> Principal:
    return Principal(**{"key_id": "k1", "name": "tests", "digest": digest(key), "scopes": ("inference", "read")} | fields)


def model(slug: str = "acme-rank", task: Any = "rank", targets: Sequence[TargetRow] = (CPU,), versions: Sequence[str] = ("v1",), **fields: Any) -> ModelRow:
    names = (slug, f"acme/{slug}")
    rows = tuple(VersionRow(name=name, targets=tuple(targets)) for name in versions)
    return ModelRow(**{"slug": slug, "id": names[1], "task": task, "names": names, "created": 1, "owner": "acme", "versions": rows} | fields)


def endpoint(url: str = "http://127.0.0.1:1", **fields: Any) -> Endpoint:
    defaults = {"id": "e1", "slug": "acme-rank", "version": "v1", "gpu_type": "CPU", "region": "local", "phase": "WARM", "url": url, "served_name": "served"}
    return Endpoint(**defaults | {"price_usd_per_hour": 3.6} | fields)


class ScriptedFleet:
    """A forge that says what it is told to say, and writes down what it is told."""

    def __init__(self, models: Sequence[ModelRow] = (), endpoints: Sequence[Endpoint] = (), principals: Sequence[Principal] = ()) -> None:
        self.forge_id = "f1"
        self.counted = 0
        self.away = False
        self.wakes: list[Wish] = []
        self.reports: list[LoadReport] = []
        self.attempts: list[LoadReport] = []
        self.page_calls: list[dict[bytes, bytes]] = []
        self.on_page_call: Callable[[dict[bytes, bytes]], Principal] = lambda headers: principal(digest="")
        self.on_wake: Callable[[Wish], Awaitable[None] | None] = lambda wish: None
        self.refuse_report: Callable[[LoadReport], EmberankError | None] = lambda report: None
        self._parts = {"models": tuple(models), "endpoints": tuple(endpoints), "principals": tuple(principals)}
        self._revisions = Revisions(models=1, endpoints=1, principals=1)
        self._changed = asyncio.Event()

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        return self._parts["endpoints"]  # type: ignore[return-value]

    def publish(self, **parts: Sequence[Any]) -> None:
        for name, rows in parts.items():
            self._parts[name] = tuple(rows)
            self._revisions = replace(self._revisions, **{name: getattr(self._revisions, name) + 1})
        self._changed.set()

    def restart(self, forge_id: str) -> None:
        """Another process on the same data: its revisions begin anew."""
        self.forge_id, self._revisions = forge_id, Revisions(models=1, endpoints=1, principals=1)
        self._changed.set()

    async def snapshot(self, gateway_id: str, known: Revisions, forge_id: str, wait_s: float) -> Snapshot:
        self._reach()
        if (known, forge_id) == (self._revisions, self.forge_id) and wait_s:
            self._changed.clear()
            try:
                async with asyncio.timeout(wait_s):
                    await self._changed.wait()
            except TimeoutError:
                pass
            self._reach()
        same = forge_id == self.forge_id
        parts = {name: None if same and getattr(known, name) == getattr(self._revisions, name) else rows for name, rows in self._parts.items()}
        return Snapshot(forge_id=self.forge_id, revisions=self._revisions, key_secret=SECRET, counted=self.counted, **parts)  # type: ignore[arg-type]

    def poke(self) -> None:
        """Answer who waits for a snapshot."""
        self._changed.set()

    async def wake(self, wish: Wish) -> None:
        self._reach()
        self.wakes.append(wish)
        result = self.on_wake(wish)
        if result is not None:
            await result

    async def report(self, report: LoadReport) -> None:
        self.attempts.append(report)
        self._reach()
        error = self.refuse_report(report)
        if error is not None:
            raise error
        if (report.gateway_id, report.number) not in {(each.gateway_id, each.number) for each in self.reports}:
            self.reports.append(report)

    async def session(self, headers: Sequence[tuple[bytes, bytes]], deadline: float) -> Principal:
        self._reach()
        self.page_calls.append(dict(headers))
        return self.on_page_call(dict(headers))

    def _reach(self) -> None:
        if self.away:
            raise ForgeAway("the forge cannot be reached", retry_after_s=1)

    @property
    def usage(self) -> list[Any]:
        return [record for report in self.reports for record in report.usage]


@dataclass
class Asked:
    """One request as an endpoint got it."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Said:
    """What it answers. `status` 0 breaks the connection off."""

    status: int = 200
    body: bytes = RANKED
    headers: dict[str, str] = field(default_factory=lambda: dict(TIMING))


@dataclass
class FakeEndpoint:
    """A server on loopback that answers as `answer` says."""

    url: str
    asked: list[Asked] = field(default_factory=list)
    left: int = 0  # clients that went away before their answer
    answer: Callable[[Asked], Awaitable[Said] | Said] = lambda asked: Said()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (asked := await _read(reader)) is not None:
                self.asked.append(asked)
                said = self.answer(asked)
                if not isinstance(said, Said):
                    said = await self._unless_left(said, reader)
                if said is None or said.status == 0:
                    return
                await _write(writer, said)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            return
        finally:
            writer.close()

    async def _unless_left(self, saying: Awaitable[Said], reader: asyncio.StreamReader) -> Said | None:
        task, gone = asyncio.ensure_future(saying), asyncio.ensure_future(reader.read(1))
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            task.cancel()
            self.left += 1
            return None
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        return task.result()


@asynccontextmanager
async def fake_endpoint(answer: Callable[[Asked], Awaitable[Said] | Said] = lambda asked: Said()) -> AsyncIterator[FakeEndpoint]:
    fake = FakeEndpoint("", answer=answer)
    server = await asyncio.start_server(fake.serve, "127.0.0.1", 0)
    fake.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    tasks_before = asyncio.all_tasks()
    try:
        yield fake
    finally:
        server.close()
        for task in asyncio.all_tasks() - tasks_before:
            if "FakeEndpoint" in repr(task.get_coro()):
                task.cancel()


async def _read(reader: asyncio.StreamReader) -> Asked | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.decode("latin-1").split("\r\n")[:-2]
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    method, path, _ = first.split(" ")
    return Asked(method, path, headers, await reader.readexactly(int(headers.get("content-length", "0"))))


async def _write(writer: asyncio.StreamWriter, said: Said) -> None:
    headers = {"Content-Type": "application/json", **said.headers, "Content-Length": str(len(said.body))}
    head = f"HTTP/1.1 {said.status} X\r\n" + "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    writer.write(head.encode("latin-1") + b"\r\n" + said.body)
    await writer.drain()


async def soon(true: Callable[[], bool], what: str) -> None:
    """Let the loop turn until it is so; fail after `WAIT_S`."""
    async with asyncio.timeout(WAIT_S):
        while not true():  # noqa: ASYNC110  what is waited for sets no event
            await asyncio.sleep(0.001)
    assert true(), what
