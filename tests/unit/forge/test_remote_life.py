"""Somebody else's server over time: it follows the catalogue and the keys, costs nothing to watch, and lets go when its entry does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any

import pytest

from emberank.contract.fleet import Endpoint, LoadReport
from emberank.forge.catalog import Catalog, Model, Version
from emberank.forge.endpoint_probe import EndpointProbe
from emberank.forge.installation import _is_charged
from emberank.forge.launchers.remote import RemoteLauncher
from emberank.forge.samples import Sample
from emberank.forge.targets import ELSEWHERE, elsewhere
from reconciling import World, model

Test = Callable[..., Coroutine[Any, Any, None]]


def on_a_loop(test: Test) -> Callable[..., None]:
    @wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        asyncio.run(asyncio.wait_for(test(*args, **kwargs), 60))

    return run


def hosted(**settings: str) -> Model:
    return model("n", Version(name="v1", source="nvidia_nim/nvidia/x", settings={"api_base": "http://nim:8000", "api_key_env": "KEY"} | settings))


class Elsewhere(World):
    """A forge with one hosted model, and the secrets that are kept for it."""

    def __init__(self, one: Model) -> None:
        super().__init__(one, pools=(elsewhere(),))
        self.kept = {"KEY": "first"}
        launcher = RemoteLauncher(environment={}, stored=lambda name: self.kept.get(name, ""), clock=self.clock, probe=EndpointProbe())
        self.reconciler._acts.launchers = {"remote": launcher}

    @property
    def endpoint(self) -> Endpoint:
        (one,) = self.reconciler.endpoints()
        return one


@on_a_loop
async def test_it_is_warm_without_a_question_and_never_asked_for_its_health() -> None:
    world = Elsewhere(hosted())
    await world.warm("n")
    await world.pass_(600.0, step_s=10)
    assert (world.phase("n", ELSEWHERE), world.asked) == ("WARM", 0)
    assert (world.endpoint.gpu_type, world.endpoint.region, world.endpoint.price_usd_per_hour) == ("REMOTE", "elsewhere", None)


@on_a_loop
async def test_a_gateway_that_cannot_reach_it_makes_nobody_hurry() -> None:
    world = Elsewhere(hosted())
    one = await world.warm("n")
    world.reconciler.take_report(LoadReport(gateway_id="g", number=1, unreachable=(one.id,)))
    await world.pass_(10.0)
    assert (world.phase("n", ELSEWHERE), world.asked, world.reconciler._health.hurrying()) == ("WARM", 0, False)


@on_a_loop
async def test_a_gateway_is_told_how_it_is_spoken_to() -> None:
    world = Elsewhere(hosted(max_passages="10", timeout_s="3", usd_per_request="0.1", usd_per_million_tokens="2"))
    await world.warm("n")
    one = world.endpoint
    assert (one.url, one.path, one.dialect, one.served_name, one.secret) == ("http://nim:8000", "/v1/retrieval/nvidia/x/reranking", "nim", "nvidia/x", "first")
    assert (one.max_passages, one.timeout_s, one.usd_per_request, one.usd_per_million_tokens) == (10, 3.0, 0.1, 2.0)


@on_a_loop
async def test_a_new_key_and_a_changed_entry_are_taken_up_without_a_start() -> None:
    world = Elsewhere(hosted())
    await world.warm("n")
    before = world.endpoint.id
    world.kept["KEY"] = "second"
    published = world.published
    await world.pass_(1.0)
    assert (world.endpoint.id, world.endpoint.secret) == (before, "second")
    assert world.published > published, "gateways are told"
    world.reconciler.catalog = Catalog([hosted(api_base="http://other:1", usd_per_request="0.5")])
    await world.pass_(1.0)
    assert (world.endpoint.url, world.endpoint.usd_per_request) == ("http://other:1", 0.5)


@on_a_loop
async def test_a_key_that_is_taken_away_is_a_failure_with_its_name_and_the_way_back() -> None:
    world = Elsewhere(hosted())
    await world.warm("n")
    del world.kept["KEY"]
    await world.pass_(2.0)
    found = world.get("n", ELSEWHERE)
    assert found is not None
    assert (found.phase, found.reason) == ("FAILED", "bad_setting")
    assert "emberank secret set KEY" in found.message
    world.kept["KEY"] = "third"
    await world.warm("n")
    assert world.endpoint.secret == "third"


@on_a_loop
async def test_one_that_leaves_the_catalogue_is_let_go() -> None:
    world = Elsewhere(hosted())
    await world.warm("n")
    world.reconciler.catalog = Catalog([model("other")])
    await world.pass_(3.0)
    assert world.phase("n", ELSEWHERE) == "COLD"


@on_a_loop
async def test_the_next_forge_takes_it_up_as_the_catalogue_is_then() -> None:
    world = Elsewhere(hosted())
    await world.warm("n")
    rows = list(world.journal.rows.values())
    assert all("first" not in repr(row) for row in rows), "no key is written down"
    after = Elsewhere(hosted(api_base="http://moved:2", max_passages="7"))
    after.reconciler.adopt(rows)
    await after.pass_(1.0)
    assert (after.endpoint.phase, after.endpoint.url, after.endpoint.max_passages, after.endpoint.secret) == ("WARM", "http://moved:2", 7, "first")


@pytest.mark.parametrize(("source", "charged"), [("nim:http://n", False), ("hf:a/b", False), ("nvidia_nim/a/b", True), ("cohere:https://c", True)])
def test_nobody_pays_for_a_measurement_that_they_did_not_ask_for(source: str, charged: bool) -> None:
    catalog = Catalog([model("n", Version(name="v1", source=source))])
    sample = Sample(at_s=0, slug="n", version="v1", gpu_type="REMOTE", region="elsewhere", kind="start", ok=True)
    assert _is_charged(catalog, sample) is charged
    assert not _is_charged(Catalog([model("other")]), sample)
