"""A whole server in this process: real sockets on loopback, real threads, a tiny checkpoint. `start` gives one with settings of its own."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from emberank.runtime.engines.fake import FakeEngine
from emberank.runtime.process import RuntimeProcess
from emberank.serving.listener import bind
from emberank.settings import RuntimeSettings
from signal_loop import SignalLoop
from tinybert import write_checkpoint
from wire import WAIT_S, Client, until

EMBEDDER = "acme/Tiny_Embed-v1.5"
RERANKER = "acme/tiny-rank.v2"


class Running(Client):
    """A server that runs in a thread of its own, and a client for it."""

    def __init__(self, settings: RuntimeSettings, prepare: Callable[[RuntimeProcess], None] | None = None) -> None:
        self.process = RuntimeProcess(settings)
        if prepare is not None:
            prepare(self.process)
        self._listener = bind(settings)
        super().__init__(self._listener.getsockname()[1])
        self._loops: list[SignalLoop] = []
        self._serving = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="server")
        self._thread.start()
        assert self._serving.wait(WAIT_S)

    def _serve(self) -> None:
        def loop() -> SignalLoop:
            self._loops.append(SignalLoop())
            return self._loops[-1]

        async def serve() -> None:
            asyncio.get_running_loop().call_soon(self._serving.set)
            await self.process.serve(self._listener)

        with asyncio.Runner(loop_factory=loop) as runner:
            runner.run(serve())

    def ready(self) -> Running:
        until(lambda: self.process.server.ready, "the server is ready")
        return self

    def engine(self, name: str = EMBEDDER) -> FakeEngine:
        """The fake engine behind a model."""
        found = next(model for model in self.process.models if model.name == name).backend.engine
        assert isinstance(found, FakeEngine)
        return found

    def signal(self, number: int = signal.SIGTERM) -> None:
        """What the process does when it gets this signal."""
        self._loops[0].signals[number]()

    def ended(self, wait_s: float = WAIT_S) -> bool:
        """Whether the server ends within the wait."""
        self._thread.join(wait_s)
        return not self._thread.is_alive()

    def stop(self) -> None:
        if self._thread.is_alive():
            self.signal()
            self.signal()  # twice: tests that leave something open do not wait for it
        assert self.ended(), "the server did not end"


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoints")
    write_checkpoint(folder / "embed", ranks=False)
    write_checkpoint(folder / "rank", ranks=True)
    return folder


@pytest.fixture(scope="session")
def tiny(checkpoints: Path) -> Callable[..., RuntimeSettings]:
    """Settings for a server of both tiny models."""

    def settings(**values: Any) -> RuntimeSettings:
        models = (f"{EMBEDDER}=file:{checkpoints / 'embed'}", f"{RERANKER}=file:{checkpoints / 'rank'}")
        return RuntimeSettings(**{"port": 0, "models": models, "engine": "reference", "tokenizer_threads": 2, "read_timeout_s": WAIT_S} | values)

    return settings


Start = Callable[..., Running]


@pytest.fixture
def start(tiny: Callable[..., RuntimeSettings]) -> Iterator[Start]:
    """Start a server with settings of one's own; it is stopped when the test ends."""
    with contextlib.ExitStack() as stack:

        def run(*, prepare: Callable[[RuntimeProcess], None] | None = None, wait: bool = True, **values: Any) -> Running:
            running = Running(tiny(**values), prepare)
            stack.callback(running.stop)
            return running.ready() if wait else running

        yield run


@pytest.fixture(scope="module")
def launch() -> Iterator[Callable[[RuntimeSettings], Running]]:
    """Start a server that one module's tests share."""
    with contextlib.ExitStack() as stack:

        def run(settings: RuntimeSettings) -> Running:
            running = Running(settings)
            stack.callback(running.stop)
            return running.ready()

        yield run


@pytest.fixture(scope="session")
def server(tiny: Callable[..., RuntimeSettings]) -> Iterator[Running]:
    """One server with the default rules, the reference engine and both tiny models, for every test that changes nothing in it."""
    running = Running(tiny(max_body_bytes=12 << 20)).ready()
    yield running
    running.stop()
