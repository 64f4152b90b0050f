"""A URL's text in, where to connect and what to ask for out. Knows no network.

The request's first lines are made here, once for a URL: a gateway asks the same few URLs all day.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal, NamedTuple
from urllib.parse import quote, urlsplit

_PORTS = {"http": 80, "https": 443}
_ASCII = "".join(map(chr, range(0x21, 0x7F)))


class Origin(NamedTuple):
    """What connections are shared by."""

    scheme: Literal["http", "https"]
    host: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Url:
    """A parsed URL. `line` is what follows the method: path, version and the Host header."""

    origin: Origin
    path: str  # with the query
    line: bytes = field(repr=False)


@lru_cache(maxsize=4096)
def parse_url(text: str) -> Url:
    """As `read_url`, and remembered."""
    return read_url(text)


def read_url(text: str) -> Url:
    """Raises ValueError for what cannot be asked for: another scheme, user names, blanks and control characters, a fragment."""
    if not text.isprintable() or " " in text:
        raise ValueError("a URL holds no blanks and no control characters; percent-encode them")
    parts = urlsplit(text)
    if parts.scheme not in _PORTS or not parts.hostname:
        raise ValueError("a URL must begin with http:// or https:// and a host")
    if "@" in parts.netloc or parts.fragment:
        raise ValueError("a URL may hold neither a user name nor a fragment")
    port = parts.port or _PORTS[parts.scheme]
    scheme: Literal["http", "https"] = "https" if parts.scheme == "https" else "http"
    path = quote(parts.path or "/", safe=_ASCII)
    path = f"{path}?{quote(parts.query, safe=_ASCII)}" if parts.query else path
    shown = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    host = shown if port == _PORTS[scheme] else f"{shown}:{port}"
    line = f" {path} HTTP/1.1\r\nhost: {host}\r\n".encode("ascii")  # UnicodeEncodeError is a ValueError: hosts are given in ASCII
    return Url(origin=Origin(scheme, parts.hostname, port), path=path, line=line)
