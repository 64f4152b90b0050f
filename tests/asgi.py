"""An ASGI application in, one request to it, its answer out: no socket, no server. For tests of what stands right behind the server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route

from wire import WAIT_S, Reply

HANG = object()  # in a body: nothing comes any more, and the connection stays open
LEAVE = object()  # in a body: the client closes its connection


async def call(
    app: Any,
    method: str = "POST",
    path: str = "/",
    body: bytes | Sequence[object] = b"",
    headers: Mapping[str, str] | None = None,
    left: asyncio.Event | None = None,
) -> Reply:
    """Send one request. `body` may be pieces, HANG and LEAVE among them; `left`, when set, is the client going away."""
    parts: list[object] = [body] if isinstance(body, bytes) else list(body)
    gone = left or asyncio.Event()
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        if parts and parts[0] not in (HANG, LEAVE):
            return {"type": "http.request", "body": parts.pop(0), "more_body": bool(parts)}
        if not (parts and parts[0] is LEAVE):
            await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "", "http_version": "1.1"}
    scope |= {"headers": [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in (headers or {}).items()], "scheme": "http"}
    async with asyncio.timeout(WAIT_S):
        await app(scope, receive, send)
    start, content = sent[0], b"".join(message.get("body", b"") for message in sent[1:])
    return Reply(start["status"], {name.decode("latin-1"): value.decode("latin-1") for name, value in start["headers"]}, content)


def app_of(endpoint: Callable[[Request], Any], path: str = "/") -> Starlette:
    """An application of one POST endpoint."""
    return Starlette(routes=[Route(path, endpoint, methods=["POST"])])
