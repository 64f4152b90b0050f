"""Traces as whoever runs a collector meets them: the spans of a real runtime, and a runtime whose collector is broken."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from otlp_collector import Collector, Manner
from wire import until

RANK = "/v1/ranking"
BODY = {"query": {"text": "which way"}, "passages": [{"text": "the ice road"}, {"text": "snow"}, {"text": "red hot"}]}
PARENT = "b7ad6b7169203331"
NAMES = {"POST /v1/ranking", "tokenize", "queue", "engine"}
# How long the libraries try to deliver a batch, in seconds: much longer than any wait of a test, or soon said to have failed.
PATIENT, IMPATIENT = {"OTEL_EXPORTER_OTLP_TIMEOUT": "300"}, {"OTEL_EXPORTER_OTLP_TIMEOUT": "1"}

Listen = Callable[[Manner], Collector]


@pytest.fixture
def listen() -> Iterator[Listen]:
    """Start a collector of this manner; it is closed with the test."""
    started: list[Collector] = []

    def start(manner: Manner) -> Collector:
        started.append(Collector(manner))
        return started[-1]

    yield start
    for collector in started:
        collector.close()


@pytest.fixture
def serve(runtime: Any, tiny: Path) -> Callable[..., Any]:
    """Start a runtime of the tiny ranker with these variables."""
    return lambda **variables: runtime(EMBERANK_MODEL_PATH=str(tiny), EMBERANK_ENGINE="reference", **variables)


def traceparent(number: int = 1, flags: str = "01") -> tuple[str, dict[str, str]]:
    trace = f"{0xABC0000 + number:032x}"
    return trace, {"traceparent": f"00-{trace}-{PARENT}-{flags}"}


def test_one_request_is_one_trace_below_the_callers_span(serve: Any, listen: Listen) -> None:
    collector = listen("takes")
    client = serve(**collector.variables()).ready()
    trace, headers = traceparent()
    began = time.time_ns()
    reply = client.ask("POST", RANK, BODY, headers | {"X-Request-Id": "req-1", "Authorization": "Bearer secret-key"})
    ended = time.time_ns()
    assert reply.status == 200
    until(lambda: len(collector.spans) == 4, "the spans arrive")

    spans = {span.name: span for span in collector.spans}
    assert set(spans) == NAMES
    request, *children = (spans[name] for name in ("POST /v1/ranking", "tokenize", "queue", "engine"))
    assert {span.trace for span in spans.values()} == {trace}
    assert (request.parent, request.kind, request.error) == (PARENT, "SERVER", False)
    assert {(child.parent, child.kind) for child in children} == {(request.id, "INTERNAL")}

    moments = [request.start, *itertools.chain.from_iterable((child.start, child.end) for child in children), request.end]
    assert moments == sorted(moments), "one stage after the other, all of them within the request"
    assert began <= request.start <= request.end <= ended

    assert request.attributes == {
        "http.request.method": "POST",
        "http.route": RANK,
        "url.path": RANK,
        "url.scheme": "http",
        "http.response.status_code": 200,
        "emberank.model": client.get("/v1/models").json["data"][0]["id"],
        "emberank.passages": 3,
        "emberank.prompt_tokens": int(reply.headers["emberank-prompt-tokens"]),
        "emberank.request_id": "req-1",
    }
    assert request.resource["service.name"] == "emberank-runtime"
    timing = dict(part.strip().split(";dur=") for part in reply.headers["server-timing"].split(","))
    for child in children[:2]:
        assert (child.end - child.start) / 1e6 == pytest.approx(float(timing[child.name]), abs=0.01)
    assert children[2].attributes["emberank.engine_ms"] == pytest.approx(float(timing["engine"]), abs=0.01)
    for secret in (b"ice road", b"which way", b"secret-key"):
        assert secret not in collector.raw


def test_each_of_many_requests_has_its_own_trace_and_the_last_are_sent_before_the_process_ends(serve: Any, listen: Listen) -> None:
    collector = listen("takes")
    running = serve(**collector.variables(OTEL_BSP_SCHEDULE_DELAY="600000", OTEL_SERVICE_NAME="search"))
    client = running.ready()
    for number in range(10):
        assert client.ask("POST", RANK, BODY, traceparent(number)[1]).status == 200
    assert not collector.spans
    running.signal()
    assert running.status(10) == 0
    for number in range(10):
        assert set(collector.of(traceparent(number)[0])) == {f"search: {name}" for name in NAMES}


def test_refusals_are_traced_unsampled_requests_and_health_checks_are_not(serve: Any, listen: Listen) -> None:
    collector = listen("takes")
    running = serve(**collector.variables())
    client = running.ready()
    assert client.get("/v1/health/live").status == 200
    assert client.ask("POST", RANK, BODY, traceparent(1, flags="00")[1]).status == 200
    assert client.ask("POST", RANK, {"query": "no"}, traceparent(2)[1]).status == 400
    assert client.ask("POST", RANK, BODY, {"traceparent": "nonsense"}).status == 200
    running.signal()
    assert running.status(10) == 0
    (refused,) = collector.of(traceparent(2)[0]).values()
    assert (refused.attributes["http.response.status_code"], refused.error) == (400, False)
    own = [span for span in collector.spans if span.trace != refused.trace]
    assert {span.name for span in own} == NAMES
    assert len(own) == 4
    assert [span.name for span in own if not span.parent] == ["POST /v1/ranking"]


def many(client: Any) -> list[Any]:
    """The answers to more requests than the queue of `SMALL` holds spans of."""
    replies = [client.ask("POST", RANK, BODY, traceparent(number)[1]) for number in range(30)]
    assert {reply.status for reply in replies} == {200}
    return [reply.json for reply in replies]


SMALL = {"OTEL_BSP_MAX_QUEUE_SIZE": "16", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "4"}


def test_a_collector_that_hangs_changes_no_answer_and_keeps_no_process_from_ending(serve: Any, listen: Listen) -> None:
    expected = serve().ready().post(RANK, BODY).json
    collector = listen("hangs")
    running = serve(**collector.variables(**PATIENT, **SMALL))
    assert many(running.ready()) == [expected] * 30
    assert collector.asked.wait(10)
    running.signal()
    assert running.status(10) == 0
    assert "Traceback" not in running.stderr
    assert running.stderr.count("the last traces could not be delivered in 2 s") == 1


def test_a_collector_that_refuses_changes_no_answer_and_is_one_warning(serve: Any, listen: Listen) -> None:
    expected = serve().ready().post(RANK, BODY).json
    running = serve(**listen("refuses").variables(**IMPATIENT, **SMALL))
    client = running.ready()
    for _ in range(3):
        assert many(client) == [expected] * 30
        until(lambda: "traces are not delivered: " in running.stderr, "the failure is said")
    running.signal()
    assert running.status(10) == 0
    assert "Traceback" not in running.stderr
    assert running.stderr.count("traces are not delivered: ") == 1


def test_a_collector_that_is_not_there_is_one_warning(serve: Any, listen: Listen) -> None:
    collector = listen("takes")
    variables = collector.variables(**IMPATIENT)
    collector.close()
    running = serve(**variables)
    client = running.ready()
    for _ in range(3):
        assert client.post(RANK, BODY).status == 200
        until(lambda: "traces are not delivered: " in running.stderr, "the failure is said")
    running.signal()
    assert running.status(10) == 0
    assert "Traceback" not in running.stderr
    assert running.stderr.count("traces are not delivered: ") == 1


def test_an_endpoint_without_the_extra_is_one_warning_and_a_server_that_serves(serve: Any, tmp_path: Path) -> None:
    package = tmp_path / "without" / "opentelemetry"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise ModuleNotFoundError(\"No module named 'opentelemetry'\")\n")
    path = os.pathsep.join(filter(None, [str(package.parent), os.environ.get("PYTHONPATH")]))
    running = serve(OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9", PYTHONPATH=path)
    assert running.ready().post(RANK, BODY).status == 200
    running.signal()
    assert running.status(10) == 0
    warnings = [line for line in running.stderr.splitlines() if "warning" in line]
    assert len(warnings) == 1
    assert "pip install 'emberank[otel]'" in warnings[0]
