"""What the routes of the control plane stand on, put together by whoever composes a forge; and the questions that several routes ask of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from emberank.contract.errors import EmberankError
from emberank.contract.fleet import Endpoint, LoadReport, Principal, TargetRow, Wish
from emberank.dialects.forge import Pin
from emberank.forge.asked import Asked, ask
from emberank.forge.callers import Callers
from emberank.forge.catalog import Catalog, Model, Version
from emberank.forge.deployments import Deployment, Key
from emberank.forge.intake import Intake
from emberank.forge.keys import Keys
from emberank.forge.metrics import ForgeMetrics
from emberank.forge.preference import preferred
from emberank.forge.probes import Probe
from emberank.forge.reliability import ordered, row_of
from emberank.forge.schedule_book import ScheduleBook
from emberank.forge.snapshot import Snapshots
from emberank.forge.store.audit import AuditEntry
from emberank.forge.stored import Stored
from emberank.forge.targets import Offer, Pool, Prices, Target, targets_of
from emberank.forge.web.sessions import Sessions
from emberank.forge.web.signin.links import Links
from emberank.forge.web.signin.oidc.provider import Provider
from emberank.forge.web.visitor import Visitors
from emberank.forge.windows import Windows
from emberank.settings import ForgeSettings
from emberank.telemetry import Traces


class Lifecycle(Protocol):
    """What routes need of the reconciler."""

    def wake(self, wish: Wish, *, keep_warm: bool | None = None) -> Deployment:
        """Have it warm; returns at once."""
        ...

    def stop(self, slug: str, version: str | None = None, gpu_type: str | None = None, region: str | None = None) -> tuple[Deployment, ...]:
        """Drain and end what runs of it."""
        ...

    def deployments(self) -> tuple[Deployment, ...]:
        """All that are not simply cold."""
        ...

    def endpoints(self) -> tuple[Endpoint, ...]:
        """What a snapshot shows."""
        ...

    async def settled(self, key: Key, deadline: float) -> Deployment:
        """Wait until it is WARM or FAILED; `deadline` is monotonic."""
        ...

    def take_report(self, report: LoadReport) -> None:
        """Take a gateway's news."""
        ...


class Probing(Protocol):
    """What routes need of the probes."""

    def request(self, slug: str, version: str | None = None, gpu_type: str | None = None, region: str | None = None, *, cold: bool = False) -> Probe:
        """Queue one. Raises QueueFull."""
        ...

    def all(self) -> tuple[Probe, ...]:
        """The last ones, newest first."""
        ...


@dataclass(slots=True)
class Readiness:
    """Whether the forge takes requests, and what a caller is told while it does not."""

    ready: bool = False
    state: str = "starting"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """One forge, as its routes see it. `catalog` gives the newest one. Times: `clock` is monotonic, `wall_s` Unix time."""

    settings: ForgeSettings
    catalog: Callable[[], Catalog]
    pools: tuple[Pool, ...]
    prices: Prices
    windows: Windows
    life: Lifecycle
    probes: Probing
    schedules: ScheduleBook
    keys: Keys
    callers: Callers
    sessions: Sessions
    snapshots: Snapshots
    intake: Intake
    stored: Stored
    metrics: ForgeMetrics
    clock: Callable[[], float]
    wall_s: Callable[[], float]
    readiness: Readiness = field(default_factory=Readiness)
    links: Links = field(default_factory=Links)
    provider: Provider | None = None  # whom people may sign in with
    traces: Traces | None = None

    @property
    def visitors(self) -> Visitors:
        """Who looks at a page."""
        return Visitors(self.sessions, required=self.callers.required)

    def ask(self, caller: Principal, name: str, pin: Pin) -> Asked:
        """What a request is about."""
        return ask(self.catalog(), self.pools, self.prices, caller, name, pin)

    def pending(self, slug: str, version: str) -> tuple[Target, ...]:
        """The targets of a version that a probe waits for or runs on; one that names no target is not known yet to have one."""
        under_way = (one for one in self.probes.all() if one.state in ("waiting", "running") and one.slug == slug and one.version in (None, version))
        return tuple(Target(one.gpu_type, one.region) for one in under_way if one.gpu_type is not None and one.region is not None)

    def rows(self, model: Model, version: Version, offers: Sequence[Offer]) -> list[dict[str, Any]]:
        """The target table's rows for these offers, best first."""
        pending, now_s = self.pending(model.slug, version.name), self.wall_s()
        return ordered([row_of(model, version, offer, self.windows, now_s=now_s, pending=pending) for offer in offers])

    def deployment(self, slug: str, version: str, target: Target) -> Deployment | None:
        """What runs of a version on a target, or is to."""
        return next((one for one in self.life.deployments() if one.key == (slug, version, *target)), None)

    def free_slots(self, pool: Pool) -> int:
        """How many more endpoints a pool may take now."""
        taken = sum(one.launched or one.phase == "STARTING" for one in self.life.deployments() if one.key.target == pool.target)
        return max(0, pool.slots - taken)

    def idle_after_s(self, version: Version) -> float:
        """How long an endpoint of it stays warm after its last request."""
        return self.settings.idle_after_s if version.idle_after_s is None else version.idle_after_s

    async def audit(self, caller: Principal, action: str, subject: str) -> None:
        """Write down who did what. What was done is done even when that fails."""
        entry = AuditEntry(at_s=self.wall_s(), key_id=caller.key_id, action=action, subject=subject)
        try:
            await self.stored(lambda store: store.audit.add(entry))
        except EmberankError:
            self.metrics.audit_failed.inc()


def ranking(
    catalog: Callable[[], Catalog],
    pools: tuple[Pool, ...],
    prices: Prices,
    windows: Windows,
    pending: Callable[[str, str], tuple[Target, ...]] = lambda slug, version: (),
) -> Callable[[Model, Version], tuple[TargetRow, ...]]:
    """A function that puts a version's targets in order: for the snapshot's rows, and for the reconciler's choice."""

    def rank(model: Model, version: Version) -> tuple[TargetRow, ...]:
        return preferred(model, version, targets_of(model, version, pools, prices), windows, pending(model.slug, version.name))

    return rank
