"""Method, URL, headers and body in, a request's bytes out. Nothing that a caller passes can become a header or a request of its own."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from emberank.client.url import Url

Headers: TypeAlias = Sequence[tuple[bytes, bytes]] | Mapping[str, str]

# What belongs to one hop and is never passed on to the next (RFC 9110, 7.6.1), and what frames a message. A relay leaves these out.
HOP_BY_HOP = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"proxy-authenticate", b"proxy-authorization", b"te", b"trailer", b"transfer-encoding", b"upgrade")
)
_OURS = HOP_BY_HOP | {b"content-length", b"expect"}
_METHODS = {name: name.encode("ascii") for name in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")}
_WITH_BODY = frozenset(("POST", "PUT", "PATCH"))
_TOKEN = re.compile(rb"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_MOST_NAMES = 1024
_good_names: set[bytes] = set()


def render_request(method: str, url: Url, headers: Headers, body: bytes) -> bytes:
    """The whole request. Raises ValueError for an unknown method, a name that is no token, a framing header, and for CR, LF or NUL in a value."""
    known = _METHODS.get(method)
    if known is None:
        raise ValueError(f"the method must be one of {', '.join(_METHODS)}")
    pairs = _encoded(headers) if isinstance(headers, Mapping) else headers
    lines = [known, url.line]
    hosted = False
    for name, value in pairs:
        if name not in _good_names:
            hosted |= _check(name)
        lines += (name, b": ", value, b"\r\n")
    if hosted:  # a relay keeps the name that its caller used
        lines[1] = url.line[: url.line.index(b"\r\n") + 2]
    if body or method in _WITH_BODY:
        lines.append(b"content-length: %d\r\n" % len(body))
    head = b"".join(lines)
    # Every line that ought to be there ends in CR LF; one more of either came in from outside.
    ends = len(pairs) + (1 if hosted else 2) + (1 if body or method in _WITH_BODY else 0)
    if head.count(b"\n") != ends or head.count(b"\r") != ends or b"\0" in head:
        raise ValueError("a header holds a line break or a NUL, which it may not")
    return b"%b\r\n%b" % (head, body)


def _check(name: bytes) -> bool:
    """Refuse a bad name, remember a good one; True for Host, which is never remembered."""
    lower = name.lower()
    if not _TOKEN.fullmatch(name):
        raise ValueError("a header's name may hold letters, digits and !#$%&'*+-.^_`|~ only")
    if lower in _OURS:
        raise ValueError(f"the header {lower.decode('ascii')} is set by the connection itself")
    if lower == b"host":
        return True
    if len(_good_names) >= _MOST_NAMES:  # names may come from callers
        _good_names.clear()
    _good_names.add(name)
    return False


def _encoded(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]


def passed_on(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Headers without those of one hop: what a relay may send on, in either direction. Names that a Connection header lists are left out as well."""
    pairs = [(name.lower(), value) for name, value in headers]
    named = {name.strip().lower() for key, value in pairs if key == b"connection" for name in value.split(b",")}
    return [(name, value) for name, value in pairs if name not in _OURS and name not in named]
