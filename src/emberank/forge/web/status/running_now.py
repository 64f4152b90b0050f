"""What runs now in, its lines on the status page out: endpoints with their times, load and memory, and the pools that they are in. Asks the clock; starts nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from emberank.contract.fleet import Principal
from emberank.forge.answers import Row, endpoint_status
from emberank.forge.catalog import Catalog, Model
from emberank.forge.deployments import Deployment
from emberank.forge.figures import start_figures
from emberank.forge.lifecycle import LASTING
from emberank.forge.parts import Parts
from emberank.forge.random_weights import has_random_weights
from emberank.forge.targets import Pool, Target, targets_of
from emberank.forge.web.model.remedies import remedy
from emberank.forge.web.model.selection import Selection
from emberank.forge.web.sight import may_see
from emberank.forge.web.status.looked_for import LookedFor

_FOREMOST = ("FAILED", "STARTING", "DRAINING", "WARM")  # what needs somebody's eyes stands first


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A deployment that a visitor may see; `model` is None for one that has left the catalogue."""

    one: Deployment
    model: Model | None


def seen(parts: Parts, principal: Principal | None) -> list[Seen]:
    """All deployments that are not simply cold and that this visitor may see. What is in no catalogue any more is shown to who may see everything."""
    models = {model.slug: model for model in parts.catalog()}
    found = []
    for one in parts.life.deployments():
        model = models.get(one.key.slug)
        visible = sees_all(principal) if model is None else may_see(principal, model)
        if visible and one.phase != "COLD":
            found.append(Seen(one=one, model=model))
    return found


def sees_all(principal: Principal | None) -> bool:
    """Whether no model is hidden from them."""
    return principal is not None and not principal.models


def chosen(all_seen: Sequence[Seen], wanted: LookedFor) -> list[Seen]:
    """Those that are looked for, in the order in which one looks: by phase, then by name."""
    left = [
        each for each in all_seen if wanted.phase in (None, each.one.phase) and wanted.on(each.one.key.target) and wanted.names(each.one.key.slug, each.model)
    ]
    return sorted(left, key=lambda each: (_FOREMOST.index(each.one.phase), each.one.key))


def endpoint_lines(parts: Parts, some: Sequence[Seen]) -> list[Row]:
    """These deployments as the API tells them, and what a page says beside that."""
    now, wall_s = parts.clock(), parts.wall_s()
    starting = any(each.one.phase == "STARTING" for each in some)
    etas = {endpoint.id: endpoint.eta_s for endpoint in parts.life.endpoints()} if starting else {}
    units = {pool.target: unit_of(pool) for pool in parts.pools}
    return [_line(parts, each, etas.get(each.one.id), units.get(each.one.key.target, ""), now, wall_s) for each in some]


def _line(parts: Parts, each: Seen, eta_s: float | None, unit: str, now: float, wall_s: float) -> Row:
    one, key = each.one, each.one.key
    version = next((version for version in each.model.versions if version.name == key.version), None) if each.model else None
    idle_after_s = parts.idle_after_s(version) if version is not None else 0.0
    row = endpoint_status(one, parts.intake.in_flight(one.id), eta_s, idle_after_s, now, wall_s)
    peak = parts.windows.of(key.slug, key.version, key.target, "start").derive(start_figures).peak_memory
    row["stops_in_s"] = None if row["stops_at"] is None or unit == "" else max(0.0, idle_after_s - (row["idle_for_s"] or 0.0))
    return row | {
        "slug": key.slug,
        "title": each.model.title if each.model else key.slug,
        "page": Selection(slug=key.slug, version=key.version, gpu_type=key.gpu_type, region=key.region).page if version is not None else "",
        "known": version is not None,
        "since_s": now - one.since,
        "unit": unit,
        "peak_bytes": peak.value,
        "peak_n": peak.n,
        "remedy": remedy(one.reason) if one.phase == "FAILED" else "",
        "next": next_try(one, row["queue_depth"], idle_after_s, now),
        "random_weights": version is not None and has_random_weights(version),
        "id": "-".join((key.slug, key.version, key.gpu_type, key.region)),
    }


def next_try(one: Deployment, in_flight: int, idle_after_s: float, now: float) -> str:
    """When a start that failed is tried again, in words; empty for what did not fail."""
    if one.phase != "FAILED":
        return ""
    if one.reason in LASTING:
        return "not by itself, for it would end in the same way. Start it when the cause is mended."
    wait_s = 0.0 if one.retry_at is None else one.retry_at - now
    when = f"in {wait_s:.0f} s" if wait_s >= 1 else "now"
    if one.keep_warm or in_flight or (one.wanted and now - one.last_used < idle_after_s):
        return f"{when}, by itself."
    return f"possible {when}, when a request waits for it or somebody starts it."


def unit_of(pool: Pool) -> str:
    """What the memory of a pool is; empty where it is somebody else's."""
    return "" if pool.launcher == "remote" else "VRAM" if pool.devices else "RAM"


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolLine:
    """A pool now. `set_aside_bytes` is what its endpoints may take: the most that was expected or seen of each."""

    target: Target
    unit: str
    slots: int
    free_slots: int
    memory_bytes: int
    set_aside_bytes: int
    in_flight: int | None  # None for who may not see all models: it would tell of the others
    endpoints: int
    closed: str

    @property
    def free_bytes(self) -> int:
        """What one more may have, in all."""
        return max(0, self.memory_bytes - self.set_aside_bytes)

    @property
    def place(self) -> str:
        """What there are `slots` of."""
        return "GPU" if self.unit == "VRAM" else "slot"


def pool_lines(parts: Parts, wanted: LookedFor, principal: Principal) -> list[PoolLine]:
    """Every pool that is looked for, whoever's endpoints are in it: the numbers name nobody. A pool of other people's servers only while one is used."""
    by_target: dict[Target, list[Deployment]] = {}
    for one in parts.life.deployments():
        if one.phase in ("STARTING", "WARM", "DRAINING"):
            by_target.setdefault(one.key.target, []).append(one)
    lines = []
    for pool in parts.pools:
        inside = by_target.get(pool.target, [])
        if not wanted.on(pool.target) or (pool.launcher == "remote" and not inside):
            continue
        lines.append(
            PoolLine(
                target=pool.target,
                unit=unit_of(pool),
                slots=pool.slots,
                free_slots=parts.free_slots(pool),
                memory_bytes=pool.memory_bytes,
                set_aside_bytes=sum(one.memory_bytes for one in inside),
                in_flight=sum(parts.intake.in_flight(one.id) for one in inside) if sees_all(principal) else None,
                endpoints=len(inside),
                closed=pool.closed,
            )
        )
    return lines


def cold_models(catalog: Catalog, all_seen: Sequence[Seen], principal: Principal | None, wanted: LookedFor) -> list[Model]:
    """The models of which nothing runs, that may be seen and whose names are looked for, in the catalogue's order."""
    running = {each.one.key.slug for each in all_seen}
    return [model for model in catalog if model.slug not in running and may_see(principal, model) and wanted.names(model.slug, model)]


def can_start(parts: Parts, model: Model) -> bool:
    """Whether a pool here can run its first version."""
    return any(offer.runnable for offer in targets_of(model, model.versions[0], parts.pools, parts.prices))
