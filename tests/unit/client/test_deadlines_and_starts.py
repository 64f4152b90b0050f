"""Both clients where time matters: retries that spread, deadlines that hold against slow servers, starts that are told as they go, and calls that are left."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import orjson
import pytest

from client_kinds import KEY, RANKED, Kind, always, asked, in_turn, refusal, said, served
from emberank.client import AsyncClient, Client, Progress
from emberank.client.patience import retry_wait_s
from emberank.contract.errors import BadRequest, DeadlineExceeded, LimitExceeded, NotReady, QueueFull, ServerFault
from emberank.contract.inference import Chunk
from loopback import Playing, Talk, answer
from wire import WAIT_S

# --- retries


def busy(error: type[Any] = QueueFull, after_s: float | None = 2.0) -> Any:
    return error("full", retry_after_s=after_s)


@pytest.mark.parametrize(
    ("error", "retries", "left_s", "jitter", "wait_s"),
    [
        (busy(), 0, 60, 0.0, 2.0),
        (busy(), 0, 60, 1.0, 2.5),
        (busy(LimitExceeded), 4, 60, 0.5, 2.25),
        (busy(NotReady), 5, 60, 0.0, None),  # five times
        (busy(), 0, 2.2, 1.0, 2.0),  # the spread would pass the deadline, what the server asks for does not
        (busy(), 0, 2.0, 0.0, None),
        (busy(after_s=None), 0, 60, 0.0, None),
        (busy(after_s=0.0), 0, 60, 1.0, 0.0),
        (busy(DeadlineExceeded), 0, 60, 0.0, None),
        (ServerFault(), 0, 60, 0.0, None),
    ],
)
def test_a_retry_comes_no_sooner_than_the_server_says_and_not_after_the_deadline(
    error: Any, retries: int, left_s: float, jitter: float, wait_s: float | None
) -> None:
    assert retry_wait_s(error, retries, left_s, jitter) == wait_s


def test_retries_are_spread(kind: Kind) -> None:
    with served(in_turn(refusal(QueueFull("full"), b"Retry-After: 2"), refusal(QueueFull("full"), b"Retry-After: 4"))) as server:
        assert kind.ask(server.url, lambda client: client.rank("q", ["a"]), jitter=iter((1.0, 0.5)).__next__).rankings
    assert kind.slept == [2.5, 4.5]


# --- deadlines


@pytest.mark.parametrize("timeout_s", [0, -1, float("nan"), float("inf")])
def test_a_time_out_is_a_number_of_seconds(kind: Kind, timeout_s: float) -> None:
    with served(always(answer(RANKED))) as server:
        assert isinstance(kind.refused(server.url, lambda client: client.rank("q", ["a"]), timeout_s=timeout_s), BadRequest)
        assert isinstance(kind.refused(server.url, lambda client: client.rank("q", ["a"], timeout_s=timeout_s)), BadRequest)
        assert not server.asked


@pytest.mark.parametrize("part", ["head", "body", "chunk"])
def test_a_server_that_drips_does_not_outlast_the_deadline(kind: Kind, part: str) -> None:
    """Each byte comes well within a time-out that starts anew with every byte."""
    beginning = {"head": b"HTTP/1.1 200 OK\r\nX: ", "body": b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"}
    beginning["chunk"] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

    async def script(talk: Talk) -> None:
        await talk.request()
        await talk.send(beginning[part])
        while True:  # ends when the client leaves
            await talk.send(b"0" if part != "chunk" else b"1\r\n0\r\n")
            await asyncio.sleep(0.02)

    with served(script) as server:
        began = time.monotonic()
        raised = kind.refused(server.url, lambda client: client.models(), timeout_s=0.2)
        assert time.monotonic() - began < WAIT_S / 2
    assert isinstance(raised, DeadlineExceeded)
    assert len(server.asked) == 1


def test_a_call_s_own_time_out_goes_before_the_client_s_and_is_told_to_the_server(kind: Kind) -> None:
    with served(always(answer(RANKED))) as server:
        kind.ask(server.url, lambda client: client.rank("q", ["a"], timeout_s=3))
        assert 2 < float(asked(server)[1]["x-request-timeout"]) <= 3
    with served(in_turn(refusal(QueueFull("full"), b"Retry-After: 5"))) as server:
        assert isinstance(kind.refused(server.url, lambda client: client.rank("q", ["a"], timeout_s=3)), QueueFull)


def test_all_requests_of_a_call_share_its_deadline(kind: Kind) -> None:
    async def script(talk: Talk) -> None:
        await talk.request()
        await talk.send(answer(RANKED))
        await talk.request()
        await talk.left()

    with served(script) as server:
        raised = kind.refused(server.url, lambda client: client.rank("q", list("abcd"), timeout_s=0.3), passages_per_call=2)
        assert [len(asked(server, at)[2]["passages"]) for at in range(2)] == [2, 2]
    assert isinstance(raised, DeadlineExceeded)


# --- what is asked and told


def test_a_ranking_s_options_go_out_under_their_names_and_scores_and_pieces_come_back(kind: Kind) -> None:
    entry = {"index": 0, "logit": -1.5, "score": 0.18, "chunk": {"start": 10, "end": 50, "number": 1, "of": 3}}
    body = orjson.dumps({"rankings": [entry], "usage": {"prompt_tokens": 9, "total_tokens": 9}})
    with served(always(answer(body, b"Emberank-Score: calibrated"))) as server:
        got = kind.ask(server.url, lambda client: client.rank("q", ["a"], score_mode="calibrated", max_tokens_per_doc=128, max_chunks_per_doc=3))
        sent = asked(server)[2]
    assert (sent["score_mode"], sent["max_tokens_per_doc"], sent["max_chunks_per_doc"]) == ("calibrated", 128, 3)
    (place,) = got.rankings
    assert (place.index, place.logit, place.score, place.chunk) == (0, -1.5, 0.18, Chunk(10, 50, 1, 3))
    assert got.score == "calibrated"


@pytest.mark.parametrize("entry", [{"index": 0}, {"index": 0, "logit": 1, "chunk": {}}, {"index": 0, "logit": 1, "score": "x"}, "x"])
def test_a_ranking_s_entry_that_is_none_is_a_server_s_fault(kind: Kind, entry: Any) -> None:
    with served(always(said({"rankings": [entry]}))) as server:
        assert isinstance(kind.refused(server.url, lambda client: client.rank("q", ["a"])), ServerFault)


def test_many_texts_go_out_in_several_requests(kind: Kind) -> None:
    def vectors(*values: float) -> bytes:
        return said({"data": [{"index": i, "embedding": [value, 0.0]} for i, value in enumerate(values)]})

    with served(in_turn(vectors(1, 2), vectors(3))) as server:
        got = kind.ask(server.url, lambda client: client.embed(["a", "b", "c"]), texts_per_call=2)
        assert [asked(server, at)[2]["input"] for at in range(2)] == [["a", "b"], ["c"]]
    np.testing.assert_array_equal(got, np.array([[1, 0], [2, 0], [3, 0]], np.float32))


# --- starts

STARTED = {"slug": "m", "version": "v1", "gpu_type": "CPU", "region": "local", "phase": "STARTING", "was_cold_start": True, "keep_warm": False}
ROW = {"version": "v1", "gpu_type": "CPU", "region": "local", "phase": "STARTING", "eta_s": 4.0, "message": ""}
ROW["progress"] = {"step": "fetching", "done_bytes": 1, "total_bytes": 4, "percent": 25.0, "took_s": 0.5}
LOOK = said({"slug": "m", "phase": "STARTING", "endpoints": [ROW]})
STARTING = said(STARTED, b"202 Accepted")
WARM = said(STARTED | {"phase": "WARM", "startup_ms": 812.0})


def test_a_start_is_told_as_it_goes(kind: Kind) -> None:
    told: list[Progress] = []
    with served(in_turn(STARTING, LOOK, STARTING, LOOK, then=WARM)) as server:
        got = kind.ask(server.url, lambda client: client.start("m", run_until_stopped=True, on_progress=told.append))
        prefers = [asked(server, at)[1].get("prefer") for at in (0, 2, 4)]
    assert (got.phase, got.startup_ms) == ("WARM", 812.0)
    assert [(one.phase, one.step, one.percent) for one in told] == [("STARTING", "fetching", 25.0)] * 2 + [("WARM", None, None)]
    assert prefers == ["respond-async", "respond-async, wait=1", "respond-async, wait=1"]
    assert len(kind.slept) == 1  # this server answered the first waiting start without waiting
    assert 0 < kind.slept[0] <= 1


def iterated(client: Any) -> Any:
    if isinstance(client, Client):
        return [one.phase for one in client.starting("m")]

    async def go() -> Any:
        return [one.phase async for one in client.starting("m")]

    return go()


def test_a_start_can_be_iterated_over(kind: Kind) -> None:
    with served(in_turn(STARTING, LOOK, then=WARM)) as server:
        assert kind.ask(server.url, iterated) == ["STARTING", "WARM"]
        assert asked(server, 0)[2] == {}


def test_a_start_that_is_not_waited_for_has_no_progress(kind: Kind) -> None:
    refused = kind.refused("http://127.0.0.1:1", lambda client: client.start("m", wait=False, on_progress=print))
    assert isinstance(refused, BadRequest)
    assert "on_progress" in refused.message


def test_a_start_that_fails_is_the_server_s_own_sentence(kind: Kind) -> None:
    with served(in_turn(STARTING, LOOK, refusal(NotReady("m v1 could not be started on CPU/local (out_of_memory): it does not fit")))) as server:
        raised = kind.refused(server.url, lambda client: client.start("m", on_progress=lambda progress: None))
    assert isinstance(raised, NotReady)
    assert "out_of_memory" in raised.message


def test_a_start_ends_with_the_deadline(kind: Kind) -> None:
    async def for_ever(talk: Talk) -> None:
        while True:
            await talk.send(LOOK if (await talk.request()).startswith(b"GET") else STARTING)

    with served(for_ever) as server:
        raised = kind.refused(server.url, lambda client: client.start("m", on_progress=lambda progress: None, timeout_s=0.2))
    assert isinstance(raised, DeadlineExceeded)


def test_what_the_program_raises_while_it_is_told_ends_the_call(kind: Kind) -> None:
    def angry(progress: Progress) -> None:
        raise LookupError("enough")

    with served(in_turn(STARTING, LOOK, then=WARM)) as server:
        with pytest.raises(LookupError, match="enough"):
            kind.ask(server.url, lambda client: client.start("m", on_progress=angry))
        assert len(server.asked) == 2


# --- calls that are left


@pytest.fixture
def silent() -> Iterator[tuple[Playing, threading.Event, threading.Event]]:
    """A server that starts a model, and says nothing more; whether it was asked again, and whether its client has left."""
    again, gone = threading.Event(), threading.Event()

    async def script(talk: Talk) -> None:
        await talk.request()
        await talk.send(STARTING)
        await talk.request()
        again.set()
        await talk.left()
        gone.set()

    with served(script) as server:
        yield server, again, gone


def test_a_cancelled_start_closes_its_connection(silent: tuple[Playing, threading.Event, threading.Event]) -> None:
    server, again, gone = silent

    async def go() -> None:
        async with AsyncClient(server.url, KEY, WAIT_S) as client:
            task = asyncio.ensure_future(client.start("m", on_progress=lambda progress: None))
            assert await asyncio.to_thread(again.wait, WAIT_S)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await asyncio.to_thread(gone.wait, WAIT_S)

    asyncio.run(asyncio.wait_for(go(), WAIT_S))


def test_leaving_an_iteration_leaves_the_connection_to_the_next_call(kind: Kind) -> None:
    def first(client: Any) -> Any:
        if isinstance(client, Client):
            assert next(client.starting("m")).phase == "STARTING"
            return client.models()

        async def go() -> Any:
            async for progress in client.starting("m"):
                assert progress.phase == "STARTING"
                break
            return await client.models()

        return go()

    with served(in_turn(STARTING, LOOK, then=said({"data": []}))) as server:
        assert kind.ask(server.url, first) == []
        assert server.opened == 1


def test_a_pool_that_is_shared_stays_open() -> None:
    from emberank.client.pool import Pool

    async def go(url: str) -> None:
        pool = Pool()
        async with AsyncClient(url, "key-one", WAIT_S, pool=pool) as one:
            await one.models()
        async with AsyncClient(url, "key-two", WAIT_S, pool=pool) as two:
            await two.models()
        await pool.close()

    with served(always(said({"data": []}))) as server:
        asyncio.run(go(server.url))
        assert server.opened == 1
        assert [asked(server, at)[1]["authorization"] for at in range(2)] == ["Bearer key-one", "Bearer key-two"]
