"""A path or a URL in, the address of a database out, with words for it that hold no password. Opens nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from emberank.contract.errors import StartError

Backend: TypeAlias = Literal["sqlite", "postgresql"]

EXPECTED = "expected a file's path, sqlite:////FOLDER/FILE or postgresql://USER:PASSWORD@HOST/DATABASE"
ESCAPE = "a user name or password with one of @ : / ? # % in it needs these percent-encoded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a database is. `shown` is for people: it never holds a password or the URL it was in."""

    backend: Backend
    shown: str
    url: URL = field(repr=False)

    @property
    def path(self) -> Path:
        """The file of a SQLite database."""
        return Path(self.url.database or "")

    def scrub(self, text: str) -> str:
        """The text without the password, should a driver have repeated it."""
        for secret in (self.url.password, self.url.query.get("password"), self.url.query.get("sslpassword")):
            if isinstance(secret, str) and secret:
                text = text.replace(secret, "***")
        return text


def parse_address(url_or_path: str | Path) -> Address:
    """Read an address. What cannot be read is not repeated in the error: there may be a password in it."""
    text = str(url_or_path)
    scheme, found, rest = text.partition("://")
    if not found:
        return _sqlite(text)
    if scheme == "sqlite":
        return _sqlite(_url(text).database or "")
    if scheme in ("postgresql", "postgres", "postgresql+psycopg"):
        return _postgresql(_url(f"postgresql+psycopg://{rest}"))
    raise StartError(f"a database of that kind is not supported: {EXPECTED}")


def _sqlite(path: str) -> Address:
    if path in ("", ":memory:"):
        raise StartError(f"the database has no file: {EXPECTED}")
    return Address(backend="sqlite", shown=f"the database {path!r}", url=URL.create("sqlite+pysqlite", database=path))


def _postgresql(url: URL) -> Address:
    # A password with a bare @ in it ends up, in part, in the host: it must not be shown, nor looked up in the DNS.
    if "@" in (url.host or "") + (url.database or ""):
        raise StartError(f"the database URL cannot be read: {ESCAPE}")
    host = url.host or url.query.get("host") or "this machine"
    where = host if isinstance(host, str) else ", ".join(host)
    port = f":{url.port}" if url.port else ""
    return Address(backend="postgresql", shown=f"the PostgreSQL database {url.database or ''!r} at {where}{port}", url=url)


def _url(text: str) -> URL:
    try:
        return make_url(text)
    except (ArgumentError, ValueError):
        raise StartError(f"the database URL cannot be read: {EXPECTED}; {ESCAPE}") from None
