"""Settings and a data folder in, one forge with all its parts out: read from files and store, joined, not yet running. Decides nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from heapq import merge

from emberank.client.pool import Pool as HttpPool
from emberank.contract.errors import EmberankError
from emberank.forge.bridge_sources import is_bridged
from emberank.forge.callers import Callers
from emberank.forge.catalog import Catalog
from emberank.forge.catalog_file import load_catalog
from emberank.forge.data_folder import DataFolder
from emberank.forge.deployments import Key
from emberank.forge.discovery import discover, gpu_engine, local_gpus, usable_cores
from emberank.forge.intake import Intake
from emberank.forge.journal import StoreJournal
from emberank.forge.keys import Keys
from emberank.forge.launchers.base import Launcher
from emberank.forge.launchers.registry import builder
from emberank.forge.lifecycle import Policy
from emberank.forge.measuring import Measuring
from emberank.forge.metrics import ForgeMetrics
from emberank.forge.parts import Parts, ranking
from emberank.forge.probes import Probes
from emberank.forge.reconciler import Reconciler
from emberank.forge.remote_names import kind_of
from emberank.forge.samples import Sample
from emberank.forge.schedule_book import ScheduleBook
from emberank.forge.secret_store import SecretStore
from emberank.forge.snapshot import ModelRows, Snapshots
from emberank.forge.standing import measured_at
from emberank.forge.store import Store
from emberank.forge.store_thread import StoreThread
from emberank.forge.target_files import gpu_types, load_pools, load_prices
from emberank.forge.targets import Pool, Prices, Target, elsewhere
from emberank.forge.web.sessions import Lasting, Sessions
from emberank.forge.web.signin.oidc.provider import MOST_BYTES, Provider
from emberank.forge.web.signin.oidc.registration import registration_of
from emberank.forge.windows import MOST_SAMPLES, Windows
from emberank.serving.machine import machine_memory
from emberank.settings import ForgeSettings
from emberank.telemetry import Traces


@dataclass(kw_only=True)
class Installation:
    """Everything a forge holds. `catalog` is replaced when the user's file changes."""

    settings: ForgeSettings
    folder: DataFolder
    store: StoreThread
    http: HttpPool
    catalog: Catalog
    reconciler: Reconciler
    probes: Probes
    parts: Parts

    @property
    def keys(self) -> Keys:
        """The API keys."""
        return self.parts.keys

    @property
    def sessions(self) -> Sessions:
        """The web sessions."""
        return self.parts.sessions

    @property
    def schedules(self) -> ScheduleBook:
        """What is due at fixed times."""
        return self.parts.schedules

    def take_catalog(self, catalog: Catalog) -> None:
        """Serve another catalogue from here on; what runs and is no longer in it goes cold."""
        slugs = {model.slug for model in (*self.catalog, *catalog)}
        self.catalog = self.reconciler.catalog = catalog
        self.parts.snapshots.models_changed(slugs)


async def install(settings: ForgeSettings, folder: DataFolder, store: Store, fleet_token: str, traces: Traces | None = None) -> Installation:
    """Read everything and put it together. The store is given away: it is closed with `Installation.store`. Raises StartError."""
    thread = StoreThread(store)
    catalog = load_catalog(folder.path)
    prices, pools = _targets(settings, folder)
    windows, keys, schedules, sessions = await _read(thread, folder, settings)
    metrics = ForgeMetrics()

    # Parts that ask one another are joined by these few calls, so that none holds the whole.
    made: Installation

    def current() -> Catalog:
        return made.catalog

    def pending(slug: str, version: str) -> tuple[Target, ...]:
        return made.parts.pending(slug, version)

    rank = ranking(current, pools, prices, windows, pending)
    journal = StoreJournal(thread, windows, lambda sample: _started(made, sample))
    reconciler = Reconciler(
        catalog,
        pools,
        _launchers(pools, folder),
        _policy(settings),
        lambda slug, version: _ranked(current(), rank, slug, version),
        journal,
        lambda: made.parts.snapshots.endpoints_changed(),
        usual_start_s=lambda key: _usual_start_s(windows, key),
        usual_memory_bytes=lambda key: _usual_memory_bytes(windows, key),
    )
    http = HttpPool(max_connections_per_host=4)
    measuring = Measuring(http, settings.probe_requests, time.time)
    record = partial(_record, journal, lambda: made.parts.snapshots)
    probes = Probes(reconciler, lambda slug: current().resolve(slug).task, measuring.measure, record, settings.start_timeout_s)
    intake = Intake(thread.ask, keys, windows, reconciler, metrics, traffic=lambda slugs: made.parts.snapshots.models_used(slugs), clock=time.monotonic)
    snapshots = Snapshots(ModelRows(current, rank), reconciler.endpoints, keys.principals, keys.secret, counted=intake.counted, clock=time.monotonic)
    keys.changed = snapshots.principals_changed
    parts = Parts(
        settings=settings,
        catalog=current,
        pools=pools,
        prices=prices,
        windows=windows,
        life=reconciler,
        probes=probes,
        schedules=schedules,
        keys=keys,
        callers=Callers(keys, fleet_token, required=settings.auth == "keys", clock=time.monotonic),
        sessions=sessions,
        snapshots=snapshots,
        intake=intake,
        stored=thread.ask,
        metrics=metrics,
        clock=time.monotonic,
        wall_s=time.time,
        traces=traces,
        provider=_provider(settings, folder),
    )
    made = Installation(settings=settings, folder=folder, store=thread, http=http, catalog=catalog, reconciler=reconciler, probes=probes, parts=parts)
    return made


async def _read(thread: StoreThread, folder: DataFolder, settings: ForgeSettings) -> tuple[Windows, Keys, ScheduleBook, Sessions]:
    """What an earlier forge has left behind."""
    samples, traffic = await thread.ask(lambda store: (store.samples.recent(MOST_SAMPLES), store.usage.recent(MOST_SAMPLES)), within_s=300)
    keys, schedules = Keys(thread.ask, folder.secret("key"), time.time), ScheduleBook(thread.ask, time.time)
    sessions = Sessions(thread.ask, keys, Lasting(idle_s=settings.web_session_idle_s, max_s=settings.web_session_max_s), time.time)
    await keys.load()
    await schedules.load()
    await sessions.load()
    # Each list is in its own order; which of two kinds is newer decides what a row's standing is.
    return Windows(merge(samples, traffic, key=lambda sample: sample.at_s)), keys, schedules, sessions


def _provider(settings: ForgeSettings, folder: DataFolder) -> Provider | None:
    """Whom people may sign in with, if that is set. Raises SettingError."""
    registration = registration_of(settings, SecretStore(folder.path))
    return None if registration is None else Provider(registration, HttpPool(max_connections_per_host=8, max_body_bytes=MOST_BYTES))


async def _record(journal: StoreJournal, snapshots: Callable[[], Snapshots], found: Sequence[Sample]) -> None:
    await journal.record(found)
    snapshots().models_changed({sample.slug for sample in found})


def _targets(settings: ForgeSettings, folder: DataFolder) -> tuple[Prices, tuple[Pool, ...]]:
    types = gpu_types()
    prices = load_prices(folder.path, types)
    today = datetime.now(UTC).date().isoformat()
    found = discover(
        types,
        machine_memory(),
        local_gpus(),
        cores=usable_cores(),
        usd_per_hour=settings.local_usd_per_hour,
        day=today,
        gpu_engine=settings.engine in ("auto", "torch") and gpu_engine(),
    )
    pools = load_pools(folder.path, (*found, elsewhere()), prices, types)
    return prices, tuple(replace(pool, settings=_runtime_settings(settings, pool) | dict(pool.settings)) for pool in pools)


def _runtime_settings(settings: ForgeSettings, pool: Pool) -> dict[str, str]:
    """What every runtime that is started here is told; a pool's and a version's own settings go before it."""
    # Left to itself a runtime of the CPU's pool would take a GPU that it sees.
    best = "torch" if pool.devices else "openvino"
    told = {
        "engine": best if settings.engine == "auto" else settings.engine,
        "threads": str(settings.runtime_threads),
        "max_passages": str(settings.max_passages),
        "log_level": settings.log_level,
        "log_format": settings.log_format,
        "request_timeout_s": str(settings.request_timeout_s),
        "cache_dir": settings.cache_dir,
    }
    return {name: value for name, value in told.items() if value}


def _launchers(pools: Sequence[Pool], folder: DataFolder) -> Mapping[str, Launcher]:
    return {name: builder(name)(folder.path) for name in dict.fromkeys(pool.launcher for pool in pools)}


def _policy(settings: ForgeSettings) -> Policy:
    return Policy(
        idle_after_s=settings.idle_after_s,
        start_timeout_s=settings.start_timeout_s,
        stop_timeout_s=settings.stop_timeout_s,
        evict_idle=settings.evict_idle,
    )


def _ranked(catalog: Catalog, rank: Callable[..., Sequence[object]], slug: str, version: str) -> list[Target]:
    model = catalog.resolve(slug)
    return [Target(row.gpu_type, row.region) for row in rank(model, catalog.version(model, version))]  # type: ignore[attr-defined]


def _is_charged(catalog: Catalog, sample: Sample) -> bool:
    """Whether it was somebody else's server that takes money for a request: nobody has asked for that."""
    try:
        source = catalog.version(catalog.resolve(sample.slug), sample.version).source
    except EmberankError:
        return False
    return kind_of(source) in ("nvidia_nim", "cohere") or is_bridged(source)


def _usual_start_s(windows: Windows, key: Key) -> float | None:
    """What history lets one expect of a start: the median of the usual kind of starts there."""
    ms = measured_at(windows, key.slug, key.version, key.target).starts.typical_ms.value
    return None if ms is None else ms / 1e3


def _usual_memory_bytes(windows: Windows, key: Key) -> int | None:
    """The most that was seen of it there."""
    peak = measured_at(windows, key.slug, key.version, key.target).starts.peak_memory.value
    return None if peak is None else int(peak)


def _started(made: Installation, sample: Sample) -> None:
    """A start was measured; its requests are measured next, if so set, and if nobody charges for them."""
    made.parts.snapshots.models_changed({sample.slug})
    if made.settings.probe_after_start and not _is_charged(made.catalog, sample):
        made.probes.request(sample.slug, sample.version, sample.gpu_type, sample.region)
