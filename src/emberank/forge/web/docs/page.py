"""Requests below /docs in, the pages of the documentation out: its index, its texts, its search, and every route with an example. Reads nothing before it is asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from starlette.responses import RedirectResponse, Response

from emberank.forge.openapi import document
from emberank.forge.parts import Parts
from emberank.forge.web.addresses import base_of
from emberank.forge.web.docs.api_viewer import ApiViewer
from emberank.forge.web.docs.documentation import HOME, SECTIONS, Documentation, documentation
from emberank.forge.web.docs.operations import groups_of
from emberank.forge.web.docs.search import MOST_CHARS, Entry, Index, words_of
from emberank.forge.web.page import Pages
from emberank.serving.exchange import Exchange, Handler


class Docs:
    """What stands below /docs."""

    def __init__(self, parts: Parts, pages: Pages) -> None:
        self._parts = parts
        self._pages = pages
        self._viewer = ApiViewer(parts, pages)

    def handlers(self) -> list[tuple[str, str, Handler]]:
        """Method, path and handler of each; the last path takes what the others leave."""
        return [
            ("GET", HOME, self.index),
            ("GET", f"{HOME}/search", self.search),
            ("GET", f"{HOME}/routes", self.routes),
            *self._viewer.handlers(),
            ("GET", HOME + "/{page:path}", self.page),
        ]

    async def index(self, exchange: Exchange) -> Response:
        """GET /docs: every page with what it is for."""
        pages = (await asyncio.to_thread(_read)).pages.values()
        sections = [(section, [page for page in pages if page.section == section]) for section in SECTIONS]
        return self._draw(exchange, "docs_index.html", "Documentation", sections=[(section, those) for section, those in sections if those])

    async def page(self, exchange: Exchange) -> Response:
        """GET /docs/{page}: one text. A name with .md, and a folder's, lead to what is meant; any other gets the names that are like it."""
        library, name = await asyncio.to_thread(_read), exchange.request.path_params["page"]
        section = next((section for section in SECTIONS if section.name == name), None)
        meant = library.pages.get(name.removesuffix(".md"))
        if name == "index" or name == "index.md":
            return RedirectResponse(HOME, 301)
        if section is not None:
            return RedirectResponse(f"{HOME}#{section.anchor}", 301)
        if meant is None:
            return self._draw(exchange, "docs_missing.html", "There is no such page", 404, name=name[:200], near=library.near(name))
        if meant.name != name:
            return RedirectResponse(meant.address, 301)
        article = await asyncio.to_thread(library.article, name)
        before, after = library.around(name)
        values: dict[str, Any] = {"page": meant, "article": article, "pages": _by_section(library), "before": before, "after": after}
        return self._draw(exchange, "docs_page.html", article.title, **values)

    async def search(self, exchange: Exchange) -> Response:
        """GET /docs/search?q=: the parts of all texts that have the words."""
        query = exchange.request.query_params.get("q", "")[:MOST_CHARS].strip()
        answer = await asyncio.to_thread(lambda: _index().find(query))
        return self._draw(exchange, "docs_search.html", "Search the documentation", query=query, asked=bool(words_of(query)), answer=answer)

    async def routes(self, exchange: Exchange) -> Response:
        """GET /docs/routes: every operation with its parameters, fields and answers, and an example to paste."""
        made = _document()
        groups = groups_of(made, base_of(self._parts.settings, exchange.request))
        return self._draw(exchange, "docs_routes.html", "All routes", active="api", about=made["info"]["description"], groups=groups)

    def _draw(self, exchange: Exchange, template: str, title: str, status: int = 200, active: str = "docs", **values: Any) -> Response:
        visitor = self._parts.visitors.of(exchange.request)
        return self._pages.render(template, title=title, visitor=visitor, active=active, status=status, **{"query": "", **values})


@cache
def _document() -> Mapping[str, Any]:
    return document()


def _read() -> Documentation:
    """The documentation, with the names of its pages read."""
    found = documentation()
    _ = found.pages
    return found


@cache
def _index() -> Index:
    return Index(_entries(documentation()))


def _entries(library: Documentation) -> Iterator[Entry]:
    for page in library.pages.values():
        for part in library.article(page.name).parts:
            address = f"{page.address}#{part.id}" if part.id else page.address
            yield Entry(address=address, title=page.title, heading=part.heading if part.id else "", text=part.text)


def _by_section(library: Documentation) -> list[tuple[Any, list[Any]]]:
    grouped = [(section, [page for page in library.pages.values() if page.section == section]) for section in SECTIONS]
    return [(section, pages) for section, pages in grouped if pages]
