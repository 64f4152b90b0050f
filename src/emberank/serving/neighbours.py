"""A request in, whether a page of another site had a browser send it out: what stands between the Web and a server that asks for no key. Knows no route.

Two ways lead from any page on the Web to a server that only its visitor can reach. The page can send something there; then the browser says where it comes
from. Or its author lets a name of theirs lead there (DNS rebinding), and the browser takes this server for theirs; then it was asked by that name.
"""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from emberank.contract.errors import Forbidden
from emberank.dialects.errors import render_error, style_of
from emberank.serving.browsers import PAGE_HEADERS, PAGE_TYPE, error_page, wants_page
from emberank.serving.exchange import request_id_of

_READS = ("GET", "HEAD")
# The ends of names that nobody can buy, so that they lead where this network says. A name without a dot is one of them.
_NOT_FOR_SALE = (".localhost", ".local", ".internal", ".lan", ".home.arpa", ".test")
_ANOTHER_SITE = "this was sent by a page of another site, and with auth=none nothing else would tell that from your own requests"


class NoStrangers:
    """For a server with auth=none: whoever reaches it may do everything, and a page of another site may not do it in their name."""

    def __init__(self, app: ASGIApp, public_url: str) -> None:
        self._app = app
        self._public_url = public_url

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, or why it is not taken."""
        error = _objection(Request(scope), self._public_url) if scope["type"] == "http" else None
        if error is None:
            await self._app(scope, receive, send)
        else:
            await _refusal(Request(scope), error)(scope, receive, send)


def is_from_here(request: Request, public_url: str) -> bool | None:
    """Whether a page of this server had the browser send it; None where nothing is said of that. No page can make a browser say otherwise."""
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is not None:
        return site in ("same-origin", "none")
    if origin is None:
        return None
    try:
        said = urlsplit(origin)
        ours = (request.headers.get("host", "").lower(), urlsplit(public_url).netloc.lower())
        return said.scheme in ("http", "https") and bool(said.netloc) and said.netloc.lower() in ours
    except ValueError:
        return False


def _objection(request: Request, public_url: str) -> Forbidden | None:
    headers = request.headers
    origin = headers.get("origin", "")
    if not (origin or "sec-fetch-site" in headers or headers.get("user-agent", "").startswith("Mozilla/")):
        return None  # no browser's: a program is not sent by somebody's page
    if not _is_own_name(headers.get("host", ""), public_url):
        return Forbidden(
            f"with auth=none this server is not there for browsers under the name {headers.get('host', '')[:200]!r}, which may be anybody's: "
            "open it by its IP address, or set EMBERANK_PUBLIC_URL to the address that it is meant to be opened by"
        )
    # A browser's extension and a program made of one have origins of their own kinds, and were installed by who uses them.
    installed = origin not in ("", "null") and not origin.lower().startswith(("http:", "https:"))
    if request.method not in _READS and not installed and is_from_here(request, public_url) is False:
        return Forbidden(_ANOTHER_SITE)
    return None


def _is_own_name(host: str, public_url: str) -> bool:
    """Whether a Host header holds a name that no stranger can let lead here."""
    try:
        name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
        known = urlsplit(public_url).hostname
    except ValueError:
        return False
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return "." not in name or name.endswith(_NOT_FOR_SALE) or name == known
    return True


def _refusal(request: Request, error: Forbidden) -> Response:
    request_id = request_id_of(request)
    if wants_page(request):
        return Response(error_page(error, request.method), error.http_status, {**PAGE_HEADERS, "X-Request-Id": request_id}, PAGE_TYPE)
    content = render_error(error, request_id, style_of(request.scope["path"]))
    return Response(content, error.http_status, {"X-Request-Id": request_id}, "application/json")
