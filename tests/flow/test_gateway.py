"""A whole gateway in this process, on real sockets: between clients, a scripted forge over HTTP, and endpoints of which one is a real runtime."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from emberank.contract.errors import EmberankError
from emberank.dialects import fleet as wire_fleet
from emberank.dialects.errors import render_error
from emberank.gateway.process import GatewayProcess
from emberank.serving.listener import bind
from emberank.settings import GatewaySettings
from fleets import KEY, RANKED, RANKING, Asked, FakeEndpoint, Said, ScriptedFleet, endpoint, fake_endpoint, model, principal
from signal_loop import SignalLoop
from wire import WAIT_S, Client, Reply, receive, request, until

AUTH = {"Authorization": f"Bearer {KEY}"}
RERANKER, EMBEDDER = "acme/tiny-rank.v2", "acme/Tiny_Embed-v1.5"  # of the runtime in conftest.py


class Stage:
    """A scripted forge and a fake endpoint on an event loop in a thread of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.fleet = ScriptedFleet([model()], [], [principal()])
        self.forge: FakeEndpoint
        self.fake: FakeEndpoint
        self._loop = asyncio.new_event_loop()
        self._ready, self._end = threading.Event(), asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="stage")
        self._thread.start()
        assert self._ready.wait(WAIT_S)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._play())

    async def _play(self) -> None:
        async with fake_endpoint(self._internal) as self.forge, fake_endpoint() as self.fake:
            self.announce(self.forge.url)
            self.fleet.publish(endpoints=[endpoint(self.fake.url)])
            self._ready.set()
            await self._end.wait()

    def announce(self, url: str) -> None:
        draft = self.folder / "fleet.draft"
        draft.write_text(json.dumps({"url": url, "token": "secret", "pid": 1}))
        draft.rename(self.folder / "fleet.json")

    async def _internal(self, asked: Asked) -> Said:
        path = urlsplit(asked.path)
        if not path.path.startswith("/internal/"):
            return Said(200, json.dumps({"path": asked.path}).encode(), {})
        assert asked.headers["authorization"] == "Bearer secret"
        try:
            return Said(200, await self._answer(path.path, dict(parse_qsl(path.query)), asked.body), {})
        except EmberankError as error:
            return Said(error.http_status, render_error(error, "", "nim"), {"Retry-After": "1"})

    async def _answer(self, path: str, query: dict[str, str], body: bytes) -> bytes:
        if path == "/internal/wake":
            await self.fleet.wake(wire_fleet.decode_wish(body))
        elif path == "/internal/report":
            await self.fleet.report(wire_fleet.decode_report(body))
        else:
            call = wire_fleet.read_snapshot_fields(query)
            return wire_fleet.encode(await self.fleet.snapshot(call.gateway_id, call.known, call.forge_id, call.wait_s))
        return b"{}"

    def do(self, act: Callable[[], object]) -> None:
        """Something on the stage's loop."""
        done = threading.Event()
        self._loop.call_soon_threadsafe(lambda: (act(), done.set()))
        assert done.wait(WAIT_S)

    def publish(self, **parts: Any) -> None:
        self.do(lambda: self.fleet.publish(**parts))

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(WAIT_S)
        assert not self._thread.is_alive()


class Running(Client):
    """A gateway in a thread of its own, and a client for it."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        values = {"port": 0, "data_dir": str(folder), "usage_flush_s": 0.05, "read_timeout_s": WAIT_S} | settings
        self.process = GatewayProcess(GatewaySettings(**values))
        self._listener = bind(self.process.settings)
        super().__init__(self._listener.getsockname()[1])
        self._loop = SignalLoop()
        self._thread = threading.Thread(target=self._serve, name="gateway")
        self._thread.start()
        until(self._listens, "it listens")

    def _listens(self) -> bool:
        try:
            with self.raw():
                return True
        except ConnectionError:
            return False

    def _serve(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self.process.serve(self._listener))

    def ready(self) -> Running:
        until(lambda: self.process.gateway.view.ready, "the gateway is ready")
        return self

    def rank(self, body: object = RANKING, path: str = "/v1/ranking", **headers: str) -> Reply:
        return self.post(path, body, {**AUTH, **headers})

    def signal(self) -> None:
        until(lambda: signal.SIGTERM in self._loop.signals, "it listens to signals")
        self._loop.signals[signal.SIGTERM]()

    def ended(self) -> bool:
        self._thread.join(WAIT_S)
        return not self._thread.is_alive()

    def stop(self) -> None:
        if self._thread.is_alive():
            self.signal()
            self.signal()
        assert self.ended(), "the gateway did not end"


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = Stage(tmp_path)
    yield made
    made.close()


@pytest.fixture
def gateway(stage: Stage) -> Iterator[Running]:
    running = Running(stage.folder).ready()
    yield running
    running.stop()


# --- with a real runtime behind it


def test_a_real_runtimes_answers_come_through_unchanged(stage: Stage, gateway: Running, server: Any) -> None:
    url = f"http://127.0.0.1:{server.port}"
    rows = [model("tiny-rank", names=("tiny-rank",)), model("tiny-embed", "embed", names=("tiny-embed",))]
    warm = [endpoint(url, slug="tiny-rank", served_name=RERANKER), endpoint(url, id="e2", slug="tiny-embed", served_name=EMBEDDER)]
    stage.publish(models=rows, endpoints=warm)
    until(lambda: len(gateway.process.gateway.view.places) == 2, "the snapshot is there")
    through, direct = gateway.rank(RANKING | {"model": "tiny-rank"}), server.post("/v1/ranking", RANKING | {"model": RERANKER})
    assert (through.status, through.body) == (200, direct.body)
    assert through.headers["emberank-prompt-tokens"] == direct.headers["emberank-prompt-tokens"]
    assert float(through.headers["x-emberank-model-ms"]) > 0
    body = {"input": ["two roads", "the ice"], "encoding_format": "base64"}
    through, direct = gateway.rank(body | {"model": "tiny-embed"}, "/v1/embeddings"), server.post("/v1/embeddings", body | {"model": EMBEDDER})
    assert (through.status, through.body) == (200, direct.body)
    refused = gateway.rank({"input": "long " * 5000, "model": "tiny-embed"}, "/v1/embeddings")
    assert refused.status == 400
    assert "exceeds maximum allowed token size" in refused.json["error"]["message"]
    until(lambda: [record.status for record in stage.fleet.usage] == [200, 200, 400], "the usage is reported")
    assert stage.fleet.usage[0].tokens > 0


# --- connections


def test_a_connection_is_kept_for_the_next_request(stage: Stage, gateway: Running) -> None:
    with contextlib.closing(gateway.connect()) as connection:
        for _ in range(3):
            connection.request("POST", "/v1/ranking", json.dumps(RANKING), {"Content-Type": "application/json", **AUTH})
            response = connection.getresponse()
            assert (response.status, response.read()) == (200, RANKED)


def test_an_answers_head_and_body_come_in_one_piece(gateway: Running) -> None:
    with gateway.raw() as sock:
        sock.sendall(request("/v1/ranking", json.dumps(RANKING).encode(), f"Authorization: Bearer {KEY}"))
        data = sock.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    assert body == RANKED


def test_a_client_that_asks_before_it_sends_its_body_is_told_to_go_on(gateway: Running) -> None:
    data = request("/v1/ranking", json.dumps(RANKING).encode(), f"Authorization: Bearer {KEY}", "Expect: 100-continue")
    head, _, body = data.partition(b"\r\n\r\n")
    with gateway.raw() as sock:
        sock.sendall(head + b"\r\n\r\n")
        assert sock.recv(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(body)
        assert receive(sock).body == RANKED


def test_requests_that_come_one_behind_the_other_are_answered_in_order(gateway: Running) -> None:
    with gateway.raw() as sock:
        sock.sendall(b"".join(request("/v1/ranking", json.dumps(RANKING).encode(), f"Authorization: Bearer {KEY}", f"X-Request-Id: id-{i}") for i in range(3)))
        assert [receive(sock).headers["x-request-id"] for _ in range(3)] == ["id-0", "id-1", "id-2"]


@pytest.mark.parametrize("size", [10, 1 << 20])
def test_a_client_that_closes_its_connection_takes_its_request_with_it(stage: Stage, gateway: Running, size: int) -> None:
    async def never(asked: Asked) -> Said:
        await asyncio.Event().wait()
        return Said()

    stage.fake.answer = never
    body = json.dumps({"query": {"text": "q"}, "passages": [{"text": "x" * size}]}).encode()
    with gateway.raw() as sock:
        sock.sendall(request("/v1/ranking", body, f"Authorization: Bearer {KEY}"))
        until(lambda: len(stage.fake.asked) == 1, "the request is with the endpoint")
    until(lambda: stage.fake.left == 1, "the endpoint sees its client leave")
    until(lambda: gateway.metric("emberank_requests_total", status="499") == 1, "it is counted")
    stage.fake.answer = lambda asked: Said()
    assert gateway.rank().status == 200


def test_an_answer_of_the_forge_is_passed_on_while_it_comes(stage: Stage, gateway: Running) -> None:
    gate = threading.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-type: text/event-stream\r\n\r\n5\r\nfirst\r\n")
        await writer.drain()
        while not gate.is_set():  # noqa: ASYNC110  it is set by another thread
            await asyncio.sleep(0.005)
        writer.write(b"6\r\nsecond\r\n0\r\n\r\n")
        await writer.drain()
        writer.close()

    servers: list[asyncio.Server] = []

    async def start() -> None:
        servers.append(await asyncio.start_server(slow, "127.0.0.1", 0))

    asyncio.run_coroutine_threadsafe(start(), stage._loop).result(WAIT_S)
    stage.announce(f"http://127.0.0.1:{servers[0].sockets[0].getsockname()[1]}")
    with contextlib.closing(gateway.connect()) as connection:
        connection.request("GET", "/v1/probes", headers=AUTH)
        response = connection.getresponse()
        assert response.headers["content-type"] == "text/event-stream"
        assert response.read1() == b"first"
        gate.set()
        assert response.read() == b"second"
    stage.announce(stage.forge.url)
    stage.do(servers[0].close)


# --- a forge that goes and comes


def test_a_forge_that_comes_back_on_another_port_is_followed(stage: Stage, gateway: Running) -> None:
    stage.announce("http://127.0.0.1:1")
    stage.do(lambda: (setattr(stage.fleet, "away", True), stage.fleet.poke()))
    until(lambda: gateway.metric("emberank_forge_reachable") == 0, "the gateway notices")
    assert gateway.rank().status == 200
    assert gateway.get("/v1/keys", AUTH).status == 503
    stage.do(lambda: (setattr(stage.fleet, "away", False), stage.fleet.restart("f2")))
    stage.announce(stage.forge.url)
    until(lambda: gateway.process.gateway.view.forge_id == "f2", "the new one is heard")
    assert gateway.get("/v1/keys", AUTH).json == {"path": "/v1/keys"}
    until(lambda: len(stage.fleet.usage) == 1, "no usage is lost")


def test_a_gateway_that_starts_before_the_forge_waits_for_it(stage: Stage) -> None:
    (stage.folder / "fleet.json").unlink()
    running = Running(stage.folder)
    try:
        assert running.get("/v1/health/live").status == 200
        assert running.get("/v1/health/ready").status == 503
        assert running.rank().status == 503
        stage.announce(stage.forge.url)
        assert running.ready().rank().status == 200
    finally:
        running.stop()


def test_a_cold_model_is_woken_over_http_and_its_refusal_comes_back(stage: Stage, gateway: Running) -> None:
    stage.publish(endpoints=[])
    until(lambda: len(gateway.process.gateway.view.places) == 0, "the snapshot is there")
    replies: list[Reply] = []
    asking = threading.Thread(target=lambda: replies.append(gateway.rank()))
    asking.start()
    until(lambda: len(stage.fleet.wakes) == 1, "a start is wished for")
    stage.publish(endpoints=[endpoint(stage.fake.url)])
    asking.join(WAIT_S)
    assert [reply.status for reply in replies] == [200]


# --- the end


def test_on_sigterm_running_requests_finish_and_their_usage_is_delivered(stage: Stage) -> None:
    running = Running(stage.folder, usage_flush_s=30.0).ready()
    gate = threading.Event()

    async def slow(asked: Asked) -> Said:
        while not gate.is_set():  # noqa: ASYNC110  it is set by another thread
            await asyncio.sleep(0.005)
        return Said()

    stage.fake.answer = slow
    replies: list[Reply] = []
    asking = threading.Thread(target=lambda: replies.append(running.rank()))
    asking.start()
    until(lambda: len(stage.fake.asked) == 1, "the request is with the endpoint")
    running.signal()
    until(lambda: running.process.gateway.app.draining, "it drains")
    gate.set()
    asking.join(WAIT_S)
    assert running.ended()
    assert [reply.status for reply in replies] == [200]
    assert len(stage.fleet.usage) == 1
    with pytest.raises(ConnectionError):
        running.get("/v1/health/live")


def test_what_the_forge_does_not_take_at_the_end_is_delivered_by_the_next_gateway(stage: Stage) -> None:
    running = Running(stage.folder, usage_flush_s=30.0).ready()
    assert running.rank().status == 200
    stage.do(lambda: setattr(stage.fleet, "away", True))
    running.signal()
    assert running.ended()
    (kept,) = (stage.folder / "usage-spool").iterdir()
    assert kept.name.startswith(running.process.gateway.gateway_id)
    assert KEY not in kept.read_text()
    stage.do(lambda: setattr(stage.fleet, "away", False))
    following = Running(stage.folder).ready()
    try:
        until(lambda: len(stage.fleet.usage) == 1, "it is delivered")
        until(lambda: not kept.exists(), "the file is gone")
    finally:
        following.stop()


def test_the_command_says_where_it_is_and_ends_with_status_0(stage: Stage) -> None:
    environment = {**os.environ, "EMBERANK_DATA_DIR": str(stage.folder), "EMBERANK_PORT": "0", "EMBERANK_USAGE_FLUSH_S": "30"}
    child = subprocess.Popen([sys.executable, "-m", "emberank.cli", "gateway"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    timer = threading.Timer(WAIT_S, child.kill)
    timer.start()
    try:
        assert child.stdout is not None
        assert child.stderr is not None
        line = child.stdout.readline()
        assert line.startswith("emberank: ready on http://127.0.0.1:")
        assert Client(int(line.split(":")[3])).post("/v1/ranking", RANKING, AUTH).status == 200
        child.terminate()
        status = child.wait(WAIT_S)
        errors = child.stderr.read()
    finally:
        timer.cancel()
        child.kill()
        child.wait()
        child.stdout.close()  # type: ignore[union-attr]
        child.stderr.close()  # type: ignore[union-attr]
    assert status == 0
    assert "Traceback" not in errors
    assert len(stage.fleet.usage) == 1


def test_the_clients_library_is_not_needed_to_be_answered(gateway: Running) -> None:
    """http.client as it comes: no keep-alive of ours, HTTP/1.0, HEAD."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=WAIT_S)) as connection:
        connection._http_vsn, connection._http_vsn_str = 10, "HTTP/1.0"  # type: ignore[attr-defined]
        connection.request("POST", "/v1/ranking", json.dumps(RANKING), {"Content-Type": "application/json", **AUTH})
        assert connection.getresponse().read() == RANKED
    head = gateway.ask("HEAD", "/v1/health/live")
    assert (head.status, head.body) == (200, b"")
