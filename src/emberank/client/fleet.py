"""The forge's address in, the `Fleet` of the contract out: snapshot, wake, report and who is signed in, over HTTP. Knows nothing of what is done with them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Protocol
from urllib.parse import urlencode

from emberank.client.answer import Answer
from emberank.client.errors import error_from
from emberank.client.failures import TransportError
from emberank.client.pool import Pool
from emberank.client.url import Url, parse_url, read_url
from emberank.contract.errors import BadRequest, DeadlineExceeded, NotReady
from emberank.contract.fleet import LoadReport, Principal, Revisions, Snapshot, Wish
from emberank.dialects import fleet

_ANSWER_WITHIN_S = 10.0
_RETRY_AFTER_S = 1.0
_LARGE_BYTES = 128 << 10


class Fleet(Protocol):
    """The forge, as a gateway sees it. Every call raises NotReady when the forge cannot be reached, within a deadline of its own."""

    async def snapshot(self, gateway_id: str, known: Revisions, forge_id: str, wait_s: float) -> Snapshot:
        """What changed since `known`; waits up to `wait_s` for a change."""
        ...

    async def wake(self, wish: Wish) -> None:
        """Have the model started, if it is not; returns at once. Raises NotReady or BadRequest when that cannot be."""
        ...

    async def report(self, report: LoadReport) -> None:
        """Deliver usage and load. When it returns, the usage is kept."""
        ...

    async def session(self, headers: Sequence[tuple[bytes, bytes]], deadline: float) -> Principal:
        """Who sends a page's call with these headers; `deadline` is on time.monotonic. Raises what the forge raised, and DeadlineExceeded."""
        ...


class RemoteFleet:
    """The forge of another process. Every call ends within its own deadline, and raises NotReady when the forge cannot be reached or understood.

    Such a NotReady has what broke as its cause; one that the forge itself answered has none.
    """

    def __init__(self, url: str, token: str, pool: Pool, answer_within_s: float = _ANSWER_WITHIN_S) -> None:
        base = url.rstrip("/")
        parse_url(base)  # a wrong address is said here, not at the first call
        self._snapshot_url = f"{base}/internal/snapshot"
        self._wake_url = parse_url(f"{base}/internal/wake")
        self._report_url = parse_url(f"{base}/internal/report")
        self._session_url = parse_url(f"{base}/internal/session")
        self._headers = [(b"authorization", b"Bearer " + token.encode("latin-1")), (b"content-type", b"application/json")]
        self._pool = pool
        self._answer_within_s = answer_within_s

    async def snapshot(self, gateway_id: str, known: Revisions, forge_id: str, wait_s: float) -> Snapshot:
        """What changed since `known`; waits up to `wait_s` for a change."""
        call = fleet.SnapshotCall(gateway_id=gateway_id, forge_id=forge_id, known=known, wait_s=wait_s)
        url = read_url(f"{self._snapshot_url}?{urlencode(fleet.snapshot_fields(call))}")  # not through the cache: every revision makes another one
        answer = await self._ask("GET", url, b"", wait_s + self._answer_within_s)
        try:
            if len(answer.body) < _LARGE_BYTES:
                return fleet.decode_snapshot(answer.body)
            # A thousand models take tens of milliseconds, for which requests need not stand still.
            return await asyncio.to_thread(fleet.decode_snapshot, answer.body)
        except BadRequest as cause:
            raise NotReady(f"the forge's snapshot cannot be read: {cause.message}", retry_after_s=_RETRY_AFTER_S) from cause

    async def wake(self, wish: Wish) -> None:
        """Have the model started, if it is not; returns at once. Raises what the forge raised."""
        await self._ask("POST", self._wake_url, fleet.encode(wish), self._answer_within_s)

    async def report(self, report: LoadReport) -> None:
        """Deliver usage and load. When it returns, the usage is kept."""
        await self._ask("POST", self._report_url, fleet.encode(report), self._answer_within_s)

    async def session(self, headers: Sequence[tuple[bytes, bytes]], deadline: float) -> Principal:
        """Who sends a page's call with these headers. Raises what the forge raised."""
        patience_ends = time.monotonic() + self._answer_within_s
        try:
            answer = await self._send("POST", self._session_url, b"", min(deadline, patience_ends), headers)
        except NotReady as error:
            if isinstance(error.__cause__, DeadlineExceeded) and deadline < patience_ends:
                raise error.__cause__ from None  # it was the caller who could not wait
            raise
        if answer.status == 404:  # so it answers whoever has not the fleet's token
            raise _refused() from error_from(answer.status, answer.headers, answer.body)
        if answer.status >= 300:
            raise error_from(answer.status, answer.headers, answer.body)
        try:
            return fleet.decode_principal(answer.body)
        except BadRequest as cause:
            raise NotReady(f"the forge's answer cannot be read: {cause.message}", retry_after_s=_RETRY_AFTER_S) from cause

    async def _ask(self, method: str, url: Url, body: bytes, within_s: float) -> Answer:
        answer = await self._send(method, url, body, time.monotonic() + within_s)
        if answer.status < 300:
            return answer
        error = error_from(answer.status, answer.headers, answer.body)
        if answer.status in (401, 403):  # it is the gateway that was refused, and not whose call this is for
            raise _refused() from error
        raise error

    async def _send(self, method: str, url: Url, body: bytes, deadline: float, more: Sequence[tuple[bytes, bytes]] = ()) -> Answer:
        try:
            return await self._pool.request(method, url, [*self._headers, *more], body, deadline=deadline)
        except (TransportError, DeadlineExceeded, ValueError) as cause:
            raise NotReady("the forge cannot be reached", retry_after_s=_RETRY_AFTER_S) from cause


def _refused() -> NotReady:
    return NotReady("the forge refuses this gateway: their fleet tokens differ", retry_after_s=_RETRY_AFTER_S)
