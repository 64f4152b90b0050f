"""A method and a path in, the endpoint that answers them out. Knows no answer.

Exact paths are one look-up: there are thousands of requests a second, and most ask for the same few paths.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from emberank.contract.errors import EmberankError, MethodNotAllowed, NotFound
from emberank.dialects.errors import render_error, style_of
from emberank.serving.browsers import PAGE_HEADERS, PAGE_TYPE, error_page, wants_page
from emberank.serving.exchange import request_id_of

Endpoint: TypeAlias = Callable[[Request], Awaitable[Response]]


class Routes:
    """An ASGI application of routes: exact ones first, then patterns in the order they were added, then what is relayed."""

    def __init__(self, relayed: tuple[str, ...], relay: Endpoint) -> None:
        self._exact: dict[str, dict[str, Endpoint]] = {}
        self._patterns: list[tuple[re.Pattern[str], dict[str, Endpoint]]] = []
        self._relayed = relayed
        self._relay = relay

    def add(self, method: str, path: str, endpoint: Endpoint) -> None:
        """`{name}` in a path takes one segment, `{name:path}` all that is left."""
        if "{" not in path:
            self._exact.setdefault(path, {})[method] = endpoint
            return
        pattern = re.sub(r"\{(\w+)(:path)?\}", lambda m: f"(?P<{m[1]}>{'.+' if m[2] else '[^/]+'})", path)
        self._patterns.append((re.compile(pattern), {method: endpoint}))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        request = Request(scope, receive)
        methods = self._exact.get(scope["path"]) or self._matched(scope)
        method = scope["method"]
        if methods is None:
            response = await self._relay(request) if self._is_relayed(scope["path"]) else _missing(request)
        elif method in methods:
            response = await methods[method](request)
        elif method == "HEAD" and "GET" in methods:
            response = await methods["GET"](request)
        else:
            allowed = ", ".join(methods)
            error = MethodNotAllowed(f"{method[:20]} is not allowed on {scope['path'][:200]!r}; allowed: {allowed}")
            response = _refused(request, error, {"Allow": allowed})
        await response(scope, receive, send)

    def _matched(self, scope: Scope) -> dict[str, Endpoint] | None:
        for pattern, methods in self._patterns:
            match = pattern.fullmatch(scope["path"])
            if match is not None:
                scope["path_params"] = match.groupdict()
                return methods
        return None

    def _is_relayed(self, path: str) -> bool:
        """`/a` relays itself and all below it, `/` itself alone; nothing that climbs out of where it seems to be."""
        if "/.." in path:
            return False
        return any(path == each or (each != "/" and path.startswith(each + "/")) for each in self._relayed)


def _missing(request: Request) -> Response:
    """What a program gets, and what a person does who opened the address."""
    path = request.scope["path"]
    if wants_page(request):
        error = NotFound(f"nothing is at {path[:200]}; it may have moved, or the address has a slip in it")
        return Response(error_page(error, request.method), 404, {**PAGE_HEADERS, "X-Request-Id": request_id_of(request)}, PAGE_TYPE)
    return _refused(request, NotFound(f"no route {path[:200]!r}; GET /openapi.json lists the routes"), {})


def _refused(request: Request, error: EmberankError, headers: dict[str, str]) -> Response:
    request_id = request_id_of(request)
    content = render_error(error, request_id, style_of(request.scope["path"]))
    return Response(content, error.http_status, media_type="application/json", headers={**headers, "X-Request-Id": request_id})
