"""Wishes to measure in, samples out, one probe at a time: made warm (from cold, when asked), measured, recorded.

A probe sends its requests past the gateway, so it neither counts as use nor keeps a model warm. Knows no statistics.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol, TypeAlias

from emberank.contract.errors import EmberankError, QueueFull
from emberank.contract.fleet import Endpoint, FailureReason, Wish
from emberank.contract.inference import Task
from emberank.forge.deployments import Deployment, Key
from emberank.forge.samples import Sample

log = logging.getLogger(__name__)

State: TypeAlias = Literal["waiting", "running", "done", "failed"]
MOST_WAITING, MOST_REMEMBERED = 256, 1024
COLD_WITHIN_S = 120.0
POLL_S = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One wish and what became of it. Times are Unix time."""

    id: str
    slug: str
    version: str | None
    gpu_type: str | None
    region: str | None
    cold: bool
    state: State = "waiting"
    asked_s: float
    ended_s: float | None = None
    reason: FailureReason | None = None
    message: str = ""
    samples: int = 0


class Lifecycle(Protocol):
    """What a probe needs of the reconciler."""

    def wake(self, wish: Wish) -> Deployment:
        """Start it, if it is cold."""
        ...

    def stop(self, slug: str, version: str | None = None, gpu_type: str | None = None, region: str | None = None) -> tuple[Deployment, ...]:
        """Drain it."""
        ...

    async def settled(self, key: Key, deadline: float) -> Deployment:
        """Wait until it is WARM or FAILED."""
        ...

    def deployments(self) -> tuple[Deployment, ...]:
        """All there are."""
        ...

    def endpoints(self) -> tuple[Endpoint, ...]:
        """What answers."""
        ...


class Probes:
    """The queue of probes, and the task that works it off."""

    def __init__(
        self,
        life: Lifecycle,
        task_of: Callable[[str], Task],
        measure: Callable[[Endpoint, Task], Awaitable[list[Sample]]],
        record: Callable[[Sequence[Sample]], Awaitable[None]],
        start_within_s: float,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self._life = life
        self._task_of = task_of
        self._measure = measure
        self._record = record
        self._start_within_s = start_within_s
        self._now_s = now_s
        self._waiting: deque[str] = deque()
        self._probes: OrderedDict[str, Probe] = OrderedDict()
        self._numbers = itertools.count(1)
        self._asked = asyncio.Event()

    def request(self, slug: str, version: str | None = None, gpu_type: str | None = None, region: str | None = None, *, cold: bool = False) -> Probe:
        """Queue a probe. The same one that waits already is not queued twice. Raises QueueFull."""
        for one in self._probes.values():
            if one.state == "waiting" and (one.slug, one.version, one.gpu_type, one.region, one.cold) == (slug, version, gpu_type, region, cold):
                return one
        if len(self._waiting) >= MOST_WAITING:
            raise QueueFull(f"{MOST_WAITING} probes are waiting; ask again when some are done (GET /v1/probes)", retry_after_s=30)
        now = self._now_s()
        probe = Probe(id=f"p{next(self._numbers):06d}", slug=slug, version=version, gpu_type=gpu_type, region=region, cold=cold, asked_s=now)
        self._probes[probe.id] = probe
        while len(self._probes) > MOST_REMEMBERED:
            self._probes.popitem(last=False)
        self._waiting.append(probe.id)
        self._asked.set()
        return probe

    def all(self) -> tuple[Probe, ...]:
        """Newest first: the last ones, done or not."""
        return tuple(reversed(self._probes.values()))

    def pending(self, slug: str, version: str, gpu_type: str, region: str) -> bool:
        """Whether a probe of this row waits or runs."""
        return any(
            one.state in ("waiting", "running")
            and one.slug == slug
            and one.version in (None, version)
            and one.gpu_type in (None, gpu_type)
            and one.region in (None, region)
            for one in self._probes.values()
        )

    async def run(self) -> None:
        """Work the queue off until cancelled."""
        while True:
            await self._asked.wait()
            while self._waiting:
                await self._take(self._waiting.popleft())
            self._asked.clear()

    async def _take(self, probe_id: str) -> None:
        self._change(probe_id, state="running")
        try:
            samples = await self._probe(self._probes[probe_id])
        except EmberankError as error:
            self._change(probe_id, state="failed", message=error.message, ended_s=self._now_s())
            return
        except Exception:
            log.exception("a probe failed", extra={"action": "probe_failed", "probe": probe_id})
            self._change(probe_id, state="failed", message="internal error; the cause is in the forge's log", ended_s=self._now_s())
            return
        failed = next((sample for sample in samples if not sample.ok), None)
        reason = failed.reason if failed else None
        self._change(probe_id, state="failed" if failed else "done", reason=reason, samples=len(samples), ended_s=self._now_s())
        one = self._probes[probe_id]
        log.info("probed", extra={"action": "probe", "model": one.slug, "target": f"{one.gpu_type}/{one.region}", "samples": len(samples), "reason": reason})

    async def _probe(self, probe: Probe) -> list[Sample]:
        wish = Wish(slug=probe.slug, version=probe.version, gpu_type=probe.gpu_type, region=probe.region)
        if probe.cold:
            await self._made_cold(probe)
        key = self._life.wake(wish).key
        self._change(probe.id, version=key.version, gpu_type=key.gpu_type, region=key.region)
        deployment = await self._life.settled(key, time.monotonic() + self._start_within_s)
        endpoint = next((one for one in self._life.endpoints() if (one.slug, one.version, one.gpu_type, one.region) == key and one.phase == "WARM"), None)
        if endpoint is None:
            # The start itself left a sample with its reason.
            self._change(probe.id, reason=deployment.reason)
            raise EmberankError(deployment.message or "it did not become warm")
        samples = await self._measure(endpoint, self._task_of(probe.slug))
        await self._record(samples)
        return samples

    async def _made_cold(self, probe: Probe) -> None:
        """Stop it where it runs, and wait until its memory is free."""
        stopped = {one.key for one in self._life.stop(probe.slug, probe.version, probe.gpu_type, probe.region)}
        async with asyncio.timeout(COLD_WITHIN_S):  # nobody tells when something is cold: it is looked at
            while any(one.key in stopped and one.phase not in ("COLD", "FAILED") for one in self._life.deployments()):  # noqa: ASYNC110
                await asyncio.sleep(POLL_S)

    def _change(self, probe_id: str, **changes: object) -> None:
        self._probes[probe_id] = replace(self._probes[probe_id], **changes)  # type: ignore[arg-type]
