"""`GET /playground/{slug}`: a model's playground as a page of its own, with what its address selects. Knows no form."""

from __future__ import annotations

from urllib.parse import urlencode

from starlette.responses import RedirectResponse, Response

from emberank.contract.errors import ModelNotFound
from emberank.forge.parts import Parts
from emberank.forge.web.addresses import base_of
from emberank.forge.web.gate import Gate
from emberank.forge.web.model.page import look, missing_model
from emberank.forge.web.model.selection import selection_of
from emberank.forge.web.page import Pages
from emberank.forge.web.playground.form import address_of, playground_of, task_word
from emberank.forge.web.sight import GUEST, may_see, seen_as
from emberank.serving.exchange import Exchange, Handler

_LONGEST_QUERY = 400  # characters that a sign-in carries along


class PlaygroundPage:
    """The playground of each model, and `/playground`, which leads to the first one's."""

    def __init__(self, parts: Parts, pages: Pages) -> None:
        self._parts = parts
        self._pages = pages
        self._gate = Gate(parts)

    def handlers(self) -> list[tuple[str, str, Handler]]:
        """Method, path and handler of each."""
        return [("GET", "/playground", self.first), ("GET", "/playground/{slug}", self.page)]

    async def first(self, exchange: Exchange) -> Response:
        """To the playground of the first model that the visitor may see; without any, to the catalogue."""
        principal = self._gate.visitor(exchange.request).principal
        model = next((model for model in self._parts.catalog() if may_see(principal, model)), None)
        return RedirectResponse("/" if model is None else address_of(model.slug), 307)

    async def page(self, exchange: Exchange) -> Response:
        """The page; another name of the model leads to it. What of its query is not known is said, and the rest is shown."""
        parts, request = self._parts, exchange.request
        visitor = self._gate.visitor(request)
        name, query = request.path_params["slug"], request.query_params.multi_items()
        try:
            model = seen_as(visitor.principal, parts.catalog(), name)
        except ModelNotFound:
            return missing_model(parts, self._pages, visitor, name)
        exchange.model = model.slug
        if name != model.slug:
            return RedirectResponse(address_of(model.slug) + (f"?{urlencode(query)}" if query else ""), 307)
        looked = look(parts, visitor.principal or GUEST, selection_of(model.slug, query))
        here = request.url.path + (f"?{request.url.query}" if request.url.query and len(request.url.query) <= _LONGEST_QUERY else "")
        other = dict(query).get("with", "")
        playground = playground_of(parts, looked.whole, looked.selection, visitor, base_of(parts.settings, request), page=here, other=other)
        return self._pages.render(
            "playground.html",
            title=f"Try {model.title}",
            visitor=visitor,
            active="catalog",
            status=404 if looked.problems else 200,
            model=model,
            task=task_word(model.task),
            problems=looked.problems,
            page=looked.selection.page,
            playground=playground,
        )
