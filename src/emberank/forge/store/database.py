"""An address in, short transactions out, every failure mapped to one of our errors. Knows no table."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterator
from typing import TypeAlias

from sqlalchemy import Connection, Engine, Table
from sqlalchemy.dialects import postgresql as postgresql_dialect
from sqlalchemy.dialects import sqlite as sqlite_dialect
from sqlalchemy.exc import SQLAlchemyError

from emberank.contract.errors import StartError
from emberank.forge.file_lock import FileLock
from emberank.forge.store import postgresql, sqlite
from emberank.forge.store.address import Address
from emberank.forge.store.errors import StoreUnavailable, driver_words, store_error

RETRY_S = 0.05

Insert: TypeAlias = sqlite_dialect.Insert | postgresql_dialect.Insert


class Database:
    """One connection to one database, used by one thread at a time; made again when it was lost."""

    def __init__(self, address: Address, engine: Engine, busy_timeout_s: float) -> None:
        self.address = address
        self._engine = engine
        self._busy_timeout_s = busy_timeout_s
        self._file_lock: FileLock | None = None
        self._claims = False
        self._closed = False

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        """One consistent view."""
        with self._transaction(writes=False) as connection:
            yield connection

    @contextlib.contextmanager
    def write(self) -> Iterator[Connection]:
        """All or nothing, committed at the end of the block. Waits for another writer no longer than the busy timeout."""
        with self._transaction(writes=True) as connection:
            yield connection

    def insert(self, table: Table) -> Insert:
        """An INSERT that may have an ON CONFLICT clause; the two dialects have one each."""
        return sqlite_dialect.insert(table) if self.address.backend == "sqlite" else postgresql_dialect.insert(table)

    def claim(self) -> None:
        """Be the only forge on this database until it is closed, or raise StartError."""
        if self.address.backend == "sqlite":
            self._claim_file()
            return
        # The session of a forge that was killed a moment ago ends soon, not at once: as long as for any other lock we wait for it.
        end_s = time.monotonic() + self._busy_timeout_s
        while not self._claimed_session():
            if time.monotonic() > end_s:
                raise StartError(f"another forge uses {self.address.shown}: stop it, or give this one a database of its own")
            time.sleep(RETRY_S)

    def close(self) -> None:
        """Close the connection and let go of the claim. Every later call raises StoreUnavailable."""
        self._closed = True
        self._engine.dispose()
        if self._file_lock is not None:
            self._file_lock.release()

    @contextlib.contextmanager
    def _transaction(self, *, writes: bool) -> Iterator[Connection]:
        if self._closed:
            raise StoreUnavailable("closed")
        try:
            # Whether an INSERT met a conflict is read off its count of rows, which is not kept unless asked for.
            with self._engine.connect().execution_options(writes=writes, preserve_rowcount=True) as connection, connection.begin():
                self._claim_session(connection)
                yield connection
        except (SQLAlchemyError, OverflowError, UnicodeError) as error:
            raise store_error(error) from error

    def _claimed_session(self) -> bool:
        self._claims = True
        try:
            with self.read():
                return True  # every connection claims the database before it is used for anything
        except StoreUnavailable as error:
            self._claims = False
            if error.trouble != "claimed":
                raise
            return False

    def _claim_session(self, connection: Connection) -> None:
        # The lock lives and dies with the very session that writes: a forge that lost its session, and with it the lock,
        # writes again only once it has the lock again.
        if self._claims and not connection.info.get("claimed"):
            if not postgresql.take_lock(connection):
                raise StoreUnavailable("claimed")
            connection.info["claimed"] = True

    def _claim_file(self) -> None:
        lock = FileLock(self.address.path.with_name(f"{self.address.path.name}.lock"))
        try:
            taken = self._file_lock is not None or lock.take()
        except OSError as error:
            raise StartError(f"{self.address.shown} cannot be locked: {error.strerror or error}") from error
        if not taken:
            holder = lock.holder()
            raise StartError(f"another forge{f' (process {holder})' if holder else ''} uses {self.address.shown}: stop it, or give this one a file of its own")
        self._file_lock = self._file_lock or lock


def open_database(address: Address, *, busy_timeout_s: float) -> Database:
    """Connect, or raise StartError with what the driver said, in one line and without the password."""
    backend = sqlite if address.backend == "sqlite" else postgresql
    try:
        engine = backend.engine(address, busy_timeout_s)
    except ImportError as error:
        raise StartError("PostgreSQL needs a driver: pip install 'emberank[postgres]'") from error
    try:
        backend.first_contact(engine, busy_timeout_s)
    except (SQLAlchemyError, sqlite3.Error, OSError) as error:
        engine.dispose()
        raise StartError(f"{address.shown} cannot be opened: {address.scrub(driver_words(error))}") from error
    return Database(address, engine, busy_timeout_s)
