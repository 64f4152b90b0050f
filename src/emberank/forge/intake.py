"""Gateways' reports in; usage kept, keys' spending, figures and loads brought up to date out. Answers only when the usage is in the store.

A report may come again: after a broken connection, or after a deadline that passed while the store was still writing. It is counted once, in the store by
its number, in memory by what is remembered here.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from emberank.contract.fleet import LoadReport, UsageRecord
from emberank.forge.estimates import error_of, line_of
from emberank.forge.keys import Keys
from emberank.forge.loads import Loads
from emberank.forge.metrics import ForgeMetrics
from emberank.forge.shielded import shielded
from emberank.forge.store.usage import traffic_sample
from emberank.forge.stored import Stored
from emberank.forge.windows import Windows

_MOST_GATEWAYS = 4096
_MOST_NUMBERS = 1024  # of one gateway's reports, remembered beside the floor
_MOST_JUDGED = 64  # requests of one report whose estimate is compared with what they took
_SILENT_AFTER_S = 60.0
_GONE_AFTER_S = 90.0  # a gateway may wait for news for a minute, and asks again at once


class TakesReports(Protocol):
    """Who else wants to know: the reconciler."""

    def take_report(self, report: LoadReport) -> None:
        """Take a gateway's news."""
        ...


@dataclass(slots=True)
class _Counted:
    """Which of a gateway's reports are in the sums held in memory."""

    floor: int  # all that the store had when this forge first heard of the gateway
    numbers: OrderedDict[int, None] = field(default_factory=OrderedDict)

    @property
    def last(self) -> int:
        return max(self.numbers, default=self.floor)

    def add(self, number: int) -> None:
        self.numbers[number] = None
        while len(self.numbers) > _MOST_NUMBERS:
            self.floor = max(self.floor, self.numbers.popitem(last=False)[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """A gateway, how many seconds ago it last asked for news or reported, and how many ago it last reported; None: it never had anything to report."""

    gateway_id: str
    ago_s: float
    reported_ago_s: float | None

    @property
    def lately(self) -> bool:
        """Whether it is there: one that waits for news asks again before long."""
        return self.ago_s < _GONE_AFTER_S


class Intake:
    """Takes reports. `traffic` is told which models were used."""

    def __init__(
        self,
        stored: Stored,
        keys: Keys,
        windows: Windows,
        reconciler: TakesReports,
        metrics: ForgeMetrics,
        *,
        traffic: Callable[[Iterable[str]], None] = lambda slugs: None,
        clock: Callable[[], float],
    ) -> None:
        self._stored = stored
        self._keys = keys
        self._windows = windows
        self._reconciler = reconciler
        self._metrics = metrics
        self._traffic = traffic
        self._clock = clock
        self._loads = Loads(_SILENT_AFTER_S)
        self._gateways: OrderedDict[str, _Counted] = OrderedDict()
        self._heard: OrderedDict[str, float] = OrderedDict()
        self._asked: OrderedDict[str, float] = OrderedDict()

    async def take(self, report: LoadReport) -> None:
        """Keep a report. Raises NotReady when the store cannot; the gateway sends it again."""
        # What is in use must stay warm even while the store is in trouble.
        self._loads.take(report, self._clock())
        self._reconciler.take_report(report)
        self._note(self._heard, report.gateway_id)
        self._keys.used(report.key_last_used)
        await shielded(self._keep(report))

    async def know(self, gateway_id: str) -> None:
        """A gateway asks. Find out what the store has of it, once."""
        self._note(self._asked, gateway_id)
        if gateway_id in self._gateways:
            self._gateways.move_to_end(gateway_id)
            return
        floor = await self._stored(lambda store: store.usage.counted(gateway_id))
        self._gateways.setdefault(gateway_id, _Counted(floor))
        while len(self._gateways) > _MOST_GATEWAYS:
            self._gateways.popitem(last=False)

    def counted(self, gateway_id: str) -> int:
        """The last report of a gateway that the keys' sums include; 0 for one that is not known."""
        found = self._gateways.get(gateway_id)
        return found.last if found else 0

    def in_flight(self, endpoint_id: str) -> int:
        """Requests that the gateways have at an endpoint, or hold for it."""
        return self._loads.of(endpoint_id, self._clock()).in_flight

    def gateways(self) -> int:
        """How many reported lately."""
        now = self._clock()
        return sum(now - at < _SILENT_AFTER_S for at in self._heard.values())

    def heard(self) -> list[Heard]:
        """Every gateway that asked or reported since this forge began, the one that did so last first."""
        now = self._clock()
        found = []
        for gateway_id, at in reversed(self._asked.items()):
            reported = self._heard.get(gateway_id)
            found.append(Heard(gateway_id=gateway_id, ago_s=now - at, reported_ago_s=None if reported is None else now - reported))
        return found

    async def _keep(self, report: LoadReport) -> None:
        await self.know(report.gateway_id)
        is_new = await self._stored(lambda store: store.usage.append(report.gateway_id, report.number, report.usage))
        counted = self._gateways.setdefault(report.gateway_id, _Counted(0))
        if report.number in counted.numbers or (not is_new and report.number <= counted.floor):
            self._metrics.repeated.inc()
        else:
            counted.add(report.number)
            self._count(report.usage)
        await self._keys.flush()

    def _count(self, usage: Sequence[UsageRecord]) -> None:
        self._metrics.reports.inc()
        if not usage:
            return
        self._metrics.usage_records.inc(len(usage))
        self._keys.spend(usage)
        self._judge_estimates(usage)
        for record in usage:
            sample = traffic_sample(record)
            if sample is not None:
                self._windows.add(sample)
        self._traffic({record.slug for record in usage})

    def _judge_estimates(self, usage: Sequence[UsageRecord]) -> None:
        """Hold what was expected of some of the requests against what they took, before they are part of what is expected."""
        for record in usage[:_MOST_JUDGED]:
            if record.status >= 400 or record.cold_start_ms > 0 or not record.gpu_type:
                continue
            fit = line_of(self._windows, record.slug, record.version, (record.gpu_type, record.region)).fit
            error = error_of(None if fit is None else fit.model_ms(record.tokens), record.model_ms)
            if error is not None:
                self._metrics.estimate_error.labels(record.slug).observe(abs(error))

    def _note(self, times: OrderedDict[str, float], gateway_id: str) -> None:
        times[gateway_id] = self._clock()
        times.move_to_end(gateway_id)
        while len(times) > _MOST_GATEWAYS:
            times.popitem(last=False)
