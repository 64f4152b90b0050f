"""Who did what, in and out. Appended to, never changed; does not know what an action does."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import delete, insert, select

from emberank.forge.store.database import Database
from emberank.forge.store.tables import audit, row_of


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One thing that somebody did: `key.revoke` to key `k_3`."""

    at_s: float
    key_id: str
    action: str
    subject: str


class Audit:
    """The book of what was done."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, entry: AuditEntry) -> None:
        """Write one line."""
        with self._database.write() as connection:
            connection.execute(insert(audit).values(row_of(entry)))

    def recent(self, n: int) -> list[AuditEntry]:
        """The last `n` lines, newest first."""
        columns = (audit.c.at_s, audit.c.key_id, audit.c.action, audit.c.subject)
        with self._database.read() as connection:
            return [AuditEntry(**row._mapping) for row in connection.execute(select(*columns).order_by(audit.c.id.desc()).limit(n))]

    def prune(self, before_s: float, most: int) -> int:
        """Remove at most `most` lines from before `before_s`; how many."""
        old = select(audit.c.id).where(audit.c.at_s < before_s).order_by(audit.c.at_s).limit(most)
        with self._database.write() as connection:
            return connection.execute(delete(audit).where(audit.c.id.in_(old))).rowcount
