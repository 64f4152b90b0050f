"""What a request asks for in, an endpoint's answer out: chooses, waits for a start, sends, and sends once more when an endpoint breaks off.

Knows no key and no usage; what came of a request is written on its Run.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from emberank.client.answer import Answer, Pairs
from emberank.client.errors import error_from
from emberank.client.failures import AnswerTooLarge, BadAnswer, ConnectFailed, ConnectionLost
from emberank.client.pool import Pool
from emberank.client.url import parse_url
from emberank.contract.errors import DeadlineExceeded, EmberankError, NotReady, ServerFault
from emberank.gateway.ask import Ask
from emberank.gateway.hold import Hold
from emberank.gateway.metrics import GatewayMetrics
from emberank.gateway.routing import Place, Places
from emberank.serving.exchange import Exchange
from emberank.telemetry import Hop
from emberank.telemetry.traces import FORWARDED, TARGET

log = logging.getLogger(__name__)

_LONGEST_BROKEN_S = 30.0
_JSON = (b"content-type", b"application/json")
# What an endpoint says of the way it was asked is between it and us, not the caller.
_NOT_THE_CALLERS = (401, 403, 404, 405)


@dataclass(slots=True, eq=False)
class Run:
    """One request on its way: where it was sent, and what came of it."""

    ask: Ask
    exchange: Exchange
    place: Place | None = None
    cold_start_ms: float = 0.0
    queue_ms: float = 0.0
    model_ms: float = 0.0
    upstream_s: float = 0.0
    tokens: int = 0


class _Draining(Exception):
    """The endpoint takes no more requests."""

    def __init__(self, error: EmberankError) -> None:
        super().__init__()
        self.error = error


class Upstream:
    """The way to the endpoints."""

    def __init__(self, pool: Pool, places: Places, hold: Hold, metrics: GatewayMetrics, tell: Callable[[str], None], broken_s: float = 2.0) -> None:
        self._pool = pool
        self._places = places
        self._hold = hold
        self._metrics = metrics
        self._tell = tell
        self._broken_s = broken_s  # how long an endpoint is passed over, unless a snapshot takes it away before

    async def run(self, run: Run) -> Answer:
        """The answer of an endpoint, status 200. Raises EmberankError: what an endpoint refuses with stays what it was.

        A request that reached an endpoint and got no answer is sent once more; one that could not be sent waits for an endpoint until its deadline.
        """
        unanswered: EmberankError | None = None
        while True:
            place = self._places.choose(run.ask.wish, time.monotonic()) or await self._held(run)
            run.place = place
            try:
                return await self._send(run, place)
            except ConnectFailed as cause:
                self._broke(place, cause)
            except (ConnectionLost, BadAnswer, _Draining) as cause:
                self._broke(place, cause)
                if unanswered is not None:
                    raise unanswered from cause
                unanswered = cause.error if isinstance(cause, _Draining) else _broken_off(run.ask)
                self._metrics.retries.inc()
            except AnswerTooLarge as cause:
                raise ServerFault("the endpoint's answer is larger than this gateway takes: ask for less at one time") from cause

    async def _held(self, run: Run) -> Place:
        """Wait for a start."""
        ask, began = run.ask, time.monotonic()
        try:
            while True:
                await self._hold.wait(ask.model, ask.wish, run.exchange.deadline)
                place = self._places.choose(ask.wish, time.monotonic())
                if place is not None:
                    return place
        finally:
            ended = time.monotonic()
            waited_s = ended - began
            run.cold_start_ms += waited_s * 1e3
            if run.exchange.trace is not None:
                run.exchange.trace.child("hold", began, ended)
            self._metrics.hold_seconds.observe(waited_s)

    async def _send(self, run: Run, place: Place) -> Answer:
        ask, exchange, endpoint = run.ask, run.exchange, place.endpoint
        now = time.monotonic()
        left_s = exchange.deadline - now
        if left_s <= 0:
            raise DeadlineExceeded("the request's deadline passed before an endpoint could be asked")
        headers = [_JSON, (b"x-request-id", exchange.request_id.encode("latin-1")), (b"x-request-timeout", b"%.3f" % max(left_s, 0.001))]
        if endpoint.secret:
            headers.append((b"authorization", b"Bearer " + endpoint.secret.encode("latin-1")))
        hop = _trace(exchange, place, headers)
        answer: Answer | None = None
        place.in_flight += 1
        place.queued_tokens += ask.tokens
        place.used_at = now
        try:
            answer = await self._pool.request(
                "POST", parse_url(endpoint.url + ask.path), headers, ask.write(endpoint.served_name or ask.model.id), deadline=exchange.deadline
            )
        finally:
            place.in_flight -= 1
            place.queued_tokens -= ask.tokens
            place.used_at = time.monotonic()
            run.upstream_s = place.used_at - now
            if hop is not None:
                hop.end(answer.status if answer is not None else None)
        place.breaks = 0
        if answer.status != 200:
            raise _refusal(answer)
        return answer

    def _broke(self, place: Place, cause: Exception) -> None:
        """Pass it over for a moment, and tell the forge, which looks after it."""
        now = time.monotonic()
        if place.broken_until <= now:
            over_s = min(self._broken_s * 2**place.breaks, _LONGEST_BROKEN_S)
            place.broken_until = now + over_s
            place.breaks += 1
            asyncio.get_running_loop().call_later(over_s + 0.01, self._hold.changed)
            self._metrics.unreachable.inc()
            why = type(cause).__name__
            log.warning("endpoint does not answer", extra={"action": "endpoint_broken", "endpoint": place.endpoint.id, "target": place.target, "why": why})
        self._tell(place.endpoint.id)


def _trace(exchange: Exchange, place: Place, headers: Pairs) -> Hop | None:
    """Add the headers that join the endpoint's trace to this one."""
    if exchange.trace is not None:
        hop = exchange.trace.hop("upstream", {TARGET: place.target})
        headers += [(name.encode("latin-1"), value.encode("latin-1")) for name, value in hop.headers.items()]
        return hop
    headers += [(name, value) for name, value in exchange.request.scope["headers"] if name in _FORWARDED]
    return None


_FORWARDED = tuple(name.encode("latin-1") for name in FORWARDED)


def _refusal(answer: Answer) -> Exception:
    error = error_from(answer.status, answer.headers, answer.body)
    if answer.status in _NOT_THE_CALLERS:
        fault = ServerFault("the endpoint does not take requests of this gateway; the cause is in the server's log under this request id")
        log.error("an endpoint refuses: %s", error.message, extra={"action": "endpoint_refuses", "status": answer.status})
        return fault
    if isinstance(error, NotReady):  # a 503 for a full queue is none
        return _Draining(error)
    return error


def _broken_off(ask: Ask) -> NotReady:
    return NotReady(f"the endpoints of '{ask.model.slug}' broke off twice before they answered; try again", retry_after_s=1)
