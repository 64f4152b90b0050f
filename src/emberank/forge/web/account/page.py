"""/account: who is signed in, where, their keys and what a month has cost, in; forms that make, replace and revoke keys and end sessions, out.

A new key is on one page, once. A form that cannot be taken comes back as it was typed, also after a session that has ended.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from emberank.contract.errors import BadRequest, EmberankError, Forbidden, LimitExceeded, ModelNotFound
from emberank.contract.fleet import SCOPES, Principal
from emberank.forge.callers import check_grant, check_scope
from emberank.forge.keys import is_person, rights_of
from emberank.forge.parts import Parts
from emberank.forge.rights import read_rights
from emberank.forge.web.account.draft import draft_of, drop_draft, keep_draft
from emberank.forge.web.account.keys import key_lines, nearly_spent
from emberank.forge.web.account.usage import AccountUsage
from emberank.forge.web.addresses import base_of
from emberank.forge.web.forms import Form, check_origin, read_form
from emberank.forge.web.gate import Gate
from emberank.forge.web.page import Pages
from emberank.forge.web.sight import may_see
from emberank.forge.web.signin.oidc.people import people_of
from emberank.forge.web.signin.page import on_a_page, to, to_sign_in
from emberank.forge.web.visitor import Visitor, token_of
from emberank.serving.exchange import Exchange, Handler

MOST_SHOWN = 200  # keys
MOST_ENDED = 20  # keys that open nothing any more
_NUMBERS = ("expires_in_days", "requests_per_minute", "monthly_usd", "monthly_tokens")
_OVERLAPS = {"0": 0.0, "3600": 3600.0, "86400": 86_400.0}  # s: for how long an old key still works
_LONGEST = 200  # characters of a field that come back
_LONGEST_MODELS = 1500
_AGAIN = "Your session had ended before this form was sent, and no key was made. Here it is as you typed it: look at it, and send it again."
_OUTDATED = "This page was out of date, and no key was made. Here is the form as you typed it: look at it, and send it again."


class Account:
    """The page and its forms."""

    def __init__(self, parts: Parts, pages: Pages, gate: Gate) -> None:
        self._parts = parts
        self._pages = pages
        self._gate = gate
        self._usage = AccountUsage(parts)

    def handlers(self) -> list[tuple[str, str, Handler]]:
        """Method, path and handler of each."""
        shown = [
            ("GET", "/account", self.show),
            ("GET", "/account/usage.csv", self.download),
            ("POST", "/account/keys", self.create),
            ("POST", "/account/keys/{key_id}/rotate", self.rotate),
            ("POST", "/account/keys/{key_id}/revoke", self.revoke),
            ("POST", "/account/sessions/end", self.end_sessions),
        ]
        return [(method, path, on_a_page(handler, self._pages, self._gate)) for method, path, handler in shown]

    async def show(self, exchange: Exchange) -> Response:
        """The page; with the form that a session's end had stopped."""
        request = exchange.request
        visitor = self._gate.visitor(request)
        if visitor.principal is None:
            return to_sign_in(request)
        draft = draft_of(request) if "manage" in visitor.principal.scopes else None
        response = await self._page(request, visitor, visitor.principal, notice=_AGAIN if draft else "", typed=draft)
        if draft:
            drop_draft(response, secure=self._gate.is_secure(request))
        return response

    async def download(self, exchange: Exchange) -> Response:
        """What the page shows of a month, as a file."""
        visitor = self._gate.visitor(exchange.request)
        if visitor.principal is None:
            return to_sign_in(exchange.request)
        return await self._usage.file(exchange.request, visitor.principal, self._names(visitor.principal))

    async def create(self, exchange: Exchange) -> Response:
        """A new key. A form that is refused comes back as it was typed, with the reason."""
        request = exchange.request
        visitor = self._gate.visitor(request)
        if visitor.principal is None:
            return self._kept_for_later(exchange)
        caller = visitor.principal
        try:
            form, caller = self._managing(exchange, visitor, caller)
        except (Forbidden, LimitExceeded) as error:
            if "manage" not in caller.scopes:
                raise
            check_origin(request, self._parts.settings.public_url, proven=False)  # another site's form is not shown again
            notice = _OUTDATED if isinstance(error, Forbidden) else f"No key was made: {error.message}."
            return await self._page(request, visitor, caller, notice=notice, typed=_typed(read_form(request, exchange.body)), status=error.http_status)
        try:
            rights = read_rights(_fields(form), self._parts.wall_s(), self._slug)
            check_grant(caller, rights)
            text, key = await self._parts.keys.create(rights, by=caller.key_id)
        except EmberankError as error:
            return await self._page(request, visitor, caller, notice=f"No key was made: {error.message}.", typed=_typed(form), status=error.http_status)
        return await self._page(request, visitor, caller, made={"key": text, "name": key.name}, status=201)

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
        return await self._page(exchange.request, visitor, caller, made={"key": text, "name": key.name}, status=201)

    async def revoke(self, exchange: Exchange) -> Response:
        """Void a key, for ever and at once."""
        visitor = self._gate.visitor(exchange.request)
        if visitor.principal is None:
            return to("/signin?next=/account")
        _, caller = self._managing(exchange, visitor, visitor.principal)
        await self._parts.keys.revoke(exchange.request.path_params["key_id"], by=caller.key_id)
        return to("/account")

    async def end_sessions(self, exchange: Exchange) -> Response:
        """Sign out everywhere, here too."""
        request = exchange.request
        visitor = self._gate.visitor(request)
        if visitor.principal is None or not visitor.signed_in:
            return to("/signin?next=/account")
        self._gate.form(exchange, visitor)
        exchange.extra["key_id"] = visitor.principal.key_id
        await self._parts.sessions.end_all(visitor.principal.key_id)
        await self._parts.audit(visitor.principal, "session.end_all", visitor.principal.key_id)
        response = to("/signin")
        self._gate.forget(request, response)
        return response

    def _managing(self, exchange: Exchange, visitor: Visitor, caller: Principal) -> tuple[Form, Principal]:
        """The form of somebody who may manage keys. Raises Forbidden, BadRequest, LimitExceeded."""
        form = self._gate.form(exchange, visitor)
        exchange.extra["key_id"] = caller.key_id
        check_scope(caller, "manage")
        self._parts.callers.count(caller)
        return form, caller

    def _kept_for_later(self, exchange: Exchange) -> Response:
        """Away to the sign-in; what was typed is laid aside, if it was typed on a page of ours."""
        request, response = exchange.request, to("/signin?next=/account")
        try:
            check_origin(request, self._parts.settings.public_url, proven=False)
            keep_draft(response, _typed(read_form(request, exchange.body)), secure=self._gate.is_secure(request))
        except EmberankError:
            pass  # nothing of ours is lost
        return response

    async def _page(
        self,
        request: Request,
        visitor: Visitor,
        caller: Principal,
        *,
        made: Mapping[str, str] | None = None,
        notice: str = "",
        typed: Mapping[str, Any] | None = None,
        status: int = 200,
    ) -> Response:
        parts, keys = self._parts, self._parts.keys
        manages = "manage" in caller.scopes
        seen = [key for key in reversed(keys.all()) if (manages or key.key_id == caller.key_id) and not is_person(key)]
        in_force = [key for key in seen if keys.is_in_force(key)]
        ended = sorted((key for key in seen if not keys.is_in_force(key)), key=lambda key: -(key.revoked_at_s or key.expires_at_s or 0.0))
        lines = key_lines(in_force[:MOST_SHOWN], keys, parts.wall_s())
        response = self._pages.render(
            "account.html",
            title="Account",
            visitor=visitor,
            active="account",
            status=status,
            caller=caller,
            manages=manages,
            keys=lines,
            left_out=len(in_force[MOST_SHOWN:]),
            ended=len(ended),
            ended_keys=key_lines(ended[:MOST_ENDED], keys, parts.wall_s()),
            near=nearly_spent(in_force, keys),
            grantable=caller.scopes,
            known_models=[model.slug for model in parts.catalog() if may_see(caller, model)] if manages else [],
            sessions=parts.sessions.of(caller.key_id, token_of(request)) if visitor.signed_in else (),
            people=people_of(keys, caller),
            provider_name=parts.provider.registration.name if parts.provider is not None else "",
            made=made,
            base=base_of(parts.settings, request),
            notice=notice,
            typed=typed or {"scopes": ("inference", "read")},
            now_s=parts.wall_s(),
            **await self._usage.values(request, caller, self._names(caller)),
        )
        response.headers["Cache-Control"] = "no-store"
        return response

    def _names(self, caller: Principal) -> dict[str, str]:
        """What the keys are called that the caller may know of."""
        return {key.key_id: key.name for key in self._parts.keys.all() if "manage" in caller.scopes or key.key_id == caller.key_id}

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
    typed: dict[str, Any] = {name: form.get(name)[:_LONGEST] for name in ("name", *_NUMBERS)}
    return typed | {"models": form.get("models")[:_LONGEST_MODELS], "scopes": tuple(one for one in SCOPES if one in form.all("scopes"))}


def _number(text: str) -> int | float | str:
    """A number if it is one; the text itself is refused by whoever reads it, in words."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
