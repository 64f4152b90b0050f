"""Requests for /docs/api and its files in, the page that tries the API out, out. The viewer is Swagger UI, read from an installed package whose code is never run.

The package `offapi` carries Swagger UI's released files; nothing else of it is looked at. Without it the page says how to get it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from starlette.responses import Response

from emberank.contract.errors import NotFound
from emberank.forge.callers import missing
from emberank.forge.parts import Parts
from emberank.forge.web.assets import PREFIX, Asset, asset_of, sent
from emberank.forge.web.page import Pages
from emberank.serving.exchange import Exchange, Handler

PACKAGE = "offapi"
BELOW = f"{PREFIX}viewer/"
SCRIPT, STYLE = "swagger-ui-bundle.js", "swagger-ui.css"
# By the name that we give a file: where the package has it, and what it is. Nothing else of the package is sent.
_FILES = {SCRIPT: ("swagger_bundle.js", "text/javascript; charset=utf-8"), STYLE: ("swagger_style.css", "text/css; charset=utf-8")}


class ApiViewer:
    """The page and the files it loads."""

    def __init__(self, parts: Parts, pages: Pages, package: str = PACKAGE) -> None:
        self._parts = parts
        self._pages = pages
        self._package = package

    def handlers(self) -> list[tuple[str, str, Handler]]:
        """Method, path and handler of each."""
        return [("GET", "/docs/api", self.page), ("GET", BELOW + "{name}", self.file)]

    async def page(self, exchange: Exchange) -> Response:
        """GET /docs/api."""
        files = await asyncio.to_thread(viewer_files, self._package)
        addresses = {name: f"{BELOW}{name}?v={each.version}" for name, each in files.items()}
        visitor, script, style = self._parts.visitors.of(exchange.request), addresses.get(SCRIPT, ""), addresses.get(STYLE, "")
        return self._pages.render("docs_api.html", title="API", visitor=visitor, active="api", script=script, style=style, package=self._package)

    async def file(self, exchange: Exchange) -> Response:
        """GET /assets/viewer/{name}. Raises NotFound."""
        request = exchange.request
        found = (await asyncio.to_thread(viewer_files, self._package)).get(request.path_params["name"])
        if found is None:
            raise NotFound(missing(request.scope["path"]))
        return sent(request, found)


@cache
def viewer_files(package: str) -> Mapping[str, Asset]:
    """The viewer's files, read once; none where the package is not installed, or lacks one of them. Does not import it: that would read all that it has."""
    spec = find_spec(package)
    places = spec.submodule_search_locations if spec is not None else None
    if not places:
        return {}
    folder = Path(next(iter(places)))
    try:
        read = {name: ((folder / theirs).read_bytes(), kind) for name, (theirs, kind) in _FILES.items()}
    except OSError:
        return {}
    return {name: asset_of(content, kind) for name, (content, kind) in read.items()}
