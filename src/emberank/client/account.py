"""Where a server is and who one is there, from arguments or the environment, in; a request's URL and headers out. Shows its key to nobody.

The variables are those of the catalogue page's snippets, and our own names for the same: FORGE_API_BASE or EMBERANK_API_BASE, FORGE_API_KEY or
EMBERANK_API_KEY.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version

from emberank.client.calls import Call
from emberank.client.url import Url, read_url
from emberank.contract.errors import BadRequest, Unauthorized

_DEFAULT_BASE = "http://127.0.0.1:8000"
_PLACEHOLDERS = ("replace-with-your-forge-api-key", "YOUR_FORGE_HOST")


@cache
def _agent() -> str:
    try:
        return f"emberank/{version('emberank')}"
    except PackageNotFoundError:  # run from a folder
        return "emberank"


class Account:
    """A base URL, with or without /v1 at its end, and a key. A base without a key sends none: a lone runtime asks for none."""

    def __init__(self, base_url: str | None, api_key: str | None, environment: Mapping[str, str] = os.environ) -> None:
        base = base_url or environment.get("FORGE_API_BASE") or environment.get("EMBERANK_API_BASE") or _DEFAULT_BASE
        key = api_key or environment.get("FORGE_API_KEY") or environment.get("EMBERANK_API_KEY") or ""
        self.base = base.strip().rstrip("/").removesuffix("/v1").rstrip("/")
        if _PLACEHOLDERS[1] in base:
            raise BadRequest("the base URL is the placeholder of a snippet: set FORGE_API_BASE, or pass base_url")
        if _PLACEHOLDERS[0] in key:
            raise Unauthorized("the API key is the placeholder of a snippet: set FORGE_API_KEY to a real key, or pass api_key")
        try:
            self.origin = read_url(self.base).origin
        except ValueError as cause:
            raise BadRequest(f"the base URL cannot be used: {cause}") from cause
        if not (key.isascii() and key.isprintable()) or " " in key:
            raise Unauthorized("the API key holds characters that no key has; was it cut or pasted with something else?")
        self._headers = {"user-agent": _agent(), "accept": "application/json"}
        if key:
            self._headers["authorization"] = f"Bearer {key}"

    def url(self, path: str) -> Url:
        """A path of the API below this base."""
        return read_url(self.base + path)

    def headers(self, call: Call[object], left_s: float) -> dict[str, str]:
        """What goes with a call; the server is told how long anybody will wait."""
        return self._headers | call.headers | {"x-request-timeout": f"{max(left_s, 0.001):.3f}"}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.base!r})"
