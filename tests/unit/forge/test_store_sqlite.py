"""What only a SQLite file can do to its users: fill its disk, be something else, be read by others, be searched row by row."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event

from emberank.contract.errors import StartError
from emberank.forge.store import Store, StoreUnavailable, open_store
from stores import NOON_S, key, record, sample


@contextmanager
def with_little_room(path: Path, pages: int) -> Iterator[None]:
    """Connections that are made in here may add so many pages to the database, and then its disk is full."""
    with closing(sqlite3.connect(path)) as connection:
        (now,) = connection.execute("PRAGMA page_count").fetchone()

    def limit(connection: Any, _: object) -> None:
        connection.execute(f"PRAGMA max_page_count = {now + pages}")

    event.listen(Engine, "connect", limit)
    try:
        yield
    finally:
        event.remove(Engine, "connect", limit)


def appended(store: Store, number: int) -> bool:
    try:
        return store.usage.append("gw", number, [record()] * 50)
    except StoreUnavailable:
        return False


def test_a_full_disk_loses_no_report_and_counts_none_twice(tmp_path: Path) -> None:
    path = tmp_path / "e.db"
    open_store(path).close()
    kept = 0
    with with_little_room(path, 40), open_store(path) as store:
        while kept < 1000 and appended(store, kept + 1):
            kept += 1
        assert 0 < kept < 1000
        with pytest.raises(StoreUnavailable, match="disk is full"):
            store.usage.append("gw", kept + 1, [record()] * 50)
        assert store.usage.counted("gw") == kept
        assert store.usage.month("2026-11")["k1"].tokens == kept * 5000
        assert store.keys.all() == []  # reading goes on
    with open_store(path) as store:  # there is room again
        assert store.usage.append("gw", kept + 1, [record()] * 50)
        assert store.usage.month("2026-11")["k1"].tokens == (kept + 1) * 5000


def test_the_file_its_log_and_its_index_are_for_the_owner_alone(tmp_path: Path) -> None:
    with open_store(tmp_path / "e.db", exclusive=True) as store:
        store.keys.add(key())
        modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert modes == {"e.db": 0o600, "e.db-wal": 0o600, "e.db-shm": 0o600, "e.db.lock": 0o600}


def test_readers_do_not_wait_for_a_writer(tmp_path: Path) -> None:
    with open_store(tmp_path / "e.db", busy_timeout_s=0.1) as store, closing(sqlite3.connect(tmp_path / "e.db", isolation_level=None)) as other:
        store.keys.add(key())
        other.execute("BEGIN IMMEDIATE")
        other.execute("DELETE FROM keys")
        assert store.keys.all() == [key()]
        other.execute("ROLLBACK")


def test_the_settings_that_keep_it_whole_are_on(tmp_path: Path) -> None:
    said: dict[str, object] = {}

    def ask(connection: Any, *_: object) -> None:
        for pragma in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout"):
            said[pragma] = connection.exec_driver_sql(f"PRAGMA {pragma}").scalar()

    with open_store(tmp_path / "e.db", busy_timeout_s=1.5) as store:
        event.listen(Engine, "commit", ask)
        store.keys.all()
        store.meta.set("a", "b")
        event.remove(Engine, "commit", ask)
    assert said == {"journal_mode": "wal", "synchronous": 1, "foreign_keys": 1, "busy_timeout": 1500}


def test_a_file_that_is_something_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not a database, but a text that is long enough to be taken for one" * 20)
    before = (tmp_path / "notes.txt").read_bytes()
    with pytest.raises(StartError, match=r"^the database '.*notes\.txt' cannot be opened: file is not a database$"):
        open_store(tmp_path / "notes.txt")
    assert (tmp_path / "notes.txt").read_bytes() == before


@pytest.mark.parametrize(("path", "why"), [("missing/e.db", "No such file or directory"), (".", "Is a directory"), ("file/e.db", "Not a directory")])
def test_a_path_that_cannot_be_is_refused_with_the_reason(tmp_path: Path, path: str, why: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StartError, match=why) as caught:
        open_store(tmp_path / path)
    assert "\n" not in caught.value.message


def test_another_process_that_holds_the_file_at_the_start_is_a_start_error(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "e.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StartError, match="locked"):
            open_store(tmp_path / "e.db", busy_timeout_s=0.1)


def test_the_last_rows_of_a_series_are_found_by_the_index_alone(tmp_path: Path) -> None:
    """Never a walk over the table, never a sort: the plan of every statement says so."""
    asked: list[tuple[str, Any]] = []

    def listen(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: object) -> None:
        asked.append((statement, parameters))

    with open_store(tmp_path / "e.db") as store:
        store.samples.add([sample(slug=slug, at_s=NOON_S) for slug in ("a", "b") for _ in range(5)])
        store.usage.append("gw", 1, [record(slug=slug) for slug in ("a", "b")])
        event.listen(Engine, "before_cursor_execute", listen)
        store.samples.recent(3)
        store.usage.recent(3)
        store.samples.prune(NOON_S + 1, 2, 100)
        event.remove(Engine, "before_cursor_execute", listen)
    plans = {}
    with closing(sqlite3.connect(tmp_path / "e.db")) as connection:
        for statement, parameters in asked:
            if statement.startswith("SELECT"):
                plans[statement] = [str(row[3]) for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)]
    assert len(plans) == 8
    for statement, plan in plans.items():
        first = "WHERE" not in statement and "LIMIT" in statement
        wanted = r"SCAN \w+ USING COVERING INDEX \w+_series" if first else r"SEARCH \w+ USING (COVERING )?INDEX \w+_series"
        assert len(plan) == 1, (statement, plan)
        assert re.match(wanted, plan[0]), (statement, plan)


def test_what_is_pruned_is_found_by_its_age(tmp_path: Path) -> None:
    asked: list[tuple[str, Any]] = []

    def listen(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: object) -> None:
        asked.append((statement, parameters))

    with open_store(tmp_path / "e.db") as store:
        event.listen(Engine, "before_cursor_execute", listen)
        store.prune(NOON_S)
        event.remove(Engine, "before_cursor_execute", listen)
    with closing(sqlite3.connect(tmp_path / "e.db")) as connection:
        for statement, parameters in asked:
            if statement.startswith("DELETE"):
                plan = [str(row[3]) for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)]
                assert not [step for step in plan if step.startswith("SCAN") and "INDEX" not in step], (statement, plan)
