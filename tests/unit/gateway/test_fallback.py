"""When nothing can answer for a model, another one does, as the catalogue has it; and the model itself again as soon as it can."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from emberank.contract.fleet import ModelRow, Principal, TargetRow
from emberank.gateway import remote
from fleets import CPU, RANKING, FakeEndpoint, Said, ScriptedFleet, endpoint, fake_endpoint, model, principal, soon
from gateways import Door, opened
from wire import Reply, nim_error

ELSEWHERE = TargetRow(gpu_type="REMOTE", region="elsewhere", status="not probed", runnable=True)
LOCAL = model("local", fallbacks=("hosted", "third"))
HOSTED = model("hosted", targets=(ELSEWHERE,))
THIRD = model("third", targets=(ELSEWHERE,))
AWAY: dict[str, Any] = {
    "gpu_type": "REMOTE",
    "region": "elsewhere",
    "dialect": "nim",
    "path": "/v1/ranking",
    "price_usd_per_hour": None,
    "usd_per_request": 0.25,
}
BROKEN: dict[str, Any] = {"phase": "FAILED", "url": "", "reason": "crashed", "message": "it ended by itself", "retry_in_s": 60.0}
RERANK = {"query": "q", "documents": ["a", "b"], "model": "local"}
Act = Callable[[Door, FakeEndpoint, FakeEndpoint, ScriptedFleet], Awaitable[Any]]


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "_FIRST_PAUSE_S", 0.0)


def stage(folder: Path, act: Act, *, models: Sequence[ModelRow] = (LOCAL, HOSTED, THIRD), key: Principal | None = None, local: Any = BROKEN) -> Any:
    """A local model, broken unless `local` says otherwise, and two hosted ones behind it."""

    async def play() -> Any:
        async with fake_endpoint() as first, fake_endpoint() as second:
            rows = [
                endpoint(**{"slug": "local", "url": first.url} | local),
                endpoint(second.url, id="e2", slug="hosted", **AWAY),
                endpoint(first.url, id="e3", slug="third", **AWAY),
            ]
            fleet = ScriptedFleet(models, rows, [key or principal()])
            async with opened(fleet, folder) as door:
                return await act(door, first, second, fleet)

    return asyncio.run(play())


async def ask(door: Door, **more: Any) -> Reply:
    return await door.ask(body=RANKING | {"model": "local"} | more)


async def published(door: Door, fleet: ScriptedFleet, *rows: Any) -> None:
    """A new snapshot of endpoints is there."""
    fleet.publish(endpoints=rows)
    await soon(lambda: door.gateway.view.places.endpoints() == tuple(rows), "the snapshot is there")


def test_the_fallback_answers_while_the_model_is_broken_and_the_model_when_it_is_back(tmp_path: Path) -> None:
    async def act(door: Door, first: FakeEndpoint, second: FakeEndpoint, fleet: ScriptedFleet) -> None:
        reply = await ask(door)
        assert (reply.status, reply.headers["emberank-fallback"], reply.headers["x-emberank-model"]) == (200, "hosted@v1", "hosted@v1")
        assert (len(first.asked), len(second.asked)) == (0, 1)
        assert door.value("emberank_fallbacks_total", model="local") == 1
        await published(door, fleet, endpoint(first.url, slug="local"), *fleet.endpoints[1:])
        reply = await ask(door)
        assert (reply.status, "emberank-fallback" in reply.headers, reply.headers["x-emberank-model"]) == (200, False, "local@v1")
        assert (len(first.asked), len(second.asked)) == (1, 1)
        await soon(lambda: len(fleet.usage) == 2, "the usage is reported")
        assert [(record.slug, record.gpu_type, record.cost_usd) for record in fleet.usage] == [("hosted", "REMOTE", 0.25), ("local", "CPU", 1e-5)]

    stage(tmp_path, act)


def test_an_answer_in_another_dialect_names_the_model_that_gave_it(tmp_path: Path) -> None:
    async def act(door: Door, first: FakeEndpoint, second: FakeEndpoint, fleet: ScriptedFleet) -> Reply:
        return await door.ask("/v1/rerank", RERANK)

    reply = stage(tmp_path, act)
    assert (reply.status, reply.headers["emberank-fallback"]) == (200, "hosted@v1")
    assert [entry["index"] for entry in reply.json["results"]] == [1, 0]


def test_the_second_fallback_answers_when_the_first_one_cannot_either(tmp_path: Path) -> None:
    async def act(door: Door, first: FakeEndpoint, second: FakeEndpoint, fleet: ScriptedFleet) -> Reply:
        second.answer = lambda asked: Said(410, b"", {})
        return await ask(door)

    assert stage(tmp_path, act).headers["emberank-fallback"] == "third@v1"


def test_when_nobody_can_answer_the_model_s_own_reason_is_given_and_nobody_is_billed_for_another(tmp_path: Path) -> None:
    async def act(door: Door, first: FakeEndpoint, second: FakeEndpoint, fleet: ScriptedFleet) -> Reply:
        first.answer = second.answer = lambda asked: Said(401, b"", {})
        reply = await ask(door)
        await door.gateway.usage.collect()
        assert fleet.usage == []
        return reply

    reply = stage(tmp_path, act)
    assert reply.status == 503
    assert "'local' v1 could not be started on CPU in local: crashed: it ended by itself" in nim_error(reply)


def test_a_local_model_that_breaks_off_twice_has_its_fallback(tmp_path: Path) -> None:
    async def act(door: Door, first: FakeEndpoint, second: FakeEndpoint, fleet: ScriptedFleet) -> Reply:
        first.answer = lambda asked: Said(status=0)
        await published(door, fleet, endpoint(first.url, slug="local"), endpoint(first.url, id="e9", slug="local"), *fleet.endpoints[1:])
        return await ask(door)

    assert stage(tmp_path, act).headers["emberank-fallback"] == "hosted@v1"


def test_a_model_that_nothing_here_can_run_has_its_fallback(tmp_path: Path) -> None:
    async def act(door: Door, first: FakeEndpoint, second: FakeEndpoint, fleet: ScriptedFleet) -> Reply:
        return await ask(door)

    nowhere = replace(CPU, runnable=False, reason="too small")
    models = (model("local", targets=(nowhere,), fallbacks=("hosted",)), HOSTED)
    reply = stage(tmp_path, act, models=models, local={"slug": "other"})
    assert (reply.status, reply.headers["emberank-fallback"]) == (200, "hosted@v1")


def test_back_from_remote_to_local(tmp_path: Path) -> None:
    """The other way round: a hosted model whose circuit is open is answered for by one that runs here."""

    async def act(door: Door, first: FakeEndpoint, second: FakeEndpoint, fleet: ScriptedFleet) -> None:
        second.answer = lambda asked: Said(401, b"", {})
        for _ in range(6):
            reply = await door.ask(body=RANKING | {"model": "hosted"})
            assert (reply.status, reply.headers["emberank-fallback"]) == (200, "local@v1")
        assert len(second.asked) == 5, "then it is left alone, and nobody waits for it"
        assert len(first.asked) == 6

    stage(tmp_path, act, models=(model("local"), model("hosted", targets=(ELSEWHERE,), fallbacks=("local",))), local={})


# Who gets none


@pytest.mark.parametrize("pin", [{"model_version": "v1"}, {"gpu_type": "CPU"}, {"region": "local"}, {"model_version": "v2"}])
def test_a_request_that_says_where_it_is_to_run_has_no_fallback(tmp_path: Path, pin: dict[str, str]) -> None:
    async def act(door: Door, first: FakeEndpoint, second: FakeEndpoint, fleet: ScriptedFleet) -> Reply:
        await published(door, fleet, *(endpoint(slug="local", id=f"l{v}", version=v, **BROKEN) for v in ("v1", "v2")), *fleet.endpoints[1:])
        return await ask(door, **pin)

    models = (model("local", versions=("v1", "v2"), fallbacks=("hosted",)), HOSTED)
    assert stage(tmp_path, act, models=models).status == 503


def test_a_key_that_may_not_use_the_fallback_gets_the_next_one_it_may(tmp_path: Path) -> None:
    async def act(door: Door, first: FakeEndpoint, second: FakeEndpoint, fleet: ScriptedFleet) -> tuple[Reply, int]:
        return await ask(door), len(second.asked)

    reply, asked = stage(tmp_path, act, key=principal(models=("local", "third")))
    assert (reply.headers["emberank-fallback"], asked) == ("third@v1", 0)
    reply, asked = stage(tmp_path / "x", act, key=principal(models=("local",)))
    assert (reply.status, asked) == (503, 0)


def test_a_budget_that_is_used_up_stops_the_fallback_as_well(tmp_path: Path) -> None:
    async def act(door: Door, first: FakeEndpoint, second: FakeEndpoint, fleet: ScriptedFleet) -> None:
        assert [(await ask(door)).status for _ in range(3)] == [200, 200, 429], "two at 0.25 are the budget"
        assert len(second.asked) == 2
        assert "monthly budget of 0.5 USD" in nim_error(await ask(door))

    stage(tmp_path, act, key=principal(monthly_usd=0.5))


def test_a_budget_that_is_used_up_while_a_request_was_held_stops_its_fallback(tmp_path: Path) -> None:
    async def act(door: Door, first: FakeEndpoint, second: FakeEndpoint, fleet: ScriptedFleet) -> None:
        await published(door, fleet, *fleet.endpoints[1:])
        held = asyncio.create_task(ask(door))
        await soon(lambda: len(fleet.wakes) == 1, "it is held")
        assert (await door.ask(body=RANKING | {"model": "hosted"})).status == 200
        await published(door, fleet, endpoint(slug="local", **BROKEN), *fleet.endpoints)
        reply = await held
        assert (reply.status, len(second.asked)) == (429, 1)

    stage(tmp_path, act, key=principal(monthly_usd=0.2))


def test_fallbacks_of_a_fallback_are_not_asked_so_nobody_goes_round_in_circles(tmp_path: Path) -> None:
    async def act(door: Door, first: FakeEndpoint, second: FakeEndpoint, fleet: ScriptedFleet) -> tuple[int, int, int]:
        second.answer = lambda asked: Said(401, b"", {})
        return (await ask(door)).status, len(first.asked), len(second.asked)

    models = (model("local", fallbacks=("hosted", "local")), model("hosted", targets=(ELSEWHERE,), fallbacks=("third", "local")), THIRD)
    assert stage(tmp_path, act, models=models) == (503, 0, 1)


def test_a_fallback_for_another_task_or_that_is_not_there_is_none(tmp_path: Path) -> None:
    async def act(door: Door, first: FakeEndpoint, second: FakeEndpoint, fleet: ScriptedFleet) -> int:
        return (await ask(door)).status

    models = (model("local", fallbacks=("gone", "hosted")), model("hosted", "embed", targets=(ELSEWHERE,)))
    assert stage(tmp_path, act, models=models) == 503


def test_calibrated_scores_are_not_answered_by_a_model_that_has_none(tmp_path: Path) -> None:
    async def act(door: Door, first: FakeEndpoint, second: FakeEndpoint, fleet: ScriptedFleet) -> tuple[Reply, int]:
        return await door.ask("/v1/rerank", RERANK | {"score_mode": "calibrated"}), len(second.asked)

    def calibrated(row: ModelRow) -> ModelRow:
        return replace(row, versions=tuple(replace(version, calibration=(1.0, 0.0)) for version in row.versions))

    reply, asked = stage(tmp_path, act, models=(calibrated(LOCAL), HOSTED, calibrated(THIRD)))
    assert (reply.status, reply.headers["emberank-fallback"], asked) == (200, "third@v1", 0)


def test_what_is_wrong_with_a_request_is_not_tried_on_others(tmp_path: Path) -> None:
    async def act(door: Door, first: FakeEndpoint, second: FakeEndpoint, fleet: ScriptedFleet) -> tuple[int, int]:
        first.answer = lambda asked: Said(400, b'{"object":"error","message":"no","type":"invalid_request_error"}', {})
        return (await ask(door)).status, len(second.asked)

    assert stage(tmp_path, act, local={}) == (400, 0)


def test_a_request_in_parts_is_answered_by_one_model_alone(tmp_path: Path) -> None:
    async def act(door: Door, first: FakeEndpoint, second: FakeEndpoint, fleet: ScriptedFleet) -> Reply:
        def ranked(count: int, logit: float) -> Said:
            return Said(200, json.dumps({"rankings": [{"index": i, "logit": logit} for i in range(count)]}).encode(), {"Server-Timing": "engine;dur=10"})

        first.answer = lambda asked: ranked(2, 50.0) if len(first.asked) == 1 else Said(status=0)
        second.answer = lambda asked: ranked(len(asked.json["passages"]), 1.0)
        await published(door, fleet, *(endpoint(first.url, id=f"l{i}", slug="local", max_passages=2) for i in range(3)), *fleet.endpoints[1:])
        return await door.ask("/v1/rerank", RERANK | {"documents": list("abc"), "raw_scores": True})

    reply = stage(tmp_path, act)
    assert (reply.status, reply.headers["emberank-fallback"]) == (200, "hosted@v1")
    assert [entry["relevance_score"] for entry in reply.json["results"]] == [1.0, 1.0, 1.0]
    assert float(reply.headers["x-emberank-cost-usd"]) == pytest.approx(0.25 + 1e-5), "what the other one has read is paid for"
