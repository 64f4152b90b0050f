"""`/v1/keys…`: make, list, change, rotate and revoke API keys. A key is in one answer only: that to its making."""

from __future__ import annotations

from starlette.responses import Response

from emberank.contract.errors import BadRequest, ModelNotFound
from emberank.contract.fleet import Principal
from emberank.dialects.reading import shown
from emberank.forge.answers import key_row, listed, written
from emberank.forge.asked import fields_of, query_of
from emberank.forge.callers import check_grant
from emberank.forge.keys import rights_of
from emberank.forge.parts import Parts
from emberank.forge.rights import FIELDS, read_rights
from emberank.forge.rules import Rule, answered
from emberank.forge.store.keys import StoredKey
from emberank.serving.exchange import Exchange

_MOST_OVERLAP_S = 30 * 86_400


class KeyRoutes:
    """The keys' routes."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def rules(self) -> list[Rule]:
        """All for `manage`; nobody gives rights that they have not."""
        return [
            Rule("GET", "/v1/keys", ("manage",), self.keys),
            Rule("POST", "/v1/keys", ("manage",), self.create),
            Rule("GET", "/v1/keys/{key_id}", ("manage",), self.key),
            Rule("PATCH", "/v1/keys/{key_id}", ("manage",), self.change),
            Rule("DELETE", "/v1/keys/{key_id}", ("manage",), self.revoke),
            Rule("POST", "/v1/keys/{key_id}/rotate", ("manage",), self.rotate),
        ]

    async def keys(self, exchange: Exchange, caller: Principal) -> bytes:
        """All of them, ended ones too; never a key itself."""
        query_of(exchange.request)
        return listed([key_row(key, self._parts.keys) for key in self._parts.keys.all()])

    async def key(self, exchange: Exchange, caller: Principal) -> bytes:
        """One."""
        return written(key_row(self._parts.keys.get(_id(exchange)), self._parts.keys))

    async def create(self, exchange: Exchange, caller: Principal) -> Response:
        """A new one."""
        rights = read_rights(fields_of(exchange.body, *FIELDS), self._parts.wall_s(), self._slug)
        check_grant(caller, rights)
        text, key = await self._parts.keys.create(rights, by=caller.key_id)
        return self._shown_once(exchange, text, key)

    async def change(self, exchange: Exchange, caller: Principal) -> bytes:
        """Other rights or limits for the same key; what the body leaves out stays."""
        old = self._parts.keys.get(_id(exchange))
        rights = read_rights(fields_of(exchange.body, *FIELDS), self._parts.wall_s(), self._slug, rights_of(old))
        check_grant(caller, rights)
        return written(key_row(await self._parts.keys.change(old.key_id, rights, by=caller.key_id), self._parts.keys))

    async def revoke(self, exchange: Exchange, caller: Principal) -> bytes:
        """Void it, for ever and at once."""
        return written(key_row(await self._parts.keys.revoke(_id(exchange), by=caller.key_id), self._parts.keys))

    async def rotate(self, exchange: Exchange, caller: Principal) -> Response:
        """A new key with the same rights; the old one ends now, or after `overlap_s`."""
        overlap_s = fields_of(exchange.body, "overlap_s").get("overlap_s")
        if overlap_s is not None and (isinstance(overlap_s, bool) or not isinstance(overlap_s, int | float) or not 0 <= overlap_s <= _MOST_OVERLAP_S):
            raise BadRequest(f"overlap_s must be a number of seconds from 0 to {_MOST_OVERLAP_S}; got {shown(overlap_s)}")
        check_grant(caller, rights_of(self._parts.keys.get(_id(exchange))))
        text, key = await self._parts.keys.rotate(_id(exchange), float(overlap_s or 0), by=caller.key_id)
        return self._shown_once(exchange, text, key)

    def _shown_once(self, exchange: Exchange, text: str, key: StoredKey) -> Response:
        exchange.headers |= {"Location": f"/v1/keys/{key.key_id}", "Cache-Control": "no-store"}
        note = "keep it: it is not shown again"
        return answered(written({"key": text, "note": note, **key_row(key, self._parts.keys)}), 201, exchange)

    def _slug(self, name: str) -> str:
        try:
            return self._parts.catalog().resolve(name).slug
        except ModelNotFound as error:
            raise BadRequest(f"models: {error.message}") from error


def _id(exchange: Exchange) -> str:
    key_id: str = exchange.request.path_params["key_id"]
    return key_id
