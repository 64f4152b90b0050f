"""A reconciler over fake endpoints, with a clock that stands still until a test moves it. Knows no test; nothing here waits for longer than `WAIT_S`."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from emberank.contract.fleet import EndpointLoad, LoadReport, Wish
from emberank.forge.catalog import Catalog, Model, Version
from emberank.forge.deployments import Deployment, Key, SavedDeployment
from emberank.forge.endpoint_probe import EndpointProbe
from emberank.forge.launchers.base import Running
from emberank.forge.launchers.fake import FakeLauncher, Script
from emberank.forge.launchers.remote import RemoteLauncher
from emberank.forge.lifecycle import Policy
from emberank.forge.reconciler import Reconciler
from emberank.forge.samples import Sample
from emberank.forge.targets import Pool, Price, Target

WAIT_S = 10.0  # only a broken program waits that long
GB = 1_000_000_000
LOCAL = Target("CPU", "local")
OTHER = Target("CPU", "cellar")


def model(slug: str, *versions: Version, memory_gb: float = 4.0) -> Model:
    """A reranker of one version, unless others are given."""
    given = versions or (Version(name="v1", source="preset:x", memory_gb=memory_gb),)
    return Model(slug=slug, id=f"org/{slug}", title=slug, description="", task="rank", aliases=(f"{slug}-alias",), versions=given)


def key(slug: str, target: Target = LOCAL, version: str = "v1") -> Key:
    return Key(slug, version, *target)


@dataclass
class Clock:
    """Monotonic and wall time. They go together unless a test sets one."""

    now: float = 1000.0
    wall: float = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now

    def pass_(self, seconds: float) -> None:
        self.now += seconds
        self.wall += seconds


@dataclass
class Journal:
    """What is kept, and what was measured. `broken` is raised by every write."""

    rows: dict[Key, SavedDeployment] = field(default_factory=dict)
    samples: list[Sample] = field(default_factory=list)
    broken: Exception | None = None

    def save(self, deployment: SavedDeployment) -> None:
        self._try()
        self.rows[deployment.key] = deployment

    def forget(self, key: Key) -> None:
        self._try()
        self.rows.pop(key, None)

    def sample(self, sample: Sample) -> None:
        self._try()
        self.samples.append(sample)

    def _try(self) -> None:
        if self.broken is not None:
            raise self.broken


class World:
    """One forge's life cycle. A second one over the same `fake` and `journal` is the next forge on that machine."""

    def __init__(
        self,
        *models: Model,
        pools: tuple[Pool, ...] | None = None,
        earlier: World | None = None,
        ranked: tuple[Target, ...] = (),
        usual_start_s: float | None = None,
        usual_memory_bytes: int | None = None,
        **policy: Any,
    ) -> None:
        self.clock = earlier.clock if earlier else Clock()
        self.fake = earlier.fake if earlier else FakeLauncher(self.clock)
        self.journal = earlier.journal if earlier else Journal()
        self.published = 0
        self.shown: list[tuple[str, ...]] = []  # the phases of every publication
        self.sick: set[str] = set()  # endpoint ids that do not answer
        self.asked = 0
        self.remote_answers = True
        there = EndpointProbe(every_s=1.0, failures=5, ask=lambda running, timeout_s: self.remote_answers, spawn=lambda run: run())
        numbers = itertools.count(len(self.fake.launches))
        self.reconciler = Reconciler(
            Catalog(models or (model("a"), model("b"), model("c"))),
            pools or (Pool(target=LOCAL, memory_bytes=10 * GB, slots=4, launcher="fake", price=Price(usd_per_hour=2.0, source="", date="")),),
            {"fake": self.fake, "remote": RemoteLauncher(environment={}, clock=self.clock, probe=there)},
            Policy(**policy),
            lambda slug, version: ranked,
            self.journal,
            self._publish,
            usual_start_s=lambda key: usual_start_s,
            usual_memory_bytes=lambda key: usual_memory_bytes,
            clock=self.clock,
            wall=lambda: self.clock.wall,
            jitter=lambda: 0.0,
            new_id=lambda: f"e{next(numbers)}",
            health=EndpointProbe(ask=self._answers, spawn=lambda run: run()),
        )

    def _publish(self) -> None:
        self.published += 1
        self.shown.append(tuple(endpoint.phase for endpoint in self.reconciler.endpoints()))

    def _answers(self, running: Running, timeout_s: float) -> bool:
        self.asked += 1
        return running.id not in self.sick

    def script(self, slug: str, **how: Any) -> Script:
        self.fake.scripts[slug] = Script(**how)
        return self.fake.scripts[slug]

    def get(self, slug: str, target: Target = LOCAL) -> Deployment | None:
        return next((one for one in self.reconciler.deployments() if one.key[0] == slug and one.key.target == target), None)

    def phase(self, slug: str, target: Target = LOCAL) -> str:
        found = self.get(slug, target)
        return found.phase if found else "COLD"

    def wake(self, slug: str, *, keep_warm: bool | None = None, **wish: Any) -> Deployment:
        return self.reconciler.wake(Wish(slug=slug, **wish), keep_warm=keep_warm)

    async def until(self, true: Callable[[], bool], what: str) -> None:
        """Let threads and callbacks run, without a tick, until it is so."""
        end = time.monotonic() + WAIT_S
        while not true():
            assert time.monotonic() < end, f"not within {WAIT_S} s: {what}"
            await asyncio.sleep(0.001)

    async def made(self, slug: str, target: Target = LOCAL) -> Deployment:
        """Wait until the start that is under way has an endpoint."""

        def is_made() -> bool:
            found = self.get(slug, target)
            return found is not None and found.endpoint is not None and found.endpoint.pid is not None

        await self.until(is_made, f"{slug} has an endpoint")
        found = self.get(slug, target)
        assert found is not None
        return found

    async def pass_(self, seconds: float, step_s: float = 1.0) -> None:
        """Time passes, with a tick every `step_s`; what was begun in a tick is made before the next one."""
        end = self.clock.now + seconds
        self.reconciler.tick()
        while self.clock.now < end - 1e-9:
            self.clock.pass_(min(step_s, end - self.clock.now))
            await self.until(lambda: not self.reconciler._starts, "no start is under way")
            self.reconciler.tick()
        await self.until(lambda: not self.reconciler._starts, "no start is under way")

    async def warm(self, slug: str, **wish: Any) -> Deployment:
        """Wake it, and see it become warm."""
        woken = self.wake(slug, **wish)
        await self.until(lambda: not self.reconciler._starts, "no start is under way")
        await self.pass_(1.0)
        found = self.get(slug, woken.key.target)
        assert found is not None
        assert found.phase == "WARM"
        return found

    def crash(self, one: Deployment) -> None:
        """Its process ends by itself."""
        self.fake.alive[one.id].ended = ("crashed", "it was ended by SIGSEGV")

    def report(self, *loads: tuple[str, int, float], gateway: str = "g", number: int = 1, unreachable: tuple[str, ...] = ()) -> None:
        """A gateway's news: (endpoint id, in flight, idle seconds)."""
        given = tuple(EndpointLoad(endpoint_id=id, in_flight=n, idle_s=idle) for id, n, idle in loads)
        self.reconciler.take_report(LoadReport(gateway_id=gateway, number=number, loads=given, unreachable=unreachable))
