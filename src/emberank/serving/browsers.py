"""Whether a request is a person's who opened an address, and an error for them as a page: small, and of one piece. Knows no route.

The forge draws the real pages. This one is for when it cannot be asked, so it fetches nothing: its style is in it, and the policy names that style's hash.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from html import escape
from http import HTTPStatus

from starlette.requests import Request

from emberank.contract.errors import EmberankError

NO_PAGES = ("/v1/", "/internal/", "/assets/", "/web/")  # what programs ask for, whatever they say they would like best
# In the colours of the forge's pages.
_STYLE = (
    ":root{color-scheme:light dark;--bg:#faf9f7;--ink:#1f1b18;--accent:#b93c0b}"
    "@media (prefers-color-scheme:dark){:root{--bg:#141210;--ink:#efeae4;--accent:#ff9257}}"
    "body{font:1rem/1.6 system-ui,sans-serif;background:var(--bg);color:var(--ink);max-width:38rem;margin:14vh auto 0;padding:0 1.25rem;overflow-wrap:anywhere}"
    "h1{font-size:1.75rem;line-height:1.2;margin:0 0 .75rem}p{margin:0 0 1rem}a,.name{color:var(--accent)}.name{font-weight:700}"
)
_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode("ascii")).digest()).decode("ascii")
PAGE_HEADERS = {
    "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_HASH}'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Vary": "Accept",
}
_TITLES = {404: "There is no such page", 503: "Back in a moment"}
PAGE_TYPE = "text/html; charset=utf-8"


def wants_page(request: Request) -> bool:
    """Whether an error of this request is read by a person."""
    return not request.scope["path"].startswith(NO_PAGES) and prefers_html(request.headers.get("accept", ""))


def prefers_html(accept: str) -> bool:
    """Whether an Accept header names HTML, and ranks it at least as high as JSON. `*/*` alone is what programs send."""
    ranks = {"text/html": 0.0, "application/json": 0.0}
    for each in accept.lower().split(","):
        kind, *parameters = (part.strip() for part in each.split(";"))
        if kind in ranks:
            ranks[kind] = _rank(parameters)
    return 0 < ranks["text/html"] >= ranks["application/json"]


def error_page(error: EmberankError, method: str) -> bytes:
    """The page that says what went wrong, with a way on: to the same address where asking again may help, else to the catalog.

    It does not reload itself: that takes the page away from whoever is reading it (WCAG 2.2, failure F41), and a script that could ask quietly is not allowed.
    """
    status = error.http_status
    title = _TITLES.get(status) or HTTPStatus(status).phrase
    reads = method in ("GET", "HEAD")
    again = status == 503 and reads
    sentences = [error.message[:1].upper() + error.message[1:].rstrip(".") + "."]
    if not reads:
        sentences.append("What you sent was not answered: go back, look whether it was taken, and send it again if it was not.")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        + f"<title>{escape(title)} · Emberank</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n"
        + f'<p class="name">Emberank</p>\n<h1>{escape(title)}</h1>\n'
        + "".join(f"<p>{escape(sentence)}</p>\n" for sentence in sentences)
        + ('<p><a href="">Try again</a></p>\n' if again else '<p><a href="/">Go to the catalog</a></p>\n')
        + "</main>\n</body>\n</html>\n"
    ).encode("utf-8", "replace")


def _rank(parameters: Iterable[str]) -> float:
    for each in parameters:
        name, _, value = each.partition("=")
        if name.strip() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0
