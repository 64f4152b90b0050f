"""A browser that is sent to the provider in, the same one come back out as a person with a session; or a page that says what went wrong and what to do.

No state, code, token or secret is written anywhere, and nothing that the provider says is shown as it is but a person's own name.
"""

from __future__ import annotations

import logging
import math
from typing import Any
from urllib.parse import quote, urlsplit

from starlette.requests import Request
from starlette.responses import Response

from emberank.contract.errors import BadRequest, EmberankError, Forbidden
from emberank.contract.fleet import Principal
from emberank.forge.parts import Parts
from emberank.forge.web.addresses import base_of
from emberank.forge.web.forms import local_address
from emberank.forge.web.gate import Gate
from emberank.forge.web.page import Pages
from emberank.forge.web.signin.oidc.admission import identity_of, rights_for
from emberank.forge.web.signin.oidc.pending import LASTS_S, Departure, Pending, new_browser
from emberank.forge.web.signin.oidc.provider import Provider
from emberank.forge.web.signin.oidc.registration import CALLBACK
from emberank.forge.web.signin.page import START, SignIn, on_a_page, sentence, to
from emberank.forge.web.signin.tries import Tries
from emberank.serving.exchange import Exchange, Handler

log = logging.getLogger(__name__)

COOKIE = "emberank_signin"
MOST_A_MINUTE = 300  # from one address, which may be a whole office's; ten minutes of that do not crowd out what others have begun
_PLACE = "/signin/oidc"
_MOST_VALUE = 8192  # characters of what comes back
_LOST = (
    "This sign-in was finished already, took longer than ten minutes, or was begun in another browser. "
    "Sign in again, and allow this page its cookies if that happens once more."
)


class Journey:
    """/signin/oidc/start and /signin/oidc/callback."""

    def __init__(self, parts: Parts, pages: Pages, gate: Gate, provider: Provider, signin: SignIn) -> None:
        self._parts = parts
        self._pages = pages
        self._gate = gate
        self._provider = provider
        self._signin = signin
        self._pending = Pending(parts.clock)
        self._tries = Tries(parts.clock, MOST_A_MINUTE)

    def handlers(self) -> list[tuple[str, str, Handler]]:
        """Method, path and handler of each."""
        shown = [("GET", START, self.leave), ("GET", CALLBACK, self.arrive)]
        return [(method, path, on_a_page(handler, self._pages, self._gate)) for method, path, handler in shown]

    async def leave(self, exchange: Exchange) -> Response:
        """Away to the provider."""
        request = exchange.request
        after = local_address(request.query_params.get("next"))
        elsewhere = self._own_address(request, after)
        if elsewhere:
            return to(elsewhere)
        wait_s = self._tries.count(self._gate.address(request))
        if wait_s:
            notice = f"Too many people begin to sign in at this address. Wait {math.ceil(wait_s)} seconds, then try again."
            return await self._signin.form(exchange, after, notice=notice, status=429, retry_after_s=wait_s)
        browser = _browser(request) or new_browser()
        begun = self._pending.begin(browser, after)
        try:
            address = await self._provider.address(self._redirect_uri(request), state=begun.state, nonce=begun.nonce, verifier=begun.verifier)
        except EmberankError as error:
            return await self._refusal(exchange, after, error)
        response = to(address)
        response.set_cookie(COOKIE, browser, int(LASTS_S), path=_PLACE, secure=self._gate.is_secure(request), httponly=True, samesite="lax")
        return response

    async def arrive(self, exchange: Exchange) -> Response:
        """Back from the provider."""
        request = exchange.request
        given = {name: request.query_params.get(name, "") for name in ("state", "code", "iss", "error")}
        browser = _browser(request)
        begun = self._pending.take(given["state"], browser) if browser and max(map(len, given.values())) <= _MOST_VALUE else None
        if begun is None:
            return await self._signin.form(exchange, "/", notice=_LOST, status=400)
        try:
            principal = await self._person(request, begun, given)
        except EmberankError as error:
            return await self._refusal(exchange, begun.after, error)
        return await self._signin.begin(exchange, principal, begun.after)  # the cookie stays: another page of this browser may be on its way too

    async def _person(self, request: Request, begun: Departure, given: dict[str, str]) -> Principal:
        """Who came back. Raises BadRequest, Forbidden, NotReady."""
        name, issuer = self._provider.registration.name, self._provider.registration.issuer
        metadata = await self._provider.metadata()
        if given["iss"] != issuer and (given["iss"] or metadata.says_issuer):
            raise BadRequest(f"this answer is not from {name}. Sign in again; if that does not help, tell whoever runs this installation")
        if given["error"] == "access_denied":
            raise Forbidden(f"{name} did not let you in, or you did not agree to it. Sign in again, and agree, if you want to")
        if given["error"] or not given["code"]:
            said = given["error"] if given["error"].replace("_", "").isalnum() and len(given["error"]) <= 60 else "no code"
            log.warning("the OpenID Connect provider refused a sign-in: %s", ascii(said), extra={"action": "oidc_refused"})
            raise BadRequest(f"{name} answered {said!r}. Try again in a minute; if that does not help, tell whoever runs this installation")
        claims = await self._provider.claims(given["code"], verifier=begun.verifier, nonce=begun.nonce, redirect_uri=self._redirect_uri(request))
        return await self._admitted(claims)

    async def _admitted(self, claims: dict[str, Any]) -> Principal:
        own, keys = self._provider.registration, self._parts.keys
        identity = (own.issuer, own.admission.person_claim, identity_of(own.admission, claims))
        try:
            person = await keys.greet(identity, rights_for(own.admission, claims))
        except Forbidden:
            known = keys.known(identity)
            if known is not None:
                await self._parts.sessions.end_all(known.key_id)  # whom the provider vouches for no more, or somebody here has barred
            raise
        principal = keys.principal(person.key_id)
        if principal is None:
            raise Forbidden("you were barred from this installation while you signed in. Ask whoever runs it")
        return principal

    async def _refusal(self, exchange: Exchange, after: str, error: EmberankError) -> Response:
        exchange.extra["refused"] = error.type
        return await self._signin.form(exchange, after, notice=sentence(error.message), status=error.http_status, retry_after_s=error.retry_after_s)

    def _redirect_uri(self, request: Request) -> str:
        return base_of(self._parts.settings, request) + CALLBACK

    def _own_address(self, request: Request, after: str) -> str:
        """Where to begin, when that is not here: a cookie of another name of this server would not come back. Once: a proxy may send us another name."""
        public = urlsplit(self._parts.settings.public_url)
        if not public.netloc or public.netloc.lower() == request.headers.get("host", "").lower() or "here" in request.query_params:
            return ""
        return f"{self._parts.settings.public_url.rstrip('/')}{START}?here=1&next={quote(after, safe='/')}"


def _browser(request: Request) -> str:
    """The cookie of a browser that has begun before, if that could be one."""
    given = request.cookies.get(COOKIE, "")
    return given if len(given) == len(new_browser()) and given.isascii() and given.isprintable() else ""
