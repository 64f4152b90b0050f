"""Inference from a page: by the session that the forge knows, on a route of its own, with everything else as with a key."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from emberank.contract.errors import Forbidden, NotReady, Unauthorized
from emberank.contract.fleet import Principal
from emberank.gateway.auth import ANONYMOUS
from emberank.gateway.limits import month_of
from fleets import EMBEDDED, KEY, RANKED, RANKING, Asked, FakeEndpoint, Said, ScriptedFleet, endpoint, fake_endpoint, model, principal, soon
from gateways import Door, opened
from wire import Reply, nim_error

PAGE = "/web/api/v1/inference/acme-rank"
LABEL = "/web/api/v1/inference/{slug}"
COOKIE = {"Cookie": "emberank_session=abc"}


def scene(folder: Path, act: Callable[[Door, FakeEndpoint, ScriptedFleet], Awaitable[Any]], *, key: Principal | None = None, **settings: Any) -> Any:
    """Warm endpoints, and one key that has a session."""

    async def play() -> Any:
        async with fake_endpoint(lambda asked: Said(body=EMBEDDED if asked.path == "/v1/embeddings" else RANKED)) as fake:
            warm = [endpoint(fake.url), endpoint(fake.url, id="e2", slug="acme-embed", served_name="served-embed")]
            fleet = ScriptedFleet([model(), model("acme-embed", "embed")], warm, [key or principal()])
            async with opened(fleet, folder, **settings) as door:
                return await act(door, fake, fleet)

    return asyncio.run(play())


def says(fleet: ScriptedFleet, told: Principal | Exception) -> None:
    """What the forge has to say of every page's call."""

    def answer(headers: dict[bytes, bytes]) -> Principal:
        if isinstance(told, Exception):
            raise told
        return told

    fleet.on_page_call = answer


def test_it_is_the_native_route_with_a_session_in_the_place_of_a_key(tmp_path: Path) -> None:
    async def act(door: Door, fake: FakeEndpoint, fleet: ScriptedFleet) -> tuple[Reply, Reply, list[Asked]]:
        return await door.ask(PAGE, headers=COOKIE, key=None), await door.ask("/v1/inference/acme-rank"), fake.asked

    page, native, asked = scene(tmp_path, act)
    assert (page.status, page.body) == (native.status, native.body) == (200, RANKED)
    assert (asked[0].path, asked[0].body) == (asked[1].path, asked[1].body)
    assert "cookie" not in asked[0].headers
    told = {name for name in native.headers if name.startswith(("x-emberank-", "emberank-", "server-timing"))}
    assert "x-emberank-target" in told
    assert {name: page.headers[name] for name in told - {"server-timing"}} == {name: native.headers[name] for name in told - {"server-timing"}}
    assert (page.headers["cache-control"], page.headers["cross-origin-resource-policy"]) == ("no-store", "same-origin")


def test_an_embedders_body_is_an_embedders_here_too(tmp_path: Path) -> None:
    async def act(door: Door, fake: FakeEndpoint, fleet: ScriptedFleet) -> Reply:
        return await door.ask("/web/api/v1/inference/acme/acme-embed", {"input": ["a"]}, COOKIE, key=None)

    reply = scene(tmp_path, act)
    assert (reply.status, reply.json["data"][0]["embedding"]) == (200, [1.0])


def test_the_forge_gets_what_it_judges_by_and_nothing_else(tmp_path: Path) -> None:
    sent = {**COOKIE, "Host": "gate.example", "Origin": "http://gate.example", "Sec-Fetch-Site": "same-origin", "X-CSRF-Token": "t"}

    async def act(door: Door, fake: FakeEndpoint, fleet: ScriptedFleet) -> list[dict[bytes, bytes]]:
        assert (await door.ask(PAGE, headers={**sent, "X-Emberank-Fleet": "mine", "X-Forwarded-For": "6.6.6.6", "Accept": "*/*"})).status == 200
        return fleet.page_calls

    (seen,) = scene(tmp_path, act)
    assert seen == {name.lower().encode(): value.encode() for name, value in sent.items()}


def test_it_is_billed_once_to_the_key_behind_the_session_under_a_route_of_its_own(tmp_path: Path) -> None:
    async def act(door: Door, fake: FakeEndpoint, fleet: ScriptedFleet) -> list[Any]:
        assert (await door.ask(PAGE, headers=COOKIE, key=None)).status == 200
        await soon(lambda: bool(fleet.usage), "the usage is reported")
        assert door.value("emberank_requests_total", route=LABEL, model="acme-rank", status="200") == 1
        assert door.value("emberank_requests_total", route="/v1/inference/{slug}", model="acme-rank", status="200") == 0
        return fleet.usage

    (record,) = scene(tmp_path, act)
    assert (record.key_id, record.route, record.status, record.tokens) == ("k1", LABEL, 200, 12)


@pytest.mark.parametrize(
    ("error", "status"),
    [(Unauthorized("you are not signed in, or your session has ended: sign in at /signin"), 401), (Forbidden("the page is out of date"), 403)],
)
def test_what_the_forge_refuses_is_refused_with_its_sentence_and_reaches_no_endpoint(tmp_path: Path, error: Any, status: int) -> None:
    async def act(door: Door, fake: FakeEndpoint, fleet: ScriptedFleet) -> Reply:
        says(fleet, error)
        reply = await door.ask(PAGE, headers=COOKIE, key=None)
        assert fake.asked == []
        return reply

    reply = scene(tmp_path, act)
    assert (reply.status, nim_error(reply)) == (status, error.message)


def test_without_a_forge_it_says_that_nobody_knows_who_is_signed_in(tmp_path: Path) -> None:
    async def act(door: Door, fake: FakeEndpoint, fleet: ScriptedFleet) -> tuple[Reply, Reply]:
        fleet.away = True
        return await door.ask(PAGE, headers=COOKIE, key=None), await door.ask()

    page, by_key = scene(tmp_path, act)
    assert page.status == 503
    assert nim_error(page).startswith("the forge, which knows who is signed in, cannot be reached")
    assert int(page.headers["retry-after"]) >= 1
    assert by_key.status == 200


def test_a_forge_that_is_not_ready_is_not_said_to_be_away(tmp_path: Path) -> None:
    async def act(door: Door, fake: FakeEndpoint, fleet: ScriptedFleet) -> Reply:
        says(fleet, NotReady("the database is too slow at the moment", retry_after_s=3))
        return await door.ask(PAGE, headers=COOKIE, key=None)

    reply = scene(tmp_path, act)
    assert (reply.status, nim_error(reply), reply.headers["retry-after"]) == (503, "the database is too slow at the moment", "3")


def test_a_key_is_no_session_and_a_session_no_key(tmp_path: Path) -> None:
    async def act(door: Door, fake: FakeEndpoint, fleet: ScriptedFleet) -> tuple[Reply, Reply]:
        says(fleet, Unauthorized("you are not signed in"))
        return await door.ask(PAGE, key=KEY), await door.ask("/v1/inference/acme-rank", headers=COOKIE, key=None)

    page, native = scene(tmp_path, act)
    assert (page.status, native.status) == (401, 401)
    assert "API key" in nim_error(native)


@pytest.mark.parametrize(
    ("rights", "path", "says_"),
    [
        ({"scopes": ("read", "manage")}, PAGE, "'inference'"),
        ({"models": ("acme-embed",)}, PAGE, "may not use the model"),
        ({}, "/web/api/v1/inference/no", "no"),
    ],
)
def test_rights_are_those_of_the_session(tmp_path: Path, rights: dict[str, Any], path: str, says_: str) -> None:
    async def act(door: Door, fake: FakeEndpoint, fleet: ScriptedFleet) -> Reply:
        says(fleet, principal(digest="", **rights))
        reply = await door.ask(path, headers=COOKIE, key=None)
        assert fake.asked == []
        return reply

    reply = scene(tmp_path, act)
    assert reply.status == (403 if rights else 404)
    assert says_ in nim_error(reply)


def test_a_budget_is_used_up_by_what_the_snapshot_says_was_spent(tmp_path: Path) -> None:
    now_s = 1_795_000_000.0
    spent = principal(monthly_usd=1.0, month=month_of(now_s), spent_usd=1.0)

    async def act(door: Door, fake: FakeEndpoint, fleet: ScriptedFleet) -> Reply:
        says(fleet, principal(digest="", monthly_usd=1.0))
        return await door.ask(PAGE, headers=COOKIE, key=None)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("emberank.gateway.app.time.time", lambda: now_s)
        reply = scene(tmp_path, act, key=spent)
    assert (reply.status, "budget of 1 USD" in nim_error(reply)) == (429, True)


def test_pages_and_key_share_their_limits(tmp_path: Path) -> None:
    limited = principal(requests_per_minute=2)

    async def act(door: Door, fake: FakeEndpoint, fleet: ScriptedFleet) -> list[int]:
        says(fleet, principal(digest="", requests_per_minute=2))
        page = {"headers": COOKIE, "key": None}
        return [(await one).status for one in (door.ask(PAGE, **page), door.ask(), door.ask(PAGE, **page), door.ask())]  # type: ignore[arg-type]

    assert scene(tmp_path, act, key=limited) == [200, 200, 429, 429]


def test_whoever_has_no_key_is_limited_by_what_the_forge_says_alone(tmp_path: Path) -> None:
    async def act(door: Door, fake: FakeEndpoint, fleet: ScriptedFleet) -> tuple[int, list[Any]]:
        says(fleet, principal(digest="", key_id="admin", name="admin"))
        status = (await door.ask(PAGE, headers=COOKIE, key=None)).status
        await soon(lambda: bool(fleet.usage), "the usage is reported")
        return status, [record.key_id for record in fleet.usage]

    assert scene(tmp_path, act) == (200, ["admin"])


@pytest.mark.parametrize(("auth", "status"), [("none", 200), ("keys", 401)])
def test_everybody_may_only_where_neither_forge_nor_gateway_asks_for_keys(tmp_path: Path, auth: str, status: int) -> None:
    async def act(door: Door, fake: FakeEndpoint, fleet: ScriptedFleet) -> int:
        says(fleet, ANONYMOUS)
        return (await door.ask(PAGE, key=None)).status

    assert scene(tmp_path, act, auth=auth) == status


def test_where_keys_are_off_another_sites_page_is_still_refused(tmp_path: Path) -> None:
    async def act(door: Door, fake: FakeEndpoint, fleet: ScriptedFleet) -> int:
        says(fleet, Forbidden("this was not sent by a page of this server"))
        return (await door.ask(PAGE, headers={"Origin": "https://evil.example"}, key=None)).status

    assert scene(tmp_path, act, auth="none") == 403


def test_the_callers_deadline_holds_while_the_forge_thinks(tmp_path: Path) -> None:
    async def act(door: Door, fake: FakeEndpoint, fleet: ScriptedFleet) -> float:
        deadlines: list[float] = []
        ask = fleet.session

        async def session(headers: Any, deadline: float) -> Principal:
            deadlines.append(deadline - asyncio.get_running_loop().time())
            return await ask(headers, deadline)

        fleet.session = session  # type: ignore[method-assign]
        await door.ask(PAGE, headers={**COOKIE, "X-Request-Timeout": "7"}, key=None)
        return deadlines[0]

    assert 0 < scene(tmp_path, act) <= 7


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_it_is_a_post(tmp_path: Path, method: str) -> None:
    async def act(door: Door, fake: FakeEndpoint, fleet: ScriptedFleet) -> Reply:
        return await door.ask(PAGE, RANKING, COOKIE, key=None, method=method)

    reply = scene(tmp_path, act)
    assert (reply.status, reply.headers["allow"]) == (405, "POST")
