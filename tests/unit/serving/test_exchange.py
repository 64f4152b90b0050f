"""One HTTP exchange around one handler: ids, bounds, deadlines, the client that leaves, and errors that a client can read."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from typing import Any, get_args

import pytest

from asgi import HANG, LEAVE, app_of, call
from emberank.contract.errors import BadRequest, DeadlineExceeded, NotReady, QueueFull
from emberank.dialects.errors import ErrorStyle, render_error
from emberank.runtime.metrics import Metrics
from emberank.serving.exchange import Exchange, Exchanges, Handler
from emberank.settings import RuntimeSettings
from wire import Reply, nim_error


class Stage:
    """One endpoint at /test, its metrics and its handler."""

    def __init__(self, handler: Handler | None = None, *, errors: ErrorStyle = "nim", **settings: Any) -> None:
        self.metrics = Metrics()
        self.seen: list[Exchange] = []
        self._handler = handler
        exchanges = Exchanges(RuntimeSettings(**settings), self.metrics)
        self.app = app_of(exchanges.endpoint("/test", self._handle, errors=errors))

    async def _handle(self, exchange: Exchange) -> bytes:
        self.seen.append(exchange)
        return await self._handler(exchange) if self._handler else b'{"body":%d}' % len(exchange.body)

    def ask(self, body: Any = b"{}", headers: dict[str, str] | None = None) -> Reply:
        return asyncio.run(call(self.app, body=body, headers=headers))

    def value(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


def raising(error: Exception) -> Handler:
    async def handler(exchange: Exchange) -> bytes:
        raise error

    return handler


def test_a_handler_gets_the_whole_body_and_its_bytes_are_the_answer() -> None:
    stage = Stage()
    reply = stage.ask([b"abc", b"", b"defg"])
    assert (reply.status, reply.body) == (200, b'{"body":7}')
    assert stage.seen[0].body == b"abcdefg"
    assert reply.headers["content-type"] == "application/json"


def test_headers_that_a_handler_sets_are_sent() -> None:
    async def handler(exchange: Exchange) -> bytes:
        exchange.headers["Server-Timing"] = "queue;dur=1"
        return b"{}"

    assert Stage(handler).ask().headers["server-timing"] == "queue;dur=1"


@pytest.mark.claim("nim:requests:request-id")
@pytest.mark.parametrize("given", ["a", "req-1.2:3_4", "x" * 128])
def test_a_callers_request_id_comes_back(given: str) -> None:
    assert Stage().ask(headers={"X-Request-Id": given}).headers["x-request-id"] == given


@pytest.mark.claim("nim:requests:request-id")
@pytest.mark.parametrize("given", ["", "a b", "a\tb", "x" * 129, "é", 'a"b', "a;b", "a\x7fb", "a\x00b", "<script>"])
def test_a_request_id_that_is_none_is_replaced(given: str) -> None:
    found = Stage().ask(headers={"X-Request-Id": given}).headers["x-request-id"]
    assert found != given
    assert found.isalnum()


def test_ids_that_we_make_differ() -> None:
    stage = Stage()
    assert stage.ask().headers["x-request-id"] != stage.ask().headers["x-request-id"]


def test_an_error_carries_the_request_id_in_header_and_body() -> None:
    reply = Stage(raising(BadRequest("no"))).ask(headers={"X-Request-Id": "id-7"})
    assert nim_error(reply) == "no"
    assert reply.headers["x-request-id"] == reply.json["request_id"] == "id-7"


@pytest.mark.claim("nim:errors:openai-object-on-embeddings")
def test_the_dialect_of_errors_is_the_routes() -> None:
    assert Stage(raising(BadRequest("no"))).ask().json["error"] == "no"
    assert Stage(raising(BadRequest("no")), errors="openai").ask().json["error"]["message"] == "no"


@pytest.mark.parametrize("style", get_args(ErrorStyle))
def test_every_dialects_errors_have_the_same_status_and_headers(style: ErrorStyle) -> None:
    error = QueueFull("full", retry_after_s=3)
    reply = Stage(raising(error), errors=style).ask(headers={"X-Request-Id": "id-7"})
    assert reply.body == render_error(error, "id-7", style)
    assert (reply.status, reply.headers["retry-after"], reply.headers["x-request-id"], nim_error(reply)) == (429, "3", "id-7", "full")
    failed = Stage(raising(RuntimeError("secret")), errors=style).ask()
    assert (failed.status, b"secret" in failed.body, nim_error(failed)[:14]) == (500, False, "internal error")


@pytest.mark.claim("nim:errors:retry-after")
@pytest.mark.parametrize(("seconds", "header"), [(0.2, "1"), (1.0, "1"), (7.4, "7"), (59.9, "60")])
def test_a_busy_server_says_when_to_come_back_in_whole_seconds(seconds: float, header: str) -> None:
    for error in (QueueFull("full", retry_after_s=seconds), NotReady("loading", retry_after_s=seconds)):
        assert Stage(raising(error)).ask().headers["retry-after"] == header


def test_an_unforeseen_error_is_a_500_that_says_nothing_of_its_cause(caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage(raising(RuntimeError("secret /etc/path")))
    with caplog.at_level(logging.ERROR):
        reply = stage.ask(headers={"X-Request-Id": "id-9"})
    assert reply.status == 500
    assert nim_error(reply) == "internal error; the cause is in the server's log under this request id"
    assert b"secret" not in reply.body
    record = next(record for record in caplog.records if record.exc_info)
    assert (record.request_id, record.action) == ("id-9", "request_failed")  # type: ignore[attr-defined]
    assert stage.value("emberank_errors_total", route="/test", type="internal_server_error") == 1


@pytest.mark.claim("nim:requests:body-limit")
def test_a_body_that_says_it_is_too_large_is_refused_before_it_is_read() -> None:
    stage = Stage(max_body_bytes=1024)
    reply = stage.ask([HANG], {"Content-Length": "1025"})
    assert reply.status == 413
    assert nim_error(reply) == "the body is 1025 bytes; at most 1024 are allowed"
    assert reply.headers["connection"] == "close"
    assert stage.seen == []


@pytest.mark.claim("nim:requests:body-limit")
def test_a_body_that_turns_out_too_large_is_refused_while_it_is_read() -> None:
    stage = Stage(max_body_bytes=1024)
    reply = stage.ask([b"x" * 1000, b"y" * 25, HANG])
    assert reply.status == 413
    assert nim_error(reply) == "the body is over 1024 bytes, which is the most allowed"
    assert reply.headers["connection"] == "close"


def test_a_body_of_exactly_the_limit_is_taken() -> None:
    assert Stage(max_body_bytes=1024).ask(b"x" * 1024, {"Content-Length": "1024"}).json == {"body": 1024}


@pytest.mark.claim("nim:requests:slow-body")
def test_a_body_that_stops_coming_is_a_408_and_the_connection_is_closed() -> None:
    reply = Stage(read_timeout_s=0.02).ask([b"{", HANG])
    assert reply.status == 408
    assert nim_error(reply) == "the body did not arrive: nothing came for 0.02 s"
    assert reply.headers["connection"] == "close"


def test_bodies_in_memory_are_counted_together_and_bounded() -> None:
    async def scenario() -> tuple[Reply, Reply, Reply]:
        entered, gate = asyncio.Event(), asyncio.Event()

        async def handler(exchange: Exchange) -> bytes:
            entered.set()
            await gate.wait()
            return b"{}"

        stage = Stage(handler, max_buffered_bytes=1024)
        first = asyncio.create_task(call(stage.app, body=b"x" * 1000))
        await entered.wait()
        assert stage.value("emberank_buffered_body_bytes") == 1000
        second = await call(stage.app, body=b"y" * 100)
        gate.set()
        done = await first
        assert stage.value("emberank_buffered_body_bytes") == 0
        return second, done, await call(stage.app, body=b"z" * 100)

    second, first, third = asyncio.run(scenario())
    assert second.status == 429
    assert nim_error(second) == "the server is holding as many request bodies as it may"
    assert second.headers["retry-after"] == "1"
    assert (first.status, third.status) == (200, 200)


def test_one_body_larger_than_all_may_be_together_is_taken_when_it_is_alone() -> None:
    assert Stage(max_buffered_bytes=1024).ask(b"x" * 5000).status == 200


def test_a_deadline_is_the_settings_and_a_caller_can_only_shorten_it() -> None:
    stage = Stage(request_timeout_s=50)
    for header in ({}, {"X-Request-Timeout": "10"}, {"X-Request-Timeout": "1e9"}):
        stage.ask(headers=header)
    left = [exchange.deadline - time.monotonic() for exchange in stage.seen]
    assert [math.ceil(seconds / 10) for seconds in left] == [5, 1, 5]


@pytest.mark.claim("nim:requests:timeout-header")
@pytest.mark.parametrize("value", ["0", "-1", "soon", "nan", "inf", "1e999", "", "5s"])
def test_a_deadline_that_is_no_number_of_seconds_is_refused(value: str) -> None:
    reply = Stage().ask(headers={"X-Request-Timeout": value})
    assert reply.status == 400
    assert nim_error(reply) == "X-Request-Timeout must be a number of seconds above 0"


def test_a_passed_deadline_is_a_504() -> None:
    assert Stage(raising(DeadlineExceeded("late"))).ask().status == 504


def test_a_client_that_leaves_cancels_its_handler_and_is_counted_as_499() -> None:
    async def scenario() -> tuple[Stage, bool]:
        left, began, cancelled = asyncio.Event(), asyncio.Event(), asyncio.Event()

        async def handler(exchange: Exchange) -> bytes:
            began.set()
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.set()
            return b""

        stage = Stage(handler)
        request = asyncio.create_task(call(stage.app, left=left))
        await began.wait()
        left.set()
        assert (await request).status == 499
        return stage, cancelled.is_set()

    stage, cancelled = asyncio.run(scenario())
    assert cancelled
    assert stage.value("emberank_requests_total", route="/test", model="", status="499") == 1


def test_a_client_that_leaves_in_the_middle_of_its_body_reaches_no_handler() -> None:
    stage = Stage()
    assert stage.ask([b"{", LEAVE]).status == 499
    assert stage.seen == []
    assert stage.value("emberank_buffered_body_bytes") == 0


def test_a_cancellation_that_is_not_the_clients_goes_on() -> None:
    async def scenario() -> bool:
        began = asyncio.Event()

        async def handler(exchange: Exchange) -> bytes:
            began.set()
            await asyncio.Event().wait()
            return b""

        request = asyncio.create_task(call(Stage(handler).app))
        await began.wait()
        request.cancel("shutting down")
        try:
            await request
        except asyncio.CancelledError:
            return True
        return False

    assert asyncio.run(scenario())


def test_a_request_is_counted_and_logged_once_with_its_ids(caplog: pytest.LogCaptureFixture) -> None:
    async def handler(exchange: Exchange) -> bytes:
        exchange.model = "acme/m"
        return b"{}"

    stage = Stage(handler)
    with caplog.at_level(logging.INFO):
        stage.ask(b'{"query": "private words"}', {"X-Request-Id": "id-3"})
    assert stage.value("emberank_requests_total", route="/test", model="acme/m", status="200") == 1
    assert stage.value("emberank_request_seconds_count", route="/test") == 1
    lines = [record for record in caplog.records if getattr(record, "action", "") == "request"]
    assert [(line.request_id, line.model, line.status) for line in lines] == [("id-3", "acme/m", 200)]  # type: ignore[attr-defined]
    assert "private" not in caplog.text
