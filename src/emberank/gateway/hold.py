"""A request for a cold model in, a moment at which it may have an endpoint out: one wake for all who wait, bounded in number and in time.

Who waits is let go when a snapshot has a warm endpoint for them; they choose among the endpoints themselves. Knows no request and no wire.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TypeAlias

from emberank.client.fleet import Fleet
from emberank.contract.errors import DeadlineExceeded, EmberankError, NotReady, QueueFull
from emberank.contract.fleet import ModelRow, TargetRow, Wish
from emberank.gateway.errors import ForgeAway
from emberank.gateway.metrics import GatewayMetrics
from emberank.gateway.routing import Place, Places
from emberank.gateway.targets import runnable
from emberank.settings import GatewaySettings

log = logging.getLogger(__name__)

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 5.0  # between two tries to reach a forge that is away
_LOOK_AGAIN_S = 2.0  # after a wake: by then a snapshot says that something starts, or the wish is sent again
_MOST_LOOK_S = 10.0
_Settled: TypeAlias = "asyncio.Future[EmberankError | None]"


@dataclass(slots=True, eq=False)
class _Group:
    """All who wait for one wish."""

    model: ModelRow
    wish: Wish
    targets: list[TargetRow]
    stale: set[str]  # endpoints that had failed before and did not change since: their failure is not this start's
    waiting: set[_Settled] = field(default_factory=set)
    waking: asyncio.Task[None] | None = None


class Hold:
    """Everybody who waits for a start."""

    def __init__(self, fleet: Fleet, places: Places, settings: GatewaySettings, metrics: GatewayMetrics) -> None:
        self._fleet = fleet
        self._places = places
        self._settings = settings
        self._metrics = metrics
        self._groups: dict[Wish, _Group] = {}
        self._held: Counter[str] = Counter()
        self._closed: EmberankError | None = None

    async def wait(self, model: ModelRow, wish: Wish, deadline: float) -> None:
        """Return when there may be a warm endpoint for the wish. `deadline` is on time.monotonic.

        Raises TargetUnavailable, QueueFull, NotReady (it failed, and why), what the forge raised, DeadlineExceeded with what is known.
        """
        if self._held[model.slug] >= self._settings.max_held:
            raise self._full(model, wish)
        group = self._groups.get(wish) or self._begin(model, wish)
        settled: _Settled = asyncio.get_running_loop().create_future()
        group.waiting.add(settled)
        self._count(model.slug, 1)
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                error = await settled
        except TimeoutError as cause:
            raise DeadlineExceeded(self._so_far(model, wish)) from cause
        finally:
            self._count(model.slug, -1)
            group.waiting.discard(settled)
            if not group.waiting:
                self._end(group)
        if error is not None:
            raise error.with_traceback(None)  # it is everybody's: its traceback must not gather theirs

    def changed(self) -> None:
        """The endpoints changed: let go of those who can be answered, one way or the other."""
        now = time.monotonic()
        for group in list(self._groups.values()):
            if self._places.choose(group.wish, now) is not None:
                self._settle(group, None)
                continue
            group.stale &= {place.endpoint.id for place in self._places.matching(group.wish) if place.endpoint.phase == "FAILED"}
            failed = None if self._places.is_coming(group.wish, now) else self._places.failure(group.wish, group.targets, group.stale)
            if failed is not None:
                self._settle(group, self._failed(group.model, failed, now))

    def waiting(self) -> dict[str, int]:
        """How many wait for which endpoint that is starting: what it will have to do when it is warm."""
        found: Counter[str] = Counter()
        for group in self._groups.values():
            starting = next((place for place in self._places.matching(group.wish) if place.endpoint.phase == "STARTING"), None)
            if starting is not None:
                found[starting.endpoint.id] += len(group.waiting)
        return found

    def close(self, error: EmberankError) -> None:
        """The process ends: whoever waits, and whoever would, gets this error."""
        self._closed = error
        for group in list(self._groups.values()):
            self._settle(group, error)

    def _begin(self, model: ModelRow, wish: Wish) -> _Group:
        if self._closed is not None:
            raise self._closed
        now = time.monotonic()
        targets = runnable(model, wish)
        matching = self._places.matching(wish)
        tryable = {place.endpoint.id for place in matching if place.endpoint.phase == "FAILED" and place.retry_in_s(now) <= 0}
        failed = None if self._places.is_coming(wish, now) else self._places.failure(wish, targets, tryable)
        if failed is not None:
            raise self._failed(model, failed, now)
        group = _Group(model, wish, targets, {place.endpoint.id for place in matching if place.endpoint.phase == "FAILED"})
        group.waking = asyncio.get_running_loop().create_task(self._wake(group))
        self._groups[wish] = group
        return group

    def _settle(self, group: _Group, error: EmberankError | None) -> None:
        for settled in group.waiting:
            if not settled.done():
                settled.set_result(error)
        self._end(group)  # whoever comes now begins anew

    def _end(self, group: _Group) -> None:
        if self._groups.get(group.wish) is group:
            del self._groups[group.wish]
        if group.waking is not None and group.waking is not asyncio.current_task():
            group.waking.cancel()

    async def _wake(self, group: _Group) -> None:
        """Send the wish; again while the forge is away; again when nothing came of it (a forge that was restarted has forgotten it)."""
        look_s = _LOOK_AGAIN_S
        try:
            await self._deliver(group)
            while True:
                await asyncio.sleep(look_s)
                look_s = min(look_s * 2, _MOST_LOOK_S)
                if not self._places.is_coming(group.wish, time.monotonic()):
                    await self._deliver(group)
        except EmberankError as error:
            self._settle(group, error)
        except Exception as cause:
            log.exception("wake failed", extra={"action": "wake_failed", "slug": group.wish.slug})
            fault = NotReady(f"'{group.wish.slug}' cannot be started: the forge's answer cannot be understood", retry_after_s=5)
            fault.__cause__ = cause
            self._settle(group, fault)

    async def _deliver(self, group: _Group) -> None:
        patience_ends = time.monotonic() + self._settings.forge_patience_s
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                await self._fleet.wake(group.wish)
            except ForgeAway as away:
                if time.monotonic() + pause_s > patience_ends:
                    message = f"'{group.wish.slug}' is cold, and the forge, which would start it, cannot be reached: try again later"
                    raise NotReady(message, retry_after_s=5) from away
                await asyncio.sleep(pause_s * random.uniform(0.5, 1))  # noqa: S311  no secret
                pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
            else:
                self._metrics.wakes.inc()
                log.info("wake", extra={"action": "wake", "slug": group.wish.slug, "version": group.wish.version, "waiting": len(group.waiting)})
                return

    def _count(self, slug: str, by: int) -> None:
        self._held[slug] += by
        self._metrics.held.inc(by)
        if not self._held[slug]:
            del self._held[slug]

    # What is said to those who are not answered.

    def _full(self, model: ModelRow, wish: Wish) -> QueueFull:
        etas = [place.endpoint.eta_s for place in self._places.matching(wish) if place.endpoint.eta_s is not None]
        message = f"{self._held[model.slug]} requests wait for '{model.slug}' to start, which is the most allowed"
        return QueueFull(message, status=self._settings.queue_full_status, retry_after_s=max(1.0, min(etas, default=5.0)))

    def _failed(self, model: ModelRow, place: Place, now: float) -> NotReady:
        endpoint = place.endpoint
        why = f"{endpoint.reason or 'crashed'}{f': {endpoint.message}' if endpoint.message else ''}"
        where = f"{endpoint.gpu_type} in {endpoint.region}"
        return NotReady(f"'{model.slug}' {endpoint.version} could not be started on {where}: {why}", retry_after_s=max(1.0, place.retry_in_s(now)))

    def _so_far(self, model: ModelRow, wish: Wish) -> str:
        known = [_phase_of(place) for place in self._places.matching(wish) if place.endpoint.phase != "COLD"]
        so_far = "; ".join(known) or "no start is under way that this gateway knows of"
        return f"'{model.slug}' {wish.version} was not warm within the request's deadline: {so_far}"


def _phase_of(place: Place) -> str:
    endpoint = place.endpoint
    where = f"{endpoint.gpu_type} in {endpoint.region}"
    if endpoint.phase == "STARTING":
        left = f", about {endpoint.eta_s:.0f} s left when last heard" if endpoint.eta_s is not None else ""
        return f"starting on {where}{left}"
    if endpoint.phase == "FAILED":
        return f"failed on {where}: {endpoint.reason or 'crashed'}{f': {endpoint.message}' if endpoint.message else ''}"
    return f"{'cannot be reached' if endpoint.phase == 'WARM' else 'draining'} on {where}"
