"""Pools and what runs in them in, a place for one more out. Joins placement.py's pure answers with the present state; starts and stops nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from emberank.forge.deployments import Deployment, Key
from emberank.forge.endings import Endings
from emberank.forge.lifecycle import Policy, idle_s
from emberank.forge.loads import Loads
from emberank.forge.placement import Occupant, Place, has_room, place
from emberank.forge.register import Register
from emberank.forge.targets import Pool, Target


class Occupancy:
    """Who has what of which pool."""

    def __init__(self, pools: Mapping[Target, Pool], register: Register, endings: Endings, loads: Loads, policy: Policy) -> None:
        self._pools = pools
        self._register = register
        self._endings = endings
        self._loads = loads
        self._policy = policy

    def place(self, keys: Sequence[Key], need_bytes: int, now: float) -> Place:
        """A place for a version on the first target, in the order of `keys`, that has room. Raises PlacementRefused."""
        taken = [*self._inside(now), *self._ending()]
        return place(keys[0][:2], need_bytes, [key.target for key in keys], self._pools, taken, evict=self._policy.evict_idle)

    def has_room_now(self, one: Deployment) -> bool:
        """Whether a start that has its place can begin: who had to make room is gone, and their memory is free."""
        others = [_occupant(other) for other in self._register if other.launched and other.key != one.key and other.key.target == one.key.target]
        present = others + [occupant for occupant in self._ending() if occupant.key.target == one.key.target]
        return has_room(self._pools[one.key.target], one.memory_bytes, present, one.endpoint.devices if one.endpoint else ())

    def _inside(self, now: float) -> list[Occupant]:
        """What is in the pools or has a place there."""
        present = (one for one in self._register if one.phase in ("STARTING", "WARM", "DRAINING"))
        return [_occupant(one, evictable=self._is_evictable(one, now), idle=self._idle_s(one, now)) for one in present]

    def _ending(self) -> list[Occupant]:
        return [Occupant(key=ending.key, memory_bytes=ending.memory_bytes, devices=ending.running.devices, leaving=True) for ending in self._endings]

    def _is_evictable(self, one: Deployment, now: float) -> bool:
        return one.phase == "WARM" and not one.keep_warm and not one.stopping and self._idle_s(one, now) >= self._policy.evict_after_s

    def _idle_s(self, one: Deployment, now: float) -> float:
        return idle_s(one, self._loads.of(one.id, now), now)


def _occupant(one: Deployment, *, evictable: bool = False, idle: float = 0.0) -> Occupant:
    devices = one.endpoint.devices if one.endpoint else ()
    leaving = one.phase == "DRAINING" or one.stopping is not None
    return Occupant(key=one.key, memory_bytes=one.memory_bytes, devices=devices, leaving=leaving, evictable=evictable, idle_s=idle)
