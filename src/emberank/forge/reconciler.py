"""Wishes and load in, running endpoints out: observe → decide → act → publish, again and again. Decisions are lifecycle.py's and placement.py's, acts acts.py's.

All of it runs on one event loop, and nothing is awaited inside a tick: what takes time happens on threads and in processes, and is looked at later.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import random
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from emberank.contract.errors import DeadlineExceeded, EmberankError, NotReady
from emberank.contract.fleet import Endpoint, LoadReport, Wish
from emberank.forge.acts import Acts
from emberank.forge.catalog import Catalog
from emberank.forge.deployments import Deployment, Key, SavedDeployment, cold, endpoint_of, restored
from emberank.forge.endings import Endings
from emberank.forge.endpoint_probe import EndpointProbe
from emberank.forge.launchers.base import Launcher
from emberank.forge.lifecycle import Policy, decide, progressed, steadied
from emberank.forge.loads import Loads
from emberank.forge.occupancy import Occupancy
from emberank.forge.placement import candidates
from emberank.forge.register import Journal, Register
from emberank.forge.starts import Starts
from emberank.forge.targets import Pool, Target

log = logging.getLogger(__name__)

_SOON_S, _LATER_S = 0.05, 1.0  # between two ticks: while something is on its way, and otherwise
_MOST_STEPS = 4  # of one deployment in one tick: it was warm, it crashed, it is started again
_KILLED_WITHIN_S = 5.0
_GROWN = 1.05  # what an endpoint takes is written down anew when it is this much more


def _new_id() -> str:
    return uuid.uuid4().hex[:16]


class Reconciler:
    """All endpoints of one forge. `catalog` may be replaced by a newer one at any time."""

    def __init__(
        self,
        catalog: Catalog,
        pools: Sequence[Pool],
        launchers: Mapping[str, Launcher],
        policy: Policy,
        rank_targets: Callable[[str, str], Sequence[Target]],
        journal: Journal,
        publish: Callable[[], None],
        *,
        usual_start_s: Callable[[Key], float | None] = lambda key: None,
        usual_memory_bytes: Callable[[Key], int | None] = lambda key: None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        jitter: Callable[[], float] = random.random,
        new_id: Callable[[], str] = _new_id,
        health: EndpointProbe | None = None,
    ) -> None:
        self.catalog = catalog
        self._pools = {pool.target: pool for pool in pools}
        self._policy = policy
        self._rank_targets = rank_targets
        self._publish = publish
        self._usual_start_s = usual_start_s
        self._clock = clock
        self._wall = wall
        self._health = health or EndpointProbe(every_s=policy.health_every_s, timeout_s=policy.health_timeout_s, failures=policy.health_failures)
        self._register = Register(journal, clock, wall)
        self._loads = Loads(policy.silent_after_s)
        self._starts = Starts()
        self._endings = Endings()
        self._acts = Acts(
            catalog=lambda: self.catalog,
            pools=self._pools,
            launchers=launchers,
            policy=policy,
            register=self._register,
            occupancy=Occupancy(self._pools, self._register, self._endings, self._loads, policy),
            starts=self._starts,
            endings=self._endings,
            clock=clock,
            wall=wall,
            jitter=jitter,
            new_id=new_id,
            usual_memory_bytes=usual_memory_bytes,
            made=self._made,
        )
        self._nudged = asyncio.Event()
        self._at_fault: set[Key] = set()
        self._closing = False

    # What others ask.

    def wake(self, wish: Wish, *, keep_warm: bool | None = None) -> Deployment:
        """Have the wish granted, and return at once; what is there or under way is taken before anything is started.

        Raises ModelNotFound, NotFound or BadRequest for a wish that cannot be, NotReady while a failed start may not be tried again,
        PlacementRefused when it does not fit.
        """
        if self._closing:
            raise NotReady("the forge is ending; nothing is started any more", retry_after_s=10)
        now = self._clock()
        model = self.catalog.resolve(wish.slug)
        version = self.catalog.version(model, wish.version)
        targets = candidates(wish, model, version, self._rank_targets(model.slug, version.name), self._pools)
        keys = [Key(model.slug, version.name, *target) for target in targets]
        try:
            found = self._present(keys, now) or self._acts.begin(self._open(keys, keep_warm, now), now)
            was_cold = found.phase != "WARM"
            found = self._register.put(_wanted(found, keep_warm, now))
            self._turn(found.key, now)
        finally:
            self._tell()
        return replace(self._register.get(found.key) or found, was_cold=was_cold)

    def stop(self, slug: str, version: str | None = None, gpu_type: str | None = None, region: str | None = None) -> tuple[Deployment, ...]:
        """Drain and end what runs of a model, or of that version, GPU type and region of it; returns what it came to.

        Raises ModelNotFound, or NotFound for the version. A target on which nothing runs is no error.
        """
        now = self._clock()
        model = self.catalog.resolve(slug)
        asked = (model.slug, version and self.catalog.version(model, version).name, gpu_type and gpu_type.lower(), region and region.lower())
        keys = [one.key for one in self._register if _matches(one.key, asked)]
        for key in keys:
            self._acts.stop(key, "asked", now)
            self._turn(key, now)
        self._tell()
        return tuple(self._register.get(key) or cold(key, now) for key in keys)

    def take_report(self, report: LoadReport) -> None:
        """Take a gateway's news: what is used stays warm, and what could not be reached is looked at now."""
        now = self._clock()
        for endpoint_id, used_at in self._loads.take(report, now).items():
            if (found := self._register.with_endpoint(endpoint_id)) is not None:
                self._register.put(replace(found, last_used=max(found.last_used, used_at)))
        for endpoint_id in report.unreachable:
            if (found := self._register.with_endpoint(endpoint_id)) is not None:
                if found.endpoint is not None and found.endpoint.has_health:
                    self._health.hurry(endpoint_id)
                self._turn(found.key, now)
                self._nudged.set()  # and soon again: a process that is just ending does not look so yet
        self._tell()

    def deployments(self) -> tuple[Deployment, ...]:
        """All that are not simply cold."""
        return tuple(self._register)

    def endpoints(self) -> tuple[Endpoint, ...]:
        """What a snapshot shows."""
        now = self._clock()
        return tuple(self._endpoint(one, now) for one in self._register if one.phase != "COLD" and one.id)

    async def settled(self, key: Key, deadline: float) -> Deployment:
        """Wait until it is WARM or FAILED; `deadline` is on the clock. Raises DeadlineExceeded, and NotReady when it was stopped instead."""
        while True:
            found = self._register.get(key)
            if found is None:
                raise NotReady(f"{key.slug} {key.version} was stopped before it was warm", retry_after_s=1)
            if found.phase in ("WARM", "FAILED"):
                return found
            try:
                await self._register.change(deadline - self._clock())
            except TimeoutError as cause:
                raise DeadlineExceeded(f"{key.slug} {key.version} on {key.target} was not warm in time; it is {found.phase}") from cause

    # Its own life.

    def adopt(self, rows: Iterable[SavedDeployment]) -> None:
        """Take up what an earlier forge left: what still runs goes on, if it may, and is ended if not; what is gone is forgotten, or wanted anew."""
        now, wall_now = self._clock(), self._wall()
        for row in rows:
            try:
                self._adopt(restored(row, now, wall_now, self._policy.backoff_most_s), now)
            except Exception:
                log.exception("adopting failed", extra={"action": "adopt_failed", "model": row.slug, "version": row.version})
        self._tell()

    async def run(self) -> None:
        """Tick until cancelled: soon after the last tick while something is on its way, at once when something happens."""
        while True:
            self.tick()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._pause_s()):
                    await self._nudged.wait()
            self._nudged.clear()

    def tick(self) -> None:
        """Look at every deployment once, and do what is to be done."""
        now = self._clock()
        self._endings.sweep()
        for one in self._register:
            self._turn(one.key, now)
        self._health.forget_others({one.id for one in self._register if one.phase == "WARM"})
        self._tell()

    async def close(self, *, leave_running: bool) -> None:
        """Start nothing more; end everything, within bounds, or leave it for the next forge to adopt."""
        self._closing = True
        await self._starts.finish(self._policy.stop_timeout_s)
        for one in self._register:
            if leave_running:
                self._register.keep(one)
            else:
                self._acts.stop(one.key, "closing", self._clock())
        if leave_running:
            return
        loop = asyncio.get_running_loop()
        most = loop.time() + self._policy.notice_s + self._policy.stop_timeout_s + _KILLED_WITHIN_S
        self.tick()
        while (self._endings or any(one.launched for one in self._register)) and loop.time() < most:
            await asyncio.sleep(_SOON_S)
            self.tick()

    def _pause_s(self) -> float:
        soon = self._endings or self._health.hurrying() or any(one.phase in ("STARTING", "DRAINING") for one in self._register)
        return _SOON_S if soon else _LATER_S

    def _tell(self) -> None:
        if self._register.take_news():
            self._nudged.set()
            self._publish()

    # One deployment: observe, decide, act.

    def _turn(self, key: Key, now: float) -> None:
        try:
            self._take_steps(key, now)
        except Exception:
            # One deployment's fault is not the others': it is said once, and tried again at the next tick.
            if key not in self._at_fault:
                log.exception("a deployment's turn failed", extra={"action": "turn_failed", "model": key.slug, "version": key.version})
            self._at_fault.add(key)
        else:
            self._at_fault.discard(key)

    def _take_steps(self, key: Key, now: float) -> None:
        for _ in range(_MOST_STEPS):
            self._observe(key, now)
            one = self._register.get(key)
            if one is None or not self._act(one, now):
                return

    def _observe(self, key: Key, now: float) -> None:
        one = self._observed_anew(key, now)
        if one is None or one.endpoint is None or not one.launched or one.id in self._starts:
            return
        observed = self._acts.launcher(key).look(one.endpoint)
        if observed.over:
            self._acts.over(one, observed, now)
        elif one.phase == "STARTING" and observed.state == "ready":
            self._acts.warm(one, observed, now)
        elif one.phase == "STARTING":
            self._register.put(progressed(one, observed, now))
        elif one.phase == "WARM":
            peak_bytes = observed.peak_memory_bytes or 0
            health = self._health.look(one.endpoint, now) if one.endpoint.has_health else "ready"
            one = replace(one, memory_bytes=peak_bytes) if peak_bytes > one.memory_bytes * _GROWN else one
            one = self._register.put(steadied(one, now, self._policy))
            if health == "unreachable":
                message = f"it did not answer on /v1/health/ready {self._policy.health_failures} times in a row"
                self._acts.fail(one, "unreachable", message, now)

    def _observed_anew(self, key: Key, now: float) -> Deployment | None:
        """The deployment; of somebody else's server as the catalogue has it now."""
        one = self._register.get(key)
        if one is not None and one.phase == "WARM" and self._pools[key.target].launcher == "remote":
            self._acts.renew(one, now)
            return self._register.get(key)
        return one

    def _act(self, one: Deployment, now: float) -> bool:
        """Do what is decided; whether another look is worth it in this tick."""
        decision = decide(one, self._loads.of(one.id, now), now, self._policy_of(one.key))
        if decision.action == "wait":
            if not self._closing:
                self._acts.launch(one, now)
            return False
        if decision.action == "start":
            if not self._closing:
                self._acts.begin_again(one, now)
            return not self._closing
        if decision.action == "stop":
            self._acts.stop(one.key, decision.why, now)
            return True
        if decision.action == "give_up":
            self._acts.fail(one, "start_timeout", decision.message, now)
            return True
        if one.id not in self._starts:  # one that is still being made cannot be told anything
            (self._acts.terminate if decision.action == "terminate" else self._acts.kill)(one)
        return False

    def _made(self, key: Key) -> None:
        self._turn(key, self._clock())
        self._tell()
        self._nudged.set()

    def _policy_of(self, key: Key) -> Policy:
        """The policy with the version's own idle time. What has left the catalogue is idle at once; a server of others costs nothing while it waits."""
        if self._pools[key.target].launcher == "remote":
            return replace(self._policy, idle_after_s=math.inf)
        try:
            version = self.catalog.version(self.catalog.resolve(key.slug), key.version)
        except EmberankError:
            return replace(self._policy, idle_after_s=0.0)
        return self._policy if version.idle_after_s is None else replace(self._policy, idle_after_s=version.idle_after_s)

    # Of a wish.

    def _present(self, keys: Sequence[Key], now: float) -> Deployment | None:
        """What is warm, or else what is being started. It is looked at first: who asks for what is warm may know that it is not."""
        for key in keys:
            if self._register.get(key) is not None:
                self._turn(key, now)
        present = [one for key in keys if (one := self._register.get(key)) is not None]
        return next((one for phase in ("WARM", "STARTING") for one in present if one.phase == phase), None)

    def _open(self, keys: Sequence[Key], keep_warm: bool | None, now: float) -> Sequence[Key]:
        """The targets on which a start may be tried now. Raises NotReady when it failed on all of them too recently; the wish is remembered."""
        failed = {one.key: one for key in keys if (one := self._register.get(key)) is not None and one.phase == "FAILED" and now < (one.retry_at or now)}
        if len(failed) < len(keys):
            return [key for key in keys if key not in failed]
        first = min(failed.values(), key=lambda one: one.retry_at or now)
        self._register.put(_wanted(first, keep_warm, now))
        wait_s = (first.retry_at or now) - now
        where = f"{first.key.slug} {first.key.version} on {first.key.target}"
        raise NotReady(f"{where} could not be started ({first.reason}: {first.message}); the next try is in {wait_s:.0f} s", retry_after_s=wait_s)

    def _endpoint(self, one: Deployment, now: float) -> Endpoint:
        price = self._pools[one.key.target].price
        usd = None if price is None else price.usd_per_hour
        return endpoint_of(one, now, price_usd_per_hour=usd, usual_start_s=self._usual_start_s(one.key) if one.phase == "STARTING" else None)

    # Of an earlier forge.

    def _adopt(self, one: Deployment, now: float) -> None:
        if one.key.target not in self._pools:
            log.warning("nothing here can run what was saved", extra={"action": "adopt_failed", "model": one.key.slug, "target": str(one.key.target)})
            self._register.forget(one.key)
            return
        launcher = self._acts.launcher(one.key)
        running = launcher.adopt(one.endpoint) if one.endpoint is not None else None
        if running is not None and one.launched:
            log.info("adopted", extra={"action": "adopt", "model": one.key.slug, "endpoint": running.id, "phase": one.phase, "pid": running.pid})
            self._register.put(replace(one, endpoint=running))
            return
        if running is not None:
            self._acts.end_stray(one.key, running)
        if one.phase == "FAILED":
            self._register.put(one)
        else:
            # It went with the machine, or with the forge that was starting it. Whoever still waits for it asks again.
            again = replace(cold(one.key, now), keep_warm=one.keep_warm, failures=one.failures)
            self._register.put(again) if one.keep_warm else self._register.drop(one.key)


def _matches(key: Key, asked: tuple[str | None, ...]) -> bool:
    names = (key.slug, key.version, key.gpu_type.lower(), key.region.lower())
    return all(wanted in (None, name) for wanted, name in zip(asked, names, strict=True))


def _wanted(one: Deployment, keep_warm: bool | None, now: float) -> Deployment:
    return replace(one, wanted=True, last_used=now, keep_warm=one.keep_warm if keep_warm is None else keep_warm)
