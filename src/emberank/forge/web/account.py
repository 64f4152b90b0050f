"""/account: who is signed in, the keys and what the month has cost, in; forms that make, replace and revoke keys, out. A new key is on one page, once."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from starlette.responses import Response

from emberank.contract.errors import BadRequest, EmberankError, ModelNotFound
from emberank.contract.fleet import SCOPES, Principal
from emberank.forge.answers import key_row, usage_rows, usage_total
from emberank.forge.callers import check_grant, check_scope
from emberank.forge.keys import rights_of
from emberank.forge.parts import Parts
from emberank.forge.rights import read_rights
from emberank.forge.web.forms import Form
from emberank.forge.web.gate import Gate
from emberank.forge.web.page import Pages
from emberank.forge.web.signin import on_a_page, to, to_sign_in
from emberank.forge.web.visitor import Visitor
from emberank.serving.exchange import Exchange, Handler

MOST_SHOWN = 200  # keys
_NUMBERS = ("expires_in_days", "requests_per_minute", "monthly_usd", "monthly_tokens")
_OVERLAPS = {"0": 0.0, "3600": 3600.0, "86400": 86_400.0}  # s: for how long an old key still works
_MONTH_S = 31 * 86_400


class Account:
    """The page and its forms."""

    def __init__(self, parts: Parts, pages: Pages, gate: Gate) -> None:
        self._parts = parts
        self._pages = pages
        self._gate = gate

    def handlers(self) -> list[tuple[str, str, Handler]]:
        """Method, path and handler of each."""
        shown = [
            ("GET", "/account", self.show),
            ("POST", "/account/keys", self.create),
            ("POST", "/account/keys/{key_id}/rotate", self.rotate),
            ("POST", "/account/keys/{key_id}/revoke", self.revoke),
        ]
        return [(method, path, on_a_page(handler, self._pages, self._gate)) for method, path, handler in shown]

    async def show(self, exchange: Exchange) -> Response:
        """The page."""
        visitor = self._gate.visitor(exchange.request)
        if visitor.principal is None:
            return to_sign_in(exchange.request)
        return await self._page(visitor, visitor.principal)

    async def create(self, exchange: Exchange) -> Response:
        """A new key. A form that is refused comes back as it was typed, with the reason."""
        visitor = self._gate.visitor(exchange.request)
        if visitor.principal is None:
            return to("/signin?next=/account")
        form, caller = self._managing(exchange, visitor, visitor.principal)
        try:
            rights = read_rights(_fields(form), self._parts.wall_s(), self._slug)
            check_grant(caller, rights)
            text, key = await self._parts.keys.create(rights, by=caller.key_id)
        except EmberankError as error:
            return await self._page(visitor, caller, notice=f"No key was made: {error.message}.", typed=_typed(form), status=error.http_status)
        return await self._page(visitor, caller, made={"key": text, "name": key.name}, status=201)

    async def rotate(self, exchange: Exchange) -> Response:
        """A new key with the rights of another one, which ends now or a little later."""
        visitor = self._gate.visitor(exchange.request)
        if visitor.principal is None:
            return to("/signin?next=/account")
        form, caller = self._managing(exchange, visitor, visitor.principal)
        overlap_s = _OVERLAPS.get(form.get("overlap_s") or "0")
        if overlap_s is None:
            raise BadRequest(f"overlap_s must be one of {', '.join(_OVERLAPS)}")
        key_id: str = exchange.request.path_params["key_id"]
        check_grant(caller, rights_of(self._parts.keys.get(key_id)))
        text, key = await self._parts.keys.rotate(key_id, overlap_s, by=caller.key_id)
        return await self._page(visitor, caller, made={"key": text, "name": key.name}, status=201)

    async def revoke(self, exchange: Exchange) -> Response:
        """Void a key, for ever and at once."""
        visitor = self._gate.visitor(exchange.request)
        if visitor.principal is None:
            return to("/signin?next=/account")
        _, caller = self._managing(exchange, visitor, visitor.principal)
        await self._parts.keys.revoke(exchange.request.path_params["key_id"], by=caller.key_id)
        return to("/account")

    def _managing(self, exchange: Exchange, visitor: Visitor, caller: Principal) -> tuple[Form, Principal]:
        """The form of somebody who may manage keys. Raises Forbidden, BadRequest, LimitExceeded."""
        form = self._gate.form(exchange, visitor)
        exchange.extra["key_id"] = caller.key_id
        check_scope(caller, "manage")
        self._parts.callers.count(caller)
        return form, caller

    async def _page(
        self,
        visitor: Visitor,
        caller: Principal,
        *,
        made: Mapping[str, str] | None = None,
        notice: str = "",
        typed: Mapping[str, Any] | None = None,
        status: int = 200,
    ) -> Response:
        manages = "manage" in caller.scopes
        keys = self._parts.keys
        seen = [key for key in reversed(keys.all()) if manages or key.key_id == caller.key_id]
        in_force = [key for key in seen if keys.is_in_force(key)]
        month, rows = await self._month(caller, manages)
        response = self._pages.render(
            "account.html",
            title="Account",
            visitor=visitor,
            active="account",
            status=status,
            caller=caller,
            manages=manages,
            keys=[key_row(key, keys) | {"last_used_at_s": key.last_used_at_s} for key in in_force[:MOST_SHOWN]],
            left_out=len(in_force[MOST_SHOWN:]),
            ended=len(seen) - len(in_force),
            grantable=caller.scopes,
            month=month,
            usage=rows,
            total=usage_total(rows),
            names={key.key_id: key.name for key in seen},
            made=made,
            notice=notice,
            typed=typed or {"scopes": ("inference", "read")},
            now_s=self._parts.wall_s(),
        )
        response.headers["Cache-Control"] = "no-store"
        return response

    async def _month(self, caller: Principal, manages: bool) -> tuple[str, list[dict[str, Any]]]:
        """This month (UTC) and what it has cost, by key and model, dearest first: everybody's for who may manage, else the caller's own."""
        now_s = self._parts.wall_s()
        start = datetime.fromtimestamp(now_s, UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        hours = await self._parts.stored(lambda store: store.usage.rollup(start.timestamp(), now_s + 3600, None if manages else caller.key_id))
        allowed = [hour for hour in hours if not caller.models or hour.slug in caller.models]
        sums: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for row in usage_rows(allowed, _MONTH_S):
            sums.setdefault((row["key_id"], row["slug"]), []).append(row)
        rows = [{"key_id": key_id, "slug": slug, **usage_total(found)} for (key_id, slug), found in sums.items()]
        return f"{start:%B %Y}", sorted(rows, key=lambda row: (-row["cost_usd"], -row["requests"], row["key_id"], row["slug"]))

    def _slug(self, name: str) -> str:
        try:
            return self._parts.catalog().resolve(name).slug
        except ModelNotFound as error:
            raise BadRequest(f"models: {error.message}") from error


def _fields(form: Form) -> dict[str, Any]:
    """The form as the API's body; an empty field is left out, so that there is one place that says what is right."""
    fields: dict[str, Any] = {"name": form.get("name"), "scopes": list(form.all("scopes"))}
    models = form.get("models").replace(",", " ").split()
    if models:
        fields["models"] = models
    return fields | {name: _number(form.get(name)) for name in _NUMBERS if form.get(name)}


def _typed(form: Form) -> dict[str, Any]:
    return {name: form.get(name)[:200] for name in ("name", "models", *_NUMBERS)} | {"scopes": tuple(one for one in SCOPES if one in form.all("scopes"))}


def _number(text: str) -> int | float | str:
    """A number if it is one; the text itself is refused by whoever reads it, in words."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
