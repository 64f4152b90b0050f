"""What the tests of the store keep in it: values with one thing changed, and a way to do something in the middle of a transaction. Knows no fixture."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection, Engine, event

from emberank.contract.fleet import UsageRecord
from emberank.forge.samples import Sample
from emberank.forge.store.keys import StoredKey
from emberank.forge.store.sessions import StoredSession

NOON_S = datetime(2026, 11, 21, 12, tzinfo=UTC).timestamp()
DAY_S = 86_400.0


@dataclass(frozen=True)
class PostgresServer:
    """A running server."""

    url: str
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def new_schema(self) -> str:
        """The address of an empty schema: as good as a database of its own, and made in a hundredth of the time."""
        import psycopg

        name = f"t{next(self._numbers)}"
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(f"CREATE SCHEMA {name}")
        return f"{self.url}&options={quote(f'-csearch_path={name}', safe='')}"

    def cut(self) -> int:
        """End every forge's session, as a restart of the server does; how many there were."""
        import psycopg

        with psycopg.connect(self.url, autocommit=True) as connection:
            ended = connection.execute("SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE application_name = 'emberank-forge'")
            return len(ended.fetchall())


def record(**changed: Any) -> UsageRecord:
    values: dict[str, Any] = {
        "at_s": NOON_S,
        "request_id": "req-1",
        "key_id": "k1",
        "slug": "minilm",
        "version": "v1",
        "gpu_type": "CPU",
        "region": "local",
        "route": "/v1/ranking",
        "status": 200,
        "tokens": 100,
        "passages": 3,
        "chars": 400,
        "request_ms": 12.0,
        "model_ms": 8.0,
        "queue_ms": 1.0,
        "cold_start_ms": 0.0,
        "cost_usd": 0.25,
    }
    return UsageRecord(**{**values, **changed})


def sample(**changed: Any) -> Sample:
    values: dict[str, Any] = {"at_s": NOON_S, "slug": "minilm", "version": "v1", "gpu_type": "CPU", "region": "local", "kind": "probe", "ok": True}
    return Sample(**{**values, **changed})


def key(**changed: Any) -> StoredKey:
    values: dict[str, Any] = {"key_id": "k1", "name": "first", "digest": "d1", "scopes": ("inference", "read"), "created_at_s": NOON_S}
    return StoredKey(**{**values, **changed})


def session(**changed: Any) -> StoredSession:
    values: dict[str, Any] = {"digest": "s1", "key_id": "k1", "csrf": "c1", "created_at_s": NOON_S, "seen_at_s": NOON_S, "expires_at_s": NOON_S + DAY_S}
    return StoredSession(**{**values, **changed})


@contextmanager
def before(table: str, do: Callable[[Connection], object]) -> Iterator[None]:
    """Call `do` before the next INSERT into that table (or, for `COMMIT`, before the next commit) of any engine of this process."""
    done = False

    def once(connection: Connection) -> None:
        nonlocal done
        if not done:
            done = True
            do(connection)

    def statement(connection: Connection, cursor: Any, text: str, *_: Any) -> None:
        if f"INSERT INTO {table} " in text:
            once(connection)

    name, listener = ("commit", once) if table == "COMMIT" else ("before_cursor_execute", statement)
    event.listen(Engine, name, listener)
    try:
        yield
    finally:
        event.remove(Engine, name, listener)
    assert done, f"no {table} came"
