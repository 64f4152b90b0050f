"""`GET /web/events`: a request in, what changes while its page is looked at out, as server-sent events. Knows no page.

A stream sleeps until an endpoint or the catalogue changes; what has no signal of its own (how far a start is, how long a model is idle) is looked at once a
second or more seldom. Every look asks anew who the visitor is: what they may not see any more is not sent, and an ended session ends the stream.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Iterator
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from emberank.contract.errors import BadRequest, EmberankError, LimitExceeded, NotReady
from emberank.contract.fleet import Principal
from emberank.dialects.forge import Pin
from emberank.forge.answers import Row, written
from emberank.forge.asked import query_of
from emberank.forge.family_routes import FamilyRoutes
from emberank.forge.parts import Parts
from emberank.forge.web.catalogue.shelf import phases_of
from emberank.forge.web.forms import check_origin
from emberank.forge.web.gate import Gate
from emberank.forge.web.sight import GUEST, may_see, seen_as
from emberank.serving.exchange import Exchange
from emberank.serving.presence import WhileConnected, client_left

MOST, MOST_EACH = 128, 32  # streams at one time, and of one address: a page that gets none asks every few seconds instead
LASTS_S, SPREAD_S = 300.0, 60.0  # then the browser connects anew; not all of them in one moment
HEARTBEAT_S = 15.0  # of silence: then a comment says that the connection stands, before anything between the two takes it for dead
SOON_S, LATER_S = 1.0, 5.0  # between two looks: while something starts or ends, and otherwise
_LEAST_S = 0.1  # between two looks whatever changes: a start is a dozen of changes
_SEND_WITHIN_S = 30.0  # of a client that does not read
_RETRY_AFTER_S = 30.0
_RETRY = b"retry: 2000\n\n"  # ms until a browser whose stream has ended asks for another one
_HEARTBEAT = b": still here\n\n"
_HEADERS = {
    "Cache-Control": "no-store",
    "Vary": "Cookie",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Accel-Buffering": "no",  # nginx would collect what is meant to arrive at once
}


class Places:
    """How many streams there are, and whose."""

    def __init__(self) -> None:
        self._by_address: Counter[str] = Counter()

    def __len__(self) -> int:
        return self._by_address.total()

    def check(self, address: str) -> None:
        """Raises NotReady, LimitExceeded where there is no room for one more."""
        if len(self) >= MOST:
            raise NotReady(
                f"{MOST} pages are being kept up to date, which is the most allowed: ask /web/phases now and then instead", retry_after_s=_RETRY_AFTER_S
            )
        if self._by_address[address] >= MOST_EACH:
            raise LimitExceeded(f"your address has {MOST_EACH} streams open, which is the most allowed: close a page", retry_after_s=_RETRY_AFTER_S)

    @contextlib.contextmanager
    def taken(self, address: str) -> Iterator[None]:
        """One more while what runs inside does."""
        self._by_address[address] += 1
        try:
            yield
        finally:
            self._by_address[address] -= 1
            if not self._by_address[address]:
                del self._by_address[address]


class Live:
    """`/web/events`."""

    def __init__(self, parts: Parts) -> None:
        self.places = Places()
        self._parts = parts
        self._gate = Gate(parts)
        self._families = FamilyRoutes(parts)

    async def events(self, exchange: Exchange) -> Response:
        """GET /web/events?model=…&version=…: the phases of all models that the visitor may see, and the status of one. Raises what a wrong query deserves."""
        request = exchange.request
        check_origin(request, self._parts.settings.public_url, proven=True)
        query = query_of(request, "model", "version")
        if "version" in query and "model" not in query:
            raise BadRequest("version means nothing without model; send both, or neither")
        sight = Sight(self._parts, self._families, request, query.get("model"), query.get("version"))
        sight.look()  # a name that nobody knows is said now, as an error
        address = self._gate.address(request)
        self.places.check(address)
        # The place is taken by the answer, and nothing is awaited before that: an answer that is never sent holds none.
        return EventStream(self._parts, sight, self.places, address)


class Sight:
    """What one visitor sees of one model and of all."""

    def __init__(self, parts: Parts, families: FamilyRoutes, request: Request, name: str | None, version: str | None) -> None:
        self._parts = parts
        self._families = families
        self._request = request
        self._name = name
        self._version = version
        # A page that is left open asks for streams again and again: that is no use of a session, which would never end.
        self._csrf = parts.visitors.of(request, used=False).csrf

    def look(self) -> tuple[Row, Row | None]:
        """The answers of /web/phases and of the family's status route now. Raises SessionEnded, ModelNotFound, NotFound."""
        visitor = self._parts.visitors.of(self._request, used=False)
        if visitor.csrf != self._csrf:
            raise SessionEnded
        principal = visitor.principal
        found = phases_of(self._parts.life.deployments())
        seen = {model.slug for model in self._parts.catalog() if model.slug in found and may_see(principal, model)}
        phases: Row = {"phases": {slug: phase for slug, phase in found.items() if slug in seen}}
        return phases, None if self._name is None else self._standing(self._name, principal)

    def _standing(self, name: str, principal: Principal | None) -> Row:
        model = seen_as(principal, self._parts.catalog(), name)
        return self._families.standing(self._parts.ask(principal or GUEST, model.slug, Pin(version=self._version)))


class SessionEnded(Exception):
    """Who opened the stream is signed out, or was."""


class EventStream(Response):
    """One visitor's stream, from its first event to its end."""

    media_type = "text/event-stream"

    def __init__(self, parts: Parts, sight: Sight, places: Places, address: str) -> None:
        super().__init__(headers=_HEADERS)
        del self.headers["content-length"]  # nobody knows it
        self._snapshots = parts.snapshots
        self._sight = sight
        self._places = places
        self._address = address
        self._phases: Row | None = None  # as they were sent last
        self._turned: list[Any] | None = None
        self._told_at = 0.0
        self._pause_s = LATER_S

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it until its time is over, its client leaves or the forge ends."""
        with self._places.taken(self._address):
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            try:
                with WhileConnected(Request(scope, receive)):
                    if scope["method"] != "HEAD":
                        await self._tell(send)
                    await _bounded(send, b"", more=False)
            except TimeoutError:
                return  # a client that does not read; the server closes a connection whose answer was not finished
            except asyncio.CancelledError as cause:
                if not client_left(cause):
                    raise

    async def _tell(self, send: Send) -> None:
        now = asyncio.get_running_loop().time
        ends = now() + LASTS_S + random.uniform(0, SPREAD_S)  # noqa: S311  no secret
        spoke_at, news = now(), _RETRY
        while not self._snapshots.closed and now() < ends:
            watched = self._snapshots.watched
            try:
                news += self._news(now())
            except SessionEnded:
                await _bounded(send, news + _event("ended", {"why": "session"}))
                return
            except EmberankError:  # the model, or this version of it, has left the catalogue: asked anew, it is a 404 with the reason
                return
            if not news and now() - spoke_at >= HEARTBEAT_S:
                news = _HEARTBEAT
            if news:
                await _bounded(send, news)
                spoke_at, news = now(), b""
            began = now()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, min(self._pause_s, ends - began))):
                    await watched.wait()
            await asyncio.sleep(max(0.0, _LEAST_S - (now() - began)))

    def _news(self, now: float) -> bytes:
        """What is another thing than was sent last."""
        phases, standing = self._sight.look()
        out = b""
        if phases != self._phases:
            self._phases = phases
            out += _event("phases", phases)
        if standing is not None:
            self._pause_s = SOON_S if any(one["phase"] in ("STARTING", "DRAINING") for one in standing["endpoints"]) else LATER_S
            turned = _turned(standing)
            # An idle time and a start's progress are others at every look: they are told in their time.
            due = standing["phase"] != "COLD" and now - self._told_at >= self._pause_s - _LEAST_S
            if due or turned != self._turned:
                self._turned, self._told_at = turned, now
                out += _event("model", standing)
        return out


def _turned(standing: Row) -> list[Any]:
    """What of a status is worth being told at once."""
    turned = [standing["phase"]]
    for one in standing["endpoints"]:
        turned += [one[name] for name in ("endpoint_id", "version", "gpu_type", "region", "phase", "keep_warm", "reason", "message", "queue_depth")]
    return turned


def _event(name: str, data: object) -> bytes:
    return b"event: " + name.encode("ascii") + b"\ndata: " + written(data) + b"\n\n"


async def _bounded(send: Send, body: bytes, *, more: bool = True) -> None:
    message: Message = {"type": "http.response.body", "body": body, "more_body": more}
    async with asyncio.timeout(_SEND_WITHIN_S):
        await send(message)
