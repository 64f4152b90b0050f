"""Deployments in, the same out: written down when what must survive changes, logged when a phase changes, told when something visible changes.

Decides nothing and starts nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from typing import Protocol

from emberank.forge.deployments import Deployment, Key, SavedDeployment, saved
from emberank.forge.samples import Sample

log = logging.getLogger(__name__)
_USE_KEPT_EVERY_S = 60.0


class Journal(Protocol):
    """Where deployments and samples are kept. Returns at once; what it raises is logged, and nothing else comes of it."""

    def save(self, deployment: SavedDeployment) -> None:
        """Keep it in the place of what was kept under its key."""
        ...

    def forget(self, key: Key) -> None:
        """There is nothing to remember of it any more."""
        ...

    def sample(self, sample: Sample) -> None:
        """Keep what was measured."""
        ...


class Register:
    """All deployments that are not simply cold."""

    def __init__(self, journal: Journal, clock: Callable[[], float], wall: Callable[[], float]) -> None:
        self._journal = journal
        self._clock = clock
        self._wall = wall
        self._deployments: dict[Key, Deployment] = {}
        self._changed = asyncio.Event()
        self._is_news = False

    def __iter__(self) -> Iterator[Deployment]:
        return iter(tuple(self._deployments.values()))

    def get(self, key: Key) -> Deployment | None:
        """The deployment, unless it is cold and nobody wants it."""
        return self._deployments.get(key)

    def with_endpoint(self, endpoint_id: str) -> Deployment | None:
        """The deployment whose endpoint that is."""
        return next((deployment for deployment in self._deployments.values() if deployment.id == endpoint_id), None)

    def put(self, new: Deployment) -> Deployment:
        """Take over a deployment's new state."""
        old = self._deployments.get(new.key)
        self._deployments[new.key] = new
        if old is None or _kept(old) != _kept(new):
            self.keep(new)
        if (old.phase if old else "COLD") != new.phase:
            _log_phase(old, new)
        if old is None or _visible(old) != _visible(new):
            self._tell()
        return new

    def drop(self, key: Key) -> None:
        """It is cold, and nobody wants it."""
        if self._deployments.pop(key, None) is not None:
            self._tell()
        self.forget(key)

    def keep(self, deployment: Deployment) -> None:
        """Write it down."""
        row = saved(deployment, self._clock(), self._wall())
        self._try(lambda: self._journal.save(row), deployment.key)

    def forget(self, key: Key) -> None:
        """Remember nothing of it."""
        self._try(lambda: self._journal.forget(key), key)

    def sample(self, sample: Sample) -> None:
        """Keep a measurement."""
        self._try(lambda: self._journal.sample(sample), Key(sample.slug, sample.version, *sample.target))

    def take_news(self) -> bool:
        """Whether anything visible changed since this was last asked."""
        was, self._is_news = self._is_news, False
        return was

    async def change(self, within_s: float) -> None:
        """Wait for the next change. Raises TimeoutError."""
        async with asyncio.timeout(within_s):
            await self._changed.wait()

    def _tell(self) -> None:
        self._is_news = True
        self._changed.set()
        self._changed = asyncio.Event()

    def _try(self, write: Callable[[], None], key: Key) -> None:
        # A full disk or a locked database must not keep an endpoint from being started, and still less from being ended.
        try:
            write()
        except Exception:
            log.exception("the journal failed", extra={"action": "journal_failed", "model": key.slug, "version": key.version})


def _kept(one: Deployment) -> tuple[object, ...]:
    """What the next forge must know. The last use goes with it once a minute, not with every report."""
    use = one.last_used // _USE_KEPT_EVERY_S
    return one.phase, one.since, one.wanted, one.keep_warm, one.endpoint, one.memory_bytes, one.stopping, one.told, one.failures, one.started_at, use


def _visible(one: Deployment) -> tuple[object, ...]:
    """What gateways and pages are shown, but for ages."""
    return one.phase, one.since, one.keep_warm, one.endpoint, one.reason, one.message


def _log_phase(old: Deployment | None, new: Deployment) -> None:
    extra: dict[str, object] = {
        "action": "phase",
        "model": new.key.slug,
        "version": new.key.version,
        "target": f"{new.key.gpu_type}/{new.key.region}",
        "was": old.phase if old else "COLD",
        "phase": new.phase,
        "endpoint": new.id or (old.id if old else ""),
    }
    if new.phase == "WARM":
        extra["startup_ms"] = new.startup_ms
    if new.phase == "DRAINING":
        extra["reason"] = new.stopping
    if new.phase == "FAILED":
        extra |= {"reason": new.reason, "why": new.message, "failures": new.failures}
    log.info("phase", extra=extra)
