"""Web sessions in, the same out, as they are kept: a keyed hash of each token, never a token. Does not know who is behind one, nor how long one lasts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from sqlalchemy import bindparam, delete, select, update

from emberank.forge.store.database import Database
from emberank.forge.store.tables import row_of, web_sessions


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSession:
    """One session. `digest` is its token's keyed hash in hex, `key_id` whose it is; times are Unix times."""

    digest: str = field(repr=False)
    key_id: str
    csrf: str = field(repr=False)  # what a form of this session must carry
    created_at_s: float
    seen_at_s: float
    expires_at_s: float  # whatever happens


class Sessions:
    """The web sessions of this installation; few enough to be read all at once."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, session: StoredSession) -> bool:
        """A new one; False, and no change, when its digest is there already."""
        with self._database.write() as connection:
            return connection.execute(self._database.insert(web_sessions).values(row_of(session)).on_conflict_do_nothing()).rowcount > 0

    def all(self) -> list[StoredSession]:
        """Every one, oldest first."""
        with self._database.read() as connection:
            rows = connection.execute(select(web_sessions).order_by(web_sessions.c.created_at_s, web_sessions.c.digest))
            return [StoredSession(**row._mapping) for row in rows]

    def seen(self, seen_at_s: Mapping[str, float]) -> None:
        """When sessions were last seen, by digest; a time before the known one changes nothing."""
        if not seen_at_s:
            return
        at_s = bindparam("at_s", type_=web_sessions.c.seen_at_s.type)
        with self._database.write() as connection:
            connection.execute(
                update(web_sessions).where(web_sessions.c.digest == bindparam("of"), web_sessions.c.seen_at_s < at_s).values(seen_at_s=at_s),
                [{"of": digest, "at_s": at} for digest, at in sorted(seen_at_s.items())],
            )

    def remove(self, digests: Iterable[str]) -> int:
        """Forget some; how many were there."""
        with self._database.write() as connection:
            return sum(connection.execute(delete(web_sessions).where(web_sessions.c.digest == digest)).rowcount for digest in digests)
