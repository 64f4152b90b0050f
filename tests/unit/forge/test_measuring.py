"""What a probe sends to a warm endpoint, and what it makes of the answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from emberank.client.pool import Pool
from emberank.contract.fleet import Endpoint
from emberank.contract.inference import Task
from emberank.forge.measuring import Measuring, engine_ms
from emberank.forge.payloads import larger_payload, sample_payload
from emberank.forge.samples import Sample

Seen = list[tuple[str, dict[str, str], dict[str, Any]]]
OK = "HTTP/1.1 200 OK\r\nServer-Timing: tokenize;dur=0.2, queue;dur=0.1, engine;dur=12.5\r\nEmberank-Prompt-Tokens: 53\r\nContent-Length: 2\r\n\r\n{}"
BROKEN = "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 2\r\n\r\n{}"


def measured(answer: Callable[[int], str | None], task: Task = "rank", requests: int = 3, secret: str = "", **wire: Any) -> tuple[list[Sample], Seen]:
    """Measure an endpoint that answers its n-th request with `answer(n)`; None closes the connection."""
    seen: Seen = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n") if not reader.at_eof() else b"":
            line, *lines = head.decode().split("\r\n")
            headers = dict(one.lower().split(": ", 1) for one in lines if ": " in one)
            seen.append((line, headers, json.loads(await reader.readexactly(int(headers["content-length"])))))
            said = answer(len(seen))
            if said is None:
                break
            writer.write(said.encode())
        writer.close()

    def quiet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Any:
        async def run() -> None:
            try:
                await serve(reader, writer)
            except asyncio.IncompleteReadError:
                writer.close()

        return run()

    async def run() -> list[Sample]:
        server = await asyncio.start_server(quiet, "127.0.0.1", 0)
        pool = Pool()
        async with server:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            endpoint = Endpoint(
                id="e1", slug="m", version="v1", gpu_type="CPU", region="local", phase="WARM", url=url, served_name="me/m", secret=secret, **wire
            )
            try:
                return await Measuring(pool, requests, lambda: 1000.0).measure(endpoint, task)
            finally:
                await pool.close()

    return asyncio.run(run()), seen


def test_the_first_request_is_not_counted_and_the_larger_payload_comes_last() -> None:
    samples, seen = measured(lambda n: OK)
    assert len(seen) == 1 + 3 + 3
    assert [sample.shape for sample in samples] == ["3 passages, 53 tokens"] * 3 + ["24 passages, 53 tokens"] * 3
    assert {(sample.kind, sample.ok, sample.model_ms, sample.tokens, sample.at_s) for sample in samples} == {("probe", True, 12.5, 53, 1000.0)}
    assert all(sample.request_ms is not None and sample.request_ms > 0 for sample in samples)
    assert seen[0][0].startswith("POST /v1/ranking ")
    assert seen[0][2]["model"] == "me/m"


def test_an_embedder_is_asked_for_embeddings() -> None:
    samples, seen = measured(lambda n: OK, task="embed")
    assert seen[0][0].startswith("POST /v1/embeddings ")
    assert samples[0].shape == "4 inputs, 53 tokens"


def test_somebody_elses_server_gets_its_key() -> None:
    assert measured(lambda n: OK, secret="s3cret")[1][0][1]["authorization"] == "bearer s3cret"
    assert "authorization" not in measured(lambda n: OK)[1][0][1]


@pytest.mark.parametrize(("said", "reason"), [(BROKEN, "request_failed"), (None, "unreachable")])
def test_a_failure_ends_the_probe_with_its_reason(said: str | None, reason: str) -> None:
    samples, _ = measured(lambda n: OK if n < 3 else said)
    assert [(sample.ok, sample.reason) for sample in samples] == [(True, None), (False, reason)]


def test_a_slow_endpoint_is_not_sent_the_larger_payload(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("emberank.forge.measuring.MOST_EXPECTED_MS", 0.0)
    samples, seen = measured(lambda n: OK)
    assert len(samples) == 3
    assert len(seen) == 4


@pytest.mark.parametrize(
    ("header", "ms"),
    [("tokenize;dur=0.2, queue;dur=0.1, engine;dur=12.5", 12.5), ("engine;dur=3", 3.0), ("", None), ("engine;dur=x", None), ("cdn;dur=3", None)],
)
def test_the_engines_time_is_read_from_the_standard_header(header: str, ms: float | None) -> None:
    assert engine_ms(header) == ms


def test_payloads_are_what_the_catalogue_page_shows_and_the_larger_one_is_larger() -> None:
    sample, larger = sample_payload("rank"), larger_payload("rank")
    assert json.loads(sample.body("m"))["query"] == {"text": "what is retrieval augmented generation?"}
    assert len(json.loads(sample.body("m"))["passages"]) == sample.passages == 3
    assert larger.chars > 20 * sample.chars


def test_a_server_of_others_is_probed_in_its_own_words_at_its_own_path() -> None:
    samples, seen = measured(lambda n: OK, dialect="cohere", path="/v2/rerank")
    line, _, body = seen[0]
    assert line.startswith("POST /v2/rerank ")
    assert (body["model"], body["query"], len(body["documents"])) == ("me/m", "what is retrieval augmented generation?", 3)
    assert all(sample.ok for sample in samples)
    _, seen = measured(lambda n: OK, "embed", dialect="nim", path="/v1/embeddings")
    assert (seen[0][0].split()[1], seen[0][2]["input_type"]) == ("/v1/embeddings", "passage")
