"""The people who have signed in, in; their part of the account page and the forms that bar one and let one in again, out. Knows no provider."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.responses import Response

from emberank.contract.errors import BadRequest
from emberank.contract.fleet import Principal
from emberank.forge.callers import check_scope
from emberank.forge.keys import Keys, is_person
from emberank.forge.parts import Parts
from emberank.forge.web.gate import Gate
from emberank.forge.web.page import Pages
from emberank.forge.web.signin.page import on_a_page, to
from emberank.serving.exchange import Exchange, Handler

MOST_SHOWN = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """One of them, as the page shows them."""

    key_id: str
    name: str
    scopes: tuple[str, ...]
    barred: bool
    last_seen_at_s: float | None
    spent_usd: float
    monthly_usd: float | None
    is_caller: bool


def people_of(keys: Keys, caller: Principal) -> list[Person]:
    """All for who may manage, and nobody for others; those who were here last first."""
    if "manage" not in caller.scopes:
        return []
    found = sorted(filter(is_person, keys.all()), key=lambda key: -(key.last_used_at_s or key.created_at_s))
    return [
        Person(
            key_id=key.key_id,
            name=key.name,
            scopes=key.scopes,
            barred=not keys.is_in_force(key),
            last_seen_at_s=key.last_used_at_s,
            spent_usd=keys.spent(key.key_id).usd,
            monthly_usd=key.monthly_usd,
            is_caller=key.key_id == caller.key_id,
        )
        for key in found[:MOST_SHOWN]
    ]


class PeopleForms:
    """What who may manage does with people."""

    def __init__(self, parts: Parts, pages: Pages, gate: Gate) -> None:
        self._parts = parts
        self._pages = pages
        self._gate = gate

    def handlers(self) -> list[tuple[str, str, Handler]]:
        """Method, path and handler of each."""
        shown = [("POST", "/account/people/{key_id}/bar", self.bar), ("POST", "/account/people/{key_id}/allow", self.allow)]
        return [(method, path, on_a_page(handler, self._pages, self._gate)) for method, path, handler in shown]

    async def bar(self, exchange: Exchange) -> Response:
        """End a person's sessions and let them in no more."""
        caller = self._managing(exchange)
        if caller is None:
            return to("/signin?next=/account")
        key_id = self._person(exchange)
        if key_id == caller.key_id:
            raise BadRequest("you cannot bar yourself: another admin can")
        await self._parts.keys.revoke(key_id, by=caller.key_id)
        await self._parts.sessions.end_all(key_id)
        return to("/account#people")

    async def allow(self, exchange: Exchange) -> Response:
        """Let a person in again, with the next sign-in."""
        caller = self._managing(exchange)
        if caller is None:
            return to("/signin?next=/account")
        key_id = self._person(exchange)
        await self._parts.sessions.end_all(key_id)  # one that nobody has used since they were barred must not begin to work again
        await self._parts.keys.allow(key_id, by=caller.key_id)
        return to("/account#people")

    def _managing(self, exchange: Exchange) -> Principal | None:
        """Who sent the form; None for nobody. Raises Forbidden, BadRequest, LimitExceeded."""
        visitor = self._gate.visitor(exchange.request)
        if visitor.principal is None:
            return None
        self._gate.form(exchange, visitor)
        exchange.extra["key_id"] = visitor.principal.key_id
        check_scope(visitor.principal, "manage")
        self._parts.callers.count(visitor.principal)
        return visitor.principal

    def _person(self, exchange: Exchange) -> str:
        key_id: str = exchange.request.path_params["key_id"]
        if not is_person(self._parts.keys.get(key_id)):
            raise BadRequest(f"{key_id[:80]!r} is a key, and no person")
        return key_id
