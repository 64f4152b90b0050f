"""A wish, a need of memory and what is in the pools in, a place out: which target, what of it, and who has to make room. Pure; starts and stops nothing.

In a pool with devices an endpoint has one of them to itself; in one without, all of them share the memory. A remote pool has room for everything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from emberank.contract.errors import BadRequest, NotReady
from emberank.contract.fleet import FailureReason, Wish
from emberank.forge.catalog import Model, Version
from emberank.forge.deployments import Key
from emberank.forge.targets import GB, Pool, Target, matching, targets_of

_TRY_AGAIN_S = 10.0
_MOST_NAMED = 8  # in a refusal


class PlacementRefused(NotReady):
    """503: nothing has room for it; `reason` is no_capacity or out_of_memory, the message has the numbers."""

    def __init__(self, message: str, reason: FailureReason, *, retry_after_s: float | None) -> None:
        super().__init__(message, retry_after_s=retry_after_s)
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Occupant:
    """What is in a pool, or will be: `leaving` is on its way out, `evictable` may be sent out."""

    key: Key
    memory_bytes: int
    devices: tuple[str, ...] = ()
    leaving: bool = False
    evictable: bool = False
    idle_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where it goes, what of the pool it may use, and who is to be stopped first, in that order."""

    target: Target
    devices: tuple[str, ...] = ()
    evict: tuple[Key, ...] = ()


def candidates(wish: Wish, model: Model, version: Version, ranked: Sequence[Target], pools: Mapping[Target, Pool]) -> tuple[Target, ...]:
    """The targets that the wish leaves open, best first.

    Raises NotFound for a GPU type or region that nobody knows, BadRequest with the reason and the alternatives when nothing here can run it.
    """
    offers = targets_of(model, version, tuple(pools.values()), {})
    runnable = {offer.target for offer in offers if offer.runnable}
    asked = matching(offers, wish.gpu_type, wish.region)
    open_targets = runnable & {offer.target for offer in asked}
    if open_targets:
        return tuple(dict.fromkeys(target for target in (*ranked, *pools) if target in open_targets))
    why = "; ".join(dict.fromkeys(offer.reason for offer in asked[:_MOST_NAMED])) or "no target has both that gpu_type and that region"
    instead = f"; it can run on {', '.join(map(str, sorted(runnable)[:_MOST_NAMED]))}" if runnable else ""
    raise BadRequest(f"{model.slug} {version.name} cannot be started there: {why}{instead}")


def place(
    what: tuple[str, str], need_bytes: int, targets: Sequence[Target], pools: Mapping[Target, Pool], occupants: Sequence[Occupant], *, evict: bool
) -> Place:
    """A place for (slug, version) on the first of `targets` that has room: now, else soon, else by evicting. Raises PlacementRefused with the numbers."""
    inside = {target: [occupant for occupant in occupants if occupant.key.target == target] for target in targets}
    staying = {target: [occupant for occupant in inside[target] if not occupant.leaving] for target in targets}
    for present in (inside, staying):
        for target in targets:
            if has_room(pools[target], need_bytes, present[target]):
                return Place(target=target, devices=_free_device(pools[target], present[target]))
    for target in targets if evict else ():
        if gone := _evicted(pools[target], need_bytes, staying[target]):
            left = [occupant for occupant in staying[target] if occupant not in gone]
            return Place(target=target, devices=_free_device(pools[target], left), evict=tuple(occupant.key for occupant in gone))
    raise _refusal(what, need_bytes, pools[targets[0]], inside[targets[0]])


def has_room(pool: Pool, need_bytes: int, inside: Sequence[Occupant], devices: tuple[str, ...] = ()) -> bool:
    """Whether it fits beside what is inside; `devices` must be free."""
    if pool.launcher == "remote":
        return True
    if len(inside) >= pool.slots or any(device in occupant.devices for occupant in inside for device in devices):
        return False
    return need_bytes + _shared_bytes(pool, inside) <= pool.most_bytes


def _shared_bytes(pool: Pool, inside: Sequence[Occupant]) -> int:
    return 0 if pool.devices else sum(occupant.memory_bytes for occupant in inside)


def _free_device(pool: Pool, inside: Sequence[Occupant]) -> tuple[str, ...]:
    taken = {device for occupant in inside for device in occupant.devices}
    return next(((device,) for device in pool.devices if device not in taken), ())


def _evicted(pool: Pool, need_bytes: int, staying: Sequence[Occupant]) -> list[Occupant]:
    """Who has to go so that it fits, longest idle first; empty when that would not help."""

    def fits(gone: list[Occupant]) -> bool:
        return has_room(pool, need_bytes, [occupant for occupant in staying if occupant not in gone])

    gone: list[Occupant] = []
    for occupant in sorted((occupant for occupant in staying if occupant.evictable), key=lambda occupant: -occupant.idle_s):
        gone.append(occupant)
        if fits(gone):
            break
    else:
        return []
    # Who makes no difference stays: a small one, idle for longer than the large one that has to go.
    for occupant in tuple(gone):
        without = [other for other in gone if other is not occupant]
        if fits(without):
            gone = without
    return gone


def _refusal(what: tuple[str, str], need_bytes: int, pool: Pool, inside: Sequence[Occupant]) -> PlacementRefused:
    name = f"{what[0]} {what[1]} on {pool.target}"
    if need_bytes > pool.most_bytes:
        needs = f"needs {_gb(need_bytes)} of memory, and an endpoint there can have {_gb(pool.most_bytes)}"
        return PlacementRefused(f"{name} {needs}: it needs a larger machine, or a smaller version of it", "out_of_memory", retry_after_s=None)
    # Without names: whoever asked for this one need not be somebody who may know of the others. The status page names them to who may.
    listed = ", ".join(f"{_gb(occupant.memory_bytes)} {_state(occupant)}" for occupant in inside[:_MOST_NAMED])
    more = f" and {len(inside) - _MOST_NAMED} more" if len(inside) > _MOST_NAMED else ""
    way_out = f"in it are {listed}{more}: stop what is not needed, or try again when one of them is idle"
    if len(inside) >= pool.slots:
        needs = f"needs one of {pool.slots} places, and none is free"
        return PlacementRefused(f"{name} {needs}; {way_out}", "no_capacity", retry_after_s=_TRY_AGAIN_S)
    free = max(0, pool.most_bytes - _shared_bytes(pool, inside))
    needs = f"needs {_gb(need_bytes)} of memory, and {_gb(free)} of {_gb(pool.most_bytes)} are free"
    return PlacementRefused(f"{name} {needs}; {way_out}", "out_of_memory", retry_after_s=_TRY_AGAIN_S)


def _state(occupant: Occupant) -> str:
    return "ending" if occupant.leaving else f"idle for {occupant.idle_s:.0f} s" if occupant.evictable else "in use"


def _gb(size: int) -> str:
    return f"{size / GB:.1f} GB"
