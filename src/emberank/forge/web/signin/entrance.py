"""A forge's parts in, the routes of sign-in, account and the pages' own calls out. Knows no answer."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.routing import Route

from emberank.forge.parts import Parts
from emberank.forge.rules import Rule
from emberank.forge.web.account.page import Account
from emberank.forge.web.gate import CALLS, Gate
from emberank.forge.web.page import Pages
from emberank.forge.web.signin.oidc.journey import Journey
from emberank.forge.web.signin.oidc.people import PeopleForms
from emberank.forge.web.signin.page import SignIn
from emberank.serving.exchange import Exchanges


def signin_routes(parts: Parts, exchanges: Exchanges, pages: Pages, rules: Iterable[Rule]) -> list[Route]:
    """/signin, /signout, /account, and every rule once more below /web/api, where a session takes the place of a key."""
    gate = Gate(parts)
    signin = SignIn(parts, pages, gate)
    handlers = [*signin.handlers(), *Account(parts, pages, gate).handlers()]
    handlers += PeopleForms(parts, pages, gate).handlers()
    if parts.provider is not None:
        handlers += Journey(parts, pages, gate, parts.provider, signin).handlers()
    handlers += [(rule.method, CALLS + rule.path, gate.call(rule)) for rule in rules]
    return [Route(path, exchanges.endpoint(path.replace(":path}", "}"), handler, pages=True), methods=[method]) for method, path, handler in handlers]
