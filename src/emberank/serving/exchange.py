"""One HTTP exchange around one handler: request id, body within its bounds, deadline, client gone, errors rendered, line logged, metrics counted.

Knows no route's content: a handler gets the body and gives bytes.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import re
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from emberank.contract.errors import BadRequest, EmberankError, PayloadTooLarge, QueueFull, RequestTimeout, ServerFault, Unauthorized
from emberank.dialects.errors import ErrorStyle, render_error
from emberank.serving.browsers import PAGE_HEADERS, PAGE_TYPE, error_page, wants_page
from emberank.serving.metrics import DoorMetrics
from emberank.serving.presence import WhileConnected, client_left, line_of
from emberank.settings import DoorSettings
from emberank.telemetry import RequestTrace, Traces
from emberank.telemetry.traces import MODEL, REQUEST_ID

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
    request_id: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    model: str = ""  # the served model, for logs and metrics; never a caller's text
    extra: dict[str, object] = field(default_factory=dict)  # more of that kind, for the log line only
    trace: RequestTrace | None = None


@dataclass(slots=True)
class _Taken:
    """How much of all buffered bytes is one request's."""

    size: int = 0


# Bytes are a JSON body; a relay, whose answer is somebody else's, gives a response.
Handler = Callable[[Exchange], Awaitable[bytes | Response]]


class Exchanges:
    """Runs handlers; holds the bounds that all requests share."""

    def __init__(self, settings: DoorSettings, metrics: DoorMetrics, traces: Traces | None = None) -> None:
        self._settings = settings
        self._metrics = metrics
        self._traces = traces if traces is not None and traces.enabled else None
        self._buffered = 0  # bytes of bodies in memory, all requests together
        metrics.buffered.set_function(lambda: self._buffered)

    def endpoint(
        self, route: str, handler: Handler, *, errors: ErrorStyle = "nim", pages: bool = False, level: int = logging.INFO
    ) -> Callable[[Request], Awaitable[Response]]:
        """A Starlette endpoint that runs `handler` for `route` (the label in logs and metrics).

        `errors` is the shape of its errors' bodies, and `pages` says that a browser gets them as a page; `level` is that of its log line.
        """

        async def respond(request: Request) -> Response:
            began = time.monotonic()
            request_id = request_id_of(request)
            exchange = Exchange(request, b"", began + self._settings.request_timeout_s, request_id)
            if self._traces is not None and request.method == "POST":  # calls, not the health checks every few seconds
                exchange.trace = _traced(self._traces, route, request, began)
            try:
                response = await self._answer(exchange, handler)
            except EmberankError as error:
                response = self._refusal(route, error, request_id, errors)
                if pages and wants_page(request):
                    _make_page(response, error, request.method)
            except (ClientDisconnect, asyncio.CancelledError) as cause:
                if isinstance(cause, asyncio.CancelledError) and not client_left(cause):
                    raise
                response = Response(status_code=_GONE, headers={"X-Request-Id": request_id})
            except Exception as cause:
                log.exception("request failed", extra={"action": "request_failed", "request_id": request_id, "route": route})
                fault = ServerFault()
                fault.__cause__ = cause
                response = self._refusal(route, fault, request_id, errors)
            if exchange.trace is not None:
                exchange.trace.note({MODEL: exchange.model, REQUEST_ID: request_id})
                exchange.trace.end(response.status_code)
            self._record(route, exchange, response.status_code, began, level)
            return response

        return respond

    async def _answer(self, exchange: Exchange, handler: Handler) -> Response:
        request = exchange.request
        exchange.deadline = min(exchange.deadline, time.monotonic() + _caller_timeout_s(request))
        self._check_length(request)
        taken = _Taken()
        try:
            exchange.body = await self._body(request, taken)
            with WhileConnected(request):
                content = await handler(exchange)
        finally:
            self._buffered -= taken.size
        if isinstance(content, Response):
            content.headers["X-Request-Id"] = exchange.request_id
            return content
        exchange.headers["X-Request-Id"] = exchange.request_id
        return Response(content, media_type="application/json", headers=exchange.headers)

    def _check_length(self, request: Request) -> None:
        declared = _header(request, b"content-length") or ""
        if declared.isdigit() and int(declared) > self._settings.max_body_bytes:
            raise PayloadTooLarge(f"the body is {declared} bytes; at most {self._settings.max_body_bytes} are allowed")

    async def _body(self, request: Request, taken: _Taken) -> bytes:
        """The request's body; `taken` counts it among all bodies in memory until it is answered."""
        line = line_of(request)
        if line is not None and line.whole:  # most are, and a time limit costs more than all else here
            return await self._read(request, taken, None)
        wait_s = self._settings.read_timeout_s
        try:
            async with asyncio.timeout(wait_s) as silence:
                return await self._read(request, taken, silence)
        except TimeoutError as cause:
            raise RequestTimeout(f"the body did not arrive: nothing came for {wait_s:g} s") from cause

    async def _read(self, request: Request, taken: _Taken, silence: asyncio.Timeout | None) -> bytes:
        chunks: list[bytes] = []
        while True:
            message = await request.receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            chunk = message.get("body", b"")
            self._count(len(chunk), taken)
            chunks.append(chunk)
            if not message.get("more_body", False):
                return chunks[0] if len(chunks) == 1 else b"".join(chunks)
            if silence is not None:
                silence.reschedule(asyncio.get_running_loop().time() + self._settings.read_timeout_s)

    def _count(self, size: int, taken: _Taken) -> None:
        taken.size += size
        self._buffered += size
        limit = self._settings.max_body_bytes
        if taken.size > limit:
            raise PayloadTooLarge(f"the body is over {limit} bytes, which is the most allowed")
        if self._buffered > self._settings.max_buffered_bytes and self._buffered > taken.size:
            raise QueueFull("the server is holding as many request bodies as it may", status=self._settings.queue_full_status, retry_after_s=1)

    def _refusal(self, route: str, error: EmberankError, request_id: str, style: ErrorStyle) -> Response:
        self._metrics.failed(route=route, kind=error.type)
        headers = {"X-Request-Id": request_id}
        if error.retry_after_s is not None:
            headers["Retry-After"] = str(max(1, round(error.retry_after_s)))
        if isinstance(error, Unauthorized):
            headers["WWW-Authenticate"] = "Bearer"  # RFC 9110, 15.5.2: a 401 says how
        if isinstance(error, (PayloadTooLarge, RequestTimeout)):
            headers["Connection"] = "close"  # the rest of the body is not read
        if error.http_status >= 500:
            log.warning(error.message, extra={"action": "request_refused", "request_id": request_id, "status": error.http_status})
        return Response(render_error(error, request_id, style), error.http_status, media_type="application/json", headers=headers)

    def _record(self, route: str, exchange: Exchange, status: int, began: float, level: int) -> None:
        seconds = time.monotonic() - began
        self._metrics.answered(route=route, model=exchange.model, status=status, seconds=seconds)
        if log.isEnabledFor(level):
            line = {"action": "request", "status": status, "ms": seconds * 1e3, "model": exchange.model, "request_id": exchange.request_id, **exchange.extra}
            # log.info would look through the stack for the line of code that calls it, which this line does not say.
            log.handle(log.makeRecord(log.name, level, "", 0, "%s", (route,), None, extra=line))


def _make_page(response: Response, error: EmberankError, method: str) -> None:
    """The same refusal for a person."""
    response.body = error_page(error, method)
    response.headers.update(PAGE_HEADERS)
    response.headers["Content-Type"] = PAGE_TYPE
    response.headers["Content-Length"] = str(len(response.body))


def _traced(traces: Traces, route: str, request: Request, began: float) -> RequestTrace | None:
    return traces.request(method=request.method, route=route, path=request.scope["path"], scheme=request.scope["scheme"], headers=request.headers, began=began)


def request_id_of(request: Request) -> str:
    """The caller's X-Request-Id where it is one, else a new one."""
    given = _header(request, b"x-request-id") or ""
    return given if _ID.fullmatch(given) else f"{_PROCESS_ID}{next(_COUNT):08x}"


def _header(request: Request, name: bytes) -> str | None:
    """The first of that name (lower case). Starlette's own look-up costs several times as much, and these are looked up with every request."""
    for key, value in request.scope["headers"]:
        if key == name:
            found: str = value.decode("latin-1")
            return found
    return None


def _caller_timeout_s(request: Request) -> float:
    """The caller's own deadline in seconds, infinite when it names none."""
    given = _header(request, b"x-request-timeout")
    if given is None:
        return float("inf")
    try:
        seconds = float(given)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds < float("inf"):
        raise BadRequest("X-Request-Timeout must be a number of seconds above 0")
    return seconds
