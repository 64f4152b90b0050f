"""What is left of a request in, an endpoint's answer to its next piece out: chooses, waits for a start, sends, and sends once more when an endpoint breaks off.

Knows no key and no usage; what came of a request is written on its Run.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from emberank.client.answer import Answer
from emberank.client.errors import error_from
from emberank.client.failures import AnswerTooLarge, BadAnswer, ConnectFailed, ConnectionLost
from emberank.contract.errors import EmberankError, NotReady, ServerFault
from emberank.gateway.ask import Ask
from emberank.gateway.hold import Hold
from emberank.gateway.metrics import GatewayMetrics
from emberank.gateway.remote import Remotes, circuit_open
from emberank.gateway.routing import Place, Places
from emberank.gateway.run import Run
from emberank.gateway.sending import Sending

log = logging.getLogger(__name__)

_BROKEN_S = 2.0  # how long an endpoint is passed over, unless a snapshot takes it away before; then twice as long
_LONGEST_BROKEN_S = 30.0
# What an endpoint says of the way it was asked is between it and us, not the caller.
_NOT_THE_CALLERS = (401, 403, 404, 405)


class _Draining(Exception):
    """The endpoint takes no more requests."""

    def __init__(self, error: EmberankError) -> None:
        super().__init__()
        self.error = error


class Upstream:
    """The way to the endpoints."""

    def __init__(self, sending: Sending, remotes: Remotes, places: Places, hold: Hold, metrics: GatewayMetrics, tell: Callable[[str], None]) -> None:
        self._sending = sending
        self._remotes = remotes
        self._places = places
        self._hold = hold
        self._metrics = metrics
        self._tell = tell

    async def run(self, run: Run) -> Answer:
        """The answer of an endpoint to the next piece of the request, status 200. Raises EmberankError: what an endpoint refuses with stays what it was.

        A request that reached an endpoint and got no answer is sent once more; one that could not be sent waits for an endpoint until its deadline.
        """
        unanswered: EmberankError | None = None
        while True:
            place = self._places.choose(run.ask.wish, time.monotonic()) or await self._held(run)
            run.place = place
            if place.is_remote:
                return await self._remotes.answer(run, place)
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
                alone = self._places.left_alone(ask.wish, time.monotonic())
                if alone is not None:
                    raise circuit_open(alone, time.monotonic())
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
        answer = await self._sending.send(run, place, run.exchange.deadline)
        place.breaks = 0
        if answer.status != 200:
            raise _refusal(answer)
        run.take(place.endpoint, answer)
        return answer

    def _broke(self, place: Place, cause: Exception) -> None:
        """Pass it over for a moment, and tell the forge, which looks after it."""
        now = time.monotonic()
        if place.broken_until <= now:
            over_s = min(_BROKEN_S * 2**place.breaks, _LONGEST_BROKEN_S)
            place.broken_until = now + over_s
            place.breaks += 1
            asyncio.get_running_loop().call_later(over_s + 0.01, self._hold.changed)
            self._metrics.unreachable.inc()
            why = type(cause).__name__
            log.warning("endpoint does not answer", extra={"action": "endpoint_broken", "endpoint": place.endpoint.id, "target": place.target, "why": why})
        self._tell(place.endpoint.id)


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
