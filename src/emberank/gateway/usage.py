"""Usage records in, reports to the forge out: numbered, in order, until they are taken. Knows no request.

A report that is not taken within one interval is written to the spool, so a killed process loses an interval's usage, and one that is stopped loses none.
It is sent again under its number until the forge says that it has it; the forge counts a number once.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from emberank.client.fleet import Fleet
from emberank.contract.errors import BadRequest, EmberankError, PayloadTooLarge
from emberank.contract.fleet import EndpointLoad, LoadReport, UsageRecord
from emberank.gateway.metrics import GatewayMetrics
from emberank.gateway.spool import Spool

log = logging.getLogger(__name__)

_MOST_RECORDS = 5000  # of one report: about 2 MB
_MOST_KEPT = 200_000  # records in memory, when the disk takes none either: about 100 MB
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 5.0
_LAST_TRY_S = 3.0


@dataclass(slots=True, eq=False)
class _Report:
    """One that the forge does not have yet, in memory, in the spool, or both."""

    report: LoadReport | None
    path: Path | None
    records: int
    since: float


class Usage:
    """All that this gateway has to tell."""

    def __init__(
        self, fleet: Fleet, spool: Spool, loads: Callable[[float], tuple[EndpointLoad, ...]], flush_s: float, gateway_id: str, metrics: GatewayMetrics
    ) -> None:
        self.number = 1  # of the report that a record added now goes out with
        self._fleet = fleet
        self._spool = spool
        self._loads = loads
        self._flush_s = flush_s
        self._gateway_id = gateway_id
        self._metrics = metrics
        self._records: list[UsageRecord] = []
        self._full: list[LoadReport] = []
        self._unreachable: set[str] = set()
        self._keys_used: dict[str, float] = {}
        self._told_at = float("-inf")
        self._waiting: deque[_Report] = deque()
        self._hurry = asyncio.Event()
        self._news = asyncio.Event()

    def add(self, record: UsageRecord) -> None:
        """One request is over."""
        self._records.append(record)
        if len(self._records) >= _MOST_RECORDS:
            now = time.monotonic()
            self._full.append(self._numbered(self._loads(now), now))

    def key_used(self, key_id: str, now: float) -> None:
        """A key was used."""
        self._keys_used[key_id] = now

    def unreachable(self, endpoint_id: str) -> None:
        """An endpoint refused or broke a connection: the forge has to know now."""
        self._unreachable.add(endpoint_id)
        self._hurry.set()

    def observe(self, now: float) -> None:
        """Bring the gauges up to date."""
        waiting = sum(each.records for each in self._waiting)
        self._metrics.usage_waiting.set(len(self._records) + sum(len(report.usage) for report in self._full) + waiting)
        self._metrics.usage_lag.set(now - self._waiting[0].since if self._waiting else 0.0)

    async def run(self) -> None:
        """For ever: collect every interval, deliver beside it."""
        left = await asyncio.to_thread(self._spool.left)
        self._waiting.extendleft(_Report(None, path, 0, time.monotonic()) for path in reversed(left))
        delivering = asyncio.get_running_loop().create_task(self._deliver_for_ever())
        self._news.set()
        try:
            while True:
                try:
                    async with asyncio.timeout(self._flush_s):
                        await self._hurry.wait()
                except TimeoutError:
                    pass
                self._hurry.clear()
                await self.collect()
        finally:
            delivering.cancel()
            await asyncio.gather(delivering, return_exceptions=True)

    async def close(self) -> None:
        """The last flush: what the forge does not take in a moment is spooled."""
        await self.collect()
        try:
            async with asyncio.timeout(_LAST_TRY_S):
                while self._waiting:
                    await self._deliver_one(self._waiting[0])
        except (EmberankError, TimeoutError):
            await self._spool_waiting()

    async def collect(self) -> None:
        """Make a report of the interval; what the last one's did not get rid of goes to the spool."""
        await self._spool_waiting()
        now = time.monotonic()
        made, self._full = self._full, []
        loads = self._loads(now)
        news = any(load.in_flight or load.idle_s <= now - self._told_at for load in loads)
        # Who is where now will be no news when the forge is back: only usage, and what is broken, is gathered while it is away.
        if self._records or self._unreachable or ((news or self._keys_used) and not self._waiting):
            self._told_at = now
            made.append(self._numbered(loads, now))
        self._waiting.extend(_Report(report, None, len(report.usage), now) for report in made)
        if made:
            self._news.set()

    def _numbered(self, loads: tuple[EndpointLoad, ...], now: float) -> LoadReport:
        used, self._keys_used = self._keys_used, {}
        broken, self._unreachable = self._unreachable, set()
        records, self._records = self._records, []
        number, self.number = self.number, self.number + 1
        return LoadReport(
            gateway_id=self._gateway_id,
            number=number,
            usage=tuple(records),
            loads=loads,
            unreachable=tuple(broken),
            key_last_used=tuple((key_id, now - at) for key_id, at in used.items()),
        )

    async def _deliver_for_ever(self) -> None:
        pause_s = _FIRST_PAUSE_S
        while True:
            await self._news.wait()
            self._news.clear()
            while self._waiting:
                try:
                    await self._deliver_one(self._waiting[0])
                    pause_s = _FIRST_PAUSE_S
                except EmberankError:
                    await asyncio.sleep(pause_s * random.uniform(0.5, 1))  # noqa: S311  no secret
                    pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)

    async def _deliver_one(self, first: _Report) -> None:
        """Deliver the first of those that wait. Raises what the forge raised when it may take it later."""
        report = first.report
        if report is None and first.path is not None:
            report = await asyncio.to_thread(self._spool.read, first.path)
        refused = False
        if report is not None:
            try:
                await self._fleet.report(report)
            except (BadRequest, PayloadTooLarge) as error:
                refused = True
                log.error("the forge refuses a report: %s", error.message, extra={"action": "report_refused", "number": report.number})
                self._metrics.usage_lost.inc(len(report.usage))
            except EmberankError:
                if not report.usage and first.path is None:
                    self._drop(first)
                raise
        if first.path is not None:
            await asyncio.to_thread(self._spool.set_aside if refused else self._spool.forget, first.path)
        self._drop(first)

    def _drop(self, report: _Report) -> None:
        if self._waiting and self._waiting[0] is report:
            self._waiting.popleft()

    async def _spool_waiting(self) -> None:
        """Write down what waits with usage in it, and let go of it in memory; when the disk takes none, of the oldest, in the end."""
        for each in list(self._waiting):
            if each.path is not None or each.report is None or not each.report.usage:
                continue
            try:
                # Without who is where: it would be read as news whenever it is delivered.
                path = await asyncio.to_thread(self._spool.keep, replace(each.report, loads=(), unreachable=(), key_last_used=()))
            except OSError:
                self._make_room()
                return
            if each in self._waiting:
                each.path = path
                each.report = None if each is not self._waiting[0] else each.report
            else:
                self._spool.forget(path)  # it was delivered in the meantime

    def _make_room(self) -> None:
        kept = sum(each.records for each in self._waiting if each.report is not None)
        while kept > _MOST_KEPT and len(self._waiting) > 1:
            lost = self._waiting.popleft()
            if lost.report is not None:
                kept -= lost.records
                self._metrics.usage_lost.inc(lost.records)
                log.error("usage is lost: neither the forge nor the disk takes it", extra={"action": "usage_lost", "records": lost.records})
