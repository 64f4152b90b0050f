"""A whole control plane in this process: its routes on loopback, a real store, the real reconciler over fake endpoints. Knows no fixture."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from emberank.contract.fleet import Endpoint
from emberank.contract.inference import Task
from emberank.forge.api import forge_app
from emberank.forge.callers import Callers
from emberank.forge.catalog import Calibration, Catalog, Golden, Model, Published, Version
from emberank.forge.endpoint_probe import EndpointProbe
from emberank.forge.intake import Intake
from emberank.forge.keys import Keys
from emberank.forge.launchers.fake import FakeLauncher, Script
from emberank.forge.lifecycle import Policy
from emberank.forge.metrics import ForgeMetrics
from emberank.forge.parts import Parts, ranking
from emberank.forge.probes import Probes
from emberank.forge.reconciler import Reconciler
from emberank.forge.samples import Sample
from emberank.forge.schedule_book import ScheduleBook
from emberank.forge.snapshot import ModelRows, Snapshots
from emberank.forge.store import open_store
from emberank.forge.store_thread import StoreThread
from emberank.forge.targets import Pool, Price, Prices, Target
from emberank.forge.web.sessions import Lasting, Sessions
from emberank.forge.windows import Windows
from emberank.serving.listener import Server, bind, server
from emberank.settings import ForgeSettings
from wire import WAIT_S, Client, Reply, until

T = TypeVar("T")
ADMIN = "admin-key-0123456789abcdef"
FLEET = "fleet-token-0123456789abcdef"
SECRET = "5e" * 32
GB = 1_000_000_000
NVIDIA = "nvidia-llama-3-2-nv-rerankqa-1b-v2"
LOCAL, B200, L40S = Target("CPU", "local"), Target("B200", "us-central1"), Target("L40S", "eu-north1")

_SEEN = {"source": "the catalogue page", "published": "2026-11-21"}
MODELS = (
    Model(
        slug=NVIDIA,
        id="nvidia/llama-3.2-nv-rerankqa-1b-v2",
        title="NVIDIA Llama 3.2 NV-RerankQA 1B v2",
        description="A reranker.",
        task="rank",
        aliases=("llama-3_2-nv-rerankqa-1b-v2",),
        source="nvidia_nim",
        licenses=("nvidia-open-model-license",),
        added="2026-04-28",
        tags=("retrieval", "rerank"),
        context_tokens=8192,
        parameters=1_000_000_000,
        dtype="BF16",
        links={"Model card": "https://example.org"},
        golden=Golden(query="q", passages=("a", "b")),
        versions=(
            Version(
                name="v1",
                source="hf:nvidia/x",
                memory_gb=3.0,
                calibration=Calibration(slope=0.5, intercept=-1.0, data="ours, n = 900"),
                published=(Published(gpu_type="H200", region="eu-north2", status="works", model_ms_p50=574.0, n=2, **_SEEN),),  # type: ignore[arg-type]
            ),
            Version(name="v2", source="hf:nvidia/y", memory_gb=3.0, idle_after_s=60.0),
        ),
    ),
    Model(
        slug="tiny-embed",
        id="acme/tiny-embed",
        title="Tiny",
        description="An embedder.",
        task="embed",
        tags=("tiny",),
        source="yours",
        versions=(Version(name="v1", source="file:nowhere", memory_gb=0.1),),
    ),
    Model(
        slug="huge", id="acme/huge", title="Huge", description="More than fits.", task="rank", versions=(Version(name="v1", source="file:x", memory_gb=900),)
    ),
)


def price(usd: float) -> Price:
    return Price(usd_per_hour=usd, source="a list", date="2026-11-01")


POOLS = (
    Pool(target=LOCAL, memory_bytes=8 * GB, slots=3, launcher="fake", price=price(0.5)),
    Pool(target=B200, memory_bytes=2 * 180 * GB, slots=2, launcher="fake", devices=("0", "1"), price=price(7.15)),
)
PRICES: Prices = {Target("H200", ""): price(4.5)}


def probed(ms: Sequence[float], target: Target = B200, slug: str = NVIDIA, version: str = "v1") -> list[Sample]:
    """Probes of the sample payload."""
    facts: dict[str, Any] = {"kind": "probe", "ok": True, "tokens": 53, "passages": 3, "shape": "3 passages, 53 tokens"}
    return [
        Sample(at_s=1_000.0 + i, slug=slug, version=version, gpu_type=target.gpu_type, region=target.region, model_ms=one, request_ms=one + 2, **facts)
        for i, one in enumerate(ms)
    ]


def started(ms: Sequence[float], target: Target = B200, slug: str = NVIDIA, **more: Any) -> list[Sample]:
    """Cold starts."""
    facts: dict[str, Any] = {"kind": "start", "ok": True, "weights_from": "page cache", "peak_memory_bytes": 15_100_000_000} | more
    return [Sample(at_s=900.0, slug=slug, version="v1", gpu_type=target.gpu_type, region=target.region, cold_start_ms=one, **facts) for one in ms]


class Plane(Client):
    """A control plane that runs in a thread of its own, and a client with its admin key."""

    def __init__(
        self, folder: Path, samples: Sequence[Sample] = (), models: Sequence[Model] = MODELS, pools: tuple[Pool, ...] = POOLS, **settings: Any
    ) -> None:
        values: dict[str, Any] = {"host": "127.0.0.1", "port": 0, "request_timeout_s": WAIT_S, "idle_after_s": 900.0}
        self.settings = ForgeSettings(**values | settings)
        self.launcher = FakeLauncher(scripts={model.slug: Script(ready_after_s=0.0) for model in models})
        self.wall_s: float = 1_800_000_000.0  # stands still, so that answers can be compared
        self.parts: Parts
        self.keys: Keys
        self.reconciler: Reconciler
        self.measured: list[Endpoint] = []
        self._catalog, self._pools, self._samples, self._folder = Catalog(models), pools, list(samples), folder
        listener = bind(self.settings)
        super().__init__(listener.getsockname()[1])
        self._listener = listener
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop
        self._server: Server
        self._failure: BaseException | None = None
        self._faults: list[object] = []
        self._thread = threading.Thread(target=self._run, name="plane")
        self._thread.start()
        assert self._ready.wait(WAIT_S)
        assert self._failure is None, self._failure

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as failure:
            self._failure = failure
            self._ready.set()
            raise

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        store = StoreThread(open_store(self._folder / "forge.db"))
        probes = await self._compose(store)
        work = [asyncio.ensure_future(self.reconciler.run()), asyncio.ensure_future(probes.run())]
        self._server = server(self.settings, forge_app(self.parts))
        self.parts.readiness.ready = True
        self._loop.call_soon(self._ready.set)
        try:
            await self._server.serve(sockets=[self._listener])
        finally:
            for one in work:
                one.cancel()
            self._faults = [fault for fault in await asyncio.gather(*work, return_exceptions=True) if not isinstance(fault, asyncio.CancelledError)]
            await store.close()

    async def _compose(self, store: StoreThread) -> Probes:
        windows, metrics = Windows(self._samples), ForgeMetrics()
        self.keys = Keys(store.ask, SECRET, lambda: self.wall_s)
        await self.keys.load()
        await self.keys.first_admin(ADMIN)
        sessions = Sessions(store.ask, self.keys, Lasting(idle_s=self.settings.web_session_idle_s, max_s=self.settings.web_session_max_s), lambda: self.wall_s)
        await sessions.load()
        schedules = ScheduleBook(store.ask, lambda: self.wall_s)
        await schedules.load()
        rank = ranking(lambda: self._catalog, self._pools, PRICES, windows)

        def ranked(slug: str, version: str) -> list[Target]:
            model = self._catalog.resolve(slug)
            return [Target(row.gpu_type, row.region) for row in rank(model, self._catalog.version(model, version))]

        self.reconciler = Reconciler(
            self._catalog,
            self._pools,
            {"fake": self.launcher},
            Policy(idle_after_s=self.settings.idle_after_s, notice_s=0.0),
            ranked,
            _Journal(windows),
            lambda: self.parts.snapshots.endpoints_changed(),
            wall=lambda: self.wall_s,
            jitter=lambda: 0.0,
            health=EndpointProbe(ask=lambda running, timeout_s: True, spawn=lambda run: run()),  # fake endpoints have no port to be asked on
        )
        probes = Probes(self.reconciler, self._task_of, self._measure, _record(windows), WAIT_S, lambda: self.wall_s)
        intake = Intake(
            store.ask, self.keys, windows, self.reconciler, metrics, traffic=lambda slugs: self.parts.snapshots.models_used(slugs), clock=time.monotonic
        )
        snapshots = Snapshots(
            ModelRows(lambda: self._catalog, rank), self.reconciler.endpoints, self.keys.principals, SECRET, counted=intake.counted, clock=time.monotonic
        )
        self.keys.changed = snapshots.principals_changed
        self.parts = Parts(
            settings=self.settings,
            catalog=lambda: self._catalog,
            pools=self._pools,
            prices=PRICES,
            windows=windows,
            life=self.reconciler,
            probes=probes,
            schedules=schedules,
            keys=self.keys,
            callers=Callers(self.keys, FLEET, required=self.settings.auth == "keys", clock=time.monotonic),
            sessions=sessions,
            snapshots=snapshots,
            intake=intake,
            stored=store.ask,
            metrics=metrics,
            clock=time.monotonic,
            wall_s=lambda: self.wall_s,
        )
        return probes

    def _task_of(self, slug: str) -> Task:
        return self._catalog.resolve(slug).task

    async def _measure(self, endpoint: Endpoint, task: Task) -> list[Sample]:
        self.measured.append(endpoint)
        return probed([35.0] * 6, Target(endpoint.gpu_type, endpoint.region), endpoint.slug, endpoint.version)

    def ask(self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None) -> Reply:
        """With the admin key, unless another one or none is given."""
        return super().ask(method, path, body, {"Authorization": f"Bearer {ADMIN}"} | dict(headers or {}))

    def as_gateway(self, method: str, path: str, body: object = None) -> Reply:
        """With the fleet's token."""
        return self.ask(method, path, body, {"Authorization": f"Bearer {FLEET}"})

    def key(self, *scopes: str, **limits: Any) -> dict[str, str]:
        """The header of a new key."""
        made = self.post("/v1/keys", {"name": "some one", "scopes": list(scopes), **limits})
        assert made.status == 201, made.body
        return {"Authorization": f"Bearer {made.json['key']}"}

    def do(self, call: Callable[[], T]) -> T:
        """Call something on the event loop's thread."""

        async def run() -> T:
            return call()

        return self.run(run)

    def run(self, call: Callable[[], Awaitable[T]]) -> T:
        """Await something on the event loop."""

        async def wait() -> T:
            return await call()

        return asyncio.run_coroutine_threadsafe(wait(), self._loop).result(WAIT_S)

    def warm(self, slug: str = NVIDIA, **fields: Any) -> Any:
        reply = self.post(f"/v1/model-families/{slug}/start", fields)
        assert reply.status == 200, reply.body
        return reply.json

    def phase(self, slug: str = NVIDIA) -> str:
        return str(self.get(f"/v1/model-families/{slug}/status").json["phase"])

    def until_phase(self, phase: str, slug: str = NVIDIA) -> None:
        until(lambda: self.phase(slug) == phase, f"{slug} is {phase}")

    def stop(self) -> None:
        def end() -> None:
            self.parts.snapshots.close()
            self._server.should_exit = True

        self._loop.call_soon_threadsafe(end)
        self._thread.join(WAIT_S)
        assert not self._thread.is_alive()
        assert self._faults == []


class _Journal:
    """Keeps nothing but what figures are made of."""

    def __init__(self, windows: Windows) -> None:
        self._windows = windows

    def save(self, deployment: object) -> None: ...

    def forget(self, key: object) -> None: ...

    def sample(self, sample: Sample) -> None:
        self._windows.add(sample)


def _record(windows: Windows) -> Callable[[Sequence[Sample]], Awaitable[None]]:
    async def record(samples: Sequence[Sample]) -> None:
        for sample in samples:
            windows.add(sample)

    return record
