"""`/internal/…` over HTTP, as a gateway speaks it: through the client's own Fleet, and as nobody else may."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest

from control_plane import ADMIN, FLEET, NVIDIA, Plane
from emberank.client.fleet import RemoteFleet
from emberank.client.pool import Pool
from emberank.contract.errors import BadRequest, EmberankError, NotFound, NotReady
from emberank.contract.fleet import LoadReport, Revisions, Snapshot, Wish
from stores import record
from wire import WAIT_S, Client

T = TypeVar("T")


def as_gateway(plane: Plane, talk: Callable[[RemoteFleet], Awaitable[T]], token: str = FLEET) -> T:
    async def run() -> T:
        pool = Pool(max_connections_per_host=4)
        try:
            async with asyncio.timeout(WAIT_S):
                return await talk(RemoteFleet(f"http://127.0.0.1:{plane.port}", token, pool))
        finally:
            await pool.close()

    return asyncio.run(run())


@pytest.mark.parametrize(("method", "path"), [("GET", "/internal/snapshot?gateway=g"), ("POST", "/internal/wake"), ("POST", "/internal/report")])
@pytest.mark.parametrize("key", ["", ADMIN, "wrong"])
def test_to_everybody_but_a_gateway_the_internal_routes_do_not_exist(shared: Plane, method: str, path: str, key: str) -> None:
    anybody = Client(shared.port)
    header = {"Authorization": f"Bearer {key}"} if key else {}
    reply = anybody.ask(method, path, {} if method == "POST" else None, header)
    nothing = anybody.ask(method, "/internal/nothing", {} if method == "POST" else None, header)
    assert reply.status == nothing.status == 404
    assert reply.message.replace(path.partition("?")[0], "") == nothing.message.replace("/internal/nothing", "")
    assert anybody.ask("DELETE", path).status == 404


def test_a_gateway_is_told_models_endpoints_and_keys(plane: Plane) -> None:
    plane.warm(gpu_type="B200", region="us-central1")
    news = as_gateway(plane, lambda fleet: fleet.snapshot("g1", Revisions(), "", 0.0))
    assert news.models is not None
    assert news.endpoints is not None
    assert news.principals is not None
    model = news.models[0]
    assert (model.slug, model.task, model.owner) == (NVIDIA, "rank", "nvidia")
    assert "nvidia/llama-3.2-nv-rerankqa-1b-v2" in model.names
    assert [(row.gpu_type, row.runnable) for row in model.versions[0].targets] == [("CPU", True), ("B200", True), ("H200", False)]
    (endpoint,) = news.endpoints
    assert (endpoint.slug, endpoint.phase, endpoint.gpu_type) == (NVIDIA, "WARM", "B200")
    assert endpoint.url.startswith("http://")
    assert [principal.name for principal in news.principals] == ["EMBERANK_API_KEY"]
    again = as_gateway(plane, lambda fleet: fleet.snapshot("g1", news.revisions, news.forge_id, 0.0))
    assert (again.models, again.endpoints, again.principals) == (None, None, None)


def test_a_gateway_that_waits_is_told_at_once_when_a_model_becomes_warm_or_a_key_is_revoked(plane: Plane) -> None:
    async def talk(fleet: RemoteFleet) -> Snapshot:
        known = await fleet.snapshot("g1", Revisions(), "", 0.0)
        waiting = asyncio.ensure_future(fleet.snapshot("g1", known.revisions, known.forge_id, WAIT_S))
        await fleet.wake(Wish(slug=NVIDIA))
        return await waiting

    assert as_gateway(plane, talk).endpoints is not None
    header = plane.key("read")
    key_id = plane.get("/v1/keys").json["data"][-1]["key_id"]

    async def revoke(fleet: RemoteFleet) -> Snapshot:
        known = await fleet.snapshot("g1", Revisions(), "", 0.0)
        waiting = asyncio.ensure_future(fleet.snapshot("g1", known.revisions, known.forge_id, WAIT_S))
        await asyncio.to_thread(plane.ask, "DELETE", f"/v1/keys/{key_id}")
        return await waiting

    news = as_gateway(plane, revoke)
    assert news.principals is not None
    assert [principal.revoked for principal in news.principals] == [False, True]
    assert plane.get("/v1/models", header).status == 401


def test_a_wish_starts_a_model_and_answers_at_once(plane: Plane) -> None:
    as_gateway(plane, lambda fleet: fleet.wake(Wish(slug=NVIDIA, gpu_type="B200", region="us-central1")))
    plane.until_phase("WARM")
    assert [one.key.gpu_type for one in plane.do(plane.reconciler.deployments)] == ["B200"]


@pytest.mark.parametrize(
    ("wish", "error", "says"),
    [
        (Wish(slug="what-is-this"), NotFound, "what-is-this"),
        (Wish(slug=NVIDIA, version="v9"), NotFound, "v1, v2"),
        (Wish(slug=NVIDIA, gpu_type="H200"), BadRequest, "H200"),
        (Wish(slug="huge"), BadRequest, "900"),
    ],
)
def test_a_wish_that_cannot_be_granted_is_refused_in_the_words_of_the_forge(shared: Plane, wish: Wish, error: type[EmberankError], says: str) -> None:
    with pytest.raises(EmberankError, match=says) as refused:
        as_gateway(shared, lambda fleet: fleet.wake(wish))
    assert refused.value.http_status == error.status


def test_usage_is_kept_when_a_report_is_answered_and_counted_once(plane: Plane) -> None:
    usage = (record(at_s=plane.wall_s, slug=NVIDIA), record(at_s=plane.wall_s, slug=NVIDIA))

    async def talk(fleet: RemoteFleet) -> Snapshot:
        for _ in range(2):
            await fleet.report(LoadReport(gateway_id="g1", number=5, usage=usage))
        return await fleet.snapshot("g1", Revisions(), "", 0.0)

    assert as_gateway(plane, talk).counted == 5
    assert plane.get("/v1/usage").json["total"]["requests"] == 2
    assert plane.metric("emberank_usage_records_total") == 2
    assert plane.metric("emberank_gateways") == 1


def test_a_token_of_another_fleet_is_not_ready_for_a_gateway_and_no_crash(shared: Plane) -> None:
    with pytest.raises((NotReady, NotFound)):
        as_gateway(shared, lambda fleet: fleet.report(LoadReport(gateway_id="g1", number=1)), token="another")


@pytest.mark.parametrize(
    ("method", "path", "body", "says"),
    [
        ("GET", "/internal/snapshot", None, "gateway: missing"),
        ("GET", "/internal/snapshot?gateway=g&models=many", None, "models must be a whole number"),
        ("GET", "/internal/snapshot?gateway=g&wait=-1", None, "wait must be a number"),
        ("POST", "/internal/wake", {}, "slug is missing"),
        ("POST", "/internal/report", {"gateway_id": "", "number": 1}, "the gateway's id"),
        ("POST", "/internal/report", {"gateway_id": "g", "number": "1"}, "number must be a whole number"),
        ("POST", "/internal/report", b"{", "not valid JSON"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_place(shared: Plane, method: str, path: str, body: object, says: str) -> None:
    reply = shared.as_gateway(method, path, body)
    assert reply.status == 400
    assert says in reply.message


def test_the_end_of_the_forge_answers_a_gateway_that_waits(launch: Callable[..., Plane]) -> None:
    plane = launch()

    async def talk(fleet: RemoteFleet) -> Snapshot:
        known = await fleet.snapshot("g1", Revisions(), "", 0.0)
        waiting = asyncio.ensure_future(fleet.snapshot("g1", known.revisions, known.forge_id, WAIT_S))
        await asyncio.to_thread(plane.do, plane.parts.snapshots.close)
        return await waiting

    assert as_gateway(plane, talk).models is None
