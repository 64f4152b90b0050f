"""Endpoints that break off, drain or are gone: the request is answered elsewhere or after a new start, and the forge is told. Nothing is lost silently."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from emberank.contract.fleet import TargetRow, Wish
from fleets import CPU, RANKED, TIMING, Asked, FakeEndpoint, Said, ScriptedFleet, endpoint, fake_endpoint, model, principal, soon
from gateways import Door, opened
from wire import Reply, nim_error

OTHER = TargetRow(gpu_type="L40S", region="eu-north1", status="works", runnable=True)
BREAK = Said(status=0)
DRAINING = Said(503, b'{"object":"error","message":"the server is shutting down","type":"service_unavailable"}', {"Retry-After": "1"})
Act = Callable[[Door, FakeEndpoint, FakeEndpoint, ScriptedFleet], Awaitable[Any]]


def two(folder: Path, act: Act, *, warm: int = 2, **settings: Any) -> Any:
    """Two endpoints of one model on two targets, of which the first is preferred; `warm` of them are in the snapshot."""

    async def play() -> Any:
        async with fake_endpoint() as first, fake_endpoint() as second:
            rows = [endpoint(first.url), endpoint(second.url, id="e2", gpu_type="L40S", region="eu-north1")]
            fleet = ScriptedFleet([model(targets=(CPU, OTHER))], rows[:warm], [principal()])
            async with opened(fleet, folder, **settings) as door:
                return await act(door, first, second, fleet)

    return asyncio.run(play())


@pytest.mark.parametrize("said", [BREAK, DRAINING, Said(502, b"<html>bad gateway</html>")])
def test_a_request_that_an_endpoint_did_not_answer_is_answered_by_another_one(tmp_path: Path, said: Said) -> None:
    async def act(door: Door, first: FakeEndpoint, second: FakeEndpoint, fleet: ScriptedFleet) -> None:
        first.answer = lambda asked: said
        reply = await door.ask()
        assert (reply.status, reply.body) == (200, RANKED)
        assert reply.headers["x-emberank-target"] == "L40S/eu-north1"
        assert (len(first.asked), len(second.asked)) == (1, 1)
        assert first.asked[0].headers["x-request-id"] == second.asked[0].headers["x-request-id"]
        await soon(lambda: any("e1" in report.unreachable for report in fleet.reports), "the forge is told")
        await door.gateway.usage.collect()
        await soon(lambda: [record.gpu_type for record in fleet.usage] == ["L40S"], "one request is one record")
        assert door.value("emberank_upstream_retries_total") == 1
        again = await door.ask()  # the first one is passed over for a moment
        assert (again.status, len(first.asked)) == (200, 1)

    two(tmp_path, act, usage_flush_s=30)  # what is broken is told at once, not with the next flush


def test_an_endpoint_that_is_gone_is_no_ones_second_try(tmp_path: Path) -> None:
    async def act(door: Door, first: FakeEndpoint, second: FakeEndpoint, fleet: ScriptedFleet) -> None:
        fleet.publish(endpoints=[endpoint("http://127.0.0.1:1"), *fleet.endpoints[1:]])
        await soon(lambda: door.gateway.view.revisions.endpoints == 2, "the snapshot is there")
        second.answer = lambda asked: BREAK if len(second.asked) == 1 else Said()
        reply = asyncio.create_task(door.ask())
        await soon(lambda: len(second.asked) == 1, "the second one was tried")
        fleet.publish(endpoints=[endpoint(second.url, id="e3")])
        assert (await reply).status == 200

    two(tmp_path, act)


def test_a_runtime_killed_in_mid_request_with_no_other_is_answered_by_the_new_process(tmp_path: Path) -> None:
    async def act(door: Door, first: FakeEndpoint, second: FakeEndpoint, fleet: ScriptedFleet) -> None:
        first.answer = lambda asked: BREAK
        reply = asyncio.create_task(door.ask())
        await soon(lambda: any("e1" in report.unreachable for report in fleet.reports), "the forge is told")
        await soon(lambda: len(fleet.wakes) == 1, "a start is wished for")
        assert fleet.wakes == [Wish(slug="acme-rank", version="v1")]
        fleet.publish(endpoints=[endpoint(id="e9", phase="STARTING", url="")])
        await soon(lambda: door.gateway.view.revisions.endpoints == 2, "the snapshot is there")
        assert not reply.done()
        fleet.publish(endpoints=[endpoint(second.url, id="e9")])
        answered = await reply
        assert (answered.status, len(second.asked)) == (200, 1)
        assert float(answered.headers["x-emberank-cold-start-ms"]) >= 0
        await soon(lambda: bool(fleet.usage), "the usage is reported")
        assert len(fleet.usage) == 1

    two(tmp_path, act, warm=1)


def test_a_request_that_breaks_off_twice_is_refused_and_not_sent_a_third_time(tmp_path: Path) -> None:
    async def act(door: Door, first: FakeEndpoint, second: FakeEndpoint, fleet: ScriptedFleet) -> Reply:
        first.answer = second.answer = lambda asked: BREAK
        reply = await door.ask()
        assert (len(first.asked), len(second.asked)) == (1, 1)
        return reply

    reply = two(tmp_path, act)
    assert (reply.status, reply.headers["retry-after"]) == (503, "1")
    assert nim_error(reply) == "the endpoints of 'acme-rank' broke off twice before they answered; try again"


def test_a_draining_endpoints_own_words_are_the_last_ones(tmp_path: Path) -> None:
    async def act(door: Door, first: FakeEndpoint, second: FakeEndpoint, fleet: ScriptedFleet) -> Reply:
        first.answer = second.answer = lambda asked: DRAINING
        return await door.ask()

    assert nim_error(two(tmp_path, act)) == "the server is shutting down"


def test_an_endpoint_that_cannot_be_reached_is_tried_again_after_a_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def act(door: Door, first: FakeEndpoint, second: FakeEndpoint, fleet: ScriptedFleet) -> None:
        monkeypatch.setattr("emberank.gateway.upstream._BROKEN_S", 0.05)
        fleet.publish(endpoints=[endpoint("http://127.0.0.1:1")])
        await soon(lambda: door.gateway.view.revisions.endpoints == 2, "the snapshot is there")
        reply = asyncio.create_task(door.ask())
        await soon(lambda: door.value("emberank_endpoints_unreachable_total") >= 2, "it was tried again")
        fleet.publish(endpoints=[endpoint(first.url)])
        assert (await reply).status == 200

    two(tmp_path, act, warm=1)


def test_a_passed_deadline_is_a_504_and_closes_the_connection_to_the_endpoint(tmp_path: Path) -> None:
    async def act(door: Door, first: FakeEndpoint, second: FakeEndpoint, fleet: ScriptedFleet) -> Reply:
        async def never(asked: Asked) -> Said:
            await asyncio.Event().wait()
            return Said()

        first.answer = never
        reply = await door.ask(headers={"X-Request-Timeout": "0.05"})
        await soon(lambda: first.left == 1, "the endpoint sees its client leave")
        assert second.asked == []
        return reply

    assert two(tmp_path, act).status == 504


def test_load_is_spread_by_queued_tokens(tmp_path: Path) -> None:
    async def act(door: Door, first: FakeEndpoint, second: FakeEndpoint, fleet: ScriptedFleet) -> tuple[int, int]:
        gate = asyncio.Event()

        async def slow(asked: Asked) -> Said:
            await gate.wait()
            return Said()

        first.answer = second.answer = slow
        long = {"query": {"text": "q"}, "passages": [{"text": "long " * 1000}]}
        requests = [asyncio.create_task(door.ask(body=long))]
        await soon(lambda: len(first.asked) == 1, "the long one is with the first")
        requests += [asyncio.create_task(door.ask()) for _ in range(10)]
        await soon(lambda: len(first.asked) + len(second.asked) == 11, "all are with an endpoint")
        spread = len(first.asked), len(second.asked)
        gate.set()
        assert {reply.status for reply in await asyncio.gather(*requests)} == {200}
        return spread

    assert two(tmp_path, act) == (1, 10)


def test_connections_to_one_endpoint_are_bounded_and_the_others_wait_their_turn(tmp_path: Path) -> None:
    async def act(door: Door, first: FakeEndpoint, second: FakeEndpoint, fleet: ScriptedFleet) -> None:
        running = most = 0

        async def counted(asked: Asked) -> Said:
            nonlocal running, most
            running += 1
            most = max(most, running)
            await asyncio.sleep(0)
            running -= 1
            return Said()

        first.answer = counted
        replies = await asyncio.gather(*(door.ask() for _ in range(20)))
        assert {reply.status for reply in replies} == {200}
        assert most <= 2

    two(tmp_path, act, warm=1, max_upstream_connections=2)


def test_an_answer_that_is_no_http_counts_as_none(tmp_path: Path) -> None:
    async def act(door: Door, first: FakeEndpoint, second: FakeEndpoint, fleet: ScriptedFleet) -> int:
        server = await asyncio.start_server(_garbage, "127.0.0.1", 0)
        async with server:
            fleet.publish(endpoints=[endpoint(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"), *fleet.endpoints[1:]])
            await soon(lambda: door.gateway.view.revisions.endpoints == 2, "the snapshot is there")
            return (await door.ask()).status

    assert two(tmp_path, act) == 200


async def _garbage(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"\x16\x03\x01 this is not HTTP\r\n\r\n")
    await writer.drain()
    writer.close()


def test_timings_are_the_answering_endpoints(tmp_path: Path) -> None:
    async def act(door: Door, first: FakeEndpoint, second: FakeEndpoint, fleet: ScriptedFleet) -> Any:
        first.answer = lambda asked: BREAK
        second.answer = lambda asked: Said(headers={**TIMING, "Server-Timing": "engine;dur=77"})
        await door.ask()
        await soon(lambda: bool(fleet.usage), "the usage is reported")
        return fleet.usage[0]

    record = two(tmp_path, act)
    assert (record.model_ms, record.region, json.dumps(record.tokens)) == (77.0, "eu-north1", "12")


def test_a_traced_request_is_the_parent_of_its_hop(tmp_path: Path) -> None:
    class Hop:
        headers = {"traceparent": "00-of-the-hop-01"}  # noqa: RUF012
        ended: list[int | None] = []  # noqa: RUF012

        def end(self, status: int | None, attributes: Any = None) -> None:
            self.ended.append(status)

    class Trace:
        named: list[str] = []  # noqa: RUF012
        noted: dict[str, Any] = {}  # noqa: RUF012

        def hop(self, name: str, attributes: Any) -> Hop:
            self.named.append(name)
            return Hop()

        def child(self, name: str, began: float, ended: float) -> None:
            self.named.append(name)

        def note(self, attributes: dict[str, Any]) -> None:
            self.noted.update(attributes)

        def end(self, status: int) -> None:
            self.named.append(f"end {status}")

    class Traces:
        enabled = True

        def request(self, **fields: Any) -> Trace:
            return Trace()

    async def act(door: Door, first: FakeEndpoint, second: FakeEndpoint, fleet: ScriptedFleet) -> dict[str, str]:
        door.app = door.gateway.app.asgi(Traces())  # type: ignore[arg-type]
        reply = asyncio.create_task(door.ask(headers={"traceparent": "00-of-the-caller-01"}))
        await soon(lambda: len(fleet.wakes) == 1, "a start is wished for")
        fleet.publish(endpoints=[endpoint(first.url)])
        assert (await reply).status == 200
        return first.asked[0].headers

    assert two(tmp_path, act, warm=0)["traceparent"] == "00-of-the-hop-01"
    assert Trace.named == ["hold", "upstream", "end 200"]
    assert Hop.ended == [200]
    assert Trace.noted["emberank.target"] == "CPU/local"
