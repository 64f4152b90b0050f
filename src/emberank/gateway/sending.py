"""One call for one endpoint in, its answer out, whatever its status: written in the endpoint's dialect, counted as load there, traced. Chooses nothing, judges nothing."""

from __future__ import annotations

import time

from emberank import __version__
from emberank.client.answer import Answer, Pairs
from emberank.client.pool import Pool
from emberank.client.url import parse_url
from emberank.contract.errors import DeadlineExceeded
from emberank.dialects import outgoing
from emberank.gateway.routing import Place
from emberank.gateway.run import Run, call_of
from emberank.serving.exchange import Exchange
from emberank.telemetry import Hop
from emberank.telemetry.traces import FORWARDED, TARGET

_JSON = (b"content-type", b"application/json")
# For servers of other people's: some front doors refuse whoever sends no user-agent.
_MANNERS = ((b"accept", b"application/json"), (b"user-agent", f"emberank/{__version__}".encode("ascii")))
_FORWARDED = tuple(name.encode("latin-1") for name in FORWARDED)


class Sending:
    """Over the connections of one pool."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def send(self, run: Run, place: Place, deadline: float) -> Answer:
        """Ask for the run's next piece. `deadline`, on time.monotonic, is this try's.

        Raises BadRequest for what the endpoint could not be asked for, before anything is sent; DeadlineExceeded; TransportError.
        """
        endpoint = place.endpoint
        call = call_of(run.piece(endpoint))
        tokens = run.tokens_of(call)
        body = outgoing.write(call, endpoint, endpoint.served_name or run.ask.model.id)
        url = parse_url(endpoint.url + outgoing.path_of(call, endpoint))
        now = time.monotonic()
        if deadline <= now:
            raise DeadlineExceeded("the request's deadline passed before an endpoint could be asked")
        headers = _headers(run.exchange, place, deadline - now)
        hop = _trace(run.exchange, place, headers)
        answer: Answer | None = None
        place.in_flight += 1
        place.queued_tokens += tokens
        place.used_at = now
        try:
            answer = await self._pool.request("POST", url, headers, body, deadline=deadline)
        finally:
            place.in_flight -= 1
            place.queued_tokens -= tokens
            place.used_at = time.monotonic()
            run.upstream_s += place.used_at - now
            run.piece_s = place.used_at - now
            if hop is not None:
                hop.end(answer.status if answer is not None else None)
        return answer


def _headers(exchange: Exchange, place: Place, left_s: float) -> Pairs:
    headers = [_JSON, (b"x-request-id", exchange.request_id.encode("latin-1")), (b"x-request-timeout", b"%.3f" % max(left_s, 0.001))]
    if place.endpoint.dialect != "emberank":
        headers += _MANNERS
    if place.endpoint.secret:
        headers.append((b"authorization", b"Bearer " + place.endpoint.secret.encode("latin-1")))
    return headers


def _trace(exchange: Exchange, place: Place, headers: Pairs) -> Hop | None:
    """Add the headers that join the endpoint's trace to this one. A server that is not ours and has no health route is a stranger: it is told of no trace."""
    stranger = bool(place.endpoint.path)
    if exchange.trace is not None:
        hop = exchange.trace.hop("upstream", {TARGET: place.target})
        if not stranger:
            headers += [(name.encode("latin-1"), value.encode("latin-1")) for name, value in hop.headers.items()]
        return hop
    if not stranger:
        headers += [(name, value) for name, value in exchange.request.scope["headers"] if name in _FORWARDED]
    return None
