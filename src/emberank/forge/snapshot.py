"""What changed in the forge in, what a gateway must know of it out, each part with a revision. Waits for a change as long as a gateway is willing to.

A part has a new revision only when its content is another one: what is used, how fast and by whom changes all the time, and routing seldom needs to know.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Generic, TypeVar

from emberank.contract.fleet import Endpoint, ModelRow, Principal, Revisions, Snapshot, TargetRow, VersionRow
from emberank.forge.catalog import Catalog, Model, Version

T = TypeVar("T")
_MOST_AT_ONCE_S = 0.01
TRAFFIC_EVERY_S = 5.0  # what traffic says of a target's standing reaches the gateways so often


def model_row(catalog: Catalog, model: Model, targets_of: Callable[[Model, Version], tuple[TargetRow, ...]]) -> ModelRow:
    """A catalogue entry as gateways see it."""
    return ModelRow(
        slug=model.slug,
        id=model.id,
        task=model.task,
        names=catalog.names(model),
        created=created(model),
        owner=owner(model),
        versions=tuple(version_row(version, targets_of(model, version)) for version in model.versions),
        fallbacks=model.fallbacks,
    )


def version_row(version: Version, targets: tuple[TargetRow, ...]) -> VersionRow:
    """One version as gateways see it."""
    calibration = version.calibration
    return VersionRow(name=version.name, targets=targets, calibration=None if calibration is None else (calibration.slope, calibration.intercept))


def created(model: Model) -> int:
    """When it was added, as Unix time; 0 when that is not known."""
    return int(datetime.fromisoformat(model.added).replace(tzinfo=UTC).timestamp()) if model.added else 0


def owner(model: Model) -> str:
    """The publisher in its id."""
    return model.id.partition("/")[0] if "/" in model.id else "emberank"


class ModelRows:
    """The rows of all models; only those are made anew of which something changed."""

    def __init__(self, catalog: Callable[[], Catalog], targets_of: Callable[[Model, Version], tuple[TargetRow, ...]]) -> None:
        self._catalog = catalog
        self._targets_of = targets_of
        self._made_of: Catalog | None = None
        self._rows: dict[str, ModelRow] = {}

    def touch(self, slugs: Iterable[str]) -> None:
        """Something changed of these models."""
        for slug in slugs:
            self._rows.pop(slug, None)

    async def fill(self) -> None:
        """Make what is missing, bit by bit: with thousands of targets it takes seconds, for which nothing else shall stand still."""
        catalog = self._current()
        began = time.perf_counter()
        for model in catalog:
            if model.slug not in self._rows:
                self._rows[model.slug] = model_row(catalog, model, self._targets_of)
            if time.perf_counter() - began > _MOST_AT_ONCE_S:
                await asyncio.sleep(0)
                began = time.perf_counter()
                if self._current() is not catalog:
                    return

    def all(self) -> tuple[ModelRow, ...]:
        """All rows, in the catalogue's order."""
        catalog = self._current()
        rows = (self._rows.get(model.slug) or model_row(catalog, model, self._targets_of) for model in catalog)
        self._rows = {row.slug: row for row in rows}
        return tuple(self._rows.values())

    def _current(self) -> Catalog:
        catalog = self._catalog()
        if catalog is not self._made_of:
            self._made_of, self._rows = catalog, {}
        return catalog


@dataclass(slots=True)
class _Part(Generic[T]):
    """One part of a snapshot. `stale` says that it may have changed."""

    make: Callable[[], tuple[T, ...]]
    content: tuple[T, ...] = ()
    revision: int = 0
    stale: bool = True

    def refresh(self) -> None:
        if self.stale:
            self.stale = False
            content = self.make()
            if self.revision == 0 or content != self.content:
                self.content = content
                self.revision += 1

    def since(self, known: int) -> tuple[T, ...] | None:
        return None if known == self.revision else self.content


@dataclass(slots=True)
class _Waiting:
    """Whoever waits for a change: an event that is set once, and then another one."""

    event: asyncio.Event = field(default_factory=asyncio.Event)

    def tell(self) -> None:
        self.event.set()
        self.event = asyncio.Event()


class Snapshots:
    """What gateways are told. `counted` says which of a gateway's reports the keys' sums include."""

    def __init__(
        self,
        models: ModelRows,
        endpoints: Callable[[], tuple[Endpoint, ...]],
        principals: Callable[[], tuple[Principal, ...]],
        key_secret: str,
        *,
        counted: Callable[[str], int],
        clock: Callable[[], float],
    ) -> None:
        self.forge_id = secrets.token_hex(8)  # revisions of two forges do not compare
        self._rows = models
        self._models = _Part(models.all)
        self._endpoints = _Part(endpoints)
        self._principals = _Part(principals)
        self._key_secret = key_secret
        self._counted = counted
        self._clock = clock
        self._waiting = _Waiting()
        self._watched = _Waiting()  # by pages: what gateways are told beside it, of keys and what they spend, is nothing to them
        self._later: set[str] = set()
        self._traffic_at = clock()
        self._closed = False

    def models_changed(self, slugs: Iterable[str]) -> None:
        """Something was learned of these models' targets, by a start or a probe, or the catalogue is another one."""
        self._rows.touch(slugs)
        self._models.stale = True
        self._waiting.tell()
        self._watched.tell()

    def models_used(self, slugs: Iterable[str]) -> None:
        """Traffic said something of these models' targets. It says so all the time: it is looked at every few seconds."""
        self._later.update(slugs)
        if self._clock() - self._traffic_at >= TRAFFIC_EVERY_S:
            self._waiting.tell()

    def endpoints_changed(self) -> None:
        """An endpoint came, went or changed its phase."""
        self._endpoints.stale = True
        self._waiting.tell()
        self._watched.tell()

    def principals_changed(self) -> None:
        """A key was made or changed, or has spent something of its budget."""
        self._principals.stale = True
        self._waiting.tell()

    async def next(self, gateway_id: str, known: Revisions, forge_id: str, wait_s: float) -> Snapshot:
        """What changed since `known`, as soon as something does; after `wait_s` that nothing did."""
        if forge_id != self.forge_id:
            known = Revisions()
        ends = self._clock() + wait_s
        while True:
            waiting = self._waiting.event  # before looking: what changes while this looks is not missed
            await self._refresh()
            left_s = ends - self._clock()
            if known != self._revisions() or left_s <= 0 or self._closed:
                return self._since(gateway_id, known)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left_s):
                    await waiting.wait()

    async def models(self) -> tuple[ModelRow, ...]:
        """Every model's row as gateways are told it, in the catalogue's order."""
        await self._refresh()
        return self._models.content

    def close(self) -> None:
        """Answer everybody who waits: the forge is ending."""
        self._closed = True
        self._waiting.tell()
        self._watched.tell()

    @property
    def closed(self) -> bool:
        """Whether the forge is ending."""
        return self._closed

    @property
    def watched(self) -> asyncio.Event:
        """Set at the next change of an endpoint or of the models, and when the forge ends. To be taken before looking: what changes meanwhile is not missed."""
        return self._watched.event

    async def _refresh(self) -> None:
        now = self._clock()
        if self._later and now - self._traffic_at >= TRAFFIC_EVERY_S:
            self._rows.touch(self._later)
            self._later.clear()
            self._traffic_at = now
            self._models.stale = True
        if self._models.stale:
            await self._rows.fill()
        self._models.refresh()
        self._endpoints.refresh()
        self._principals.refresh()

    def _revisions(self) -> Revisions:
        return Revisions(models=self._models.revision, endpoints=self._endpoints.revision, principals=self._principals.revision)

    def _since(self, gateway_id: str, known: Revisions) -> Snapshot:
        principals = self._principals.since(known.principals)
        return Snapshot(
            forge_id=self.forge_id,
            revisions=self._revisions(),
            models=self._models.since(known.models),
            endpoints=self._endpoints.since(known.endpoints),
            principals=principals,
            key_secret="" if principals is None else self._key_secret,
            counted=self._counted(gateway_id),
        )
