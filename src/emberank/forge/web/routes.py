"""A forge's parts in, the routes of its pages out, and what a browser gets for an address that leads nowhere. Knows no page's content."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from emberank.forge.parts import Parts
from emberank.forge.rules import Rule
from emberank.forge.web import assets
from emberank.forge.web.catalogue import Catalogue
from emberank.forge.web.entrance import signin_routes
from emberank.forge.web.model import ModelPage
from emberank.forge.web.page import Pages
from emberank.serving.exchange import Exchanges, Handler

_NO_PAGES = ("/v1/", "/internal/", "/assets/", "/web/")


def web_routes(parts: Parts, exchanges: Exchanges, pages: Pages, rules: Iterable[Rule]) -> list[Route]:
    """Every page, what their forms and scripts call, and the static files. `rules` are answered below /web/api as well."""
    catalogue = Catalogue(parts, pages)
    shown: list[tuple[str, str, Handler]] = [("GET", "/", catalogue.page), *ModelPage(parts, pages).handlers()]
    routes = [Route(path, exchanges.endpoint(path, handler), methods=[method]) for method, path, handler in shown]
    # Pages that are looked at ask for these all the time: one line a request is for what people do.
    quiet: list[tuple[str, Handler]] = [("/web/phases", catalogue.phases), ("/assets/{name}", assets.answer)]
    routes += [Route(path, exchanges.endpoint(path, handler, level=logging.DEBUG), methods=["GET"]) for path, handler in quiet]
    return routes + signin_routes(parts, exchanges, pages, rules)


def missing_page(parts: Parts, pages: Pages, request: Request) -> Response | None:
    """The page that says that there is none, for a browser's request of an address that is no API's; None for every other request."""
    path = request.scope["path"]
    if request.method not in ("GET", "HEAD") or path.startswith(_NO_PAGES) or not prefers_html(request.headers.get("accept", "")):
        return None
    sentence = f"Nothing is at {path[:200]}. It may have moved, or the address has a slip in it."
    return pages.error(404, "There is no such page", sentence, visitor=parts.visitors.of(request))


def prefers_html(accept: str) -> bool:
    """Whether an Accept header names HTML, and ranks it at least as high as JSON. `*/*` alone is what programs send."""
    ranks = {"text/html": 0.0, "application/json": 0.0}
    for each in accept.lower().split(","):
        kind, *parameters = (part.strip() for part in each.split(";"))
        if kind in ranks:
            ranks[kind] = _rank(parameters)
    return 0 < ranks["text/html"] >= ranks["application/json"]


def _rank(parameters: Iterable[str]) -> float:
    for each in parameters:
        name, _, value = each.partition("=")
        if name.strip() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0
