"""One suite for every launcher: what the reconciler may rely on, whoever starts the endpoint."""

from __future__ import annotations

import http.server
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import pytest

from emberank.contract.errors import SettingError
from emberank.forge.catalog import Model, Version
from emberank.forge.endpoint_probe import is_ready
from emberank.forge.launchers.base import Launch, Launcher, Observed, Running
from emberank.forge.launchers.fake import FakeLauncher
from emberank.forge.launchers.process import ProcessLauncher
from emberank.forge.launchers.registry import LAUNCHERS, builder
from emberank.forge.launchers.remote import RemoteLauncher
from emberank.forge.targets import Pool, Target
from wire import until

CHILD = (sys.executable, "-S", "-E", str(Path(__file__).parents[1] / "child_runtime.py"))


class Bench(Protocol):
    """One launcher, and what stands behind it."""

    launcher: Launcher
    stops: bool  # whether its endpoints are its own to end

    def launch(self, id: str) -> Launch: ...
    def next_launcher(self) -> Launcher:
        """As another forge has it, later."""
        ...

    def break_(self, running: Running) -> None:
        """The endpoint ends by itself."""
        ...

    def answers(self, running: Running) -> bool: ...
    def close(self) -> None: ...


def a_launch(id: str, source: str, launcher: str) -> Launch:
    model = Model(slug="ranker", id="org/ranker", title="", description="", task="rank", versions=(version := Version(name="v1", source=source),))
    pool = Pool(target=Target("CPU", "local"), memory_bytes=10**9, slots=4, launcher=launcher)  # type: ignore[arg-type]
    return Launch(id=id, model=model, version=version, pool=pool)


class Recording(ProcessLauncher):
    """Remembers what it started, so that a test can end it."""

    def __init__(self, folder: Path, started: list[Running]) -> None:
        super().__init__(folder, command=CHILD)
        self._started = started

    def start(self, launch: Launch) -> Running:
        self._started.append(running := super().start(launch))
        return running


class ProcessBench:
    """Real processes of a few milliseconds."""

    stops = True

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._started: list[Running] = []
        self._launchers = [Recording(folder, self._started)]

    @property
    def launcher(self) -> Launcher:
        return self._launchers[0]

    def launch(self, id: str) -> Launch:
        return a_launch(id, "preset:x", "process")

    def next_launcher(self) -> Launcher:
        self._launchers.append(Recording(self._folder, self._started))
        return self._launchers[-1]

    def break_(self, running: Running) -> None:
        assert running.pid is not None
        os.kill(running.pid, signal.SIGSEGV)

    def answers(self, running: Running) -> bool:
        return is_ready(running, 2.0)

    def close(self) -> None:
        pairs = [(launcher, running) for launcher in self._launchers for running in self._started]
        for launcher, running in pairs:
            launcher.kill(running)
        until(lambda: all(launcher.look(running).over for launcher, running in pairs), "every child has ended")


class FakeBench:
    stops = True

    def __init__(self) -> None:
        self.now = 0.0
        self.launcher = FakeLauncher(self._clock)

    def _clock(self) -> float:
        self.now += 0.1
        return self.now

    def launch(self, id: str) -> Launch:
        return a_launch(id, "preset:x", "fake")

    def next_launcher(self) -> Launcher:
        return self.launcher

    def break_(self, running: Running) -> None:
        self.launcher.alive[running.id].ended = ("crashed", "it was ended by SIGSEGV")

    def answers(self, running: Running) -> bool:
        return running.id in self.launcher.alive

    def close(self) -> None:
        self.launcher.alive.clear()


class RemoteBench:
    """Somebody else's server, on loopback."""

    stops = False
    source = "nim:http://127.0.0.1:{port}/"

    def __init__(self) -> None:
        self.well = True
        bench = self

        class Health(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200 if bench.well and self.path == "/v1/health/ready" else 503)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Health)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        self._now = 0.0
        self.launcher = RemoteLauncher(environment={}, clock=self._clock)

    def _clock(self) -> float:
        self._now += 0.1
        return self._now

    def launch(self, id: str) -> Launch:
        return a_launch(id, self.source.format(port=self._server.server_port), "remote")

    def next_launcher(self) -> Launcher:
        return RemoteLauncher(environment={}, clock=self._clock)

    def break_(self, running: Running) -> None:
        self.well = False

    def answers(self, running: Running) -> bool:
        return is_ready(running, 2.0)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class ChargingBench(RemoteBench):
    """One that charges for what it is asked."""

    source = "cohere:http://127.0.0.1:{port}/v1/rerank"


@pytest.fixture(params=["process", "remote", "remote that charges", "fake"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    made: dict[str, Callable[[], Bench]] = {
        "process": lambda: ProcessBench(tmp_path),
        "remote": RemoteBench,
        "remote that charges": ChargingBench,
        "fake": FakeBench,
    }
    one = made[request.param]()
    yield one
    one.close()


def seen(launcher: Launcher, running: Running, state: str) -> Observed:
    """Look until it is so."""
    last: list[Observed] = []

    def is_so() -> bool:
        last[:] = [launcher.look(running)]
        return last[0].state == state or (state == "over" and last[0].over)

    until(is_so, f"{running.id} is {state}")
    return last[0]


def ready(bench: Bench, id: str = "e1") -> Running:
    running = bench.launcher.start(bench.launch(id))
    observed = seen(bench.launcher, running, "ready")
    return Running(**{name: getattr(running, name) for name in Running.__slots__} | {"url": observed.url})


def test_every_launcher_that_has_a_name_is_in_the_suite(tmp_path: Path) -> None:
    assert set(LAUNCHERS) == {"process", "remote", "fake"}
    assert [type(builder(name)(tmp_path)) for name in ("process", "remote", "fake")] == [ProcessLauncher, RemoteLauncher, FakeLauncher]


def test_a_launcher_that_does_not_exist_is_refused_with_those_that_do() -> None:
    with pytest.raises(SettingError, match="unknown launcher 'ray'; known: process, remote, fake"):
        builder("ray")


def test_an_endpoint_that_was_started_becomes_ready_with_a_url_that_answers(bench: Bench) -> None:
    running = bench.launcher.start(bench.launch("e1"))
    assert (running.id, running.launcher, running.served_name) == ("e1", bench.launch("e1").pool.launcher, "org/ranker")
    observed = seen(bench.launcher, running, "ready")
    assert observed.url.startswith("http://")
    assert bench.answers(ready(bench, "e2"))


def test_looking_again_at_what_is_ready_says_the_same(bench: Bench) -> None:
    running = ready(bench)
    assert {bench.launcher.look(running).url for _ in range(5)} == {running.url}
    assert {bench.launcher.look(running).state for _ in range(5)} == {"ready"}


def test_what_was_asked_to_end_is_over_soon(bench: Bench) -> None:
    running = ready(bench)
    bench.launcher.stop(running)
    seen(bench.launcher, running, "over")
    assert bench.answers(running) is not bench.stops


def test_what_was_killed_is_over(bench: Bench) -> None:
    running = ready(bench)
    bench.launcher.kill(running)
    seen(bench.launcher, running, "over")
    assert bench.answers(running) is not bench.stops


def test_what_is_over_can_be_asked_to_end_and_killed_again_and_nothing_happens(bench: Bench) -> None:
    first, second = ready(bench, "e1"), ready(bench, "e2")
    bench.launcher.kill(first)
    seen(bench.launcher, first, "over")
    bench.launcher.stop(first)
    bench.launcher.kill(first)
    assert bench.launcher.look(second).state == "ready"


def test_one_launcher_has_many_endpoints_each_its_own(bench: Bench) -> None:
    endpoints = [ready(bench, f"e{i}") for i in range(3)]
    bench.launcher.kill(endpoints[1])
    seen(bench.launcher, endpoints[1], "over")
    assert [bench.launcher.look(one).state for one in (endpoints[0], endpoints[2])] == ["ready", "ready"]


def test_an_endpoint_that_ends_by_itself_is_over_with_a_reason(bench: Bench) -> None:
    running = ready(bench)
    bench.break_(running)
    if not bench.stops:
        assert bench.launcher.look(running).state == "ready", "its health is watched by others"
        return
    observed = seen(bench.launcher, running, "ended")
    assert (observed.reason, observed.message) == ("crashed", "it was ended by SIGSEGV")


def test_the_next_forge_adopts_what_is_there_and_can_end_it(bench: Bench) -> None:
    saved = ready(bench)
    launcher = bench.next_launcher()
    adopted = launcher.adopt(saved)
    assert adopted is not None
    assert adopted.id == saved.id
    assert seen(launcher, adopted, "ready").url == saved.url
    launcher.stop(adopted)
    seen(launcher, adopted, "over")


def test_the_next_forge_adopts_nothing_that_is_gone(bench: Bench) -> None:
    saved = ready(bench)
    bench.launcher.kill(saved)
    seen(bench.launcher, saved, "over")
    if bench.stops:
        assert bench.next_launcher().adopt(saved) is None


def test_what_was_never_there_is_gone(bench: Bench) -> None:
    nobody = Running(id="nobody", launcher="x", pid=2**22 + 1, pid_created_at=1.0)
    if bench.stops:
        assert bench.launcher.adopt(nobody) is None
        assert bench.launcher.look(nobody).over
