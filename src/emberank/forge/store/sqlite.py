"""The address of a SQLite file in, an engine for it out: WAL, explicit transactions, foreign keys, a bounded wait for locks. Knows no table."""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path

from sqlalchemy import Connection, Engine, QueuePool, create_engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry

from emberank.forge.store.address import Address

RETRY_S = 0.02
MOST_WAL_BYTES = 64 * 1024 * 1024  # what the write-ahead log's file is cut back to after a long write


def engine(address: Address, busy_timeout_s: float) -> Engine:
    """An engine with one connection."""
    made = create_engine(
        address.url,
        poolclass=QueuePool,
        pool_size=1,
        max_overflow=0,
        pool_timeout=1.0,
        hide_parameters=True,
        # The forge's one worker thread may be another one after a restart of the pool that has it.
        connect_args={"timeout": busy_timeout_s, "check_same_thread": False},
    )
    event.listen(made, "connect", _set_up)
    event.listen(made, "begin", _begin)
    return made


def first_contact(made: Engine, busy_timeout_s: float) -> None:
    """Switch to the write-ahead log, once in a file's life. SQLite does not always wait for another process that is doing the same."""
    _touch(Path(made.url.database or ""))
    end_s = time.monotonic() + busy_timeout_s
    while True:
        raw = made.raw_connection()
        try:
            raw.cursor().execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED) or time.monotonic() > end_s:
                raise
        finally:
            raw.close()
        time.sleep(RETRY_S)


def _touch(path: Path) -> None:
    # SQLite would make the file readable for everybody; its log and its shared memory take the file's own mode.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))


def _set_up(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    # The driver's own idea of when a transaction begins leaves DDL and the first read out: we say BEGIN ourselves.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in ("foreign_keys = ON", "synchronous = NORMAL", f"journal_size_limit = {MOST_WAL_BYTES}"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin(connection: Connection) -> None:
    # A deferred transaction that reads and then writes fails at once, whatever the timeout, when another wrote in between.
    connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get("writes") else "BEGIN")
