"""A driver's failure becomes one of our errors, with a sentence for the public."""

from __future__ import annotations

import sqlite3

import pytest
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, InternalError, InvalidRequestError, OperationalError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from emberank.contract.errors import ServerFault
from emberank.forge.store.errors import SAID, StoreUnavailable, driver_words, store_error


class DriverError(Exception):
    """What psycopg raises, as far as it matters here."""

    def __init__(self, sqlstate: str | None, said: str = "said the server") -> None:
        super().__init__(said)
        self.sqlstate = sqlstate


def postgresql(sqlstate: str | None, of: type[DBAPIError] = OperationalError) -> DBAPIError:
    return of("SELECT secret FROM keys", {"digest": "d1"}, DriverError(sqlstate))


def sqlite(code: int, of: type[DBAPIError] = OperationalError) -> DBAPIError:
    error = sqlite3.OperationalError("said SQLite")
    error.sqlite_errorcode = code  # type: ignore[misc]
    return of("SELECT secret FROM keys", {"digest": "d1"}, error)


UNAVAILABLE = [
    (sqlite(sqlite3.SQLITE_BUSY), "locked"),
    (sqlite(sqlite3.SQLITE_BUSY_SNAPSHOT), "locked"),
    (sqlite(sqlite3.SQLITE_FULL), "full"),
    (sqlite(sqlite3.SQLITE_READONLY_DBMOVED), "read-only"),
    (sqlite(sqlite3.SQLITE_CORRUPT), "damaged"),
    (sqlite(sqlite3.SQLITE_IOERR_WRITE), "lost"),
    (sqlite(sqlite3.SQLITE_CANTOPEN), "lost"),
    (postgresql("55P03"), "locked"),
    (postgresql("40P01"), "locked"),
    (postgresql("57014"), "locked"),
    (postgresql("53100"), "full"),
    (postgresql("53300"), "lost"),
    (postgresql("57P01"), "lost"),
    (postgresql("08006"), "lost"),
    (postgresql(None), "lost"),
    (postgresql("25006", InternalError), "read-only"),
    (postgresql("XX001", InternalError), "damaged"),
    (PoolTimeout(), "locked"),
]


@pytest.mark.parametrize(("error", "trouble"), UNAVAILABLE, ids=lambda value: value if isinstance(value, str) else "")
def test_what_may_pass_is_unavailable(error: Exception, trouble: str) -> None:
    found = store_error(error)
    assert isinstance(found, StoreUnavailable)
    assert found.trouble == trouble
    assert found.http_status == 503
    assert found.retry_after_s is not None


@pytest.mark.parametrize(
    "error",
    [
        postgresql("22003", DataError),
        postgresql("23505", IntegrityError),
        postgresql("42601", ProgrammingError),
        sqlite(sqlite3.SQLITE_CONSTRAINT_NOTNULL, IntegrityError),
        InvalidRequestError("used wrongly"),
        OverflowError("too large"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_will_not_pass_is_our_fault(error: Exception) -> None:
    assert isinstance(store_error(error), ServerFault)


@pytest.mark.parametrize("said", SAID.values())
def test_a_public_sentence_is_one_line_without_names_of_ours(said: tuple[str, float]) -> None:
    sentence, retry_after_s = said
    assert "\n" not in sentence
    assert not any(word in sentence.lower() for word in ("sqlite", "postgres", "select", "/", "table"))
    assert retry_after_s >= 1


def test_the_driver_is_quoted_without_the_statement() -> None:
    assert driver_words(postgresql("57P01")) == "said the server"
    assert driver_words(sqlite(5)) == "said SQLite"
    assert driver_words(OSError(2, "No such file")) == "[Errno 2] No such file"
    assert driver_words(OperationalError(None, None, DriverError(None, "first\nsecond"))) == "first"
    assert driver_words(ValueError()) == "ValueError"
