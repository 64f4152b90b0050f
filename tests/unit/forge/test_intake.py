"""Reports of gateways: kept before they are answered, counted once whatever goes wrong in between, and what follows from them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from emberank.contract.errors import BadRequest, NotReady
from emberank.contract.fleet import EndpointLoad, LoadReport
from emberank.forge.intake import Intake
from emberank.forge.keys import Keys
from emberank.forge.metrics import ForgeMetrics
from emberank.forge.rights import Rights
from emberank.forge.store import Store, open_store
from emberank.forge.windows import Windows
from stores import NOON_S, record, sample

T = TypeVar("T")
TARGET = ("CPU", "local")


class Desk:
    """An intake on a real store. `before` is raised in the place of a call to the store; `late` after the call was made all the same."""

    def __init__(self, folder: Path) -> None:
        self.store = open_store(folder / "intake.db")
        self.before: Exception | None = None
        self.late: Exception | None = None
        self.heard: list[LoadReport] = []
        self.used: list[set[str]] = []
        self.now = 0.0
        self.restart()

    def restart(self) -> None:
        """Another forge on the same store."""
        self.windows, self.metrics = Windows(), ForgeMetrics()
        self.keys = Keys(self.ask, "ab" * 32, lambda: NOON_S)
        asyncio.run(self.keys.load())
        self.intake = Intake(self.ask, self.keys, self.windows, self, self.metrics, traffic=lambda slugs: self.used.append(set(slugs)), clock=lambda: self.now)

    async def ask(self, call: Callable[[Store], T], /) -> T:
        await asyncio.sleep(0)
        if self.before is not None:
            raise self.before
        found = call(self.store)
        if self.late is not None:
            raise self.late
        return found

    def take_report(self, report: LoadReport) -> None:
        self.heard.append(report)

    def take(self, number: int, *usage: Any, gateway: str = "g1", **more: Any) -> None:
        asyncio.run(self.intake.take(LoadReport(gateway_id=gateway, number=number, usage=usage, **more)))

    def sums(self) -> tuple[int, float, int]:
        """Requests in the store, dollars in memory, samples in the window."""
        hours = self.store.usage.rollup(0, NOON_S + 7200)
        return sum(hour.requests for hour in hours), self.keys.spent("k1").usd, len(self.windows)

    def metric(self, name: str) -> float:
        return self.metrics.registry.get_sample_value(name) or 0.0


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    yield made
    made.store.close()


def test_usage_is_kept_spent_and_part_of_the_figures(desk: Desk) -> None:
    desk.take(1, record(), record(status=500), record(status=400), record(gpu_type="", region=""))
    assert desk.sums() == (4, 1.0, 2)  # a refused request, and one that reached no target, say nothing of a target
    series = desk.windows.of("minilm", "v1", TARGET, "traffic")
    assert [one.ok for one in series] == [True, False]
    assert desk.used == [{"minilm"}]
    assert desk.intake.counted("g1") == 1
    assert len(desk.heard) == 1


def test_a_report_that_comes_twice_is_counted_once(desk: Desk) -> None:
    desk.take(1, record())
    desk.take(1, record())
    desk.take(2, record())
    desk.take(1, record())
    assert desk.sums() == (2, 0.5, 2)
    assert (desk.metric("emberank_reports_total"), desk.metric("emberank_reports_repeated_total")) == (2, 2)


def test_a_report_that_an_earlier_forge_counted_is_not_counted_again(desk: Desk) -> None:
    desk.take(1, record())
    desk.take(2, record())
    desk.restart()
    assert desk.sums() == (2, 0.5, 0)
    desk.take(2, record())
    assert desk.sums() == (2, 0.5, 0)
    desk.take(3, record())
    assert desk.sums() == (3, 0.75, 1)
    assert desk.intake.counted("g1") == 3


def test_usage_that_cannot_be_kept_is_not_answered_and_not_counted(desk: Desk) -> None:
    desk.before = NotReady("the disk is full", retry_after_s=30)
    with pytest.raises(NotReady):
        desk.take(1, record())
    assert len(desk.heard) == 1  # what is in use stays warm all the same
    assert desk.sums() == (0, 0.0, 0)
    desk.before = None
    desk.take(1, record())
    assert desk.sums() == (1, 0.25, 1)


def test_a_deadline_that_passes_while_the_store_still_writes_loses_and_doubles_nothing(desk: Desk) -> None:
    asyncio.run(desk.intake.know("g1"))
    desk.late = NotReady("too slow")
    with pytest.raises(NotReady):
        desk.take(1, record())  # the store has it
    desk.late = None
    assert desk.sums() == (1, 0.0, 0)
    desk.take(1, record())
    assert desk.sums() == (1, 0.25, 1)
    desk.take(1, record())
    assert desk.sums() == (1, 0.25, 1)


def test_a_gateway_that_breaks_off_in_the_middle_leaves_store_and_memory_at_one(desk: Desk) -> None:
    async def leave() -> None:
        task = asyncio.ensure_future(desk.intake.take(LoadReport(gateway_id="g1", number=1, usage=(record(),))))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        for _ in range(10):
            await asyncio.sleep(0)

    asyncio.run(leave())
    assert desk.sums() == (1, 0.25, 1)
    assert desk.intake.counted("g1") == 1


def test_reports_of_many_gateways_are_told_apart_by_their_ids(desk: Desk) -> None:
    desk.take(1, record(), gateway="g1")
    desk.take(1, record(), gateway="g2")
    assert desk.sums()[0] == 2
    assert (desk.intake.counted("g1"), desk.intake.counted("g2"), desk.intake.counted("g3")) == (1, 1, 0)
    assert desk.intake.gateways() == 2
    desk.now = 61.0
    assert desk.intake.gateways() == 0


def test_a_report_without_usage_counts_too(desk: Desk) -> None:
    desk.take(1)
    desk.take(2, record())
    desk.take(3)
    assert desk.intake.counted("g1") == 3
    assert desk.sums()[0] == 1


def test_figures_that_no_sum_survives_are_refused(desk: Desk) -> None:
    with pytest.raises(BadRequest, match="cannot be"):
        desk.take(1, record(cost_usd=float("nan")))
    desk.take(1, record())
    assert desk.sums() == (1, 0.25, 1)


def test_what_is_in_flight_at_an_endpoint_is_the_sum_over_the_gateways(desk: Desk) -> None:
    desk.take(1, loads=(EndpointLoad(endpoint_id="e1", in_flight=3, idle_s=0.0),))
    desk.take(1, gateway="g2", loads=(EndpointLoad(endpoint_id="e1", in_flight=2, idle_s=0.0),))
    assert (desk.intake.in_flight("e1"), desk.intake.in_flight("e2")) == (5, 0)
    desk.now = 61.0  # both were killed
    assert desk.intake.in_flight("e1") == 0


def test_the_last_use_of_keys_comes_with_the_reports(desk: Desk) -> None:
    _, key = asyncio.run(desk.keys.create(Rights(name="one", scopes=("read",))))
    desk.take(1, key_last_used=((key.key_id, 5.0),))
    assert desk.keys.get(key.key_id).last_used_at_s == NOON_S - 5


def test_what_was_expected_of_a_request_is_held_against_what_it_took(desk: Desk) -> None:
    for _ in range(10):
        desk.windows.add(sample(kind="probe", model_ms=10.0, request_ms=12.0, tokens=100, passages=3))
    name = "emberank_estimate_error_ratio"
    desk.take(1, record(model_ms=8.0, tokens=100), record(cold_start_ms=900.0), record(status=500))
    assert desk.metrics.registry.get_sample_value(f"{name}_count", {"model": "minilm"}) == 1  # warm requests that were answered
    assert desk.metrics.registry.get_sample_value(f"{name}_sum", {"model": "minilm"}) == pytest.approx(0.25)
