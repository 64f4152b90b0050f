"""A request's headers in, the principal its key stands for out; from memory. Knows no route and no limit.

A key is looked up by HMAC-SHA256 of it, so neither the key nor anything it could be guessed from is kept.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Sequence

from emberank.contract.errors import Forbidden, Unauthorized
from emberank.contract.fleet import SCOPES, ModelRow, Principal, Scope
from emberank.serving.credentials import key_of

PLACEHOLDER = b"replace-with-your-forge-api-key"
ANONYMOUS = Principal(key_id="anonymous", name="anonymous", digest="", scopes=SCOPES)
_HOW = "send `Authorization: Bearer $FORGE_API_KEY`; `emberank key create` makes one"


class Keys:
    """The principals of one snapshot, by the digest of their key."""

    def __init__(self, principals: Sequence[Principal] = (), key_secret: str = "") -> None:
        self._secret = bytes.fromhex(key_secret)
        self._principals = {principal.digest: principal for principal in principals}

    def identify(self, headers: Iterable[tuple[bytes, bytes]], wall_s: float) -> Principal:
        """Who sends this. `wall_s` is Unix time. Raises Unauthorized, which says what to do."""
        key = key_of(headers)
        if not key:
            raise Unauthorized(f"this call needs an API key: {_HOW}")
        if key == PLACEHOLDER:
            raise Unauthorized(f"the API key is the placeholder '{PLACEHOLDER.decode()}': put a real key in its place; {_HOW}")
        principal = self._principals.get(hmac.digest(self._secret, key, "sha256").hex())
        if principal is None:
            raise Unauthorized(
                "the API key is not known here: check that it was copied whole and belongs to this server; `emberank key create` makes a new one"
            )
        if principal.revoked:
            raise Unauthorized(f"the API key '{principal.name}' was revoked: use the one that took its place, or have a new one made")
        if principal.expires_at_s is not None and principal.expires_at_s <= wall_s:
            raise Unauthorized(f"the API key '{principal.name}' has expired: have a new one made")
        return principal

    def of(self, key_id: str) -> Principal | None:
        """The principal of a key by its id. Looks through all of them."""
        return next((principal for principal in self._principals.values() if principal.key_id == key_id), None)


def check_scope(principal: Principal, scope: Scope) -> None:
    """Raises Forbidden when the key has not that scope."""
    if scope not in principal.scopes:
        has = ", ".join(principal.scopes) or "none"
        raise Forbidden(f"this call needs a key with the scope '{scope}'; the key '{principal.name}' has: {has}")


def check_model(principal: Principal, model: ModelRow) -> None:
    """Raises Forbidden when the key is for other models."""
    if principal.models and model.slug not in principal.models:
        listed = ", ".join(principal.models[:30])
        raise Forbidden(f"the key '{principal.name}' may not use the model '{model.id}'; it may use: {listed}")
