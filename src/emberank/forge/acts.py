"""A decision in, the act out: an endpoint started, drained, ended or given up, and the deployment moved to what follows from it. Decides nothing."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from emberank.contract.errors import EmberankError, SettingError
from emberank.contract.fleet import FailureReason
from emberank.forge.catalog import Catalog
from emberank.forge.deployments import Deployment, Key, StopReason, cold, move
from emberank.forge.endings import Ending, Endings
from emberank.forge.launchers.base import Launch, Launcher, Observed, Running
from emberank.forge.lifecycle import Policy, failed
from emberank.forge.occupancy import Occupancy
from emberank.forge.placement import PlacementRefused
from emberank.forge.register import Register
from emberank.forge.samples import Sample
from emberank.forge.starts import Outcome, Starts
from emberank.forge.targets import GB, Pool, Target, needs_in

log = logging.getLogger(__name__)


@dataclass(kw_only=True)
class Acts:
    """What can be done to a deployment. `catalog` is asked for at every start: it may have changed."""

    catalog: Callable[[], Catalog]
    pools: Mapping[Target, Pool]
    launchers: Mapping[str, Launcher]
    policy: Policy
    register: Register
    occupancy: Occupancy
    starts: Starts
    endings: Endings
    clock: Callable[[], float]
    wall: Callable[[], float]
    jitter: Callable[[], float]
    new_id: Callable[[], str]
    usual_memory_bytes: Callable[[Key], int | None]
    made: Callable[[Key], None]  # a start that was under way has come to something

    def launcher(self, key: Key) -> Launcher:
        """What starts endpoints on its target."""
        return self.launchers[self.pools[key.target].launcher]

    def begin(self, keys: Sequence[Key], now: float) -> Deployment:
        """Find a place on one of these targets, have others make room, and let the start begin. Raises PlacementRefused."""
        model = self.catalog().resolve(keys[0].slug)
        version = self.catalog().version(model, keys[0].version)
        need = self.usual_memory_bytes(keys[0]) or int((needs_in(model, version, self.pools[keys[0].target]) or 0.0) * GB)
        found = self.occupancy.place(keys, need, now)
        key = next(key for key in keys if key.target == found.target)
        for evicted in found.evict:
            self.stop(evicted, "evicted", now)
        one = self.register.get(key) or cold(key, now)
        if one.phase == "DRAINING":
            return one  # it has to end first; it is wanted again, and starts then
        endpoint = Running(id=self.new_id(), launcher=self.pools[found.target].launcher, devices=found.devices)
        return self.register.put(move(one, "STARTING", now, endpoint=endpoint, memory_bytes=need))

    def begin_again(self, one: Deployment, now: float) -> None:
        """A start that nobody waits for the answer of: what is refused is a failure."""
        try:
            self.begin([one.key], now)
        except PlacementRefused as refused:
            self.register.put(failed(one, refused.reason, refused.message, now, self.jitter(), self.policy))
        except EmberankError as error:  # it is not in the catalogue any more
            self.register.put(failed(one, "bad_setting", error.message, now, self.jitter(), self.policy))

    def launch(self, one: Deployment, now: float) -> None:
        """Have the endpoint of a STARTING deployment made, once there is room for it. What is written down first finds it again, if this process dies."""
        if one.phase != "STARTING" or one.started_at is not None or one.endpoint is None or not self.occupancy.has_room_now(one):
            return
        model = self.catalog().resolve(one.key.slug)
        version = self.catalog().version(model, one.key.version)
        launch = Launch(id=one.id, model=model, version=version, pool=self.pools[one.key.target], devices=one.endpoint.devices)
        self.register.put(replace(one, started_at=now))
        self.starts.begin(self.launcher(one.key), launch, partial(self._made, one.key, one.id))

    def renew(self, one: Deployment, now: float) -> None:
        """Take over what the catalogue, the environment and the kept secrets say of somebody else's server now: nothing has to be started for that."""
        try:
            model = self.catalog().resolve(one.key.slug)
            version = self.catalog().version(model, one.key.version)
        except EmberankError:
            self.stop(one.key, "idle", now)  # it is not in the catalogue any more
            return
        launch = Launch(id=one.id, model=model, version=version, pool=self.pools[one.key.target])
        try:
            fresh = self.launcher(one.key).start(launch)
        except SettingError as cause:
            self.fail(one, "bad_setting", cause.message, now)
            return
        if fresh != one.endpoint:
            self.register.put(replace(one, endpoint=fresh))

    def warm(self, one: Deployment, observed: Observed, now: float) -> None:
        """It is ready."""
        startup_ms = (now - (one.since if one.started_at is None else one.started_at)) * 1000.0
        endpoint = replace(one.endpoint, url=observed.url) if one.endpoint else None
        memory = max(one.memory_bytes, observed.peak_memory_bytes or 0)
        self._sample(one, observed, startup_ms=startup_ms)
        self.register.put(move(one, "WARM", now, endpoint=endpoint, memory_bytes=memory, startup_ms=startup_ms))

    def stop(self, key: Key, why: StopReason, now: float) -> None:
        """Begin to drain what runs; forget what does not. It is not wanted any more, unless somebody asks again."""
        one = self.register.get(key)
        if one is None:
            return
        one = replace(one, wanted=False, stopping=one.stopping or why, keep_warm=one.keep_warm and why != "asked")
        if one.phase == "DRAINING":
            self.register.put(one)
            return
        if one.phase in ("STARTING", "WARM"):
            one = self.register.put(move(one, "DRAINING", now))
        if not one.launched:
            self.cool(one, now)

    def cool(self, one: Deployment, now: float) -> None:
        """Nothing of it runs any more."""
        if one.phase != "COLD":
            one = self.register.put(move(one, "COLD", now, memory_bytes=0))
        if not one.wanted and not one.keep_warm:
            self.register.drop(one.key)

    def terminate(self, one: Deployment) -> None:
        """Ask its endpoint to end."""
        if one.endpoint is not None:
            self.launcher(one.key).stop(one.endpoint)
            self.register.put(replace(one, told=True))

    def kill(self, one: Deployment) -> None:
        """End its endpoint."""
        if one.endpoint is not None:
            self.launcher(one.key).kill(one.endpoint)

    def fail(self, one: Deployment, reason: FailureReason, message: str, now: float) -> None:
        """It failed, and its endpoint may still be there: that is killed, and its memory counts as taken until it is gone."""
        if one.launched and one.endpoint is not None and one.id not in self.starts:
            self._end(one.key, one.endpoint, one.memory_bytes)
        self.over(one, Observed(state="gone", reason=reason, message=message), now)

    def over(self, one: Deployment, observed: Observed, now: float) -> None:
        """Its endpoint is gone, whether it should or not."""
        if one.phase == "DRAINING":
            self.cool(one, now)
            return
        reason, message = observed.reason or "crashed", observed.message or "its process is gone"
        if one.phase == "STARTING":
            self._sample(one, observed, reason=reason)
        self.register.put(failed(one, reason, message, now, self.jitter(), self.policy))

    def end_stray(self, key: Key, running: Running) -> None:
        """End what runs and belongs to no deployment."""
        self._end(key, running, 0)

    def _end(self, key: Key, running: Running, memory_bytes: int) -> None:
        self.endings.add(Ending(key=key, launcher=self.launcher(key), running=running, memory_bytes=memory_bytes))

    def _made(self, key: Key, endpoint_id: str, outcome: Outcome) -> None:
        one = self.register.get(key)
        awaited = one if one is not None and one.id == endpoint_id and one.launched else None
        if isinstance(outcome, Running):
            if awaited is None:
                self.end_stray(key, outcome)  # it was given up while it was being made
            else:
                self.register.put(replace(awaited, endpoint=outcome))
        elif awaited is not None:
            reason, message = outcome
            self.over(awaited, Observed(state="ended", reason=reason, message=message), self.clock())
        self.made(key)

    def _sample(self, one: Deployment, observed: Observed, *, startup_ms: float | None = None, reason: FailureReason | None = None) -> None:
        self.register.sample(
            Sample(
                at_s=self.wall(),
                **one.key._asdict(),
                kind="start",
                ok=reason is None,
                reason=reason,
                cold_start_ms=startup_ms,
                weights_from=observed.weights_from,
                peak_memory_bytes=observed.peak_memory_bytes,
            )
        )
