"""Databases to test against: SQLite files, and schemas of one real PostgreSQL server that lasts as long as the session."""

from __future__ import annotations

import itertools
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stores import PostgresServer


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it wants a XDG_RUNTIME_DIR, and does well without
        pgserver = pytest.importorskip("pgserver", reason=f"pgserver has no PostgreSQL for this Python ({sys.version_info.major}.{sys.version_info.minor})")
    # Not under pytest's own folder, which only its owner may enter: as root, the server runs as another user. And a socket's path has to be short.
    folder = Path(tempfile.mkdtemp(prefix="emberank-pg-"))
    server = pgserver.get_server(folder, cleanup_mode="stop")
    try:
        yield PostgresServer(server.get_uri())
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def new_database(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], str]:
    """A function whose every call gives the address of another empty database."""
    if request.param == "sqlite":
        numbers = itertools.count(1)
        return lambda: str(tmp_path / f"{next(numbers)}.db")
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.new_schema
