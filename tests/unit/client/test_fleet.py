"""The forge over HTTP, as a gateway sees it: values arrive, errors survive, and an absent forge is said in time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from emberank.client.fleet import Fleet, RemoteFleet
from emberank.client.pool import Pool
from emberank.contract.errors import BadRequest, EmberankError, ModelNotFound, NotReady, QueueFull
from emberank.contract.fleet import EndpointLoad, LoadReport, ModelRow, Revisions, Snapshot, TargetRow, VersionRow, Wish
from emberank.dialects import fleet
from emberank.dialects.errors import render_error
from loopback import Playing, Talk, answer, playing

Run = Callable[[Coroutine[Any, Any, Any]], Any]
TOKEN = "s3cret-token"
ROWS = tuple(TargetRow(gpu_type=f"G{i}", region="r", status="works", runnable=True) for i in range(10))


def large(count: int) -> Snapshot:
    rows = tuple(
        ModelRow(slug=f"m{i}", id=f"o/m{i}", task="rank", names=(f"m{i}",), created=i, owner="o", versions=(VersionRow(name="v1", targets=ROWS),))
        for i in range(count)
    )
    return Snapshot(forge_id="f", revisions=Revisions(models=1, endpoints=2, principals=3), models=rows, endpoints=(), counted=4)


def with_forge(run: Run, said: bytes, go: Callable[[RemoteFleet, Playing], Coroutine[Any, Any, None]], **options: Any) -> None:
    """Run `go` with a fleet whose forge says the same to everything."""

    async def script(talk: Talk) -> None:
        while True:
            await talk.request()
            await talk.send(said)

    async def both() -> None:
        async with playing(script) as server:
            pool = Pool()
            try:
                await go(RemoteFleet(server.url, TOKEN, pool, **options), server)
            finally:
                await pool.close()

    run(both())


def refusal(error: EmberankError, *headers: bytes) -> bytes:
    return answer(render_error(error, "id", "nim"), *headers, status=b"%d Refused" % error.http_status)


@pytest.mark.parametrize("models", [1, 300])
def test_a_snapshot_arrives_and_says_what_is_known(run: Run, models: int) -> None:
    snapshot = large(models)

    async def go(remote: Fleet, server: Playing) -> None:
        assert await remote.snapshot("g&1", Revisions(models=7, principals=9), "forge 1", 2.5) == snapshot
        head = server.asked[0][1].decode()
        assert head.startswith("GET /internal/snapshot?gateway=g%261&forge=forge+1&models=7&endpoints=0&principals=9&wait=2.5 HTTP/1.1\r\n")
        assert f"\r\nauthorization: Bearer {TOKEN}\r\n" in head

    with_forge(run, answer(fleet.encode(snapshot)), go)


def test_a_wish_and_a_report_are_delivered(run: Run) -> None:
    wish = Wish(slug="m", gpu_type="CPU")
    report = LoadReport(gateway_id="g", number=3, loads=(EndpointLoad(endpoint_id="e", in_flight=1, idle_s=0.0),))

    async def go(remote: Fleet, server: Playing) -> None:
        await remote.wake(wish)
        await remote.report(report)
        (_, woken), (_, reported) = server.asked
        assert woken.startswith(b"POST /internal/wake HTTP/1.1\r\n")
        assert fleet.decode_wish(woken.partition(b"\r\n\r\n")[2]) == wish
        assert reported.startswith(b"POST /internal/report HTTP/1.1\r\n")
        assert fleet.decode_report(reported.partition(b"\r\n\r\n")[2]) == report

    with_forge(run, answer(b"", status=b"204 No Content"), go)


@pytest.mark.parametrize(
    ("error", "header"),
    [
        (BadRequest("no pool of that target: CPU/local"), b"X: y"),
        (NotReady("the start failed", retry_after_s=7), b"Retry-After: 7"),
        (ModelNotFound("m", ("a",)), b"X: y"),
        (QueueFull("full", retry_after_s=1), b"Retry-After: 1"),
    ],
)
def test_what_the_forge_raises_is_raised_here(run: Run, error: EmberankError, header: bytes) -> None:
    async def go(remote: Fleet, server: Playing) -> None:
        with pytest.raises(type(error)) as raised:
            await remote.wake(Wish(slug="m"))
        assert (raised.value.message, raised.value.retry_after_s) == (error.message, error.retry_after_s)
        assert raised.value.__cause__ is None

    with_forge(run, refusal(error, header), go)


@pytest.mark.parametrize("status", [b"401 Unauthorized", b"403 Forbidden"])
def test_a_forge_that_refuses_the_token_is_no_caller_s_fault(run: Run, status: bytes) -> None:
    async def go(remote: Fleet, server: Playing) -> None:
        with pytest.raises(NotReady, match="fleet tokens differ"):
            await remote.wake(Wish(slug="m"))

    with_forge(run, answer(b"{}", status=status), go)


@pytest.mark.parametrize("said", [b"", b"SSH-2.0-OpenSSH_9.6\r\n", answer(b"<html>"), answer(b"{}"), answer(b'{"forge_id":"f","revisions":{"models":"1"}}')])
def test_a_forge_that_cannot_be_understood_is_not_ready(run: Run, said: bytes) -> None:
    async def script(talk: Talk) -> None:
        await talk.request()
        await talk.send(said)

    async def go() -> None:
        async with playing(script) as server:
            pool = Pool()
            with pytest.raises(NotReady) as refused:
                await RemoteFleet(server.url, TOKEN, pool).snapshot("g", Revisions(), "", 0.0)
            assert refused.value.retry_after_s
            assert refused.value.__cause__ is not None
            await pool.close()

    run(go())


def test_a_forge_that_is_not_there_or_does_not_answer_is_not_ready_in_time(run: Run) -> None:
    async def silent(talk: Talk) -> None:
        await talk.left()

    async def go() -> None:
        async with playing(silent) as server:
            pool = Pool()
            remote = RemoteFleet(server.url, TOKEN, pool, answer_within_s=0.05)
            calls = (remote.snapshot("g", Revisions(), "", 0.02), remote.wake(Wish(slug="m")), remote.report(LoadReport(gateway_id="g", number=1)))
            got = await asyncio.gather(*calls, return_exceptions=True)
            assert [type(one) for one in got] == [NotReady] * 3
            await server.all_left()
        with pytest.raises(NotReady, match="cannot be reached") as refused:
            await remote.wake(Wish(slug="m"))
        assert TOKEN not in f"{refused.value!r} {refused.value.__cause__!r} {remote!r}"
        await pool.close()

    run(go())
