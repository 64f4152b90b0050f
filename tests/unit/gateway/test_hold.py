"""Requests for cold models: one wake however many wait, bounded in number and time, and a sentence for everyone who is not answered."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from emberank.contract.errors import BadRequest, NotReady
from emberank.contract.fleet import Endpoint, TargetRow, Wish
from emberank.gateway import hold
from fleets import CPU, RANKING, FakeEndpoint, ScriptedFleet, endpoint, fake_endpoint, model, principal, soon
from gateways import Door, opened
from wire import Reply, nim_error

OTHER = TargetRow(gpu_type="L40S", region="eu-north1", status="works", runnable=True)
STARTING = endpoint(phase="STARTING", url="", eta_s=12.0)
FAILED = endpoint(phase="FAILED", url="", reason="out_of_memory", message="it needs 9.1 GB and 4.0 GB are free", retry_in_s=40.0)
ANY = Wish(slug="acme-rank", version="v1")


def cold(
    folder: Path,
    act: Callable[[Door, FakeEndpoint, ScriptedFleet], Awaitable[Any]],
    *endpoints: Endpoint,
    targets: tuple[TargetRow, ...] = (CPU,),
    **settings: Any,
) -> Any:
    """A model that is not warm, and an endpoint that could be."""

    async def play() -> Any:
        async with fake_endpoint() as fake:
            fleet = ScriptedFleet([model(targets=targets), model("other-rank")], endpoints, [principal()])
            async with opened(fleet, folder, **settings) as door:
                return await act(door, fake, fleet)

    return asyncio.run(play())


def test_a_herd_on_a_cold_model_causes_one_start_and_everybody_is_answered(tmp_path: Path) -> None:
    async def act(door: Door, fake: FakeEndpoint, fleet: ScriptedFleet) -> None:
        requests = [asyncio.create_task(door.ask()) for _ in range(200)]
        await soon(lambda: door.value("emberank_held_requests") == 200, "all are held")
        fleet.publish(endpoints=[STARTING])
        await soon(lambda: door.gateway.view.revisions.endpoints == 2, "the snapshot is there")
        assert not any(request.done() for request in requests)
        await soon(lambda: {load.in_flight for report in fleet.reports for load in report.loads} == {200}, "the forge is told how many wait")
        fleet.publish(endpoints=[endpoint(fake.url)])
        replies = await asyncio.gather(*requests)
        assert [reply.status for reply in replies] == [200] * 200
        assert fleet.wakes == [ANY]
        assert all(float(reply.headers["x-emberank-cold-start-ms"]) > 0 for reply in replies)
        assert door.value("emberank_held_requests") == 0
        assert door.value("emberank_wakes_total") == 1
        await soon(lambda: len(fleet.usage) == 200, "the usage is reported")
        assert all(record.cold_start_ms > 0 for record in fleet.usage)
        assert (await door.ask()).headers["x-emberank-cold-start-ms"] == "0"

    cold(tmp_path, act)


def test_wishes_for_different_pins_are_different_wakes(tmp_path: Path) -> None:
    async def act(door: Door, fake: FakeEndpoint, fleet: ScriptedFleet) -> None:
        bodies = [RANKING, RANKING | {"gpu_type": "L40S"}, RANKING | {"region": "local"}, RANKING | {"model": "other-rank"}, RANKING]
        requests = [asyncio.create_task(door.ask(body=body)) for body in bodies]
        await soon(lambda: len(fleet.wakes) == 4, "four wishes")
        assert {(wish.slug, wish.gpu_type, wish.region) for wish in fleet.wakes} == {
            ("acme-rank", None, None),
            ("acme-rank", "L40S", None),
            ("acme-rank", None, "local"),
            ("other-rank", None, None),
        }
        warm = endpoint(fake.url, gpu_type="L40S", region="eu-north1")
        fleet.publish(endpoints=[warm])
        await soon(lambda: sum(request.done() for request in requests) == 3, "who can be answered is answered")
        fleet.publish(endpoints=[warm, endpoint(fake.url, id="e2"), endpoint(fake.url, id="e3", slug="other-rank")])
        assert {(await request).status for request in requests} == {200}

    cold(tmp_path, act, targets=(CPU, OTHER))


def test_a_request_that_comes_when_it_is_warm_waits_for_nobody(tmp_path: Path) -> None:
    async def act(door: Door, fake: FakeEndpoint, fleet: ScriptedFleet) -> int:
        status = (await door.ask()).status
        assert fleet.wakes == []
        fleet.publish(endpoints=[endpoint(fake.url)])
        return status

    async def warm(door: Door, fake: FakeEndpoint, fleet: ScriptedFleet) -> None:
        fleet.publish(endpoints=[endpoint(fake.url)])
        await soon(lambda: door.gateway.view.revisions.endpoints == 2, "the snapshot is there")
        await act(door, fake, fleet)

    cold(tmp_path, warm)


def test_the_queue_of_a_cold_model_is_bounded_and_says_when_to_come_back(tmp_path: Path) -> None:
    async def act(door: Door, fake: FakeEndpoint, fleet: ScriptedFleet) -> tuple[Reply, list[int]]:
        held = [asyncio.create_task(door.ask()) for _ in range(3)]
        await soon(lambda: door.value("emberank_held_requests") == 3, "all are held")
        refused = await door.ask()
        other = asyncio.create_task(door.ask(body=RANKING | {"model": "other-rank"}))  # another model's queue is another queue
        await soon(lambda: door.value("emberank_held_requests") == 4, "it is held")
        fleet.publish(endpoints=[endpoint(fake.url), endpoint(fake.url, id="e2", slug="other-rank")])
        return refused, [(await request).status for request in [*held, other]]

    refused, statuses = cold(tmp_path, act, STARTING, max_held=3)
    assert (refused.status, refused.headers["retry-after"]) == (429, "12")
    assert nim_error(refused) == "3 requests wait for 'acme-rank' to start, which is the most allowed"
    assert statuses == [200] * 4


def test_a_start_that_fails_is_told_to_all_who_wait_with_reason_and_retry_after(tmp_path: Path) -> None:
    async def act(door: Door, fake: FakeEndpoint, fleet: ScriptedFleet) -> list[Reply]:
        requests = [asyncio.create_task(door.ask()) for _ in range(5)]
        await soon(lambda: door.value("emberank_held_requests") == 5, "all are held")
        fleet.publish(endpoints=[FAILED])
        return list(await asyncio.gather(*requests))

    for reply in cold(tmp_path, act):
        assert (reply.status, reply.headers["retry-after"]) == (503, "40")
        assert nim_error(reply) == "'acme-rank' v1 could not be started on CPU in local: out_of_memory: it needs 9.1 GB and 4.0 GB are free"


def test_while_a_failed_start_is_not_to_be_tried_again_the_answer_is_at_once(tmp_path: Path) -> None:
    async def act(door: Door, fake: FakeEndpoint, fleet: ScriptedFleet) -> Reply:
        reply = await door.ask()
        assert fleet.wakes == []
        return reply

    reply = cold(tmp_path, act, FAILED)
    assert (reply.status, "out_of_memory" in nim_error(reply)) == (503, True)


@pytest.mark.parametrize("retry_in_s", [None, 0.0])
def test_when_it_may_be_tried_again_an_old_failure_is_not_this_starts(tmp_path: Path, retry_in_s: float | None) -> None:
    old = endpoint(phase="FAILED", url="", reason="crashed", retry_in_s=retry_in_s)

    async def act(door: Door, fake: FakeEndpoint, fleet: ScriptedFleet) -> list[int]:
        first = asyncio.create_task(door.ask())
        await soon(lambda: len(fleet.wakes) == 1, "a start is wished for")
        fleet.publish(endpoints=[old])  # something else changed
        await soon(lambda: door.gateway.view.revisions.endpoints == 2, "the snapshot is there")
        assert not first.done()
        fleet.publish(endpoints=[STARTING])
        await soon(lambda: door.gateway.view.revisions.endpoints == 3, "the snapshot is there")
        fleet.publish(endpoints=[FAILED])
        return [(await first).status]

    assert cold(tmp_path, act, old) == [503]


def test_a_failure_on_one_target_leaves_the_others_to_hope_for(tmp_path: Path) -> None:
    async def act(door: Door, fake: FakeEndpoint, fleet: ScriptedFleet) -> int:
        request = asyncio.create_task(door.ask())
        await soon(lambda: len(fleet.wakes) == 1, "a start is wished for")
        fleet.publish(endpoints=[FAILED, endpoint(fake.url, id="e2", gpu_type="L40S", region="eu-north1")])
        return (await request).status

    assert cold(tmp_path, act, FAILED, targets=(CPU, OTHER)) == 200


def test_a_deadline_ends_the_wait_with_what_is_known(tmp_path: Path) -> None:
    async def act(door: Door, fake: FakeEndpoint, fleet: ScriptedFleet) -> Reply:
        return await door.ask(headers={"X-Request-Timeout": "0.05"})

    reply = cold(tmp_path, act, STARTING)
    assert (reply.status, reply.json["type"]) == (504, "deadline_exceeded")
    assert nim_error(reply) == ("'acme-rank' v1 was not warm within the request's deadline: starting on CPU in local, about 12 s left when last heard")
    assert "no start is under way" in nim_error(cold(tmp_path, act))


def test_who_leaves_is_not_held_any_more_and_the_last_one_ends_the_waking(tmp_path: Path) -> None:
    async def act(door: Door, fake: FakeEndpoint, fleet: ScriptedFleet) -> int:
        left = asyncio.Event()
        request = asyncio.create_task(door.ask(left=left))
        await soon(lambda: len(fleet.wakes) == 1, "a start is wished for")
        left.set()
        status = (await request).status
        assert door.value("emberank_held_requests") == 0
        assert door.gateway.hold._groups == {}
        return status

    assert cold(tmp_path, act) == 499


@pytest.mark.parametrize(
    ("error", "status"),
    [(BadRequest("'acme-rank' has no pool with 9 GB"), 400), (NotReady("it does not fit: 9.1 GB needed, 4 GB free", retry_after_s=9), 503)],
)
def test_what_the_forge_refuses_a_wish_with_is_what_callers_get(tmp_path: Path, error: Any, status: int) -> None:
    async def act(door: Door, fake: FakeEndpoint, fleet: ScriptedFleet) -> list[Reply]:
        gate = asyncio.Event()

        async def refuse(wish: Wish) -> None:
            await gate.wait()
            raise error

        fleet.on_wake = refuse
        requests = [asyncio.create_task(door.ask()) for _ in range(3)]
        await soon(lambda: door.value("emberank_held_requests") == 3, "all are held")
        gate.set()
        return list(await asyncio.gather(*requests))

    replies = cold(tmp_path, act)
    assert [(reply.status, nim_error(reply)) for reply in replies] == [(status, error.message)] * 3


def test_a_forge_that_is_away_for_a_moment_gets_the_wish_when_it_is_back(tmp_path: Path) -> None:
    async def act(door: Door, fake: FakeEndpoint, fleet: ScriptedFleet) -> int:
        fleet.away = True
        request = asyncio.create_task(door.ask())
        await soon(lambda: door.value("emberank_held_requests") == 1, "it is held")
        fleet.away = False
        await soon(lambda: len(fleet.wakes) == 1, "a start is wished for")
        fleet.publish(endpoints=[endpoint(fake.url)])
        return (await request).status

    assert cold(tmp_path, act) == 200


def test_a_forge_that_stays_away_is_a_503_that_says_so(tmp_path: Path) -> None:
    async def act(door: Door, fake: FakeEndpoint, fleet: ScriptedFleet) -> Reply:
        fleet.away = True
        return await door.ask()

    reply = cold(tmp_path, act, forge_patience_s=0.0)
    assert (reply.status, reply.headers["retry-after"]) == (503, "5")
    assert nim_error(reply) == "'acme-rank' is cold, and the forge, which would start it, cannot be reached: try again later"


def test_a_wish_of_which_nothing_came_is_sent_again_and_one_that_is_starting_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hold, "_LOOK_AGAIN_S", 0.01)
    monkeypatch.setattr(hold, "_MOST_LOOK_S", 0.01)

    async def act(door: Door, fake: FakeEndpoint, fleet: ScriptedFleet) -> None:
        request = asyncio.create_task(door.ask())
        await soon(lambda: len(fleet.wakes) >= 3, "it is sent again")
        fleet.publish(endpoints=[STARTING])
        await soon(lambda: door.gateway.view.revisions.endpoints == 2, "the snapshot is there")
        sent = len(fleet.wakes)
        fleet.restart("f2")  # another forge, and nothing starts there
        fleet.publish(endpoints=[])
        await soon(lambda: len(fleet.wakes) > sent, "the new forge is asked as well")
        fleet.publish(endpoints=[endpoint(fake.url)])
        assert (await request).status == 200

    cold(tmp_path, act)


def test_a_fault_of_the_forge_is_answered_and_not_waited_out(tmp_path: Path) -> None:
    async def act(door: Door, fake: FakeEndpoint, fleet: ScriptedFleet) -> Reply:
        def break_off(wish: Wish) -> None:
            raise ZeroDivisionError("secret")

        fleet.on_wake = break_off
        return await door.ask()

    reply = cold(tmp_path, act)
    assert (reply.status, nim_error(reply)) == (503, "'acme-rank' cannot be started: the forge's answer cannot be understood")


def test_when_the_gateway_ends_who_is_held_is_told_and_nobody_else_is_held(tmp_path: Path) -> None:
    async def act(door: Door, fake: FakeEndpoint, fleet: ScriptedFleet) -> tuple[Reply, Reply]:
        request = asyncio.create_task(door.ask())
        await soon(lambda: door.value("emberank_held_requests") == 1, "it is held")
        door.gateway.drain()
        return await request, await door.ask()

    held, later = cold(tmp_path, act, shutdown_grace_s=0.0)
    assert [held.status, later.status] == [503, 503]
    assert nim_error(held) == nim_error(later) == "the gateway is shutting down"


def test_an_error_that_all_share_gathers_no_tracebacks(tmp_path: Path) -> None:
    error = NotReady("no", retry_after_s=1)

    async def act(door: Door, fake: FakeEndpoint, fleet: ScriptedFleet) -> int:
        gate = asyncio.Event()

        async def refuse(wish: Wish) -> None:
            await gate.wait()
            raise error

        fleet.on_wake = refuse
        requests = [asyncio.create_task(door.ask()) for _ in range(50)]
        await soon(lambda: door.value("emberank_held_requests") == 50, "all are held")
        gate.set()
        await asyncio.gather(*requests)
        length, traceback = 0, error.__traceback__
        while traceback is not None:
            length, traceback = length + 1, traceback.tb_next
        return length

    assert cold(tmp_path, act) < 20
