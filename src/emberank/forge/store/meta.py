"""A name in, the word kept under it out. Does not know what the words mean; no secret belongs here."""

from __future__ import annotations

from sqlalchemy import select

from emberank.forge.store.database import Database
from emberank.forge.store.tables import meta


class Meta:
    """Single values that belong to the installation."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, name: str) -> str | None:
        """The value, or None."""
        with self._database.read() as connection:
            return connection.scalar(select(meta.c.value).where(meta.c.name == name))

    def set(self, name: str, value: str) -> None:
        """Keep the value, in the place of the one before."""
        statement = self._database.insert(meta).values(name=name, value=value)
        with self._database.write() as connection:
            connection.execute(statement.on_conflict_do_update(index_elements=[meta.c.name], set_={"value": statement.excluded.value}))
