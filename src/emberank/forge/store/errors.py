"""A database's failure in, one of our errors out, its public sentence without a path, a statement or a value. Does not know what was being asked.

StoreUnavailable  503  locked, full, lost, read-only or damaged: the call did nothing, and the same call may work later
ServerFault       500  the statement or its values are wrong: our mistake
"""

from __future__ import annotations

import sqlite3
from typing import Literal, NamedTuple, TypeAlias

from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, NotSupportedError, OperationalError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from emberank.contract.errors import EmberankError, NotReady, ServerFault

Trouble: TypeAlias = Literal["locked", "full", "lost", "read-only", "damaged", "closed", "claimed"]


class Said(NamedTuple):
    """What a caller is told of a trouble, and when to come back."""

    sentence: str
    retry_after_s: float


SAID: dict[Trouble, Said] = {
    "locked": Said("the store is busy with another writer: try again in a moment", 1.0),
    "full": Said("the store's disk is full: nothing can be kept until there is room", 30.0),
    "lost": Said("the store cannot be reached: try again in a moment", 5.0),
    "read-only": Said("the store cannot be written to: nothing can be kept until it can", 30.0),
    "damaged": Said("the store is damaged: its operator has to restore it from a backup", 60.0),
    "closed": Said("the store is closed: this server is stopping", 5.0),
    "claimed": Said("the store is held by another forge: stop one of the two", 5.0),
}
# https://sqlite.org/rescode.html: the lowest byte is the kind of the failure.
SQLITE: dict[int, Trouble] = {
    sqlite3.SQLITE_BUSY: "locked",
    sqlite3.SQLITE_LOCKED: "locked",
    sqlite3.SQLITE_FULL: "full",
    sqlite3.SQLITE_READONLY: "read-only",
    sqlite3.SQLITE_CORRUPT: "damaged",
    sqlite3.SQLITE_NOTADB: "damaged",
}
# https://www.postgresql.org/docs/current/errcodes-appendix.html: a whole code, or the two letters of its class.
POSTGRES: dict[str, Trouble] = {
    "55P03": "locked",  # lock_not_available: lock_timeout
    "57014": "locked",  # query_canceled: statement_timeout
    "40": "locked",  # deadlock, serialization failure
    "53": "full",  # disk full, out of memory
    "53300": "lost",  # too many connections
    "25006": "read-only",  # a standby after a failover
    "XX": "damaged",
}


class StoreUnavailable(NotReady):
    """503: the store is locked, full, lost, read-only, damaged or closed. What the failed call was to change is unchanged.

    (Only where a connection broke in the very commit may the change be there after all: `usage.append` is safe to repeat.)
    """

    def __init__(self, trouble: Trouble) -> None:
        said = SAID[trouble]
        super().__init__(said.sentence, retry_after_s=said.retry_after_s)
        self.trouble: Trouble = trouble


def store_error(error: Exception) -> EmberankError:
    """The error to raise from `error`."""
    if isinstance(error, PoolTimeout):
        return StoreUnavailable("locked")
    if isinstance(error, DBAPIError) and (trouble := _trouble(error)) is not None:
        return StoreUnavailable(trouble)
    return ServerFault()


def driver_words(error: BaseException) -> str:
    """The first line of what the database's driver said, without the statement. For a terminal, not for a caller."""
    said = str(error.orig if isinstance(error, DBAPIError) else error)
    return said.strip().splitlines()[0] if said.strip() else type(error).__name__


def _trouble(error: DBAPIError) -> Trouble | None:
    if isinstance(error.orig, sqlite3.Error):
        known = SQLITE.get(getattr(error.orig, "sqlite_errorcode", 0) & 0xFF)
    else:
        code = getattr(error.orig, "sqlstate", None) or ""
        known = POSTGRES.get(code) or POSTGRES.get(code[:2])
    if known is None and not isinstance(error, DataError | IntegrityError | NotSupportedError | ProgrammingError):
        # An unknown failure of the database itself: a broken socket, a disk that reads no more, a server that goes down.
        return "lost" if error.connection_invalidated or isinstance(error, OperationalError) or isinstance(error.orig, sqlite3.Error) else None
    return known
