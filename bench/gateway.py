"""The gateway and LiteLLM's proxy before the same fake endpoint, driven by the same loader: requests a second, latency, what is added, memory.

    python bench/gateway.py [--litellm ENV/bin/litellm] [--seconds 5] [--rounds 3]

A rerank of three passages, one worker each, keys on, the gateway's usage on: afterwards the scripted forge must have every request in its reports.
The gateway is asked twice, in NIM's dialect and with LiteLLM's own body on `/rerank`, and LiteLLM on `/rerank`.
All take turns round by round; only one is under load at a time. Without --litellm only the gateway and the bare endpoint are measured.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import hmac
import http.client
import json
import os
import re
import secrets
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import uvloop

import load
import report

HERE = Path(__file__).parent
LEVELS = (1, 8, 64)
KEY, LITELLM_KEY, TOKEN = "fk-" + secrets.token_hex(16), "sk-" + secrets.token_hex(16), secrets.token_hex(16)
KEY_SECRET = secrets.token_hex(32)
MODEL = "nvidia/llama-3.2-nv-rerankqa-1b-v2"
SLUG = "nvidia-llama-3-2-nv-rerankqa-1b-v2"
QUERY = "which way should i go?"
PASSAGES = [
    "two roads diverged in a yellow wood, and sorry i could not travel both and be one traveler, long i stood and looked down one as far as i could",
    "then took the other, as just as fair, and having perhaps the better claim because it was grassy and wanted wear, though as for that the passing there",
    "and both that morning equally lay in leaves no step had trodden black. oh, i marked the first for another day! yet knowing how way leads on to way",
]


@dataclass(slots=True)
class Side:
    """One of those that are measured."""

    name: str
    port: int
    wire: bytes
    pid: int = 0
    rates: dict[int, list[float]] = field(default_factory=dict)
    p50: dict[int, list[float]] = field(default_factory=dict)
    p99: dict[int, list[float]] = field(default_factory=dict)
    cpu_us: dict[int, list[float]] = field(default_factory=dict)  # of a request
    rss_mb: list[float] = field(default_factory=list)
    wrong: int = 0
    sent: int = 0


# The loader: one protocol object a connection, nothing but a scan for the answer's end.


class Line(asyncio.Protocol):
    """Sends its request again and again until the time is over."""

    def __init__(self, side: Side, ends: float, done: asyncio.Future[None], latencies: list[float]) -> None:
        self.side, self.ends, self.done, self.latencies = side, ends, done, latencies
        self.buffer = b""

    def connection_made(self, transport: Any) -> None:
        """It begins."""
        self.transport = transport
        self._send()

    def _send(self) -> None:
        self.sent = time.perf_counter()
        self.transport.write(self.side.wire)

    def data_received(self, data: bytes) -> None:
        """Some of an answer, mostly all of it."""
        self.buffer += data
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self.buffer[:end].lower()
        at = head.index(b"content-length:") + 15
        length = int(head[at : at + 12].split(b"\r\n", 1)[0])
        if len(self.buffer) < end + 4 + length:
            return
        now = time.perf_counter()
        self.side.sent += 1
        if head[9:12] != b"200" or self.buffer.count(b'"index"', end) not in (3, 6):  # 6: a Cohere answer has each twice
            self.side.wrong += 1
            if self.side.wrong == 1:
                print(f"{self.side.name}: {self.buffer[:600]!r}", file=sys.stderr)
        self.latencies.append(now - self.sent)
        self.buffer = b""
        if now < self.ends:
            self._send()
        else:
            self.transport.close()
            self.done.set_result(None)

    def connection_lost(self, cause: Exception | None) -> None:
        """Only an answer that was not finished is missed."""
        if not self.done.done():
            self.side.wrong += 1
            self.done.set_result(None)


async def drive(side: Side, connections: int, seconds: float) -> list[float]:
    loop, latencies = asyncio.get_running_loop(), []
    began = time.perf_counter()
    waits = []
    for _ in range(connections):
        waits.append(done := loop.create_future())
        await loop.create_connection(lambda done=done: Line(side, began + seconds, done, latencies), "127.0.0.1", side.port)
    await asyncio.wait_for(asyncio.gather(*waits), seconds + 30)
    return [*latencies, time.perf_counter() - began]


def run(side: Side, connections: int, seconds: float, *, count: bool = True) -> None:
    cpu_s = cpu_s_of(side.pid)
    *latencies, took = uvloop.run(drive(side, connections, seconds))
    cpu_us = 1e6 * (cpu_s_of(side.pid) - cpu_s) / max(len(latencies), 1)
    ordered = sorted(1e3 * latency for latency in latencies)
    rate, p50, p99 = len(ordered) / took, load.percentile(ordered, 0.5), load.percentile(ordered, 0.99)
    if count:
        for kept, figure in ((side.rates, rate), (side.p50, p50), (side.p99, p99), (side.cpu_us, cpu_us)):
            kept.setdefault(connections, []).append(figure)
        if side.pid:
            side.rss_mb.append(rss_mb(side.pid))
    print(
        f"{side.name:10} {connections:3} connections {rate:8.0f} requests/s  p50 {p50:7.3f} ms  p99 {p99:7.3f} ms  CPU {cpu_us:5.0f} us  wrong {side.wrong}",
        file=sys.stderr,
    )


# A scripted forge: one snapshot, and it counts the usage that is reported.


class Forge(ThreadingHTTPServer):
    """The `/internal` routes on loopback."""

    daemon_threads = True

    def __init__(self, endpoint_url: str) -> None:
        super().__init__(("127.0.0.1", 0), Internal)
        self.records = 0
        self.seen: set[int] = set()
        self.ending = threading.Event()
        digest = hmac.new(bytes.fromhex(KEY_SECRET), KEY.encode(), hashlib.sha256).hexdigest()
        target = {"gpu_type": "CPU", "region": "local", "status": "works", "runnable": True, "price_usd_per_hour": 1.8}
        self.parts: dict[str, Any] = {
            "models": [
                {
                    "slug": SLUG,
                    "id": MODEL,
                    "task": "rank",
                    "names": [SLUG, MODEL],
                    "created": 1777334400,
                    "owner": "nvidia",
                    "versions": [{"name": "v1", "targets": [target]}],
                }
            ],
            "endpoints": [
                {"id": "e1", "slug": SLUG, "version": "v1", "gpu_type": "CPU", "region": "local", "phase": "WARM", "url": endpoint_url, "served_name": MODEL}
                | {"price_usd_per_hour": 1.8}
            ],
            "principals": [{"key_id": "k1", "name": "bench", "digest": digest, "scopes": ["inference", "read"], "requests_per_minute": 100_000_000}]
            + [{"key_id": f"o{i}", "name": f"other {i}", "digest": f"{i:064x}", "scopes": ["inference"]} for i in range(1000)],
        }
        self.parts["principals"][0] |= {"concurrency": 10_000, "monthly_usd": 1e9, "monthly_tokens": 10**15, "month": time.strftime("%Y-%m", time.gmtime())}


class Internal(BaseHTTPRequestHandler):
    """One connection of a gateway."""

    protocol_version = "HTTP/1.1"
    server: Forge

    def log_message(self, *words: object) -> None:
        """Silence."""

    def do_GET(self) -> None:
        """The snapshot, and then nothing new."""
        query = parse_qs(urlsplit(self.path).query)
        revisions = {"models": 1, "endpoints": 1, "principals": 1}
        answer: dict[str, Any] = {"forge_id": "bench", "revisions": revisions, "key_secret": KEY_SECRET, "counted": max(self.server.seen, default=0)}
        if query.get("models") == ["1"]:
            self.server.ending.wait(float(query["wait"][0]))
        else:
            answer |= self.server.parts
        self._answer(answer)

    def do_POST(self) -> None:
        """A wish or a report."""
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.path == "/internal/report":  # not parsed: that would hold up the loader, which is in this process
            number = int(re.search(rb'"number":(\d+)', body)[1])
            if number not in self.server.seen:
                self.server.seen.add(number)
                self.server.records += body.count(b'"request_id"')
        self._answer({})

    def _answer(self, value: object) -> None:
        data = json.dumps(value).encode()
        with contextlib.suppress(OSError):
            self.send_response(200)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)


@contextlib.contextmanager
def forge_for(endpoint_port: int) -> Iterator[Forge]:
    forge = Forge(f"http://127.0.0.1:{endpoint_port}")
    thread = threading.Thread(target=forge.serve_forever)
    thread.start()
    try:
        yield forge
    finally:
        forge.ending.set()
        forge.shutdown()
        thread.join()
        forge.server_close()


@contextlib.contextmanager
def child(command: list[str], env: dict[str, str], log: Path) -> Iterator[subprocess.Popen[str]]:
    with log.open("w") as err:
        process = subprocess.Popen(command, env={**os.environ, **env}, stdout=subprocess.PIPE, stderr=err, text=True)
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextlib.contextmanager
def fake_upstream(folder: Path, delay_ms: float) -> Iterator[Side]:
    with child([sys.executable, str(HERE / "fake_upstream.py"), "--delay-ms", str(delay_ms)], {}, folder / "upstream.log") as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        yield Side("endpoint", port, wire(port, "/v1/ranking", nim_body(), ""), process.pid)


@contextlib.contextmanager
def gateway(folder: Path, forge: Forge, profile: str | None) -> Iterator[tuple[Side, Side]]:
    port = free_port()
    env = {"EMBERANK_PORT": str(port), "EMBERANK_FORGE_URL": f"http://127.0.0.1:{forge.server_address[1]}", "EMBERANK_FLEET_TOKEN": TOKEN}
    env["EMBERANK_DATA_DIR"] = str(folder / "data")
    command = [sys.executable, *(["-m", "cProfile", "-o", profile] if profile else []), "-m", "emberank.cli", "gateway"]
    with child(command, env, folder / "gateway.log") as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        if "ready on" not in line:
            raise SystemExit(f"the gateway did not start: {(folder / 'gateway.log').read_text()}")
        cohere = json.dumps({"model": MODEL, "query": QUERY, "documents": PASSAGES}).encode()
        yield (
            Side("emberank", port, wire(port, "/v1/ranking", nim_body(), KEY), process.pid),
            Side("/rerank", port, wire(port, "/rerank", cohere, KEY), process.pid),
        )


@contextlib.contextmanager
def litellm(folder: Path, program: str, upstream_port: int) -> Iterator[Side]:
    port = free_port()
    config = folder / "litellm.yaml"
    model = {"model": f"nvidia_nim/ranking/{MODEL}", "api_base": f"http://127.0.0.1:{upstream_port}", "api_key": "none"}
    config.write_text(json.dumps({"model_list": [{"model_name": "r", "litellm_params": model}], "general_settings": {"master_key": LITELLM_KEY}}))
    env = {"LITELLM_LOG": "ERROR", "LITELLM_LOCAL_MODEL_COST_MAP": "True", "DISABLE_ADMIN_UI": "True"}
    command = [program, "--config", str(config), "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1", "--telemetry", "False"]
    with child(command, env, folder / "litellm.log") as process:
        until_ready(port, "/health/liveliness", folder / "litellm.log")
        body = json.dumps({"model": "r", "query": QUERY, "documents": PASSAGES}).encode()
        yield Side("litellm", port, wire(port, "/rerank", body, LITELLM_KEY), process.pid)


def nim_body() -> bytes:
    return json.dumps({"model": MODEL, "query": {"text": QUERY}, "passages": [{"text": text} for text in PASSAGES]}).encode()


def wire(port: int, path: str, body: bytes, key: str) -> bytes:
    auth = f"Authorization: Bearer {key}\r\n" if key else ""
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n{auth}Accept: */*\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until_ready(port: int, path: str, log: Path) -> None:
    for _ in range(600):
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", path)
            if connection.getresponse().status == 200:
                return
        time.sleep(0.2)
    raise SystemExit(f"it did not start: {log.read_text()[-2000:]}")


def cpu_s_of(pid: int) -> float:
    """CPU seconds of a process and its children until now: what a request costs, whoever else uses the machine."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") + sum(cpu_s_of(int(each)) for each in children)


def rss_mb(pid: int) -> float:
    """Resident memory of a process and its children."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6 + sum(rss_mb(int(each)) for each in children)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--litellm", help="the `litellm` program of an environment with litellm[proxy]")
    parser.add_argument("--seconds", type=float, default=5.0, help="of one measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--delay-ms", type=float, default=0.0, help="how long the fake endpoint's model takes")
    parser.add_argument("--profile", help="write the gateway's cProfile there; its figures are then not to be believed")
    parser.add_argument("--json", metavar="FILE", help="write all figures there; `-` prints them instead of the table")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        bare = stack.enter_context(fake_upstream(folder, options.delay_ms))
        forge = stack.enter_context(forge_for(bare.port))
        ours, rerank = stack.enter_context(gateway(folder, forge, options.profile))
        sides = [bare, ours, rerank]
        if options.litellm:
            sides.append(stack.enter_context(litellm(folder, options.litellm, bare.port)))
        for side in sides:
            run(side, 8, 1.0, count=False)
        for _ in range(options.rounds):
            for connections in LEVELS:
                for side in sides:
                    run(side, connections, options.seconds)
        os.kill(ours.pid, 15)
        counted(forge, ours, rerank)
        show(sides, options)


def counted(forge: Forge, *ours: Side) -> None:
    """After SIGTERM every request has to be in the forge's books."""
    sent = sum(side.sent for side in ours)
    for _ in range(100):
        if forge.records == sent:
            return
        time.sleep(0.1)
    ours[0].wrong += abs(sent - forge.records)
    print(f"usage: {sent} requests were sent and {forge.records} reported", file=sys.stderr)


def show(sides: list[Side], options: argparse.Namespace) -> None:
    bare, ours, rerank, *others = sides
    cells: list[tuple[str, ...]] = [("", "connections", "requests/s", "p50 ms", "p99 ms", "added p50 ms", "CPU us/request", "RSS MB", "wrong")]
    for side in sides:
        for level in LEVELS:
            added = report.statistics.median(side.p50[level]) - report.statistics.median(bare.p50[level])
            figures = (report.spread(side.rates[level]), report.spread(side.p50[level]), report.spread(side.p99[level]))
            cells.append((side.name, str(level), *figures, f"{added:.3f}", report.spread(side.cpu_us[level]), f"{max(side.rss_mb):.0f}", str(side.wrong)))
    rows = []
    for other in others:
        for level in LEVELS:
            goal = ">= 10" if level > 1 else ""
            rows.append(
                report.Row(what=f"{level} connections", unit="requests/s", ours=ours.rates[level], peer=other.name, theirs=other.rates[level], goal=goal)
            )
            rows.append(report.Row(what=f"{level} connections, p50", unit="ms", ours=ours.p50[level], peer=other.name, theirs=other.p50[level]))
            same = f"/rerank for /rerank, {level} connections"
            rows.append(report.Row(what=same, unit="requests/s", ours=rerank.rates[level], peer=other.name, theirs=other.rates[level]))
        rows.append(
            report.Row(what="memory, inverse", unit="1/GB", ours=[1e3 / max(ours.rss_mb)], peer=other.name, theirs=[1e3 / max(other.rss_mb)], goal=">= 3")
        )
    if options.json:
        report.dump(options.json, {"machine": report.machine(), "table": cells}, rows)
    if options.json != "-":
        print(f"{report.machine()}\n\n{report.aligned(cells)}\n\n{report.table(rows)}")


if __name__ == "__main__":
    main()
