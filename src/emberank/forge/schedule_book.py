"""What shall be prewarmed or probed at fixed times in, the same kept and in memory out. Starts nothing itself: `due` says what is to be done now."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from emberank.contract.errors import BadRequest, NotFound
from emberank.forge.schedule import checked, due, next_at
from emberank.forge.shielded import shielded
from emberank.forge.store.schedules import Schedule
from emberank.forge.stored import Stored

MOST = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is asked for: a model, perhaps a version and a target, what is to be done, and when."""

    slug: str
    version: str | None
    gpu_type: str | None
    region: str | None
    kind: Literal["prewarm", "probe"]
    cron: str


class ScheduleBook:
    """All schedules."""

    def __init__(self, stored: Stored, wall_s: Callable[[], float]) -> None:
        self._stored = stored
        self._wall_s = wall_s
        self._schedules: dict[str, Schedule] = {}

    async def load(self) -> None:
        """Read everything. To be called once."""
        self._schedules = {one.id: one for one in await self._stored(lambda store: store.schedules.all())}

    def all(self) -> tuple[Schedule, ...]:
        """Every one, oldest first."""
        return tuple(self._schedules.values())

    def next_at(self, one: Schedule) -> float | None:
        """When it is due next, as Unix time."""
        return next_at(one.cron, self._wall_s())

    def due(self, last_tick_s: float, now_s: float) -> tuple[Schedule, ...]:
        """Those whose time came after `last_tick_s` and not after `now_s`."""
        return due(self._schedules.values(), last_tick_s, now_s)

    async def add(self, plan: Plan, key_id: str) -> Schedule:
        """Keep another one. Raises BadRequest for a cron line that cannot be read or never comes."""
        if len(self._schedules) >= MOST:
            raise BadRequest(f"there are {MOST} schedules, which is the most: DELETE /v1/schedules/{{id}} removes one")
        line = checked(plan.cron)
        one = Schedule(
            id=f"s_{secrets.token_hex(4)}",
            slug=plan.slug,
            version=plan.version,
            gpu_type=plan.gpu_type,
            region=plan.region,
            kind=plan.kind,
            cron=line,
            created_at_s=self._wall_s(),
            key_id=key_id,
        )

        async def keep() -> None:
            await self._stored(lambda store: store.schedules.add(one))
            self._schedules[one.id] = one

        await shielded(keep())
        return one

    async def remove(self, schedule_id: str) -> Schedule:
        """Forget one. Raises NotFound."""
        found = self._schedules.get(schedule_id)
        if found is None:
            raise NotFound(f"there is no schedule {schedule_id[:80]!r}; GET /v1/schedules lists them")

        async def forget() -> None:
            await self._stored(lambda store: store.schedules.remove(schedule_id))
            self._schedules.pop(schedule_id, None)

        await shielded(forget())
        return found
