"""A request's headers in, the key that it carries out. Knows nobody's key."""

from __future__ import annotations

from collections.abc import Iterable

FLEET_HEADER = b"x-emberank-fleet"  # a gateway's proof, on what it relays, that it is one of the fleet: what it says of the caller is so


def key_of(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The key in a request's headers (names in lower case), empty when there is none: with or without `Bearer`, or as one of two other headers."""
    other = b""
    for name, value in headers:
        if name == b"authorization":
            scheme, _, rest = value.strip().partition(b" ")
            if scheme.lower() == b"bearer":
                return rest.strip()
            if scheme and not rest:  # llama-index's TEI client sends the bare key
                return scheme
        elif name in (b"x-api-key", b"api-key"):
            other = value.strip()
    return other
