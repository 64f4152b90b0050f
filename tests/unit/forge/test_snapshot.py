"""What gateways are told: each part anew only when its content is, at once when somebody waits, to many at the same time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, TypeVar

import pytest

from emberank.contract.fleet import Endpoint, Principal, Revisions, Snapshot, TargetRow
from emberank.forge import snapshot
from emberank.forge.catalog import Catalog, Model, Version
from emberank.forge.snapshot import TRAFFIC_EVERY_S, ModelRows, Snapshots, created, owner
from wire import WAIT_S

T = TypeVar("T")
SECRET = "5e" * 32
NOTHING = Revisions()


def model(slug: str, **more: Any) -> Model:
    values: dict[str, Any] = {
        "slug": slug,
        "id": f"acme/{slug}",
        "title": slug,
        "description": "",
        "task": "rank",
        "versions": (Version(name="v1", source="x"),),
    }
    return Model(**{**values, **more})


ENDPOINT = Endpoint(id="e1", slug="a", version="v1", gpu_type="CPU", region="local", phase="WARM", url="http://127.0.0.1:1", secret="s3cret")
PRINCIPAL = Principal(key_id="k1", name="one", digest="d1", scopes=("read",))


class Bench:
    """Snapshots of things that a test changes, and how often each was looked at."""

    def __init__(self) -> None:
        self.catalog = Catalog([model("a"), model("b")])
        self.statuses: dict[str, Any] = {}
        self.endpoints: tuple[Endpoint, ...] = (ENDPOINT,)
        self.principals: tuple[Principal, ...] = (PRINCIPAL,)
        self.counted: dict[str, int] = {}
        self.skipped_s = 0.0
        self.made: list[str] = []
        self.snapshots = Snapshots(
            ModelRows(lambda: self.catalog, self._targets),
            lambda: self.endpoints,
            lambda: self.principals,
            SECRET,
            counted=lambda gateway: self.counted.get(gateway, 0),
            clock=lambda: time.monotonic() + self.skipped_s,
        )

    def _targets(self, model: Model, version: Version) -> tuple[TargetRow, ...]:
        self.made.append(model.slug)
        return (TargetRow(gpu_type="CPU", region="local", status=self.statuses.get(model.slug, "works"), runnable=True),)

    async def ask(self, known: Revisions = NOTHING, wait_s: float = 0.0, forge_id: str | None = None, gateway: str = "g1") -> Snapshot:
        async with asyncio.timeout(WAIT_S):
            return await self.snapshots.next(gateway, known, self.snapshots.forge_id if forge_id is None else forge_id, wait_s)


def run(test: Callable[[Bench], Awaitable[T]]) -> T:
    async def go() -> T:
        return await test(Bench())

    return asyncio.run(go())


def test_a_new_gateway_is_told_everything() -> None:
    async def test(bench: Bench) -> Snapshot:
        bench.counted["g1"] = 7
        return await bench.ask(forge_id="")

    news = run(test)
    assert news.models is not None
    assert [(row.slug, row.id, row.owner, row.versions[0].targets[0].status) for row in news.models] == [
        ("a", "acme/a", "acme", "works"),
        ("b", "acme/b", "acme", "works"),
    ]
    assert news.endpoints == (ENDPOINT,)
    assert news.principals == (PRINCIPAL,)
    assert news.key_secret == SECRET
    assert news.counted == 7
    assert 0 not in (news.revisions.models, news.revisions.endpoints, news.revisions.principals)


def test_nothing_new_is_said_in_a_few_bytes_and_nothing_is_made_anew() -> None:
    async def test(bench: Bench) -> None:
        first = await bench.ask()
        bench.made.clear()
        again = await bench.ask(first.revisions)
        assert (again.models, again.endpoints, again.principals, again.key_secret) == (None, None, None, "")
        assert again.revisions == first.revisions
        assert bench.made == []

    run(test)


def test_only_the_part_that_changed_is_said_and_it_has_another_revision() -> None:
    async def test(bench: Bench) -> None:
        known = (await bench.ask()).revisions
        bench.endpoints = (replace(ENDPOINT, phase="DRAINING"),)
        bench.snapshots.endpoints_changed()
        news = await bench.ask(known)
        assert (news.models, news.principals) == (None, None)
        assert news.endpoints is not None
        assert news.endpoints[0].phase == "DRAINING"
        assert news.revisions == replace(known, endpoints=known.endpoints + 1)

    run(test)


def test_a_change_that_changed_nothing_is_none() -> None:
    async def test(bench: Bench) -> None:
        known = (await bench.ask()).revisions
        bench.snapshots.endpoints_changed()
        bench.snapshots.principals_changed()
        bench.snapshots.models_changed(["a", "b", "unknown"])
        assert (await bench.ask(known)).revisions == known

    run(test)


def test_who_knows_another_forge_s_revisions_is_told_everything() -> None:
    async def test(bench: Bench) -> None:
        known = (await bench.ask()).revisions
        news = await bench.ask(known, forge_id="another")
        assert None not in (news.models, news.endpoints, news.principals)

    run(test)


def test_whoever_waits_is_answered_when_something_changes_however_many_they_are() -> None:
    async def test(bench: Bench) -> None:
        known = (await bench.ask()).revisions
        waiting = [asyncio.ensure_future(bench.ask(known, wait_s=WAIT_S, gateway=f"g{i}")) for i in range(50)]
        await asyncio.sleep(0)
        assert not any(task.done() for task in waiting)
        bench.endpoints = ()
        bench.snapshots.endpoints_changed()
        answers = await asyncio.gather(*waiting)
        assert all(news.endpoints == () and news.models is None for news in answers)

    run(test)


def test_a_change_that_changed_nothing_wakes_nobody() -> None:
    async def test(bench: Bench) -> None:
        known = (await bench.ask()).revisions
        waiting = asyncio.ensure_future(bench.ask(known, wait_s=WAIT_S))
        for _ in range(5):
            bench.snapshots.endpoints_changed()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        assert not waiting.done()
        bench.principals = ()
        bench.snapshots.principals_changed()
        assert (await waiting).principals == ()

    run(test)


def test_after_the_wait_a_gateway_hears_that_nothing_changed_and_what_was_counted() -> None:
    async def test(bench: Bench) -> None:
        known = (await bench.ask()).revisions
        bench.counted["g1"] = 3
        news = await bench.ask(known, wait_s=0.02)
        assert (news.revisions, news.counted, news.models) == (known, 3, None)

    run(test)


def test_what_changes_between_two_questions_is_not_missed() -> None:
    async def test(bench: Bench) -> None:
        known = (await bench.ask()).revisions
        bench.endpoints = ()
        bench.snapshots.endpoints_changed()  # nobody waits now
        assert (await bench.ask(known, wait_s=WAIT_S)).endpoints == ()

    run(test)


def test_only_the_models_of_which_something_was_learned_are_made_anew() -> None:
    async def test(bench: Bench) -> None:
        known = (await bench.ask()).revisions
        bench.made.clear()
        bench.statuses["b"] = "unavailable"
        bench.snapshots.models_changed(["b"])
        news = await bench.ask(known)
        assert bench.made == ["b"]
        assert news.models is not None
        assert [row.versions[0].targets[0].status for row in news.models] == ["works", "unavailable"]

    run(test)


def test_thousands_of_targets_are_looked_at_bit_by_bit_while_other_things_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "_MOST_AT_ONCE_S", -1.0)  # one model at a time

    async def test(bench: Bench) -> None:
        seen: list[int] = []

        async def other() -> None:
            while len(seen) < 2:
                seen.append(len(bench.made))
                await asyncio.sleep(0)

        asking = asyncio.ensure_future(bench.ask())
        await other()
        bench.catalog = Catalog([model("c"), model("d")])  # in the middle of it
        news = await asking
        assert seen[0] < seen[1]
        assert news.models is not None
        assert [row.slug for row in news.models] == ["c", "d"]

    run(test)


def test_traffic_is_looked_at_every_few_seconds_only() -> None:
    async def test(bench: Bench) -> None:
        known = (await bench.ask()).revisions
        bench.made.clear()
        bench.statuses["a"] = "unavailable"
        bench.snapshots.models_used(["a"])
        assert (await bench.ask(known)).models is None
        bench.skipped_s = TRAFFIC_EVERY_S
        assert (await bench.ask(known)).models is not None
        assert bench.made == ["a"]

    run(test)


def test_traffic_that_is_due_wakes_who_waits() -> None:
    async def test(bench: Bench) -> None:
        known = (await bench.ask()).revisions
        waiting = asyncio.ensure_future(bench.ask(known, wait_s=WAIT_S))
        await asyncio.sleep(0)
        bench.statuses["a"] = "unavailable"
        bench.skipped_s = TRAFFIC_EVERY_S
        bench.snapshots.models_used(["a"])
        assert (await waiting).models is not None

    run(test)


def test_another_catalogue_is_told_with_its_names() -> None:
    async def test(bench: Bench) -> None:
        known = (await bench.ask()).revisions
        bench.catalog = Catalog([model("a"), model("c", aliases=("sea",))])
        bench.snapshots.models_changed(["a", "b", "c"])
        news = await bench.ask(known)
        assert news.models is not None
        assert [row.slug for row in news.models] == ["a", "c"]
        assert {"c", "acme/c", "sea"} <= set(news.models[1].names)

    run(test)


def test_at_the_end_everybody_is_answered_at_once() -> None:
    async def test(bench: Bench) -> None:
        known = (await bench.ask()).revisions
        waiting = [asyncio.ensure_future(bench.ask(known, wait_s=WAIT_S)) for _ in range(3)]
        await asyncio.sleep(0)
        bench.snapshots.close()
        await asyncio.gather(*waiting)
        await bench.ask(known, wait_s=WAIT_S)  # and who comes later too

    run(test)


def test_a_gateway_that_leaves_while_it_waits_disturbs_no_other() -> None:
    async def test(bench: Bench) -> None:
        known = (await bench.ask()).revisions
        leaving, staying = (asyncio.ensure_future(bench.ask(known, wait_s=WAIT_S)) for _ in range(2))
        await asyncio.sleep(0)
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        bench.endpoints = ()
        bench.snapshots.endpoints_changed()
        assert (await staying).endpoints == ()

    run(test)


def test_an_entry_without_a_date_or_a_publisher_has_defaults() -> None:
    assert created(model("a")) == 0
    assert created(model("a", added="1970-01-02")) == 86_400
    assert owner(model("a", id="plain")) == "emberank"
