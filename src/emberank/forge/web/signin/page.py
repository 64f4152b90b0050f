"""A link of the terminal or an API key in, a session's cookie out; and its end. A link is used up by a button, not by being looked at.

Neither is written anywhere: not into a log, an error or the audit.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from emberank.contract.errors import EmberankError, Unauthorized
from emberank.contract.fleet import Principal
from emberank.forge.callers import ADMIN
from emberank.forge.keys import PERSON
from emberank.forge.parts import Parts
from emberank.forge.web.forms import check_origin, local_address, read_form
from emberank.forge.web.gate import Gate
from emberank.forge.web.page import Pages
from emberank.forge.web.signin.tries import Tries
from emberank.forge.web.visitor import NOBODY, token_of
from emberank.serving.exchange import Exchange, Handler

START = "/signin/oidc/start"
_ENDED = "Your session has ended. Sign in again to go on where you were."
_VOID = "This link was used already or is older than 15 minutes. Have a new one printed with “emberank signin”."


class SignIn:
    """/signin and /signout."""

    def __init__(self, parts: Parts, pages: Pages, gate: Gate) -> None:
        self._parts = parts
        self._pages = pages
        self._gate = gate
        self._tries = Tries(parts.clock)

    def handlers(self) -> list[tuple[str, str, Handler]]:
        """Method, path and handler of each."""
        shown = [("GET", "/signin", self.show), ("POST", "/signin", self.enter), ("POST", "/signout", self.leave)]
        return [(method, path, on_a_page(handler, self._pages, self._gate)) for method, path, handler in shown]

    async def show(self, exchange: Exchange) -> Response:
        """The form for a key; or, for a link of the terminal, a button."""
        request = exchange.request
        after, token = local_address(request.query_params.get("next")), request.query_params.get("token", "")
        if not self._gate.required:
            return to("/")
        if token:
            opens = self._parts.links.is_open(token)
            return await self.form(exchange, after, token=token if opens else "", notice="" if opens else _VOID, status=200 if opens else 410)
        if self._gate.visitor(request).principal is not None:
            return to(after)
        if token_of(request):
            gone = self._parts.sessions.key_gone(token_of(request))
            notice = f"You are signed out, because {gone}. Sign in with another one to go on where you were." if gone else _ENDED
            response = await self.form(exchange, after, notice=notice)
            self._gate.forget(request, response)
            return response
        return await self.form(exchange, after, left="left" in request.query_params)

    async def enter(self, exchange: Exchange) -> Response:
        """Take the link or the key, and begin a session."""
        request = exchange.request
        if not self._gate.required:
            return to("/")
        check_origin(request, self._parts.settings.public_url, proven=False)  # else another site could sign a visitor in as somebody else
        wait_s = self._tries.count(self._gate.address(request))
        form = read_form(request, exchange.body)
        after = local_address(form.get("next"))
        if wait_s:
            notice = f"Too many tries. Wait {math.ceil(wait_s)} seconds, then try again."
            return await self.form(exchange, after, notice=notice, status=429, retry_after_s=wait_s)
        if form.get("token"):
            with self._parts.links.taken(form.get("token")) as opens:
                return await (self.begin(exchange, ADMIN, after) if opens else self.form(exchange, after, notice=_VOID, status=410))
        try:
            principal = self._parts.keys.verify(form.get("key").encode("utf-8", "replace"))
        except Unauthorized as error:
            response = await self.form(exchange, after, notice=sentence(error.message), status=401)
            response.headers["WWW-Authenticate"] = "Bearer"
            return response
        return await self.begin(exchange, principal, after)

    async def leave(self, exchange: Exchange) -> Response:
        """End the session, here and in the browser."""
        request = exchange.request
        visitor = self._gate.visitor(request)
        # Who came by the provider is still signed in there, and may want to know.
        by_provider = self._parts.provider is not None and visitor.principal is not None and visitor.principal.key_id.startswith(PERSON)
        response = to("/signin?left" if by_provider else "/")
        if visitor.signed_in:
            self._gate.form(exchange, visitor)
            await self._parts.sessions.end(token_of(request))
        self._gate.forget(request, response)
        return response

    async def begin(self, exchange: Exchange, principal: Principal, after: str) -> Response:
        """A new token every time: one that somebody else put into the browser is worth nothing."""
        token = await self._parts.sessions.begin(principal.key_id)
        await self._parts.sessions.end(token_of(exchange.request))
        exchange.extra["key_id"] = principal.key_id
        await self._parts.audit(principal, "session.begin", principal.key_id)
        response = to(after)
        self._gate.remember(exchange.request, response, token)
        return response

    async def form(
        self,
        exchange: Exchange,
        after: str,
        *,
        token: str = "",
        notice: str = "",
        status: int = 200,
        left: bool = False,
        retry_after_s: float | None = None,
    ) -> Response:
        """The page with every way to sign in; `left`: for who has just signed out."""
        provider = self._parts.provider
        response = self._pages.render(
            "signin.html",
            title="Sign in",
            visitor=NOBODY,  # nobody is signed in by this page, whoever looks at it: it shows no way to an account
            active="account",
            status=status,
            after=after,
            token=token,
            notice=notice,
            left=left,
            provider=provider.registration.name if provider is not None else "",
            away=provider is not None and not token and await provider.is_away(),
            start=f"{START}?next={quote(after, safe='/')}",
            sign_out=await provider.sign_out_address() if provider is not None and left else "",
        )
        response.headers["Cache-Control"] = "no-store"
        if retry_after_s is not None:
            response.headers["Retry-After"] = str(max(1, math.ceil(retry_after_s)))
        return response


def on_a_page(handler: Callable[[Exchange], Awaitable[Response]], pages: Pages, gate: Gate) -> Handler:
    """The handler, whose errors are shown as pages."""

    async def answer(exchange: Exchange) -> Response:
        try:
            return await handler(exchange)
        except EmberankError as error:
            visitor = gate.visitor(exchange.request)
            response = pages.error(error.http_status, "That did not work", sentence(error.message), visitor=visitor)
            response.headers["Cache-Control"] = "no-store"
            if error.retry_after_s is not None:
                response.headers["Retry-After"] = str(max(1, round(error.retry_after_s)))
            return response

    return answer


def to_sign_in(request: Request) -> Response:
    """Away to the sign-in, and back to the page afterwards."""
    return to(f"/signin?next={quote(request.url.path, safe='/')}")


def to(address: str) -> Response:
    """Away to another page of this server, to be asked for with GET."""
    return RedirectResponse(address, 303, headers={"Cache-Control": "no-store"})


def sentence(text: str) -> str:
    """A message of the API as a sentence of a page."""
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")
