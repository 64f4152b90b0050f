"""A request's life in the gateway: who asks, what for, which endpoint, what it answers and what is written down of it."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from emberank.contract.fleet import TargetRow
from fleets import CPU, EMBEDDED, KEY, RANKED, RANKING, TIMING, Asked, FakeEndpoint, Said, ScriptedFleet, endpoint, fake_endpoint, model, principal, soon
from gateways import Door, opened
from wire import Reply, nim_error

Answer = Callable[[Asked], Awaitable[Said] | Said]
EMBEDDER = model("acme-embed", "embed")


def scene(
    folder: Path, act: Callable[[Door, FakeEndpoint, ScriptedFleet], Awaitable[Any]], answer: Answer = lambda asked: Said(), *, key: Any = None, **settings: Any
) -> Any:
    """One endpoint, warm for two models, and one key."""

    async def play() -> Any:
        async with fake_endpoint(answer) as fake:
            warm = [endpoint(fake.url), endpoint(fake.url, id="e2", slug="acme-embed", served_name="served-embed")]
            fleet = ScriptedFleet([model(), EMBEDDER], warm, [key or principal()])
            async with opened(fleet, folder, **settings) as door:
                return await act(door, fake, fleet)

    return asyncio.run(play())


def ask(folder: Path, *args: Any, answer: Answer = lambda asked: Said(), warm: Any = None, key_row: Any = None, **kwargs: Any) -> tuple[Reply, list[Asked]]:
    """One request to a scene, and what its endpoint saw."""

    async def act(door: Door, fake: FakeEndpoint, fleet: ScriptedFleet) -> tuple[Reply, list[Asked]]:
        if warm is not None:
            fleet.publish(endpoints=[replace(each, **warm) for each in fleet.endpoints])
            await soon(lambda: door.gateway.view.revisions.endpoints == 2, "the snapshot is there")
        return await door.ask(*args, **kwargs), fake.asked

    result: tuple[Reply, list[Asked]] = scene(folder, act, answer, key=key_row)
    return result


# --- the way there and back


def test_a_ranking_goes_to_the_warm_endpoint_and_its_bytes_come_back_unchanged(tmp_path: Path) -> None:
    reply, (asked,) = ask(tmp_path, body=RANKING | {"model": "acme/acme-rank"})
    assert (reply.status, reply.body) == (200, RANKED)
    assert asked.path == "/v1/ranking"
    assert asked.json == {"model": "served", "truncate": "NONE", **RANKING}


@pytest.mark.parametrize(
    "path",
    [
        "/v1/ranking",
        "/v1/reranking",
        "/v1//ranking/",
        "/v1/retrieval/acme/acme-rank/reranking",
        "/v1/retrieval/acme/acme_rank/reranking",
        "/v1/retrieval/nvidia/reranking",
        "/v1/inference/acme-rank",
        "/v1/inference/acme/acme-rank",
    ],
)
def test_every_ranking_route_is_the_same_model(tmp_path: Path, path: str) -> None:
    reply, asked = ask(tmp_path, path)
    assert (reply.status, [each.path for each in asked]) == (200, ["/v1/ranking"])


@pytest.mark.parametrize("path", ["/v1/embeddings", "/embeddings", "/v1/inference/acme-embed"])
def test_every_embeddings_route_is_the_same_model(tmp_path: Path, path: str) -> None:
    reply, (asked,) = ask(tmp_path, path, {"input": ["a"]}, answer=lambda asked: Said(body=EMBEDDED))
    assert (reply.status, reply.body) == (200, EMBEDDED)
    assert (asked.path, asked.json) == ("/v1/embeddings", {"model": "served-embed", "input": ["a"], "truncate": "NONE"})


def test_a_suffix_of_the_name_says_the_input_type(tmp_path: Path) -> None:
    _, (asked,) = ask(tmp_path, "/v1/embeddings", {"input": "a", "model": "acme/acme-embed-query"}, answer=lambda asked: Said(body=EMBEDDED))
    assert asked.json["input_type"] == "query"


def test_top_n_is_cut_here_because_a_nim_does_not_know_it(tmp_path: Path) -> None:
    reply, (asked,) = ask(tmp_path, body=RANKING | {"top_n": 1})
    assert "top_n" not in asked.json
    assert reply.json == {"rankings": [{"index": 1, "logit": 2.5}], "usage": {"prompt_tokens": 12, "total_tokens": 12}}


def test_the_endpoint_is_told_request_id_time_left_and_trace(tmp_path: Path) -> None:
    headers = {"X-Request-Id": "id-1", "X-Request-Timeout": "5", "traceparent": "00-ab-cd-01", "tracestate": "a=b", "Cookie": "secret"}
    reply, (asked,) = ask(tmp_path, headers=headers)
    assert reply.headers["x-request-id"] == asked.headers["x-request-id"] == "id-1"
    assert 0 < float(asked.headers["x-request-timeout"]) <= 5
    assert (asked.headers["traceparent"], asked.headers["tracestate"]) == ("00-ab-cd-01", "a=b")
    assert "cookie" not in asked.headers
    assert "authorization" not in asked.headers


def test_a_remote_endpoint_gets_its_own_secret_and_not_the_callers_key(tmp_path: Path) -> None:
    _, (asked,) = ask(tmp_path, warm={"secret": "nvapi-1"})
    assert asked.headers["authorization"] == "Bearer nvapi-1"
    assert KEY not in str(asked)


def test_the_answer_says_where_it_ran_what_it_took_and_what_it_cost(tmp_path: Path) -> None:
    headers = ask(tmp_path)[0].headers
    assert headers["x-emberank-target"] == "CPU/local"
    assert headers["x-emberank-model"] == "acme-rank@v1"
    assert headers["x-emberank-cold-start-ms"] == "0"
    assert headers["x-emberank-queue-ms"] == "0.50"
    assert headers["x-emberank-model-ms"] == "10.00"
    assert headers["x-emberank-cost-usd"] == "0.00001"  # 10 ms of 3.60 an hour
    assert headers["server-timing"] == TIMING["Server-Timing"]
    assert headers["emberank-prompt-tokens"] == "12"


def test_what_the_provider_behind_a_bridge_takes_is_billed_and_nobody_else_may_say_so(tmp_path: Path) -> None:
    charged = Said(headers=TIMING | {"Emberank-Provider-Cost-USD": "0.0025"})
    assert ask(tmp_path, answer=lambda asked: charged)[0].headers["x-emberank-cost-usd"] == "0.0025"  # more than its CPU's time
    theirs = ask(tmp_path, answer=lambda asked: charged, warm={"dialect": "nim", "price_usd_per_hour": None})[0]
    assert "x-emberank-cost-usd" not in theirs.headers


@pytest.mark.parametrize(("price", "header"), [(0.0, "0"), (None, None), (7.15, "0.000019861111")])
def test_a_cost_is_as_exact_as_its_price_and_absent_without_one(tmp_path: Path, price: float | None, header: str | None) -> None:
    assert ask(tmp_path, warm={"price_usd_per_hour": price})[0].headers.get("x-emberank-cost-usd") == header


def test_ignored_fields_are_named(tmp_path: Path) -> None:
    reply, _ = ask(tmp_path, body=RANKING | {"return_documents": True, "é": 1})
    assert reply.headers["emberank-ignored-fields"] == "return_documents, ?"


# --- who may


@pytest.mark.parametrize(
    ("headers", "status", "says"),
    [
        ({}, 401, "needs an API key"),
        ({"Authorization": "Bearer replace-with-your-forge-api-key"}, 401, "placeholder"),
        ({"Authorization": "Bearer other"}, 401, "is not known here"),
        ({"Cookie": "emberank_session=1"}, 401, "needs an API key"),
    ],
)
def test_a_call_without_a_good_key_reaches_nobody(tmp_path: Path, headers: dict[str, str], status: int, says: str) -> None:
    reply, asked = ask(tmp_path, headers=headers, key=None)
    assert (reply.status, asked) == (status, [])
    assert says in nim_error(reply)
    assert reply.headers["www-authenticate"] == "Bearer"


def test_a_revoked_key_is_refused_as_soon_as_the_forge_says_so(tmp_path: Path) -> None:
    async def act(door: Door, fake: FakeEndpoint, fleet: ScriptedFleet) -> list[int]:
        before = await door.ask()
        fleet.publish(principals=[principal(revoked=True)])
        await soon(lambda: door.gateway.view.revisions.principals == 2, "the snapshot is there")
        return [before.status, (await door.ask()).status]

    assert scene(tmp_path, act) == [200, 401]


@pytest.mark.parametrize("key", [principal(scopes=("read",)), principal(models=("acme-embed",))])
def test_a_key_that_may_not_is_a_403(tmp_path: Path, key: Any) -> None:
    reply, asked = ask(tmp_path, body=RANKING | {"model": "acme-rank"}, key_row=key)
    assert (reply.status, asked, reply.json["type"]) == (403, [], "permission_error")


def test_with_keys_off_everybody_may(tmp_path: Path) -> None:
    async def act(door: Door, fake: FakeEndpoint, fleet: ScriptedFleet) -> tuple[int, str]:
        reply = await door.ask(key=None)
        await soon(lambda: bool(fleet.usage), "the usage is reported")
        return reply.status, fleet.usage[0].key_id

    assert scene(tmp_path, act, auth="none") == (200, "anonymous")


@pytest.mark.parametrize(("auth", "status"), [("none", 403), ("keys", 200)])
def test_with_keys_off_a_page_of_another_site_has_nothing_ranked(tmp_path: Path, auth: str, status: int) -> None:
    async def act(door: Door, fake: FakeEndpoint, fleet: ScriptedFleet) -> int:
        return (await door.ask(headers={"Origin": "https://evil.example"})).status

    assert scene(tmp_path, act, auth=auth) == status


def test_a_budget_is_used_up_within_the_process_before_the_forge_has_counted_it(tmp_path: Path) -> None:
    async def act(door: Door, fake: FakeEndpoint, fleet: ScriptedFleet) -> list[Reply]:
        return [await door.ask() for _ in range(4)]

    replies = scene(tmp_path, act, key=principal(monthly_tokens=30, month="2000-01", spent_tokens=10**9), usage_flush_s=30)
    assert [reply.status for reply in replies] == [200, 200, 200, 429]
    assert "monthly budget of 30 tokens (36 tokens spent)" in nim_error(replies[-1])
    assert int(replies[-1].headers["retry-after"]) > 0


@pytest.mark.parametrize("jump_s", [-10 * 86_400.0, 10 * 86_400.0, -2e9])
def test_a_clock_that_jumps_changes_no_wait_and_no_rate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jump_s: float) -> None:
    async def act(door: Door, fake: FakeEndpoint, fleet: ScriptedFleet) -> tuple[list[int], Any]:
        statuses = [(await door.ask()).status]
        now = time.time()
        monkeypatch.setattr(time, "time", lambda: now + jump_s)
        statuses += [(await door.ask()).status, (await door.ask(headers={"X-Request-Timeout": "5"})).status]
        await soon(lambda: len(fleet.usage) == 2, "the usage is reported")
        return statuses, fleet.usage[1]

    statuses, record = scene(tmp_path, act, key=principal(requests_per_minute=2))
    assert statuses == [200, 200, 429]
    assert 0 < record.request_ms < 20_000


def test_more_than_may_run_at_one_time_are_refused_with_retry_after(tmp_path: Path) -> None:
    async def act(door: Door, fake: FakeEndpoint, fleet: ScriptedFleet) -> tuple[Reply, Reply]:
        gate = asyncio.Event()

        async def slow(asked: Asked) -> Said:
            await gate.wait()
            return Said()

        fake.answer = slow
        first = asyncio.create_task(door.ask())
        await soon(lambda: len(fake.asked) == 1, "the first is running")
        second = await door.ask()
        gate.set()
        return await first, second

    first, second = scene(tmp_path, act, max_in_flight=1)
    assert (first.status, second.status, second.headers["retry-after"]) == (200, 429, "1")


# --- what is refused before it wakes anything


@pytest.mark.parametrize(
    ("path", "body", "status", "says"),
    [
        ("/v1/ranking", b"", 400, "the body is empty"),
        ("/v1/ranking", {"query": {"text": "q"}, "passages": []}, 400, "passages must not be empty"),
        ("/v1/ranking", RANKING | {"model": "no/such"}, 404, "model 'no/such' not found; available: 'acme/acme-rank'"),
        ("/v1/ranking", RANKING | {"model": "acme-embed"}, 404, "available: 'acme/acme-rank'"),
        ("/v1/inference/no-such", RANKING, 404, "available: 'acme-rank', 'acme-embed'"),
        ("/v1/inference/acme-rank", RANKING | {"model": "acme-embed"}, 400, "the path is for 'acme-rank' and the body's model is 'acme-embed'"),
        ("/v1/inference/acme-rank", {"input": "a"}, 400, "query: missing field"),
        ("/v1/inference/acme-embed", RANKING, 400, "input: missing field"),
        ("/v1/inference/acme-rank", RANKING | {"model_version": "v7"}, 404, "has no version 'v7'; its versions: v1"),
        ("/v1/inference/acme-rank", RANKING | {"gpu_type": "H900"}, 400, "known: CPU, B200"),
        ("/v1/inference/acme-rank", RANKING | {"region": "mars"}, 400, "known: local, us-central1"),
        ("/v1/inference/acme-rank", RANKING | {"gpu_type": "B200"}, 409, "it can run on CPU in local"),
    ],
)
def test_a_bad_request_is_refused_before_it_wakes_anything(tmp_path: Path, path: str, body: Any, status: int, says: str) -> None:
    async def act() -> Reply:
        far = TargetRow(gpu_type="B200", region="us-central1", status="works", runnable=False, reason="no such pool")
        fleet = ScriptedFleet([model(targets=(CPU, far)), EMBEDDER], [], [principal()])
        async with opened(fleet, tmp_path) as door:
            reply = await door.ask(path, body)
            assert fleet.wakes == []
            return reply

    reply = asyncio.run(act())
    assert reply.status == status
    assert says in nim_error(reply)


def test_errors_on_embeddings_are_openais_object(tmp_path: Path) -> None:
    reply, _ = ask(tmp_path, "/v1/embeddings", {"input": []})
    assert reply.json["error"]["message"] == "input must not be empty"


def test_a_pin_that_is_warm_is_honoured(tmp_path: Path) -> None:
    reply, asked = ask(tmp_path, body=RANKING | {"version": "v1", "gpu_type": "cpu", "region": "LOCAL"})
    assert (reply.status, len(asked)) == (200, 1)
    assert set(asked[0].json) == {"model", "query", "passages", "truncate"}


# --- errors that survive the wire


@pytest.mark.parametrize(
    ("status", "kind", "retry_after"),
    [
        (400, "invalid_request_error", None),
        (413, "payload_too_large", None),
        (422, "invalid_request_error", None),
        (429, "rate_limit_exceeded", "7"),
        (503, "rate_limit_exceeded", "3"),
        (504, "deadline_exceeded", None),
    ],
)
def test_what_the_endpoint_refuses_with_is_what_the_caller_gets(tmp_path: Path, status: int, kind: str, retry_after: str | None) -> None:
    body = json.dumps({"object": "error", "message": "Input length 9 exceeds maximum allowed token size 8", "type": kind, "code": status}).encode()
    headers = {"Retry-After": retry_after} if retry_after else {}
    reply, asked = ask(tmp_path, answer=lambda asked: Said(status, body, headers))
    assert (reply.status, reply.json["type"], len(asked)) == (status, kind, 1)
    assert nim_error(reply) == "Input length 9 exceeds maximum allowed token size 8"
    assert reply.headers.get("retry-after") == retry_after


@pytest.mark.parametrize("status", [401, 403, 404, 405])
def test_that_an_endpoint_does_not_take_our_requests_is_not_the_callers_fault(tmp_path: Path, status: int) -> None:
    reply, _ = ask(tmp_path, answer=lambda asked: Said(status, b'{"error":"bad nvapi key"}'))
    assert reply.status == 500
    assert "nvapi" not in nim_error(reply)


# --- what is written down


def test_every_request_is_recorded_as_it_is_billed(tmp_path: Path) -> None:
    async def act(door: Door, fake: FakeEndpoint, fleet: ScriptedFleet) -> None:
        await door.ask(headers={"X-Request-Id": "id-1"})
        await door.ask(headers={"X-Request-Id": "id-2"})
        await soon(lambda: len(fleet.usage) == 2, "the usage is reported")
        first, second = fleet.usage
        assert (first.request_id, second.request_id) == ("id-1", "id-2")
        assert (first.key_id, first.slug, first.version, first.gpu_type, first.region) == ("k1", "acme-rank", "v1", "CPU", "local")
        assert (first.route, first.status, first.tokens, first.passages, first.chars) == ("/v1/ranking", 200, 12, 2, 26)
        assert (first.model_ms, first.queue_ms, first.cold_start_ms) == (10.0, 0.5, 0.0)
        assert first.cost_usd == pytest.approx(1e-5)
        assert 0 < first.request_ms < 20_000
        assert fleet.reports[0].gateway_id == door.gateway.gateway_id
        assert [report.number for report in fleet.reports] == list(range(1, len(fleet.reports) + 1))
        assert "k1" in dict(pair for report in fleet.reports for pair in report.key_last_used)
        assert "e1" in {load.endpoint_id for report in fleet.reports for load in report.loads}
        assert door.value("emberank_billed_tokens_total", model="acme-rank") == 24
        assert door.value("emberank_requests_total", route="/v1/ranking", model="acme-rank", status="200") == 2

    scene(tmp_path, act)


def test_a_server_that_says_no_timings_is_billed_by_its_usage_and_the_time_it_took(tmp_path: Path) -> None:
    async def act(door: Door, fake: FakeEndpoint, fleet: ScriptedFleet) -> Any:
        await door.ask()
        await soon(lambda: bool(fleet.usage), "the usage is reported")
        return fleet.usage[0]

    record = scene(tmp_path, act, lambda asked: Said(headers={}))
    assert record.tokens == 12
    assert record.model_ms > 0


def test_a_request_that_an_endpoint_refused_is_recorded_with_its_status(tmp_path: Path) -> None:
    async def act(door: Door, fake: FakeEndpoint, fleet: ScriptedFleet) -> Any:
        await door.ask()
        await soon(lambda: bool(fleet.usage), "the usage is reported")
        return fleet.usage[0]

    record = scene(tmp_path, act, lambda asked: Said(400, b'{"message":"no"}'))
    assert (record.status, record.tokens, record.cost_usd) == (400, 0, 0.0)


def test_the_log_line_names_key_and_target_and_never_a_text_or_a_key(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        ask(tmp_path, body=RANKING | {"query": {"text": "private words"}})
    (line,) = [record for record in caplog.records if getattr(record, "action", "") == "request"]
    assert (line.key_id, line.target, line.model, line.status) == ("k1", "CPU/local", "acme-rank", 200)  # type: ignore[attr-defined]
    assert "private" not in caplog.text
    assert KEY not in str([vars(record) for record in caplog.records])


def test_a_client_that_leaves_takes_its_request_with_it(tmp_path: Path) -> None:
    async def act(door: Door, fake: FakeEndpoint, fleet: ScriptedFleet) -> tuple[int, int]:
        left = asyncio.Event()

        async def never(asked: Asked) -> Said:
            await asyncio.Event().wait()
            return Said()

        fake.answer = never
        request = asyncio.create_task(door.ask(left=left))
        await soon(lambda: len(fake.asked) == 1, "the request is with the endpoint")
        left.set()
        reply = await request
        await soon(lambda: fake.left == 1, "the endpoint sees its client leave")
        await soon(lambda: bool(fleet.usage), "the usage is reported")
        return reply.status, fleet.usage[0].status

    assert scene(tmp_path, act) == (499, 499)


# --- the rest of the surface


def test_the_list_of_models_is_nims_and_holds_what_the_key_may_use(tmp_path: Path) -> None:
    async def act(door: Door, fake: FakeEndpoint, fleet: ScriptedFleet) -> tuple[Any, int]:
        return (await door.get("/v1/models")).json, (await door.get("/v1/models", key=None)).status

    entry = {"id": "acme/acme-rank", "object": "model", "created": 1, "owned_by": "acme", "root": "acme/acme-rank", "model_type": "ranking"}
    listed, without_key = scene(tmp_path, act)
    assert listed["object"] == "list"
    assert listed["data"][0] == entry
    assert [each["id"] for each in listed["data"]] == ["acme/acme-rank", "acme/acme-embed"]
    assert without_key == 401
    assert [each["id"] for each in scene(tmp_path, act, key=principal(models=("acme-embed",)))[0]["data"]] == ["acme/acme-embed"]


@pytest.mark.parametrize("path", ["/v1/health/live", "/v1/health/ready", "/v1/version", "/v1/metrics"])
def test_health_version_and_metrics_need_no_key(tmp_path: Path, path: str) -> None:
    async def act(door: Door, fake: FakeEndpoint, fleet: ScriptedFleet) -> list[Reply]:
        return [await door.get(path, key=None), await door.ask(path, b"", key=None, method="HEAD"), await door.ask(path, b"", key=None)]

    got, head, posted = scene(tmp_path, act)
    assert (got.status, head.status) == (200, 200)
    assert (posted.status, posted.headers["allow"]) == (405, "GET")
    nim_error(posted)


def test_before_the_first_snapshot_it_is_alive_and_not_ready(tmp_path: Path) -> None:
    async def act() -> list[Reply]:
        fleet = ScriptedFleet()
        fleet.away = True
        async with opened(fleet, tmp_path, wait=False) as door:
            replies = [await door.get("/v1/health/live"), await door.get("/v1/health/ready"), await door.ask(), await door.get("/v1/models")]
            fleet.away = False
            await door.heard()
            return [*replies, await door.get("/v1/health/ready")]

    live, unready, ranking, models, ready = asyncio.run(act())
    assert [live.status, unready.status, ranking.status, models.status, ready.status] == [200, 503, 503, 503, 200]
    assert unready.json["message"] == "waiting for the forge"
    assert nim_error(ranking) == "the gateway has not heard from the forge yet"
    assert ranking.headers["retry-after"] == unready.headers["retry-after"] == "1"


@pytest.mark.parametrize("path", ["/v2/ranking", "/internal/snapshot", "/v1/modelsx", "/v1/keysandmore", "/v1/inference", "/v1/retrieval/a/b/c/reranking"])
def test_what_is_no_route_is_a_404_here(tmp_path: Path, path: str) -> None:
    reply, _ = ask(tmp_path, path)
    assert reply.status == 404
    assert nim_error(reply) == f"no route '{path}'; GET /openapi.json lists the routes"
    assert reply.headers["x-request-id"]
