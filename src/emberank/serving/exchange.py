"""One HTTP exchange around one handler: request id, body within its bounds, deadline, client gone, errors rendered, line logged, metrics counted.

Knows no route's content: a handler gets the body and gives bytes.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import re
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from emberank.contract.errors import BadRequest, EmberankError, PayloadTooLarge, QueueFull, RequestTimeout, ServerFault
from emberank.dialects import nim
from emberank.serving.metrics import DoorMetrics
from emberank.settings import DoorSettings

log = logging.getLogger(__name__)

_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
# Unique like a UUID and a tenth of its cost: 96 random bits a process, then a count.
_PROCESS_ID = secrets.token_hex(12)
_COUNT = itertools.count(1)
_GONE = 499  # nginx's number for "the client went away"; it is logged, nobody receives it


@dataclass(slots=True)
class Exchange:
    """What a handler may read and write while it answers."""

    request: Request
    body: bytes
    deadline: float  # s, on time.monotonic
    headers: dict[str, str] = field(default_factory=dict)
    model: str = ""  # the served model, for logs and metrics; never a caller's text


Handler = Callable[[Exchange], Awaitable[bytes]]


class Exchanges:
    """Runs handlers; holds the bounds that all requests share."""

    def __init__(self, settings: DoorSettings, metrics: DoorMetrics) -> None:
        self._settings = settings
        self._metrics = metrics
        self._buffered = 0

    def endpoint(self, route: str, handler: Handler, *, openai_errors: bool = False) -> Callable[[Request], Awaitable[Response]]:
        """A Starlette endpoint that runs `handler` for `route` (the label in logs and metrics)."""

        async def respond(request: Request) -> Response:
            began = time.monotonic()
            request_id = request_id_of(request)
            exchange = Exchange(request, b"", began + self._settings.request_timeout_s)
            try:
                response = await self._answer(exchange, handler)
            except EmberankError as error:
                response = self._refusal(route, error, request_id, openai_errors)
            except (ClientDisconnect, asyncio.CancelledError) as cause:
                if isinstance(cause, asyncio.CancelledError) and not _client_left(cause):
                    raise
                response = Response(status_code=_GONE)
            except Exception as cause:
                log.exception("request failed", extra={"action": "request_failed", "request_id": request_id, "route": route})
                fault = ServerFault()
                fault.__cause__ = cause
                response = self._refusal(route, fault, request_id, openai_errors)
            response.headers["X-Request-Id"] = request_id
            self._record(route, exchange.model, response.status_code, began, request_id)
            return response

        return respond

    async def _answer(self, exchange: Exchange, handler: Handler) -> Response:
        exchange.deadline = min(exchange.deadline, time.monotonic() + _caller_timeout_s(exchange.request))
        async with self._body(exchange.request) as body, _while_connected(exchange.request):
            exchange.body = body
            content = await handler(exchange)
        return Response(content, media_type="application/json", headers=exchange.headers)

    @contextlib.asynccontextmanager
    async def _body(self, request: Request) -> AsyncIterator[bytes]:
        """The request's body, counted among all bodies in memory until it is answered."""
        limit = self._settings.max_body_bytes
        declared = request.headers.get("content-length", "")
        if declared.isdigit() and int(declared) > limit:
            raise PayloadTooLarge(f"the body is {declared} bytes; at most {limit} are allowed")
        taken = 0
        try:
            chunks = bytearray()
            stream = request.stream().__aiter__()
            while (chunk := await self._chunk(stream)) is not None:
                taken += len(chunk)
                self._buffered += len(chunk)
                self._metrics.buffered.set(self._buffered)
                if taken > limit:
                    raise PayloadTooLarge(f"the body is over {limit} bytes, which is the most allowed")
                if self._buffered > self._settings.max_buffered_bytes and self._buffered > taken:
                    raise QueueFull("the server is holding as many request bodies as it may", status=self._settings.queue_full_status, retry_after_s=1)
                chunks += chunk
            yield bytes(chunks)
        finally:
            self._buffered -= taken
            self._metrics.buffered.set(self._buffered)

    async def _chunk(self, stream: AsyncIterator[bytes]) -> bytes | None:
        try:
            async with asyncio.timeout(self._settings.read_timeout_s):
                return await anext(stream, None)
        except TimeoutError as cause:
            raise RequestTimeout(f"the body did not arrive: nothing came for {self._settings.read_timeout_s:g} s") from cause

    def _refusal(self, route: str, error: EmberankError, request_id: str, openai: bool) -> Response:
        self._metrics.failed(route=route, kind=error.type)
        headers = {}
        if error.retry_after_s is not None:
            headers["Retry-After"] = str(max(1, round(error.retry_after_s)))
        if isinstance(error, (PayloadTooLarge, RequestTimeout)):
            headers["Connection"] = "close"  # the rest of the body is not read
        if error.http_status >= 500:
            log.warning(error.message, extra={"action": "request_refused", "request_id": request_id, "status": error.http_status})
        return Response(nim.render_error(error, request_id, openai=openai), error.http_status, media_type="application/json", headers=headers)

    def _record(self, route: str, model: str, status: int, began: float, request_id: str) -> None:
        seconds = time.monotonic() - began
        self._metrics.answered(route=route, model=model, status=status, seconds=seconds)
        if log.isEnabledFor(logging.INFO):
            log.info("%s", route, extra={"action": "request", "status": status, "ms": seconds * 1e3, "model": model, "request_id": request_id})


def request_id_of(request: Request) -> str:
    """The caller's X-Request-Id where it is one, else a new one."""
    given = request.headers.get("x-request-id", "")
    return given if _ID.fullmatch(given) else f"{_PROCESS_ID}{next(_COUNT):08x}"


def _caller_timeout_s(request: Request) -> float:
    """The caller's own deadline in seconds, infinite when it names none."""
    given = request.headers.get("x-request-timeout")
    if given is None:
        return float("inf")
    try:
        seconds = float(given)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds < float("inf"):
        raise BadRequest("X-Request-Timeout must be a number of seconds above 0")
    return seconds


_LEFT = "the client closed its connection"


def _client_left(cause: asyncio.CancelledError) -> bool:
    return bool(cause.args) and cause.args[0] == _LEFT


@contextlib.asynccontextmanager
async def _while_connected(request: Request) -> AsyncIterator[None]:
    """Cancel what runs inside when the client closes its connection, so that its work leaves the queue."""
    task = asyncio.current_task()
    assert task is not None

    async def watch() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        task.cancel(_LEFT)

    watcher = asyncio.get_running_loop().create_task(watch())
    try:
        yield
    finally:
        watcher.cancel()
