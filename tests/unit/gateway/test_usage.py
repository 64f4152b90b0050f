"""What a gateway has to tell: numbered, in order, until it is taken; on disk when it is not, and delivered later by whoever comes next."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from emberank.contract.errors import BadRequest, DeadlineExceeded, NotReady
from emberank.contract.fleet import EndpointLoad, UsageRecord
from emberank.gateway import usage as usage_module
from emberank.gateway.metrics import GatewayMetrics
from emberank.gateway.spool import Spool
from emberank.gateway.usage import Usage
from fleets import ScriptedFleet, soon

NEVER_S = 3600.0


def record(name: str) -> UsageRecord:
    return UsageRecord(
        at_s=1.0, request_id=name, key_id="k", slug="s", version="v1", gpu_type="CPU", region="local", route="/v1/ranking", status=200, tokens=1, passages=1,
        chars=1, request_ms=1.0, model_ms=1.0, queue_ms=0.0, cold_start_ms=0.0, cost_usd=0.5,
    )  # fmt: skip


class Stage:
    """A Usage on a scripted fleet, whose loop does not run unless a test runs it."""

    def __init__(self, folder: Path, gateway: str = "g1", fleet: ScriptedFleet | None = None, flush_s: float = NEVER_S) -> None:
        self.fleet = fleet or ScriptedFleet()
        self.loads: tuple[EndpointLoad, ...] = ()
        self.metrics = GatewayMetrics()
        self.folder = folder
        self.usage = Usage(self.fleet, Spool(folder), lambda now: self.loads, flush_s, gateway, self.metrics)

    @property
    def taken(self) -> list[str]:
        return [record.request_id for record in self.fleet.usage]

    def files(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir()) if self.folder.exists() else []

    def value(self, name: str) -> float:
        return self.metrics.registry.get_sample_value(name) or 0.0


def play(act: Callable[[], Awaitable[Any]]) -> Any:
    return asyncio.run(act())  # type: ignore[arg-type]


async def running(stage: Stage, act: Callable[[], Awaitable[None]]) -> None:
    task = asyncio.create_task(stage.usage.run())
    try:
        await act()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def test_records_go_out_numbered_and_in_order(tmp_path: Path) -> None:
    async def act() -> None:
        stage = Stage(tmp_path, flush_s=0.005)

        async def three() -> None:
            for name in "abc":
                stage.usage.add(record(name))
                await soon(lambda name=name: name in stage.taken, "it is taken")

        await running(stage, three)
        assert stage.taken == ["a", "b", "c"]
        assert [report.number for report in stage.fleet.reports] == [1, 2, 3]
        assert {report.gateway_id for report in stage.fleet.reports} == {"g1"}
        assert stage.files() == []

    play(act)


def test_nothing_to_tell_is_not_told(tmp_path: Path) -> None:
    async def act() -> None:
        stage = Stage(tmp_path)
        await stage.usage.collect()
        await stage.usage.close()
        assert stage.fleet.attempts == []

    play(act)


def test_closing_delivers_everything(tmp_path: Path) -> None:
    async def act() -> None:
        stage = Stage(tmp_path)
        for name in "ab":
            stage.usage.add(record(name))
        await stage.usage.close()
        assert stage.taken == ["a", "b"]
        assert stage.files() == []

    play(act)


def test_closing_while_the_forge_is_away_spools_and_the_next_gateway_delivers(tmp_path: Path) -> None:
    async def act() -> None:
        first = Stage(tmp_path)
        first.fleet.away = True
        first.usage.add(record("a"))
        await first.usage.collect()
        first.usage.add(record("b"))
        await first.usage.close()
        assert first.files() == ["g1-1.json", "g1-2.json"]
        second = Stage(tmp_path, "g2", flush_s=0.005)
        second.usage.add(record("c"))

        async def all_taken() -> None:
            await soon(lambda: second.taken == ["a", "b", "c"], "old and new are taken")
            await soon(lambda: second.files() == [], "the spool is empty")

        await running(second, all_taken)
        assert [(report.gateway_id, report.number) for report in second.fleet.reports] == [("g1", 1), ("g1", 2), ("g2", 1)]

    play(act)


def test_what_is_not_taken_within_an_interval_is_on_disk_before_the_next_is_over(tmp_path: Path) -> None:
    async def act() -> None:
        stage = Stage(tmp_path)
        stage.fleet.away = True
        stage.usage.add(record("a"))
        await stage.usage.collect()
        assert stage.files() == []  # it may still be taken
        await stage.usage.collect()
        assert stage.files() == ["g1-1.json"]
        stage.usage.observe(0.0)
        assert stage.value("emberank_usage_waiting_records") == 1

    play(act)


def test_a_forge_that_comes_back_gets_all_of_it_in_order_and_the_files_go(tmp_path: Path) -> None:
    async def act() -> None:
        stage = Stage(tmp_path, flush_s=0.005)
        stage.fleet.away = True

        async def outage() -> None:
            for name in "abc":
                stage.usage.add(record(name))
                await soon(lambda name=name: len(stage.files()) >= "abc".index(name), "it is spooled")
            stage.fleet.away = False
            await soon(lambda: stage.taken == ["a", "b", "c"], "all is taken")
            await soon(lambda: stage.files() == [], "the spool is empty")

        await running(stage, outage)
        numbers = [report.number for report in stage.fleet.reports]
        assert numbers == sorted(numbers)

    play(act)


@pytest.mark.parametrize("error", [NotReady("away"), DeadlineExceeded("late")])
def test_a_report_whose_answer_was_lost_is_sent_again_under_its_number(tmp_path: Path, error: Exception) -> None:
    async def act() -> None:
        stage = Stage(tmp_path, flush_s=0.005)
        answers = iter([error, error, None])
        stage.fleet.refuse_report = lambda report: next(answers, None) if report.usage else None  # type: ignore[arg-type, return-value]
        stage.usage.add(record("a"))

        async def taken() -> None:
            await soon(lambda: stage.taken == ["a"], "it is taken")

        await running(stage, taken)
        attempts = [(report.number, [each.request_id for each in report.usage]) for report in stage.fleet.attempts if report.usage]
        assert attempts == [(1, ["a"])] * 3

    play(act)


def test_a_report_that_the_forge_will_never_take_holds_up_no_other(tmp_path: Path) -> None:
    async def act() -> None:
        stage = Stage(tmp_path)
        stage.fleet.refuse_report = lambda report: BadRequest("no") if report.number == 1 else None
        stage.usage.add(record("a"))
        await stage.usage.collect()
        stage.usage.add(record("b"))
        await stage.usage.close()
        assert stage.taken == ["b"]
        assert stage.value("emberank_usage_lost_records_total") == 1
        assert stage.files() == ["g1-1.refused"]

    play(act)


def test_large_intervals_become_several_reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage_module, "_MOST_RECORDS", 10)

    async def act() -> None:
        stage = Stage(tmp_path)
        numbers = []
        for i in range(25):
            numbers.append(stage.usage.number)
            stage.usage.add(record(str(i)))
        assert numbers == [1] * 10 + [2] * 10 + [3] * 5
        await stage.usage.close()
        assert [len(report.usage) for report in stage.fleet.reports] == [10, 10, 5]
        assert stage.taken == [str(i) for i in range(25)]

    play(act)


def test_when_neither_forge_nor_disk_take_it_memory_is_bounded_and_the_loss_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage_module, "_MOST_KEPT", 3)

    async def act() -> None:
        (tmp_path / "file").write_text("not a folder")
        stage = Stage(tmp_path / "file" / "spool")
        stage.fleet.away = True
        for name in "abcdef":
            stage.usage.add(record(name))
            await stage.usage.collect()
        stage.fleet.away = False
        await stage.usage.close()
        assert stage.taken[-3:] == ["d", "e", "f"]
        assert stage.value("emberank_usage_lost_records_total") == 6 - len(stage.taken)
        assert stage.value("emberank_usage_lost_records_total") >= 2

    play(act)


def test_loads_are_told_while_there_is_something_to_tell_and_once_more_when_it_ends(tmp_path: Path) -> None:
    async def act() -> None:
        stage = Stage(tmp_path)

        async def told() -> int:
            before = len(stage.fleet.reports)
            await stage.usage.close()
            return len(stage.fleet.reports) - before

        stage.loads = (EndpointLoad(endpoint_id="e1", in_flight=1, idle_s=0.0),)
        assert [await told(), await told()] == [1, 1]
        stage.loads = (EndpointLoad(endpoint_id="e1", in_flight=0, idle_s=0.0),)
        assert await told() == 1
        stage.loads = (EndpointLoad(endpoint_id="e1", in_flight=0, idle_s=1000.0),)
        assert await told() == 0
        assert stage.fleet.reports[-1].loads[0].in_flight == 0

    play(act)


def test_an_endpoint_that_broke_is_told_at_once(tmp_path: Path) -> None:
    async def act() -> None:
        stage = Stage(tmp_path)

        async def told() -> None:
            stage.usage.unreachable("e1")
            await soon(lambda: [report.unreachable for report in stage.fleet.reports] == [("e1",)], "it is told long before the interval is over")

        await running(stage, told)

    play(act)


def test_what_is_spooled_holds_usage_and_not_who_was_where(tmp_path: Path) -> None:
    async def act() -> None:
        stage = Stage(tmp_path)
        stage.fleet.away = True
        stage.loads = (EndpointLoad(endpoint_id="e1", in_flight=1, idle_s=0.0),)
        stage.usage.key_used("k1", 0.0)
        stage.usage.add(record("a"))
        await stage.usage.close()
        spool = Spool(tmp_path)
        kept = spool.read(spool.left()[0])
        assert kept is not None
        assert (kept.loads, kept.key_last_used, len(kept.usage)) == ((), (), 1)

    play(act)


def test_an_outage_gathers_usage_and_no_stale_loads(tmp_path: Path) -> None:
    async def act() -> None:
        stage = Stage(tmp_path)
        stage.fleet.away = True
        stage.loads = (EndpointLoad(endpoint_id="e1", in_flight=1, idle_s=0.0),)
        stage.usage.add(record("a"))
        for _ in range(50):
            await stage.usage.collect()
        assert len(stage.usage._waiting) == 1

    play(act)
