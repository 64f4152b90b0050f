"""The catalogue and what was measured of it in, a card for every model out. Knows no query and no page.

A card shows the fastest verified target. What it costs to make all cards is a few look-ups a model: the order of targets is the one that the
snapshot keeps, and a figure is read as the snapshot last computed it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from emberank.contract.fleet import ModelRow, Phase, TargetRow
from emberank.forge.answers import phase_of
from emberank.forge.catalog import Catalog, Model, Quality, searched
from emberank.forge.deployments import Deployment
from emberank.forge.figures import RequestFigures, request_figures
from emberank.forge.random_weights import has_random_weights
from emberank.forge.standing import MeasuredBy
from emberank.forge.targets import Target
from emberank.forge.windows import MOST_SAMPLES, Windows


@dataclass(frozen=True, slots=True, kw_only=True)
class Best:
    """A verified target and its median warm model time: of how many runs, by what, and of which payload."""

    version: str
    target: Target
    model_ms: float
    n: int
    measured_by: MeasuredBy
    shape: str
    usd_per_hour: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One model as the catalogue shows it. `verified` are all verified targets, the fastest first; `target` is the one that stands on the card."""

    model: Model
    text: str  # what words are looked for in
    phase: Phase
    verified: tuple[Best, ...]
    target: Target | None  # where a request would run that names none; None where no pool can
    usd_per_hour: float | None  # of that target
    random_weights: bool
    quality: tuple[Quality, ...]  # of its first version that has any

    @property
    def best(self) -> Best | None:
        """The fastest verified target."""
        return self.verified[0] if self.verified else None


class Shelf:
    """Makes cards."""

    def __init__(self, windows: Windows) -> None:
        self._windows = windows
        self._made_of: Catalog | None = None
        self._texts: Mapping[str, str] = {}

    def cards(self, catalog: Catalog, rows: Iterable[ModelRow], deployments: Iterable[Deployment], may_see: Callable[[Model], bool]) -> list[Card]:
        """The cards of those models that may be seen, in the catalogue's order."""
        if catalog is not self._made_of:
            self._made_of, self._texts = catalog, {model.slug: searched(model) for model in catalog}
        phases = phases_of(deployments)
        by_slug = {row.slug: row for row in rows}
        return [self._card(model, by_slug.get(model.slug), phases.get(model.slug, "COLD")) for model in catalog if may_see(model)]

    def _card(self, model: Model, row: ModelRow | None, phase: Phase) -> Card:
        verified: list[Best] = []
        chosen: TargetRow | None = None
        for version in row.versions if row else ():
            for target in version.targets:
                if chosen is None and target.runnable:
                    chosen = target
                found = self._best(model.slug, version.name, target) if target.status == "works" else None
                if found is not None:
                    verified.append(found)
        verified.sort(key=lambda one: (one.measured_by != "probe", one.model_ms))  # times of known payloads before those of anybody's
        return Card(
            model=model,
            text=self._texts[model.slug],
            phase=phase,
            verified=tuple(verified),
            target=verified[0].target if verified else Target(chosen.gpu_type, chosen.region) if chosen else None,
            usd_per_hour=verified[0].usd_per_hour if verified else chosen.price_usd_per_hour if chosen else None,
            random_weights=any(has_random_weights(version) for version in model.versions[:1]),
            quality=next((version.quality for version in model.versions if version.quality), ()),
        )

    def _best(self, slug: str, version: str, target: TargetRow) -> Best | None:
        place = Target(target.gpu_type, target.region)
        for measured_by in ("probe", "traffic"):
            found = self._figures(slug, version, place, measured_by)
            median = found.model_ms.p50.value
            if found.enough and median is not None:
                shape = found.shape if measured_by == "probe" else ""
                price = target.price_usd_per_hour
                return Best(version=version, target=place, model_ms=median, n=found.model_ms.n, measured_by=measured_by, shape=shape, usd_per_hour=price)
        return None

    def _figures(self, slug: str, version: str, target: Target, kind: MeasuredBy) -> RequestFigures:
        # The snapshot has computed this for the target's standing seconds ago; for a page that is new enough, and no reason to do it again.
        return self._windows.of(slug, version, target, kind).derive(request_figures, lag=MOST_SAMPLES)


def phases_of(deployments: Iterable[Deployment]) -> dict[str, Phase]:
    """The phase of every model that is not cold, by slug."""
    found: dict[str, list[Deployment]] = {}
    for one in deployments:
        found.setdefault(one.key.slug, []).append(one)
    phases = {slug: phase_of(running) for slug, running in found.items()}
    return {slug: phase for slug, phase in phases.items() if phase != "COLD"}
