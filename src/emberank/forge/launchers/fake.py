"""A fake launcher for tests of everything above a launcher: endpoints are entries of a dictionary, and live by a script and a clock.

They can be slow, fail, crash, ignore that they are asked to end, or stop at a gate while they are made. Never used unless named.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from emberank.contract.fleet import FailureReason
from emberank.forge.launchers.base import Launch, Observed, Running
from emberank.forge.samples import WeightsFrom


@dataclass(slots=True)
class Script:
    """How the endpoints of a model behave. Seconds count from their start."""

    ready_after_s: float = 1.0
    fetches: tuple[tuple[float, int], ...] = ()  # (from when, bytes there): it is fetching, of 100 bytes, until all are there
    fails: tuple[FailureReason, str] | None = None  # in the place of becoming ready
    refuses: Exception | None = None  # what `start` raises
    ignores_stop: bool = False
    stop_takes_s: float = 0.0
    memory_bytes: int = 100
    gate: threading.Event | None = None  # `start` waits for it, at most 30 s


@dataclass(slots=True)
class FakeEndpoint:
    """One endpoint; `ended` is set by a test that makes it crash."""

    launch: Launch
    script: Script
    began_at: float
    stopped_at: float | None = None
    killed: bool = False
    ended: tuple[FailureReason, str] | None = None


@dataclass(slots=True)
class FakeLauncher:
    """Endpoints by id, and all launches that ever were."""

    clock: Callable[[], float] = time.monotonic
    scripts: dict[str, Script] = field(default_factory=dict)  # by slug
    alive: dict[str, FakeEndpoint] = field(default_factory=dict)
    launches: list[Launch] = field(default_factory=list)

    def start(self, launch: Launch) -> Running:
        """An entry; its time begins now."""
        script = self.scripts.get(launch.model.slug, Script())
        if script.gate is not None and not script.gate.wait(30):
            raise TimeoutError("the test never opened the fake launcher's gate")
        self.launches.append(launch)
        if script.refuses is not None:
            raise script.refuses
        self.alive[launch.id] = FakeEndpoint(launch, script, self.clock())
        return Running(id=launch.id, launcher="fake", served_name=launch.model.id, pid=len(self.launches), pid_created_at=1.0, devices=launch.devices)

    def look(self, running: Running) -> Observed:
        """As the script has it at this time."""
        endpoint = self.alive.get(running.id)
        if endpoint is None:
            return Observed(state="gone")
        observed = self._seen(endpoint, self.clock())
        if observed.over:
            del self.alive[running.id]
        return observed

    def stop(self, running: Running) -> None:
        """It ends after `stop_takes_s`, unless it ignores this."""
        endpoint = self.alive.get(running.id)
        if endpoint is not None and endpoint.stopped_at is None and not endpoint.script.ignores_stop:
            endpoint.stopped_at = self.clock()

    def kill(self, running: Running) -> None:
        """It ends."""
        if running.id in self.alive:
            self.alive[running.id].killed = True

    def adopt(self, saved: Running) -> Running | None:
        """What is still there."""
        return saved if saved.id in self.alive else None

    def _seen(self, endpoint: FakeEndpoint, now: float) -> Observed:
        script, age_s = endpoint.script, now - endpoint.began_at
        if endpoint.killed:
            return Observed(state="ended", reason="crashed", message="it was ended by SIGKILL")
        if endpoint.stopped_at is not None and now - endpoint.stopped_at >= script.stop_takes_s:
            return Observed(state="ended", reason="crashed", message="it ended by itself with status 0")
        if endpoint.ended is not None:
            return Observed(state="ended", reason=endpoint.ended[0], message=endpoint.ended[1], peak_memory_bytes=script.memory_bytes)
        there = max((size for since_s, size in script.fetches if age_s >= since_s), default=0)
        if script.fetches and there < 100:
            return Observed(state="starting", step="fetching", done=there, total=100)
        if age_s < script.ready_after_s:
            return Observed(state="starting", step="loading")
        if script.fails is not None:
            return Observed(state="ended", reason=script.fails[0], message=script.fails[1], peak_memory_bytes=script.memory_bytes)
        weights_from: WeightsFrom = "network" if script.fetches else "page cache"
        return Observed(state="ready", url=f"http://{endpoint.launch.id}.invalid:1", peak_memory_bytes=script.memory_bytes, weights_from=weights_from)


def build(folder: Path) -> FakeLauncher:
    """The registry's builder; it keeps no files."""
    return FakeLauncher()
