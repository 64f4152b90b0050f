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
from emberank.forge.web.catalogue.page import Catalogue
from emberank.forge.web.docs.page import Docs
from emberank.forge.web.live import Live
from emberank.forge.web.model.page import ModelPage
from emberank.forge.web.page import Pages
from emberank.forge.web.playground.page import PlaygroundPage
from emberank.forge.web.signin.entrance import signin_routes
from emberank.forge.web.status.page import Status
from emberank.serving.browsers import wants_page
from emberank.serving.exchange import Exchanges, Handler


def web_routes(parts: Parts, exchanges: Exchanges, pages: Pages, rules: Iterable[Rule]) -> list[Route]:
    """Every page, what their forms and scripts call, and the static files. `rules` are answered below /web/api as well."""
    catalogue = Catalogue(parts, pages)
    shown: list[tuple[str, str, Handler]] = [
        ("GET", "/", catalogue.page),
        *ModelPage(parts, pages).handlers(),
        *Docs(parts, pages).handlers(),
        *PlaygroundPage(parts, pages).handlers(),
    ]
    (_, status_path, status_page), *status_forms = Status(parts, pages).handlers()
    shown += status_forms
    routes = [Route(path, exchanges.endpoint(path.replace(":path}", "}"), handler, pages=True), methods=[method]) for method, path, handler in shown]
    # Pages that are looked at ask for these all the time: one line a request is for what people do.
    quiet: list[tuple[str, Handler]] = [
        ("/web/phases", catalogue.phases),
        ("/web/events", Live(parts).events),
        (status_path, status_page),
        ("/assets/{name}", assets.answer),
    ]
    routes += [Route(path, exchanges.endpoint(path, handler, level=logging.DEBUG), methods=["GET"]) for path, handler in quiet]
    return routes + signin_routes(parts, exchanges, pages, rules)


def missing_page(parts: Parts, pages: Pages, request: Request) -> Response | None:
    """The page that says that there is none, for a browser's request of an address that is no API's; None for every other request."""
    path = request.scope["path"]
    if request.method not in ("GET", "HEAD") or not wants_page(request):
        return None
    sentence = f"Nothing is at {path[:200]}. It may have moved, or the address has a slip in it."
    return pages.error(404, "There is no such page", sentence, visitor=parts.visitors.of(request))
