"""One small POST on kept connections: the CPU that the client spends on it, ours beside aiohttp and httpx.

    python -m venv peers/http && peers/http/bin/pip install aiohttp==3.14.5 httpx==0.28.1 uvloop
    python bench/http_client.py --peers-python peers/http/bin/python

The server is a process of its own that answers every request with the same ranking and does nothing else. Each client runs in a process of its own, under
uvloop, with the same headers and a body of three passages; the clients take turns round by round. CPU is the client process's own, user and system.
Does not know what a gateway does with an answer.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import peers
import report

PATH = "/v1/ranking"
TEXTS = ("A graphics processing unit accelerates parallel workloads.", "Retrieval augmented generation combines search.", "Embeddings map text into vectors.")
BODY = json.dumps({"model": "m", "query": {"text": "what is retrieval augmented generation?"}, "passages": [{"text": text} for text in TEXTS]}).encode()
HEADERS = {"content-type": "application/json", "x-request-id": "3d1b0e7c9d2f4a5b00000001", "x-request-timeout": "600"}
RANKED = b'{"rankings":[{"index":1,"logit":5.25},{"index":2,"logit":-1.5},{"index":0,"logit":-7.5}],"usage":{"prompt_tokens":53,"total_tokens":53}}'
SAID = [b"date: Sat, 21 Nov 2026 04:00:00 GMT", b"server-timing: tokenize;dur=0.1, queue;dur=0.2, engine;dur=3.4", b"emberank-prompt-tokens: 53"]
SAID += [b"x-request-id: 3d1b0e7c9d2f4a5b00000001", b"content-type: application/json", b"content-length: %d" % len(RANKED)]
ANSWER = b"\r\n".join([b"HTTP/1.1 200 OK", *SAID, b"", RANKED])
TIMEOUT_S = 600.0
KINDS = ("emberank", "aiohttp", "httpx")
CONCURRENCY = (1, 32)

Ask = Callable[[], Awaitable[Any]]


def main() -> None:
    peers.end_children_on_sigterm()
    options = _options()
    if options.work:
        kind, port, concurrency, requests = options.work
        print(json.dumps(_loop().run_until_complete(_measure(kind, int(port), int(concurrency), int(requests)))))
        return
    if options.serve:
        _loop().run_until_complete(_serve(options.serve))
        return
    _compare(options)


def _compare(options: argparse.Namespace) -> None:
    port = peers.free_port()
    command = (sys.executable, __file__, "--serve", str(port))
    server = peers.Server(name="answering", command=command, port=port, ready_path=PATH, embed_path=PATH, env={}, fields={})
    kinds = KINDS if options.peers_python else KINDS[:1]
    figures: dict[tuple[str, int], list[dict[str, float]]] = {}
    facts = {"machine": report.machine(), "rounds": options.rounds, "requests": options.requests}
    with peers.running(server):
        for number in range(options.rounds):
            for concurrency in CONCURRENCY:
                for kind in kinds:
                    figures.setdefault((kind, concurrency), []).append(_worker(kind, port, concurrency, options))
            print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
    rows = [row for concurrency in CONCURRENCY for row in _rows(figures, kinds, concurrency)]
    if options.json != "-":
        print(f"{facts['machine']}\n")
        print(report.table(rows) if rows else _alone(figures))
    if options.json:
        report.dump(options.json, facts, rows)


def _worker(kind: str, port: int, concurrency: int, options: argparse.Namespace) -> dict[str, float]:
    python = sys.executable if kind == "emberank" else options.peers_python
    requests = options.requests if kind != "httpx" else options.requests // 10  # it takes ten times as long
    command = [python, __file__, "--work", kind, str(port), str(concurrency), str(requests)]
    done = subprocess.run(command, capture_output=True, timeout=600, check=False)
    if done.returncode:
        raise peers.PeerFailed(f"{kind} ended with {done.returncode}\n{done.stderr.decode(errors='replace')[-2000:]}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _rows(figures: dict[tuple[str, int], list[dict[str, float]]], kinds: tuple[str, ...], concurrency: int) -> list[report.Row]:
    """Every figure against every peer."""
    ours = figures["emberank", concurrency]
    wanted = (("cpu_ms", "ms", "CPU a request"), ("p50_ms", "ms", "p50"), ("per_s", "requests/s", "speed"))
    return [
        report.Row(
            what=f"{concurrency} at once, {what}",
            unit=unit,
            ours=[each[key] for each in ours],
            peer=peer,
            theirs=[each[key] for each in figures[peer, concurrency]],
            goal="<= 0.06 ms" if key == "cpu_ms" else "",
        )
        for key, unit, what in wanted
        for peer in kinds[1:]
    ]


def _alone(figures: dict[tuple[str, int], list[dict[str, float]]]) -> str:
    lines = [("", "CPU ms", "p50 ms", "requests/s")]
    for (kind, concurrency), found in figures.items():
        lines.append((f"{kind}, {concurrency} at once", *(report.spread([each[key] for each in found]) for key in ("cpu_ms", "p50_ms", "per_s"))))
    return report.aligned(lines)


# In the worker's process: `emberank` in this project's environment, the peers in theirs.


def _loop() -> asyncio.AbstractEventLoop:
    import uvloop

    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop


async def _measure(kind: str, port: int, concurrency: int, requests: int) -> dict[str, float]:
    ask, close = await {"emberank": _emberank, "aiohttp": _aiohttp, "httpx": _httpx}[kind](f"http://{peers.HOST}:{port}{PATH}")
    took: list[float] = []

    async def work(count: int) -> None:
        for _ in range(count):
            began = time.perf_counter()
            if await ask() != RANKED:
                raise peers.PeerFailed("another answer")
            took.append(time.perf_counter() - began)

    await asyncio.gather(*(work(requests // 20 // concurrency) for _ in range(concurrency)))
    took.clear()
    cpu, wall = time.process_time(), time.perf_counter()
    await asyncio.gather(*(work(requests // concurrency) for _ in range(concurrency)))
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    await close()
    return {"cpu_ms": 1e3 * cpu / len(took), "p50_ms": 1e3 * statistics.median(took), "per_s": len(took) / wall}


async def _emberank(url: str) -> tuple[Ask, Ask]:
    from emberank.client.pool import Pool

    pool = Pool()
    headers = [(name.encode(), value.encode()) for name, value in HEADERS.items()]

    async def ask() -> bytes:
        return (await pool.request("POST", url, headers, BODY, deadline=time.monotonic() + TIMEOUT_S)).body

    return ask, pool.close


async def _aiohttp(url: str) -> tuple[Ask, Ask]:
    import aiohttp

    session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=256), timeout=aiohttp.ClientTimeout(total=TIMEOUT_S))

    async def ask() -> bytes:
        async with session.post(url, data=BODY, headers=HEADERS) as answer:
            found: bytes = await answer.read()
            return found

    return ask, session.close


async def _httpx(url: str) -> tuple[Ask, Ask]:
    import httpx

    client = httpx.AsyncClient(timeout=TIMEOUT_S, limits=httpx.Limits(max_connections=256, max_keepalive_connections=256))

    async def ask() -> bytes:
        found: bytes = (await client.post(url, content=BODY, headers=HEADERS)).content
        return found

    return ask, client.aclose


async def _serve(port: int) -> None:
    import httptools

    class Answering(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport
            self.parser = httptools.HttpRequestParser(self)

        def data_received(self, data: bytes) -> None:
            self.parser.feed_data(data)

        def on_message_complete(self) -> None:
            self.transport.write(ANSWER)

    server = await asyncio.get_running_loop().create_server(Answering, peers.HOST, port)
    await server.serve_forever()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers-python", type=lambda text: str(Path(text).absolute()), help="Python of an environment with aiohttp, httpx and uvloop")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=20_000, help="per round, client and concurrency; a tenth for httpx")
    parser.add_argument("--json", metavar="FILE", help="write all figures there; `-` prints them instead of the table")
    parser.add_argument("--work", nargs=4, help=argparse.SUPPRESS)
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    try:
        main()
    except peers.PeerFailed as problem:
        sys.exit(f"http_client: {problem}")
