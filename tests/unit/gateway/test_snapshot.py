"""Following a forge: what changed is taken over, a silent one is served on without, another one says everything anew."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from emberank.contract.errors import ServerFault
from emberank.contract.fleet import Revisions, Snapshot
from emberank.gateway.view import View
from fleets import KEY, SECRET, FakeEndpoint, ScriptedFleet, endpoint, fake_endpoint, model, principal, soon
from gateways import Door, opened


def following(folder: Path, act: Callable[[Door, FakeEndpoint, ScriptedFleet], Awaitable[Any]], **settings: Any) -> Any:
    async def play() -> Any:
        async with fake_endpoint() as fake:
            fleet = ScriptedFleet([model()], [endpoint(fake.url)], [principal()])
            async with opened(fleet, folder, **settings) as door:
                return await act(door, fake, fleet)

    return asyncio.run(play())


async def away(door: Door, fleet: ScriptedFleet) -> None:
    fleet.away = True
    fleet.poke()
    await soon(lambda: door.value("emberank_forge_reachable") == 0, "the gateway notices")


def test_a_gateway_serves_on_from_its_last_snapshot_while_the_forge_is_away(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def act(door: Door, fake: FakeEndpoint, fleet: ScriptedFleet) -> None:
        await soon(lambda: door.value("emberank_forge_reachable") == 1, "the forge is heard")
        await away(door, fleet)
        assert [(await door.ask()).status for _ in range(3)] == [200] * 3
        assert (await door.get("/v1/health/ready")).status == 200
        assert (await door.get("/v1/models")).json["data"]
        assert door.value("emberank_ready") == 0  # until it is scraped
        assert b"emberank_ready 1.0" in (await door.get("/v1/metrics")).body
        assert door.value("emberank_snapshot_age_seconds") >= 0
        fleet.away = False
        await soon(lambda: door.value("emberank_forge_reachable") == 1, "it is back")
        await soon(lambda: len(fleet.usage) == 3, "no usage is lost")

    with caplog.at_level(logging.INFO):
        following(tmp_path, act)
    actions = [getattr(record, "action", "") for record in caplog.records]
    assert (actions.count("forge_away"), actions.count("forge_back")) == (1, 1)


def test_a_forge_that_restarts_says_everything_anew(tmp_path: Path) -> None:
    async def act(door: Door, fake: FakeEndpoint, fleet: ScriptedFleet) -> None:
        await away(door, fleet)
        fleet.restart("f2")
        fleet._parts["models"] = (model(), model("new-rank"))
        fleet._parts["principals"] = (principal("other-key"),)
        fleet.away = False
        await soon(lambda: door.gateway.view.forge_id == "f2", "the new forge is heard")
        assert (await door.ask()).status == 401
        assert (await door.ask(key="other-key")).status == 200
        assert len((await door.get("/v1/models", key="other-key")).json["data"]) == 2

    following(tmp_path, act)


def test_only_what_changed_is_taken_over(tmp_path: Path) -> None:
    async def act(door: Door, fake: FakeEndpoint, fleet: ScriptedFleet) -> None:
        view = door.gateway.view
        names, keys = view.names, view.keys
        fleet.publish(endpoints=[])
        await soon(lambda: len(view.places) == 0, "the endpoint is gone")
        assert (view.names, view.keys) == (names, keys)
        fleet.publish(models=[model(), model("b-rank")])
        await soon(lambda: len(view.names) == 2, "the model is there")
        assert view.keys is keys

    following(tmp_path, act)


def test_a_fault_of_the_forge_is_no_end_of_following(tmp_path: Path) -> None:
    async def act(door: Door, fake: FakeEndpoint, fleet: ScriptedFleet) -> None:
        good, faults = fleet.snapshot, iter([ServerFault(), ZeroDivisionError("not foreseen")])

        async def faulty(*args: Any) -> Snapshot:
            for fault in faults:
                raise fault
            return await good(*args)

        fleet.snapshot = faulty  # type: ignore[method-assign]
        fleet.publish(models=[model(), model("b-rank")])
        await soon(lambda: len(door.gateway.view.names) == 2, "it is followed again")

    following(tmp_path, act)


def news(forge_id: str = "f1", **parts: Any) -> Snapshot:
    return Snapshot(forge_id=forge_id, revisions=Revisions(models=1, endpoints=1, principals=1), **parts)


def test_half_a_snapshot_of_another_forge_does_not_fit() -> None:
    view = View()
    whole = {"models": (model(),), "endpoints": (endpoint(),), "principals": (principal(),), "key_secret": SECRET}
    assert not view.can_take(news(models=(model(),)))
    assert view.can_take(news(**whole))
    assert view.take(news(**whole), 0.0)
    assert view.can_take(news())
    assert not view.take(news(), 1.0)
    assert not view.can_take(news("f2"))
    assert view.keys.identify([(b"authorization", b"Bearer " + KEY.encode())], 0.0)


def test_what_the_forge_has_counted_is_not_counted_here_again() -> None:
    view = View()
    view.take(news(models=(), endpoints=(), principals=(principal(),), key_secret=SECRET), 0.0)
    view.limits.spend("k1", number=4, wall_s=0.0, usd=1.0, tokens=1)
    view.take(news(counted=3), 1.0)
    assert view.limits._accounts["k1"].uncounted
    view.take(news(counted=4), 2.0)
    assert not view.limits._accounts["k1"].uncounted
