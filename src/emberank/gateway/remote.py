"""A piece of a request and a remote server in, its checked answer out: tried a few times, each within its time, through a circuit breaker.

Ranking and embedding change nothing at the other side, so that sending again harms nobody but the purse: what was answered, however badly, is not sent again.
Knows no other endpoint; which model answers instead is fallback.py's.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable

from emberank.client.answer import Answer
from emberank.client.failures import TransportError
from emberank.contract.errors import DeadlineExceeded
from emberank.gateway.errors import RemoteFault
from emberank.gateway.metrics import GatewayMetrics
from emberank.gateway.remote_faults import Fault, fault_of_transport, read_or_fault
from emberank.gateway.routing import Place
from emberank.gateway.run import Run, call_of
from emberank.gateway.sending import Sending
from emberank.settings import GatewaySettings

log = logging.getLogger(__name__)

_FIRST_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 10.0  # a server that wants more time than this gets it from its callers, who are told how long


class Remotes:
    """The way to servers that others run. `tell` lets the forge know of one that did not answer."""

    def __init__(self, sending: Sending, settings: GatewaySettings, metrics: GatewayMetrics, tell: Callable[[str], None]) -> None:
        self._sending = sending
        self._timeout_s = settings.remote_timeout_s
        self._retries = settings.remote_retries
        self._metrics = metrics
        self._tell = tell

    async def answer(self, run: Run, place: Place) -> Answer:
        """Its answer, which is whole. Raises RemoteFault, what the server says of the caller's own mistake, BadRequest, DeadlineExceeded."""
        tries = 0
        while True:
            outcome = await self._try(run, place)
            if isinstance(outcome, Answer):
                return outcome
            tries += 1
            pause_s = _pause_s(tries, outcome.pause_s)
            now = time.monotonic()
            if not outcome.again or tries > self._retries or pause_s > _LONGEST_PAUSE_S or now + pause_s >= run.exchange.deadline:
                raise outcome.error
            await asyncio.sleep(pause_s)
            if not place.takes(time.monotonic()):  # the circuit opened meanwhile
                raise outcome.error
            self._metrics.retries.inc()

    async def _try(self, run: Run, place: Place) -> Answer | Fault:
        """One request, and what the circuit breaker makes of it."""
        endpoint, breaker = place.endpoint, place.breaker
        assert breaker is not None
        call = call_of(run.piece(endpoint))
        began = time.monotonic()
        limit_s = endpoint.timeout_s or self._timeout_s
        trial = breaker.begin()
        told = False
        try:
            answer = await self._sending.send(run, place, min(run.exchange.deadline, began + limit_s))
            read = read_or_fault(endpoint, call, answer)
            fault = read if isinstance(read, Fault) else None
        except DeadlineExceeded as cause:
            if run.exchange.deadline <= time.monotonic() + 0.01:
                raise  # it was the caller's time that passed: the server may only be slower than they are patient
            fault = fault_of_transport(endpoint, cause, limit_s)
        except TransportError as cause:
            fault = fault_of_transport(endpoint, cause, limit_s)
            self._tell(endpoint.id)
        else:
            if fault is None or not fault.counts:
                told = True
                self._went_well(place)
                if not isinstance(read, Fault):
                    run.take(place.endpoint, answer, read)
                return fault or answer
        finally:
            if not told:
                breaker.abandoned(trial=trial)  # and if it failed, that is told next
        self._failed(place, fault, trial)
        return fault

    def _went_well(self, place: Place) -> None:
        breaker = place.breaker
        assert breaker is not None
        if breaker.state(time.monotonic()) != "closed":
            log.info("a remote server answers again", extra={"action": "circuit_closed", "endpoint": place.endpoint.id, "slug": place.endpoint.slug})
            self._metrics.circuit_open.labels(place.endpoint.slug).set(0)
        breaker.succeeded()

    def _failed(self, place: Place, fault: Fault, trial: bool) -> None:
        endpoint, breaker, now = place.endpoint, place.breaker, time.monotonic()
        assert breaker is not None
        place.last_fault = fault.error.message
        self._metrics.remote_failures.labels(endpoint.slug).inc()
        about = {"endpoint": endpoint.id, "slug": endpoint.slug, "version": endpoint.version, "target": place.target}
        log.warning("a remote server fails: %s", fault.said, extra={"action": "remote_failed", **about})
        if breaker.failed(now, trial=trial, retry_after_s=fault.pause_s):
            self._metrics.circuit_open.labels(endpoint.slug).set(1)
            wait_s = breaker.retry_in_s(now)
            log.error(
                "a remote server is not asked for %.0f s: it failed %d times in a row", wait_s, breaker.failures, extra={"action": "circuit_open", **about}
            )


def circuit_open(place: Place, now: float) -> RemoteFault:
    """What is said while nobody asks it."""
    assert place.breaker is not None
    wait_s = max(1.0, place.breaker.retry_in_s(now))
    message = f"{place.last_fault}; it failed {place.breaker.failures} times in a row, and is tried again in {wait_s:.0f} s"
    return RemoteFault(message, retry_after_s=wait_s)


def _pause_s(tries: int, asked_s: float) -> float:
    """Before the next try: what the server asks for, else twice as long each time, give or take, so that not all come back at once."""
    usual_s = _FIRST_PAUSE_S * 2 ** (tries - 1) * random.uniform(0.5, 1.0)  # noqa: S311  no secret
    return max(usual_s, asked_s)
