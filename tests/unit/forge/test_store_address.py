"""Addresses of databases: read, shown, and never shown with a password."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from emberank.contract.errors import StartError
from emberank.forge.store import open_store, parse_address

SECRET = "hunter2-hunter2"


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ("/data/emberank.db", "/data/emberank.db"),
        (Path("/data/emberank.db"), "/data/emberank.db"),
        ("here.db", "here.db"),
        ("/odd ?name%41#1.db", "/odd ?name%41#1.db"),
        ("sqlite:////data/emberank.db", "/data/emberank.db"),
        ("sqlite:///here.db", "here.db"),
    ],
)
def test_a_path_or_a_sqlite_url_is_a_file(given: str | Path, path: str) -> None:
    address = parse_address(given)
    assert (address.backend, address.path) == ("sqlite", Path(path))
    assert path in address.shown


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
def test_a_postgresql_url_is_for_psycopg_3(scheme: str) -> None:
    address = parse_address(f"{scheme}://ann:{SECRET}@db.example:5433/ember?sslmode=require")
    assert address.backend == "postgresql"
    assert address.url.drivername == "postgresql+psycopg"
    assert address.url.query == {"sslmode": "require"}
    assert address.shown == "the PostgreSQL database 'ember' at db.example:5433"


def test_a_socket_is_shown_as_the_host_it_is() -> None:
    assert parse_address("postgresql://postgres:@/postgres?host=/run/pg").shown.endswith("at /run/pg")
    assert parse_address("postgresql:///ember").shown.endswith("at this machine")
    assert parse_address("postgresql:///ember?host=a&host=b").shown.endswith("at a, b")


@pytest.mark.parametrize("given", ["", ":memory:", "sqlite://", "sqlite:///:memory:"])
def test_a_database_without_a_file_is_refused(given: str) -> None:
    with pytest.raises(StartError, match="no file"):
        parse_address(given)


@pytest.mark.parametrize(
    "given",
    [
        f"mysql://ann:{SECRET}@db/ember",
        f"postgresql://ann:x@{SECRET}@db/ember",
        f"postgresql://ann:x@db/{SECRET}@db/ember",
        f"postgresql://ann@db:{SECRET}/ember",
        f"postgresql+asyncpg://ann:{SECRET}@db/ember",
        f"://{SECRET}",
    ],
)
def test_what_cannot_be_read_is_refused_without_being_repeated(given: str) -> None:
    with pytest.raises(StartError) as caught:
        parse_address(given)
    assert SECRET not in repr(caught.value)
    assert caught.value.__cause__ is None
    assert "expected" in caught.value.message or "percent-encoded" in caught.value.message


@pytest.mark.parametrize("given", [f"postgresql://ann:{SECRET}@db/ember", f"postgresql:///ember?password={SECRET}", f"postgresql:///e?sslpassword={SECRET}"])
def test_an_address_shows_its_password_nowhere(given: str) -> None:
    address = parse_address(given)
    assert SECRET not in f"{address!r} {address.shown}"
    assert address.scrub(f"no entry for {SECRET}!") == "no entry for ***!"


def test_a_server_that_is_not_there_is_one_line_without_the_password() -> None:
    pytest.importorskip("psycopg")
    with pytest.raises(StartError, match=r"^the PostgreSQL database 'ember' at 127\.0\.0\.1:1 cannot be opened: .*refused") as caught:
        open_store(f"postgresql://ann:{SECRET}@127.0.0.1:1/ember")
    assert SECRET not in repr(caught.value) + repr(caught.value.__cause__)
    assert "\n" not in caught.value.message


def test_a_missing_driver_is_named_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(StartError, match=r"pip install 'emberank\[postgres\]'"):
        open_store(f"postgresql://ann:{SECRET}@127.0.0.1:1/ember")
