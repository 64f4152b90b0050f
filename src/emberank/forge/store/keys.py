"""Keys in, keys out, as they are kept: a keyed hash each, never a key. Does not know how a key is hashed, nor what it may do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from sqlalchemy import Connection, bindparam, or_, select, update

from emberank.contract.fleet import Scope
from emberank.forge.store.database import Database
from emberank.forge.store.tables import keys, row_of


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredKey:
    """One key. `digest` is its keyed hash in hex; times are Unix times; a limit that is None is none."""

    key_id: str
    name: str
    digest: str = field(repr=False)
    scopes: tuple[Scope, ...]
    models: tuple[str, ...] = ()  # slugs; empty: all
    created_at_s: float
    expires_at_s: float | None = None
    revoked_at_s: float | None = None
    requests_per_minute: int | None = None
    concurrency: int | None = None
    monthly_usd: float | None = None
    monthly_tokens: int | None = None
    rotated_from: str | None = None  # the key that this one takes the place of
    last_used_at_s: float | None = None


CHANGEABLE = ("name", "scopes", "models", "expires_at_s", "requests_per_minute", "concurrency", "monthly_usd", "monthly_tokens")


class Keys:
    """The keys of this installation; few enough to be read all at once."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, key: StoredKey) -> bool:
        """A new key; False, and no change, when its id or its digest is there already."""
        with self._database.write() as connection:
            return self._insert(connection, key)

    def all(self) -> list[StoredKey]:
        """Every key, revoked and expired ones too, oldest first."""
        with self._database.read() as connection:
            rows = connection.execute(select(keys).order_by(keys.c.created_at_s, keys.c.key_id))
            return [StoredKey(**row._mapping) for row in rows]

    def get(self, key_id: str) -> StoredKey | None:
        """One key by its id."""
        with self._database.read() as connection:
            row = connection.execute(select(keys).where(keys.c.key_id == key_id)).first()
            return StoredKey(**row._mapping) if row else None

    def change(self, key: StoredKey) -> bool:
        """Put the name, scopes, models, expiry and limits of `key` in the place of what is kept under its id; False when there is none."""
        values = {name: getattr(key, name) for name in CHANGEABLE}
        with self._database.write() as connection:
            return connection.execute(update(keys).where(keys.c.key_id == key.key_id).values(values)).rowcount > 0

    def revoke(self, key_id: str, at_s: float) -> bool:
        """Void a key for ever; False when there is none or it is void already."""
        with self._database.write() as connection:
            return connection.execute(update(keys).where(keys.c.key_id == key_id, keys.c.revoked_at_s.is_(None)).values(revoked_at_s=at_s)).rowcount > 0

    def allow(self, key_id: str) -> bool:
        """Void no more: neither revoked nor ended; False when there is none."""
        with self._database.write() as connection:
            return connection.execute(update(keys).where(keys.c.key_id == key_id).values(revoked_at_s=None, expires_at_s=None)).rowcount > 0

    def rotate(self, key_id: str, successor: StoredKey, expires_at_s: float) -> bool:
        """Add a successor and have the old key end at `expires_at_s`, or before if it would; False, and no change, when the old one is not in force."""
        in_force = [keys.c.key_id == key_id, keys.c.revoked_at_s.is_(None)]
        with self._database.write() as connection:
            old = connection.execute(select(keys.c.expires_at_s).where(*in_force).with_for_update()).first()
            if old is None or not self._insert(connection, replace(successor, rotated_from=key_id)):
                return False
            ends_s = expires_at_s if old.expires_at_s is None else min(old.expires_at_s, expires_at_s)
            connection.execute(update(keys).where(*in_force).values(expires_at_s=ends_s))
            return True

    def used(self, last_used_at_s: Mapping[str, float]) -> None:
        """When keys were last used, by key id; a time before the known one changes nothing."""
        if not last_used_at_s:
            return
        at_s = bindparam("at_s", type_=keys.c.last_used_at_s.type)
        newer = or_(keys.c.last_used_at_s.is_(None), keys.c.last_used_at_s < at_s)
        with self._database.write() as connection:
            connection.execute(
                update(keys).where(keys.c.key_id == bindparam("id"), newer).values(last_used_at_s=at_s),
                [{"id": key_id, "at_s": at} for key_id, at in sorted(last_used_at_s.items())],
            )

    def _insert(self, connection: Connection, key: StoredKey) -> bool:
        return connection.execute(self._database.insert(keys).values(row_of(key)).on_conflict_do_nothing()).rowcount > 0
