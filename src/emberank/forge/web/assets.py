"""A static file's name in, its content, kind and address out. Reads every file once; knows no page.

There is one stylesheet, app.css: the files of static/styles, one after the other in the order of their names. All files have one version, so that the
modules which a script imports can be named with theirs, and a browser keeps every one of them.
"""

from __future__ import annotations

import gzip
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import Response

from emberank.contract.errors import NotFound
from emberank.forge.callers import missing
from emberank.serving.exchange import Exchange

PREFIX = "/assets/"
STYLESHEET = "app.css"
_KINDS = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
_FOREVER = "public, max-age=31536000, immutable"
_ASK_AGAIN = "no-cache"  # an address without the right hash: an old page's, or a module whose name a script puts together
_IMPORT = re.compile(rb'((?:\bfrom|\bimport)\s*\(?\s*"\./[\w-]+\.js)"')


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """One static file. `version` changes with its content; `packed` is the content in gzip's format."""

    content: bytes
    kind: str
    version: str
    packed: bytes = field(repr=False)


def asset_of(content: bytes, kind: str, version: str = "") -> Asset:
    """A file of that content; its hash is its version where none is given."""
    return Asset(content=content, kind=kind, version=version or _hash(content), packed=gzip.compress(content, 9, mtime=0))


@cache
def assets() -> Mapping[str, Asset]:
    """Every static file by its name."""
    static = files(__package__).joinpath("static")
    contents = {each.name: each.read_bytes() for each in static.iterdir() if each.is_file()}
    styles = sorted((each for each in static.joinpath("styles").iterdir() if each.name.endswith(".css")), key=lambda each: each.name)
    contents[STYLESHEET] = b"\n".join(each.read_bytes() for each in styles)
    version = _hash(b"".join(name.encode() + content for name, content in sorted(contents.items())))
    found = {}
    for name, content in contents.items():
        kind = _KINDS.get("." + name.rpartition(".")[2])
        if kind is not None:
            found[name] = asset_of(_IMPORT.sub(rb'\1?v=%s"' % version.encode(), content) if name.endswith(".js") else content, kind, version)
    return found


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:12]


def address(name: str) -> str:
    """Where a page finds a static file; another one when a file has changed. Raises KeyError for a name that no file has."""
    return f"{PREFIX}{name}?v={assets()[name].version}"


async def answer(exchange: Exchange) -> Response:
    """GET /assets/{name}. Raises NotFound."""
    request = exchange.request
    found = assets().get(request.path_params["name"])
    if found is None:
        raise NotFound(missing(request.scope["path"]))
    return sent(request, found)


def sent(request: Request, found: Asset) -> Response:
    """A file, to be kept for good by whoever asked for it by its version; nothing but its tag to who has it already."""
    tag = f'W/"{found.version}"'  # weak: both forms of the content have it
    headers = {
        "Cache-Control": _FOREVER if request.query_params.get("v") == found.version else _ASK_AGAIN,
        "ETag": tag,
        "Vary": "Accept-Encoding",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox",  # of an SVG that is opened by itself
    }
    if found.version in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    if not _takes_gzip(request.headers.get("accept-encoding", "")):
        return Response(found.content, media_type=found.kind, headers=headers)
    return Response(found.packed, media_type=found.kind, headers={**headers, "Content-Encoding": "gzip"})


def _takes_gzip(accept: str) -> bool:
    """Whether an Accept-Encoding header names gzip, and not in order to refuse it."""
    named = (each.partition(";") for each in accept.lower().split(","))
    return any(name.strip() == "gzip" and not re.fullmatch(r"\s*q\s*=\s*0(\.0*)?\s*", rest) for name, _, rest in named)
