"""Request bodies in, throughput and latencies out: a closed-loop HTTP/1.1 load generator that costs the machine little.

Keep-alive connections over raw asyncio streams; requests are encoded before the clock starts and answers are parsed in full only after it
stops. Talks to loopback addresses and nothing else. Does not know which server it drives.
"""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from operator import mul

STREAM_LIMIT = 4 << 20  # bytes buffered before the transport pauses: above one answer of 32 embeddings (about 300 kB)
CONNECT_SECONDS = 10.0


class BadAnswer(Exception):
    """An answer that is not what was asked for; its text is the kind that errors are counted by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request as it goes over the wire, and what its answer must hold."""

    wire: bytes
    inputs: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a run came to. Latencies are milliseconds, of good answers only."""

    requests: int
    texts: int
    seconds: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    errors: Mapping[str, int]
    samples: list[tuple[Request, bytes]] = field(repr=False)

    @property
    def texts_per_s(self) -> float:
        """From the first request's start to the last good answer."""
        return self.texts / self.seconds if self.seconds else 0.0


@dataclass(slots=True)
class Tally:
    """What the connections of one run write down together; they share one thread, so no lock."""

    keep_every: int
    latencies: list[float] = field(default_factory=list)
    texts: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    samples: list[tuple[Request, bytes]] = field(default_factory=list)
    in_flight: int = 0
    last_answer: float = 0.0

    @property
    def finished(self) -> int:
        """Requests answered, well or badly."""
        return len(self.latencies) + self.errors.total()

    def good(self, request: Request, body: bytes, sent: float) -> None:
        """Count an answer, and keep every so many for a full look after the run."""
        self.last_answer = time.perf_counter()
        if len(self.latencies) % self.keep_every == 0:
            self.samples.append((request, body))
        self.latencies.append(self.last_answer - sent)
        self.texts += len(request.inputs)


def encode(host: str, port: int, path: str, inputs: Sequence[str], fields: Mapping[str, object]) -> Request:
    """A POST of `inputs` and of the server's further `fields`, as bytes."""
    body = json.dumps({"input": list(inputs), **fields}, ensure_ascii=False).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: application/json\r\nAccept: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return Request(wire=head.encode() + body, inputs=tuple(inputs))


async def drive(
    host: str,
    port: int,
    requests: Iterable[Request],
    connections: int,
    *,
    max_seconds: float = 120.0,
    keep_every: int = 16,
    watch: Callable[[int], None] | None = None,
) -> Report:
    """Send `requests` over `connections`, each sending its next when its last is answered; `watch` is told how many are finished.

    Ends when they are used up, or sends no more after `max_seconds`; what is still unanswered as long again after that is an error.
    """
    check_loopback(host)
    tally = Tally(keep_every=keep_every)
    lines = await asyncio.gather(*(_Line.open(host, port) for _ in range(connections)))
    source = iter(requests)
    started = time.perf_counter()
    try:
        async with asyncio.timeout(2 * max_seconds):
            await asyncio.gather(*(_work(line, source, tally, started + max_seconds, watch) for line in lines))
    except TimeoutError:
        tally.errors["unanswered"] += tally.in_flight
    finally:
        for line in lines:
            line.close()
    return _report(tally, max(tally.last_answer - started, 0.0))


def check_loopback(host: str) -> None:
    """Refuse every other machine: this is a load generator."""
    if not ip_address(host).is_loopback:
        raise ValueError(f"{host!r} is not a loopback address: the load generator drives this machine's own servers only")


def verify(samples: Iterable[tuple[Request, bytes]], reference: Mapping[str, Sequence[float]], least_cosine: float = 0.999) -> Counter[str]:
    """Parse kept answers in full and compare each vector with the one its text got alone: what is wrong, counted by kind."""
    wrong: Counter[str] = Counter()
    for request, body in samples:
        try:
            vectors = vectors_of(body, len(request.inputs))
        except (BadAnswer, ValueError, KeyError, TypeError) as problem:
            wrong[f"unreadable: {problem}"] += 1
            continue
        known = [(vector, reference[text]) for text, vector in zip(request.inputs, vectors, strict=True) if text in reference]
        wrong["another text's vector"] += sum(cosine(vector, expected) < least_cosine for vector, expected in known)
    return +wrong


def vectors_of(body: bytes, count: int) -> list[list[float]]:
    """The embeddings of an answer in the order of its inputs, or BadAnswer."""
    rows = json.loads(body)["data"]
    if [row["index"] for row in rows] != list(range(count)):
        raise BadAnswer(f"{len(rows)} embeddings or their order, {count} inputs")
    vectors = [row["embedding"] for row in rows]
    if any(not 0.99 < math.hypot(*vector) < 1.01 for vector in vectors):  # also catches NaN
        raise BadAnswer("an embedding that is not of length 1")
    return vectors


def cosine(left: Sequence[float], right: Sequence[float]) -> float:
    """Of two vectors of equal length."""
    return float(sum(map(mul, left, right))) / (math.hypot(*left) * math.hypot(*right))


def percentile(ordered: Sequence[float], share: float) -> float:
    """Nearest rank of sorted values; NaN where there are none."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else math.nan


def _report(tally: Tally, seconds: float) -> Report:
    ordered = sorted(1000 * latency for latency in tally.latencies)
    return Report(
        requests=len(ordered),
        texts=tally.texts,
        seconds=seconds,
        p50_ms=percentile(ordered, 0.50),
        p95_ms=percentile(ordered, 0.95),
        p99_ms=percentile(ordered, 0.99),
        errors=dict(tally.errors),
        samples=tally.samples,
    )


async def _work(line: _Line, source: Iterator[Request], tally: Tally, last_send: float, watch: Callable[[int], None] | None) -> None:
    for request in source:
        tally.in_flight += 1
        sent = time.perf_counter()
        try:
            body = await line.exchange(request)
            tally.good(request, body, sent)
        except (BadAnswer, OSError, EOFError, ValueError) as problem:
            tally.errors[str(problem) if isinstance(problem, BadAnswer) else type(problem).__name__] += 1
            line.close()
        tally.in_flight -= 1
        if watch:
            watch(tally.finished)
        if time.perf_counter() > last_send:
            return


class _Line:
    """One keep-alive connection, opened anew when the server or an error closed it."""

    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    @classmethod
    async def open(cls, host: str, port: int) -> _Line:
        line = cls(host, port)
        await line._connect()
        return line

    async def exchange(self, request: Request) -> bytes:
        reader, writer = self._streams or await self._connect()
        writer.write(request.wire)
        await writer.drain()
        status, headers = await _read_head(reader)
        body = await _read_body(reader, headers)
        if headers.get(b"connection", b"").lower() == b"close" or _until_end(headers):
            self.close()
        _check(status, body, len(request.inputs))
        return body

    def close(self) -> None:
        if self._streams:
            self._streams[1].close()
        self._streams = None

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        async with asyncio.timeout(CONNECT_SECONDS):
            self._streams = await asyncio.open_connection(*self._address, limit=STREAM_LIMIT)
        return self._streams


async def _read_head(reader: asyncio.StreamReader) -> tuple[int, dict[bytes, bytes]]:
    first, *rest = (await reader.readuntil(b"\r\n\r\n"))[:-4].split(b"\r\n")
    pairs = (line.partition(b":") for line in rest)
    return int(first.split(None, 2)[1]), {name.lower(): value.strip() for name, _, value in pairs}


async def _read_body(reader: asyncio.StreamReader, headers: Mapping[bytes, bytes]) -> bytes:
    if b"content-length" in headers:
        return await reader.readexactly(int(headers[b"content-length"]))
    if _until_end(headers):
        return await reader.read()
    parts = []
    while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
        parts.append((await reader.readexactly(size + 2))[:-2])
    while await reader.readuntil(b"\r\n") != b"\r\n":  # trailers, if any, up to the empty line
        pass
    return b"".join(parts)


def _until_end(headers: Mapping[bytes, bytes]) -> bool:
    return b"content-length" not in headers and headers.get(b"transfer-encoding", b"").lower() != b"chunked"


def _check(status: int, body: bytes, count: int) -> None:
    """The cheap check of every answer: a scan of the bytes, and JSON only where the scan disagrees (a server may space its JSON)."""
    if status != 200:
        raise BadAnswer(f"status {status}")
    if body.count(b'"embedding":') != count and len(json.loads(body).get("data", ())) != count:
        raise BadAnswer("wrong number of embeddings")
