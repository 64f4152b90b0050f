"""A server's life: loading, the golden example, draining. Interleavings are proved with the fake engine's gate."""

from __future__ import annotations

import dataclasses
import json
import signal
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest

from emberank.runtime.engines.base import Engine
from emberank.runtime.engines.fake import FakeEngine
from emberank.runtime.presets import Golden
from emberank.runtime.process import RuntimeProcess
from wire import nim_error, receive, request, until

RANKER, RANK = "acme/tiny-rank.v2", "/v1/ranking"
GOOD = json.dumps({"query": {"text": "the road"}, "passages": [{"text": "snow"}, {"text": "ice"}]}).encode()
Start = Callable[..., Any]


def with_golden(golden: Golden) -> Callable[[RuntimeProcess], None]:
    """Give every model of a process this golden example."""

    def prepare(process: RuntimeProcess) -> None:
        process.specs = tuple(dataclasses.replace(spec, golden=golden) for spec in process.specs)

    return prepare


@pytest.mark.claim("nim:health:ready-after-golden")
def test_live_is_said_while_models_load_and_ready_only_after_the_golden_example(start: Start) -> None:
    gate = threading.Event()

    def prepare(process: RuntimeProcess) -> None:
        build = process._build_engine

        def gated(*arguments: Any) -> Engine:
            engine = build(*arguments)
            assert isinstance(engine, FakeEngine)
            engine.gate = gate
            return engine

        process._build_engine = gated  # type: ignore[method-assign]

    server = start(engine="fake", prepare=prepare, wait=False)
    until(lambda: len(server.process.models) == 2, "the models are loaded and the golden example is under way")
    assert server.get("/v1/health/live").status == 200
    ready = server.get("/v1/health/ready")
    assert (ready.status, ready.json) == (503, {"object": "health.response", "message": "loading", "status": "loading", "ready": False})
    assert ready.headers["retry-after"] == "1"
    early = server.post(RANK, GOOD)
    assert (early.status, nim_error(early), early.headers["retry-after"]) == (503, "the server is loading", "1")
    assert server.get("/v1/models").json["data"] == []
    assert server.metric("emberank_ready") == 0
    gate.set()
    server.ready()
    assert server.get("/v1/health/ready").status == 200
    assert server.post(RANK, GOOD).status == 200


@pytest.mark.claim("nim:health:ready-after-golden")
@pytest.mark.parametrize(
    ("golden", "said"),
    [
        (Golden(query="the road", passages=("snow", "snow")), "gets its golden example in the wrong order: "),
        (Golden(query="the road", passages=("snow",), scores=(7.0,), tolerance=0.5), "known are (7.0,), within 0.5"),
    ],
)
def test_a_model_whose_golden_example_comes_out_wrong_is_never_served(start: Start, golden: Golden, said: str) -> None:
    server = start(prepare=with_golden(golden), wait=False)
    assert server.ended()
    assert not server.process.server.ready
    assert said in server.process._failure.message


@pytest.mark.claim("nim:metadata:golden")
def test_a_golden_example_that_comes_out_right_is_in_the_metadata(start: Start) -> None:
    server = start(prepare=with_golden(Golden(query="the road", passages=("snow",), scores=(0.0,), tolerance=99.0)))
    assert {model["golden"] for model in server.get("/v1/metadata").json["models"]} == {"checked"}


@pytest.mark.claim("nim:shutdown:drains")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_running_and_waiting_requests_finish(start: Start, number: int) -> None:
    server = start(engine="fake")
    engine = server.engine(RANKER)
    ran, engine.gate = len(engine.batches), threading.Event()
    with server.raw() as running, server.raw() as waiting, server.raw() as half:
        running.sendall(request(RANK, GOOD))
        until(lambda: len(engine.batches) == ran + 1, "the first request runs")
        waiting.sendall(request(RANK, GOOD))
        until(lambda: server.metric("emberank_queue_requests") == 2, "the second request waits")
        half_sent(half)
        server.signal(number)
        until(lambda: not server.process.server.ready, "it drains")
        until(lambda: refused(server), "no new connection is taken")
        half.sendall(GOOD[-9:])
        engine.gate.set()
        assert [receive(sock).status for sock in (running, waiting, half)] == [200, 200, 200]
    assert server.ended()
    assert server.process._failure is None


def half_sent(sock: socket.socket) -> None:
    """Send a request but for its last bytes, and know that the server reads it."""
    sock.sendall(request(RANK, b"", "Expect: 100-continue", length=len(GOOD)))
    assert sock.recv(1000).startswith(b"HTTP/1.1 100 ")
    sock.sendall(GOOD[:-9])


def refused(server: Any) -> bool:
    try:
        server.get("/v1/health/live")
    except ConnectionError:
        return True
    return False


@pytest.mark.claim("nim:shutdown:second-signal")
def test_a_second_signal_does_not_wait(start: Start) -> None:
    server = start()
    with server.raw() as half:
        half_sent(half)
        server.signal()
        assert not server.ended(0.3)
        server.signal()
        assert server.ended()


@pytest.mark.claim("nim:shutdown:grace")
def test_after_its_grace_a_drain_ends_all_the_same(start: Start) -> None:
    server = start(shutdown_grace_s=1)
    with server.raw() as half:
        half_sent(half)
        server.signal()
        assert server.ended()


def test_an_engine_that_fails_is_a_500_without_its_cause_and_the_next_request_is_served(start: Start) -> None:
    server = start(engine="fake")

    def fail(batch: object) -> None:
        raise RuntimeError("secret cause")

    server.engine(RANKER).before_run = fail
    reply = server.post(RANK, GOOD)
    assert (reply.status, nim_error(reply)) == (500, "internal error; the cause is in the server's log under this request id")
    assert b"secret" not in reply.body
    server.engine(RANKER).before_run = lambda batch: None
    assert server.post(RANK, GOOD).status == 200
