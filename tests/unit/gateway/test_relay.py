"""Control requests go to the forge as they are, and its answers come back as they are, while they come."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from asgi import call
from fleets import KEY, Asked, FakeEndpoint, Said, ScriptedFleet, fake_endpoint, principal, soon
from gateways import Door, opened
from wire import Reply, nim_error

PAGE = Said(200, b"<html>", {"Content-Type": "text/html", "Set-Cookie": "a=1", "X-Forge": "yes"})


def relayed(folder: Path, act: Callable[[Door, FakeEndpoint], Awaitable[Any]], answer: Callable[[Asked], Any] = lambda asked: PAGE, **settings: Any) -> Any:
    async def play() -> Any:
        async with fake_endpoint(answer) as forge:
            (folder / "fleet.json").write_text(json.dumps({"url": forge.url, "token": "secret", "pid": 1}))
            async with opened(ScriptedFleet([], [], [principal()]), folder, **settings) as door:
                return await act(door, forge)

    return asyncio.run(play())


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/docs"),
        ("GET", "/openapi.json"),
        ("GET", "/assets/style.css"),
        ("GET", "/signin"),
        ("POST", "/signin"),
        ("POST", "/signout"),
        ("GET", "/account"),
        ("POST", "/account/keys/k1/revoke"),
        ("GET", "/web/api/v1/models"),
        ("POST", "/web/api/v1/model-families/acme-rank/start"),
        ("GET", "/models/acme-rank"),
        ("GET", "/models/nobodys"),
        ("GET", "/v1/models/acme-rank"),
        ("GET", "/v1/models/acme-rank/inference-routes"),
        ("POST", "/v1/model-families/acme-rank/start"),
        ("DELETE", "/v1/keys/k1"),
        ("GET", "/v1/keys"),
        ("POST", "/v1/probes"),
        ("GET", "/v1/targets"),
        ("GET", "/v1/usage"),
        ("PUT", "/v1/schedules/1"),
    ],
)
def test_everything_that_is_the_forges_goes_to_the_forge(tmp_path: Path, method: str, path: str) -> None:
    async def act(door: Door, forge: FakeEndpoint) -> Reply:
        reply = await door.ask(path, {"a": 1} if method in ("POST", "PUT") else b"", method=method)
        assert [(asked.method, asked.path) for asked in forge.asked] == [(method, path)]
        assert forge.asked[0].body == (b'{"a": 1}' if method in ("POST", "PUT") else b"")
        return reply

    reply = relayed(tmp_path, act)
    assert (reply.status, reply.body, reply.headers["content-type"]) == (200, b"<html>", "text/html")
    assert (reply.headers["set-cookie"], reply.headers["x-forge"]) == ("a=1", "yes")


def test_the_forge_gets_the_callers_headers_and_who_the_caller_is_but_nothing_of_the_hop(tmp_path: Path) -> None:
    headers = {"X-Request-Id": "id-1", "Cookie": "s=1", "Host": "gate.example", "Connection": "keep-alive, x-mine", "X-Mine": "1", "X-Forwarded-For": "6.6.6.6"}

    async def act(door: Door, forge: FakeEndpoint) -> tuple[Reply, dict[str, str]]:
        return await door.get("/v1/keys", headers=headers), forge.asked[0].headers

    reply, seen = relayed(tmp_path, act)
    assert seen["authorization"] == f"Bearer {KEY}"
    assert (seen["cookie"], seen["x-request-id"], seen["x-forwarded-host"]) == ("s=1", "id-1", "gate.example")
    assert (seen["x-forwarded-proto"], seen["x-forwarded-for"]) == ("http", "unknown")
    assert seen["host"] == "gate.example"
    assert "x-mine" not in seen
    assert float(seen["x-request-timeout"]) > 0
    assert reply.headers["x-request-id"] == "id-1"


def test_the_forge_knows_by_the_fleets_token_that_a_gateway_says_who_the_caller_is(tmp_path: Path) -> None:
    async def act(door: Door, forge: FakeEndpoint) -> list[str]:
        for path in ("/signin", "/models/acme-rank", "/v1/keys"):
            await door.get(path, headers={"X-Emberank-Fleet": "the caller's own"})
        return [asked.headers["x-emberank-fleet"] for asked in forge.asked]

    assert relayed(tmp_path, act) == ["secret"] * 3


def test_every_cookie_that_the_forge_sets_arrives_as_it_is(tmp_path: Path) -> None:
    cookies = {"Set-Cookie": "emberank_session=a; HttpOnly; Path=/; SameSite=lax", "set-cookie": "b=2; Max-Age=0"}

    async def act(door: Door, forge: FakeEndpoint) -> list[bytes]:
        sent: list[Any] = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            async def keep(message: Any) -> None:
                sent.append(message)
                await send(message)

            await door.app(scope, receive, keep)

        await call(app, "GET", "/signin", headers={"Cookie": "emberank_session=x; b=1"})
        assert forge.asked[0].headers["cookie"] == "emberank_session=x; b=1"
        return [value for name, value in sent[0]["headers"] if name == b"set-cookie"]

    assert relayed(tmp_path, act, lambda asked: Said(303, b"", {"Location": "/", **cookies})) == [value.encode() for value in cookies.values()]


@pytest.mark.parametrize("path", ["/v1/ranking", "/v1/rerank", "/v1/embeddings", "/v1/inference/acme-rank", "/models/acme-rank/v1/ranking"])
def test_a_cookie_is_no_key(tmp_path: Path, path: str) -> None:
    async def act(door: Door, forge: FakeEndpoint) -> tuple[Reply, list[Asked]]:
        return await door.ask(path, headers={"Cookie": f"emberank_session={KEY}"}, key=None), forge.asked

    reply, asked = relayed(tmp_path, act)
    assert (reply.status, asked) == (401, [])
    assert "needs an API key" in nim_error(reply)


@pytest.mark.parametrize("path", ["/v1/models", "/models", "/info", "/models/acme-rank/info", "/models/acme-rank/v1/models"])
def test_a_cookie_lists_no_models_and_a_models_page_stands_before_none_of_its_own_paths(tmp_path: Path, path: str) -> None:
    async def act(door: Door, forge: FakeEndpoint) -> tuple[int, list[Asked]]:
        alone = await door.ask(path, b"", {"Cookie": f"emberank_session={KEY}"}, key=None, method="GET")
        assert (await door.get(path)).status in (200, 404)  # with the key: there are no models here
        return alone.status, forge.asked

    assert relayed(tmp_path, act) == (401, [])


@pytest.mark.parametrize(
    ("method", "path", "status"), [("POST", "/models/acme-rank", 405), ("GET", "/models/acme-rank/nothing", 404), ("GET", "/models/a/b", 404)]
)
def test_nothing_else_below_models_is_relayed(tmp_path: Path, method: str, path: str, status: int) -> None:
    async def act(door: Door, forge: FakeEndpoint) -> tuple[int, list[Asked]]:
        return (await door.ask(path, b"", method=method)).status, forge.asked

    assert relayed(tmp_path, act) == (status, [])


def test_query_and_escapes_arrive_as_they_were_sent(tmp_path: Path) -> None:
    async def act(door: Door, forge: FakeEndpoint) -> str:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            path = {"path": "/v1/models/nvidia/x/run-estimate", "raw_path": b"/v1/models/nvidia%2Fx/run-estimate", "query_string": b"gpu_type=B200&a=%20b"}
            await door.app(scope | path, receive, send)

        await call(app, "GET")
        return forge.asked[0].path

    assert relayed(tmp_path, act) == "/v1/models/nvidia%2Fx/run-estimate?gpu_type=B200&a=%20b"


@pytest.mark.parametrize("status", [201, 400, 401, 404, 409, 500, 503])
def test_the_forges_own_refusals_come_back_as_they_are(tmp_path: Path, status: int) -> None:
    async def act(door: Door, forge: FakeEndpoint) -> Reply:
        return await door.get("/v1/keys")

    reply = relayed(tmp_path, act, lambda asked: Said(status, b'{"message":"mine"}', {"Retry-After": "3"}))
    assert (reply.status, reply.body, reply.headers["retry-after"]) == (status, b'{"message":"mine"}', "3")


def test_without_a_forge_it_is_a_503_that_says_what_still_works(tmp_path: Path) -> None:
    async def act(door: Door, forge: FakeEndpoint) -> Reply:
        (tmp_path / "fleet.json").write_text(json.dumps({"url": "http://127.0.0.1:1", "token": "t", "pid": 1}))
        return await door.get("/v1/keys")

    reply = relayed(tmp_path, act)
    assert reply.status == 503
    assert nim_error(reply) == "the forge, which answers this, cannot be reached; inference on warm models goes on without it"
    assert reply.headers["retry-after"] == "2"


def test_a_deadline_holds_for_the_forge_as_well(tmp_path: Path) -> None:
    async def never(asked: Asked) -> Said:
        await asyncio.Event().wait()
        return PAGE

    async def act(door: Door, forge: FakeEndpoint) -> Reply:
        return await door.get("/v1/keys", headers={"X-Request-Timeout": "0.05"})

    assert relayed(tmp_path, act, never).status == 504


def test_a_client_that_leaves_takes_its_control_request_with_it(tmp_path: Path) -> None:
    async def never(asked: Asked) -> Said:
        await asyncio.Event().wait()
        return PAGE

    async def act(door: Door, forge: FakeEndpoint) -> None:
        left = asyncio.Event()
        request = asyncio.create_task(door.ask("/v1/probes", {}, left=left))
        await soon(lambda: len(forge.asked) == 1, "the forge was asked")
        left.set()
        assert (await request).status == 499
        await soon(lambda: forge.left == 1, "the forge sees its client leave")

    relayed(tmp_path, act, never)


@pytest.mark.parametrize(
    "path", ["/internal/snapshot", "//internal/wake", "/v1/models/../../internal/wake", "/web/../internal/snapshot", "/models/../internal"]
)
def test_what_is_between_gateway_and_forge_is_nobody_elses(tmp_path: Path, path: str) -> None:
    async def act(door: Door, forge: FakeEndpoint) -> tuple[int, list[str]]:
        return (await door.get(path)).status, [asked.path for asked in forge.asked]

    status, asked = relayed(tmp_path, act)
    assert status == 404
    assert asked == []
