"""A static file's name in, its content, kind and address out. Reads every file once; knows no page."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from starlette.responses import Response

from emberank.contract.errors import NotFound
from emberank.forge.callers import missing
from emberank.serving.exchange import Exchange

PREFIX = "/assets/"
_KINDS = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
_FOREVER = "public, max-age=31536000, immutable"
_ASK_AGAIN = "no-cache"  # an address without the right hash: an ES module that another one imports, or an old page's


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """One static file. `version` changes with its content."""

    content: bytes
    kind: str
    version: str


@cache
def assets() -> Mapping[str, Asset]:
    """Every static file by its name."""
    found = {}
    for each in files(__package__).joinpath("static").iterdir():
        kind = _KINDS.get("." + each.name.rpartition(".")[2])
        if kind is not None:
            content = each.read_bytes()
            found[each.name] = Asset(content=content, kind=kind, version=hashlib.sha256(content).hexdigest()[:12])
    return found


def address(name: str) -> str:
    """Where a page finds a static file; another one when the file has changed. Raises KeyError for a name that no file has."""
    return f"{PREFIX}{name}?v={assets()[name].version}"


async def answer(exchange: Exchange) -> Response:
    """GET /assets/{name}. Raises NotFound."""
    request = exchange.request
    found = assets().get(request.path_params["name"])
    if found is None:
        raise NotFound(missing(request.scope["path"]))
    tag = f'"{found.version}"'
    headers = {
        "Cache-Control": _FOREVER if request.query_params.get("v") == found.version else _ASK_AGAIN,
        "ETag": tag,
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox",  # of an SVG that is opened by itself
    }
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(found.content, media_type=found.kind, headers=headers)
