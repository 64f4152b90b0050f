"""A path as a careless client writes it in, the path it means out."""

from __future__ import annotations

import re

from starlette.types import ASGIApp, Receive, Scope, Send


class PlainPaths:
    """Collapses `//` and a trailing slash in paths: several clients concatenate a base URL and a path carelessly."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, under its plain path."""
        if scope["type"] == "http":
            path = scope["path"]
            if "//" in path or (path.endswith("/") and len(path) > 1):
                scope = dict(scope, path=re.sub("/{2,}", "/", path).rstrip("/") or "/")
        await self._app(scope, receive, send)
