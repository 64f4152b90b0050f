"""A path as a client writes it in, the path it means out: without doubled slashes, and without the model that stands in front of it."""

from __future__ import annotations

import re

from starlette.types import ASGIApp, Receive, Scope, Send

MODEL = "emberank.model"  # in a scope: the name, as it stood in the path, of the model whose own base URL was used
_OF_A_MODEL = (re.compile(r"/models/([^/]+)(/.+)"), re.compile(r"/models/([^/]+/[^/]+)(/.+)"))  # a slug, or a name with its publisher


class PlainPaths:
    """Collapses `//` and a trailing slash in paths: several clients concatenate a base URL and a path carelessly.

    `/models/{slug}` is a base URL of its own for clients that name no model: what stands behind it is the path, when it begins with one of `below`.
    """

    def __init__(self, app: ASGIApp, below: tuple[str, ...] = ()) -> None:
        self._app = app
        self._below = below

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, under its plain path."""
        if scope["type"] == "http":
            path = scope["path"]
            if "//" in path or (path.endswith("/") and len(path) > 1):
                path = re.sub("/{2,}", "/", path).rstrip("/") or "/"
                scope = dict(scope, path=path)
            if path.startswith("/models/"):
                scope = self._of_a_model(scope, path)
        await self._app(scope, receive, send)

    def _of_a_model(self, scope: Scope, path: str) -> Scope:
        for form in _OF_A_MODEL:
            found = form.fullmatch(path)
            if found is not None and found[2].startswith(self._below):
                return dict(scope, path=found[2], **{MODEL: found[1]})
        return scope
