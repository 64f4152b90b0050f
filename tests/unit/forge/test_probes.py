"""The queue of probes: one at a time, cold when asked, and every end of one told."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

import pytest

from emberank.contract.errors import NotReady, QueueFull
from emberank.contract.fleet import Endpoint, Phase, Wish
from emberank.contract.inference import Task
from emberank.forge import probes as module
from emberank.forge.deployments import Deployment, Key, cold, move
from emberank.forge.launchers.base import Running
from emberank.forge.probes import Probes
from emberank.forge.samples import Sample

KEY = Key("m", "v1", "CPU", "local")
GOOD = Sample(at_s=1.0, slug="m", version="v1", gpu_type="CPU", region="local", kind="probe", ok=True, model_ms=2.0)


class ScriptedLife:
    """A reconciler that starts at once, or fails."""

    def __init__(self, failure: str = "") -> None:
        self.failure = failure
        self.log: list[str] = []
        self.phase: Phase = "COLD"

    @property
    def _deployment(self) -> Deployment:
        one = cold(KEY, 0.0)
        if self.phase == "COLD":
            return one
        one = replace(move(one, "STARTING", 0.0), endpoint=Running(id="e1", launcher="fake"))
        if self.phase == "FAILED":
            return move(one, "FAILED", 0.0, reason="crashed", message=self.failure, retry_at=9.0)
        return move(one, "WARM", 0.0)

    def wake(self, wish: Wish) -> Deployment:
        self.log.append(f"wake {wish.slug}")
        if self.failure == "refused":
            raise NotReady("there is no room")
        self.phase = "FAILED" if self.failure else "WARM"
        return self._deployment

    def stop(self, slug: str, version: str | None = None, gpu_type: str | None = None, region: str | None = None) -> tuple[Deployment, ...]:
        self.log.append(f"stop {slug}")
        stopped = self._deployment
        self.phase = "COLD"
        return (stopped,)

    async def settled(self, key: Key, deadline: float) -> Deployment:
        assert key == KEY
        return self._deployment

    def deployments(self) -> tuple[Deployment, ...]:
        return (self._deployment,)

    def endpoints(self) -> tuple[Endpoint, ...]:
        return (Endpoint(id="e1", **KEY._asdict(), phase=self.phase, url="http://h:1"),)


async def measure_well(endpoint: Endpoint, task: Task) -> list[Sample]:
    return [GOOD, GOOD]


def run(life: ScriptedLife, test: Callable[[Probes, list[Sample]], Awaitable[None]], measure: Callable[..., Awaitable[list[Sample]]] = measure_well) -> None:
    kept: list[Sample] = []

    async def record(samples: Sequence[Sample]) -> None:
        kept.extend(samples)

    async def all_of_it() -> None:
        probes = Probes(life, lambda slug: "rank", measure, record, 10.0, lambda: 5.0)
        working = asyncio.create_task(probes.run())
        async with asyncio.timeout(10):
            await test(probes, kept)
        working.cancel()

    asyncio.run(all_of_it())


async def ended(probes: Probes) -> None:
    while any(one.state in ("waiting", "running") for one in probes.all()):  # noqa: ASYNC110  probes tell nobody when they are done
        await asyncio.sleep(0)


def test_a_probe_makes_it_warm_measures_it_and_keeps_what_it_measured() -> None:
    life = ScriptedLife()

    async def test(probes: Probes, kept: list[Sample]) -> None:
        asked = probes.request("m")
        assert probes.pending(*KEY)
        await ended(probes)
        (one,) = probes.all()
        assert (one.id, one.state, one.samples, one.reason, one.gpu_type, one.ended_s) == (asked.id, "done", 2, None, "CPU", 5.0)
        assert kept == [GOOD, GOOD]
        assert not probes.pending(*KEY)

    run(life, test)
    assert life.log == ["wake m"]


def test_a_cold_probe_stops_it_first_and_waits_until_it_is_cold() -> None:
    life = ScriptedLife()

    async def test(probes: Probes, kept: list[Sample]) -> None:
        probes.request("m", cold=True)
        await ended(probes)

    run(life, test)
    assert life.log == ["stop m", "wake m"]


@pytest.mark.parametrize("failure", ["it ended by itself", "refused"])
def test_a_start_that_fails_is_the_probes_end_with_its_message(failure: str) -> None:
    async def test(probes: Probes, kept: list[Sample]) -> None:
        probes.request("m")
        await ended(probes)
        (one,) = probes.all()
        assert one.state == "failed"
        assert one.message == ("there is no room" if failure == "refused" else failure)
        assert kept == []

    run(ScriptedLife(failure), test)


def test_a_request_that_fails_is_kept_as_a_sample_and_said() -> None:
    bad = replace(GOOD, ok=False, reason="request_failed", model_ms=None)

    async def measure(endpoint: Endpoint, task: Task) -> list[Sample]:
        return [GOOD, bad]

    async def test(probes: Probes, kept: list[Sample]) -> None:
        probes.request("m")
        await ended(probes)
        assert (probes.all()[0].state, probes.all()[0].reason, kept) == ("failed", "request_failed", [GOOD, bad])

    run(ScriptedLife(), test, measure)


def test_a_mistake_of_ours_ends_one_probe_and_not_the_queue(caplog: pytest.LogCaptureFixture) -> None:
    async def measure(endpoint: Endpoint, task: Task) -> list[Sample]:
        if not caplog.records:
            raise ZeroDivisionError
        return [GOOD]

    async def test(probes: Probes, kept: list[Sample]) -> None:
        probes.request("m")
        probes.request("m", cold=True)
        await ended(probes)
        assert [one.state for one in probes.all()] == ["done", "failed"]

    run(ScriptedLife(), test, measure)


def test_the_same_wish_waits_once_and_the_queue_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_WAITING", 2)

    async def test(probes: Probes, kept: list[Sample]) -> None:
        assert probes.request("m").id == probes.request("m").id
        probes.request("m", cold=True)
        with pytest.raises(QueueFull):
            probes.request("m", "v2")
        await ended(probes)

    run(ScriptedLife(), test)
