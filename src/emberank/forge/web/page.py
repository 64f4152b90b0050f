"""A template and its values in, a page of HTML under a strict policy out. Every value is escaped; knows no page's content."""

from __future__ import annotations

from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import HTMLResponse, Response

from emberank import __version__
from emberank.forge.web.assets import address, assets
from emberank.forge.web.filters import FILTERS
from emberank.forge.web.visitor import Visitor

# No inline script, no inline style, nothing from elsewhere: what is data can be shown and cannot act.
POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # a form that is sent to us must still say where it comes from
    "Vary": "Cookie",
}


@cache
def environment() -> Environment:
    """Jinja's, with our filters: a value that is not given is an error, and none is written as HTML."""
    made = Environment(loader=PackageLoader("emberank.forge.web"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    made.filters.update(FILTERS)
    made.globals.update(asset=address, release=__version__)
    return made


def read_ahead() -> None:
    """Read every template and every static file once: a second's work, for which a first visitor's page, and all that is asked meanwhile, would wait.

    For a thread of its own.
    """
    templates = environment()
    for name in templates.list_templates():
        templates.get_template(name)
    assets()


class Pages:
    """Draws pages, all in one frame."""

    def __init__(self) -> None:
        self._environment = environment()

    def render(self, template: str, *, title: str, visitor: Visitor, active: str, status: int = 200, **values: Any) -> Response:
        """The page. `active` is the place in the navigation that it belongs to: catalog, status, docs, api, account, or empty.

        A page of somebody who is signed in is kept nowhere; any other is asked for again every time.
        """
        content = self._environment.get_template(template).render(title=title, visitor=visitor, active=active, **values)
        headers = {**HEADERS, "Cache-Control": "no-store" if visitor.principal is not None else "no-cache"}
        return HTMLResponse(content, status, headers=headers)

    def error(self, status: int, title: str, sentence: str, *, visitor: Visitor) -> Response:
        """A page that says what went wrong."""
        return self.render("error.html", title=title, visitor=visitor, active="", status=status, sentence=sentence)
