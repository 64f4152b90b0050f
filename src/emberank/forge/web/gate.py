"""A page's call or form in, who sent it out: by session cookie, with the proof that a page of ours had it sent. Knows no page and no answer."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from emberank.contract.errors import Unauthorized
from emberank.contract.fleet import Principal
from emberank.forge.parts import Parts
from emberank.forge.rules import Rule, answering
from emberank.forge.web.forms import CSRF_FIELD, CSRF_HEADER, Form, check_csrf, check_origin, read_form
from emberank.forge.web.visitor import COOKIE, Visitor
from emberank.serving.credentials import FLEET_HEADER
from emberank.serving.exchange import Exchange, Handler

CALLS = "/web/api"
LIVE_HEADER = "x-live"  # said by the script of a page that is merely open, which asks again and again: that is no use of a session
_READS = ("GET", "HEAD")
_PRIVATE = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Cross-Origin-Resource-Policy": "same-origin"}


class Gate:
    """Lets in what comes from our pages."""

    def __init__(self, parts: Parts) -> None:
        self._callers = parts.callers
        self._visitors = parts.visitors
        self._public_url = parts.settings.public_url
        self._lasts_s = parts.settings.web_session_max_s

    @property
    def required(self) -> bool:
        """Whether there is anything to sign in to."""
        return self._callers.required

    def visitor(self, request: Request) -> Visitor:
        """Who looks at a page."""
        return self._visitors.of(request)

    def call(self, rule: Rule) -> Handler:
        """The answer of one of the control plane's routes, for a page's script in the place of an API key's owner."""
        answer = answering(rule, self._counted)

        async def private(exchange: Exchange) -> bytes | Response:
            exchange.headers |= _PRIVATE
            content = await answer(exchange)
            if isinstance(content, Response):
                content.headers.update(_PRIVATE)
            return content

        return private

    def form(self, exchange: Exchange, visitor: Visitor) -> Form:
        """The form that a visitor's page sent. Raises Forbidden for one that it did not, BadRequest for one that cannot be read."""
        check_origin(exchange.request, self._public_url, proven=visitor.signed_in)
        form = read_form(exchange.request, exchange.body)
        if visitor.signed_in:
            check_csrf(form.get(CSRF_FIELD), visitor.csrf)
        return form

    def address(self, request: Request) -> str:
        """Whose request it is, for counting: what a gateway of this fleet says, and nobody else."""
        told = next((value for name, value in request.headers.raw if name == FLEET_HEADER), b"")
        if told and self._callers.is_fleet(told):
            return request.headers.get("x-forwarded-for", "")
        return request.client.host if request.client else ""

    def remember(self, request: Request, response: Response, token: str) -> None:
        """Put a session's token into the browser."""
        response.set_cookie(COOKIE, token, int(self._lasts_s), secure=self.is_secure(request), httponly=True, samesite="lax")

    def forget(self, request: Request, response: Response) -> None:
        """Take it out again."""
        response.delete_cookie(COOKIE, secure=self.is_secure(request), httponly=True, samesite="lax")

    def caller(self, request: Request) -> Principal:
        """Who sends a page's call. Raises Unauthorized without a session in force, Forbidden for what no page of ours had the browser send."""
        visitor = self._visitors.of(request, used=LIVE_HEADER not in request.headers)
        check_origin(request, self._public_url, proven=visitor.signed_in or request.method in _READS)
        if visitor.principal is None:
            raise Unauthorized("you are not signed in, or your session has ended: sign in at /signin")
        if visitor.signed_in and request.method not in _READS:
            check_csrf(request.headers.get(CSRF_HEADER, ""), visitor.csrf)
        return visitor.principal

    def _counted(self, request: Request) -> Principal:
        principal = self.caller(request)
        self._callers.count(principal)
        return principal

    def is_secure(self, request: Request) -> bool:
        """Whether browsers reach us by https. Not by X-Forwarded-Proto, which anybody can send."""
        return request.url.scheme == "https" or self._public_url.lower().startswith("https:")
