"""What shall be prewarmed or probed at fixed times, in and out. Does not know when that is: a cron line is only kept here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sqlalchemy import delete, select

from emberank.forge.store.database import Database
from emberank.forge.store.tables import row_of, schedules


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """One cron line for one model. A version or target of None is left to the scheduler."""

    id: str
    slug: str
    version: str | None = None
    gpu_type: str | None = None
    region: str | None = None
    kind: Literal["prewarm", "probe"]
    cron: str
    created_at_s: float
    key_id: str  # who asked for it


class Schedules:
    """The schedules of this installation."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, schedule: Schedule) -> bool:
        """A new one; False, and no change, when its id is there already."""
        with self._database.write() as connection:
            return connection.execute(self._database.insert(schedules).values(row_of(schedule)).on_conflict_do_nothing()).rowcount > 0

    def remove(self, id: str) -> bool:
        """Forget one; False when there is none."""
        with self._database.write() as connection:
            return connection.execute(delete(schedules).where(schedules.c.id == id)).rowcount > 0

    def all(self) -> list[Schedule]:
        """Every one, oldest first."""
        with self._database.read() as connection:
            rows = connection.execute(select(schedules).order_by(schedules.c.created_at_s, schedules.c.id))
            return [Schedule(**row._mapping) for row in rows]
