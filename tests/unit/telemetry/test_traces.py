"""Times in, spans out: who is whose child, what is said of a request and what never is, and what becomes of a process whose collector is none."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased, Sampler
from opentelemetry.trace import SpanKind, StatusCode

from asgi import LEAVE, app_of, call
from emberank.contract.errors import BadRequest, QueueFull, ServerFault
from emberank.runtime.metrics import Metrics
from emberank.serving.exchange import Exchange, Exchanges, Handler
from emberank.settings import RuntimeSettings
from emberank.telemetry import RequestTrace, Traces
from emberank.telemetry import traces as module
from emberank.telemetry.traces import QuietExporter
from wire import WAIT_S

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
GIVEN = f"00-{TRACE}-{PARENT}-01"
LOGGER = "emberank.telemetry.traces"


class Stage:
    """Traces whose spans stay in memory."""

    def __init__(self, sampler: Sampler | None = None) -> None:
        self._memory = InMemorySpanExporter()
        self._provider = TracerProvider(sampler=sampler or ParentBased(ALWAYS_ON), shutdown_on_exit=False)
        self._provider.add_span_processor(SimpleSpanProcessor(self._memory))
        self.traces = Traces(self._provider)

    def request(self, headers: Mapping[str, str] | None = None, **more: Any) -> RequestTrace:
        given = {"method": "POST", "route": "/v1/ranking", "path": "/v1/ranking", "scheme": "http", "headers": headers or {}, "began": time.monotonic()}
        trace = self.traces.request(**given | more)
        assert trace is not None
        return trace

    @property
    def spans(self) -> dict[str, ReadableSpan]:
        return {span.name: span for span in self._memory.get_finished_spans()}

    def only(self) -> ReadableSpan:
        (span,) = self._memory.get_finished_spans()
        return span


def ids(span: ReadableSpan) -> tuple[str, str, str | None]:
    """Trace, span and parent."""
    return f"{span.context.trace_id:032x}", f"{span.context.span_id:016x}", f"{span.parent.span_id:016x}" if span.parent else None


# --- one request


def test_a_request_is_a_server_span_as_the_http_conventions_describe_it() -> None:
    stage = Stage()
    stage.request(path="/v1//ranking/").end(200)
    span = stage.only()
    assert (span.name, span.kind, span.status.status_code) == ("POST /v1/ranking", SpanKind.SERVER, StatusCode.UNSET)
    assert span.attributes == {
        "http.request.method": "POST",
        "http.route": "/v1/ranking",
        "url.path": "/v1//ranking/",
        "url.scheme": "http",
        "http.response.status_code": 200,
    }


def test_a_request_with_a_traceparent_is_a_child_of_it() -> None:
    stage = Stage()
    stage.request({"traceparent": GIVEN}).end(200)
    trace, span, parent = ids(stage.only())
    assert (trace, parent) == (TRACE, PARENT)
    assert span != PARENT


@pytest.mark.parametrize(
    "given", ["", "x", GIVEN[:-1], f"00-{'0' * 32}-{PARENT}-01", f"00-{TRACE}-{'0' * 16}-01", f"ff-{TRACE}-{PARENT}-01", "0" * 10_000, GIVEN + "é"]
)
def test_a_traceparent_that_is_none_begins_a_trace_of_its_own(given: str, caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage()
    stage.request({"traceparent": given}).end(200)
    trace, _, parent = ids(stage.only())
    assert trace != TRACE
    assert parent is None
    assert not caplog.records


def test_what_a_caller_writes_in_tracestate_is_passed_on_and_never_logged(caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage()
    assert stage.request({"traceparent": GIVEN, "tracestate": "vendor=opaque"}).headers["tracestate"] == "vendor=opaque"
    for bad in ("a secret,of,the caller", "k=" + "v" * 10_000, ",".join(f"k{n}=v" for n in range(99)), "k=1,k=2"):
        stage.request({"traceparent": GIVEN, "tracestate": bad}).end(200)
    assert not caplog.records


def test_children_are_below_their_request_with_exactly_the_times_they_had(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.time, "time_ns", lambda: 1_700_000_000_000_000_000)
    monkeypatch.setattr(module.time, "monotonic_ns", lambda: 100_000_000_000)
    stage = Stage()
    trace = stage.request(began=99.5)
    trace.child("tokenize", 99.5, 99.625)
    trace.child("engine", 99.75, 100.0, {"emberank.engine_ms": 12.5})
    assert not stage.spans, "they are made at the end"
    trace.end(200)
    spans = stage.spans
    request, tokenize, engine = spans["POST /v1/ranking"], spans["tokenize"], spans["engine"]
    now = 1_700_000_000_000_000_000
    assert (request.start_time, request.end_time) == (now - 500_000_000, now)
    assert (tokenize.start_time, tokenize.end_time) == (now - 500_000_000, now - 375_000_000)
    assert (engine.start_time, engine.end_time) == (now - 250_000_000, now)
    assert {ids(tokenize)[2], ids(engine)[2]} == {ids(request)[1]}
    assert {tokenize.kind, engine.kind} == {SpanKind.INTERNAL}
    assert engine.attributes == {"emberank.engine_ms": 12.5}


def test_a_clock_that_is_set_while_a_request_runs_tears_nothing_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    stage, began = Stage(), time.monotonic()
    trace = stage.request(began=began)
    monkeypatch.setattr(module.time, "time_ns", lambda: 0)
    trace.child("engine", began, time.monotonic())
    trace.end(200)
    request, engine = stage.spans["POST /v1/ranking"], stage.spans["engine"]
    assert request.start_time == engine.start_time
    assert engine.end_time <= request.end_time  # type: ignore[operator]


def test_what_is_noted_along_the_way_is_said_of_the_request() -> None:
    stage = Stage()
    trace = stage.request()
    trace.note({module.MODEL: "acme/rank", module.PASSAGES: 3})
    trace.note({module.PROMPT_TOKENS: 77})
    trace.end(200)
    attributes = dict(stage.only().attributes or {})
    assert (attributes["emberank.model"], attributes["emberank.passages"], attributes["emberank.prompt_tokens"]) == ("acme/rank", 3, 77)


def test_of_a_long_path_only_the_beginning_is_kept() -> None:
    stage = Stage()
    stage.request(path="/" + "x" * 10_000).end(404)
    assert (stage.only().attributes or {})["url.path"] == "/" + "x" * 199


@pytest.mark.parametrize(("status", "error"), [(200, None), (400, None), (404, None), (429, None), (499, None), (500, "500"), (503, "503"), (504, "504")])
def test_only_the_servers_own_faults_are_errors_of_a_server_span(status: int, error: str | None) -> None:
    stage = Stage()
    stage.request().end(status)
    span = stage.only()
    assert (span.attributes or {})["http.response.status_code"] == status
    assert (span.attributes or {}).get("error.type") == error
    assert span.status.status_code is (StatusCode.ERROR if error else StatusCode.UNSET)


# --- the next hop


def test_a_hop_is_a_client_span_and_what_it_asks_is_its_child() -> None:
    gateway, runtime = Stage(), Stage()
    outer = gateway.request({"traceparent": GIVEN})
    outer.child("hold", time.monotonic(), time.monotonic())
    hop = outer.hop("upstream", {"server.address": "127.0.0.1"})
    inner = runtime.request(hop.headers)
    inner.child("engine", time.monotonic(), time.monotonic())
    inner.end(200)
    hop.end(200, {module.TARGET: "CPU/local"})
    outer.end(200)

    request, hold, upstream = (gateway.spans[name] for name in ("POST /v1/ranking", "hold", "upstream"))
    served, engine = runtime.spans["POST /v1/ranking"], runtime.spans["engine"]
    assert {ids(span)[0] for span in (request, hold, upstream, served, engine)} == {TRACE}
    assert [ids(span)[2] for span in (request, hold, upstream, served, engine)] == [
        PARENT,
        ids(request)[1],
        ids(request)[1],
        ids(upstream)[1],
        ids(served)[1],
    ]
    assert upstream.kind is SpanKind.CLIENT
    assert upstream.attributes == {"server.address": "127.0.0.1", "emberank.target": "CPU/local", "http.response.status_code": 200}


@pytest.mark.parametrize(("status", "error"), [(200, None), (302, None), (400, "400"), (429, "429"), (502, "502"), (None, "no_answer")])
def test_a_hop_that_is_refused_or_not_answered_is_an_error(status: int | None, error: str | None) -> None:
    stage = Stage()
    stage.request().hop("upstream").end(status)
    span = stage.only()
    assert (span.attributes or {}).get("error.type") == error
    assert span.status.status_code is (StatusCode.ERROR if error else StatusCode.UNSET)


def test_a_request_passes_itself_on_where_there_is_no_hop() -> None:
    stage = Stage()
    trace = stage.request({"traceparent": GIVEN})
    headers = trace.headers
    trace.end(200)
    assert headers == {"traceparent": f"00-{TRACE}-{ids(stage.only())[1]}-01"}


@pytest.mark.parametrize(("headers", "sampler"), [({"traceparent": GIVEN[:-1] + "0"}, ParentBased(ALWAYS_ON)), ({}, ALWAYS_OFF)])
def test_what_is_not_sampled_is_not_recorded_and_the_next_hop_is_told(headers: dict[str, str], sampler: Sampler) -> None:
    stage = Stage(sampler)
    trace = stage.request(headers)
    trace.note({module.PASSAGES: 3})
    trace.child("engine", time.monotonic(), time.monotonic())
    hop = trace.hop("upstream")
    hop.end(None, {module.TARGET: "CPU/local"})
    trace.end(500)
    assert not stage.spans
    assert hop.headers["traceparent"].endswith("-00") or hop.headers["traceparent"].endswith("-02")


# --- through the door


def ask(stage: Stage, handler: Handler, *, body: Any = b"{}", headers: dict[str, str] | None = None) -> Any:
    exchanges = Exchanges(RuntimeSettings(), Metrics(), stage.traces)
    return asyncio.run(call(app_of(exchanges.endpoint("/test", handler)), body=body, headers=headers))


def test_an_exchange_hands_its_trace_to_the_handler_and_ends_it_with_the_answer() -> None:
    stage, began = Stage(), time.monotonic()

    async def handler(exchange: Exchange) -> bytes:
        exchange.model = "acme/rank"
        assert exchange.trace is not None
        exchange.trace.child("engine", began, time.monotonic())
        return b"{}"

    reply = ask(stage, handler, headers={"traceparent": GIVEN, "X-Request-Id": "req-1"})
    request, engine = stage.spans["POST /test"], stage.spans["engine"]
    assert (reply.status, ids(request)[2], ids(engine)[2]) == (200, PARENT, ids(request)[1])
    attributes = dict(request.attributes or {})
    assert (attributes["emberank.model"], attributes["emberank.request_id"], attributes["http.route"]) == ("acme/rank", "req-1", "/test")


@pytest.mark.parametrize(
    ("error", "status"),
    [(BadRequest("a text of the caller"), 400), (QueueFull("full", status=429, retry_after_s=1), 429), (ServerFault(), 500), (KeyError("?"), 500)],
)
def test_a_refused_exchange_has_its_status_and_not_a_word_of_the_refusal(error: Exception, status: int) -> None:
    stage = Stage()

    async def handler(exchange: Exchange) -> bytes:
        raise error

    assert ask(stage, handler).status == status
    span = stage.only()
    assert (span.attributes or {})["http.response.status_code"] == status
    assert (span.events, span.status.description) == ((), None)


def test_an_exchange_whose_client_left_is_in_its_trace_as_in_the_log() -> None:
    stage = Stage()

    async def handler(exchange: Exchange) -> bytes:
        await asyncio.sleep(WAIT_S)
        return b""

    ask(stage, handler, body=[b"{}", LEAVE])
    assert (stage.only().attributes or {})["http.response.status_code"] == 499


def test_nothing_of_a_body_a_query_or_a_header_is_in_a_span() -> None:
    stage = Stage()

    async def handler(exchange: Exchange) -> bytes:
        return b'{"answer":"secret-answer"}'

    ask(stage, handler, body=b'{"text":"secret-text"}', headers={"Authorization": "Bearer secret-key", "X-Other": "secret-header"})
    assert "secret" not in stage.only().to_json()


@pytest.mark.parametrize("traces", [None, Traces()])
def test_without_traces_an_exchange_has_none(traces: Traces | None) -> None:
    seen: list[Exchange] = []

    async def handler(exchange: Exchange) -> bytes:
        seen.append(exchange)
        return b"{}"

    app = app_of(Exchanges(RuntimeSettings(), Metrics(), traces).endpoint("/test", handler))
    assert asyncio.run(call(app, headers={"traceparent": GIVEN})).status == 200
    assert seen[0].trace is None


# --- what the environment asks for


@pytest.fixture
def environ(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """No OTEL_ variable is set but those that a test sets; loopback's port 9 takes nothing."""
    for name in [name for name in module.os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)
    return monkeypatch


@pytest.fixture
def on(environ: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    environ.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    return environ


@pytest.fixture
def made() -> Iterator[list[Traces]]:
    """Traces to be closed after the test."""
    traces: list[Traces] = []
    yield traces
    for one in traces:
        one.close()


def test_without_an_endpoint_nothing_is_imported_and_nothing_is_traced() -> None:
    code = """if True:
        import sys
        from emberank.telemetry import Traces
        traces = Traces.from_env("test")
        assert not traces.enabled
        assert traces.request(method="POST", route="/", path="/", scheme="http", headers={"traceparent": sys.argv[1]}, began=0.0) is None
        traces.close()
        assert not [name for name in sys.modules if name.startswith(("opentelemetry", "requests", "google"))]
    """
    clean = {name: value for name, value in module.os.environ.items() if not name.startswith("OTEL_")}
    done = subprocess.run([sys.executable, "-c", code, GIVEN], env=clean, capture_output=True, text=True, timeout=WAIT_S, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"])
def test_either_endpoint_turns_traces_on(environ: pytest.MonkeyPatch, made: list[Traces], name: str, caplog: pytest.LogCaptureFixture) -> None:
    environ.setenv(name, "http://user:password@127.0.0.1:9/v1/traces")
    with caplog.at_level(logging.INFO, LOGGER):
        made.append(Traces.from_env("test"))
    assert made[0].enabled
    (record,) = caplog.records
    assert (record.action, record.collector) == ("traces_on", "127.0.0.1")  # type: ignore[attr-defined]
    assert "password" not in str(vars(record))


@pytest.mark.parametrize(("name", "value"), [("OTEL_SDK_DISABLED", "true"), ("OTEL_TRACES_EXPORTER", "none"), ("OTEL_EXPORTER_OTLP_ENDPOINT", "")])
def test_the_standard_switches_turn_them_off_without_a_word(on: pytest.MonkeyPatch, name: str, value: str, caplog: pytest.LogCaptureFixture) -> None:
    on.setenv(name, value)
    assert not Traces.from_env("test").enabled
    assert not caplog.records


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "http/protobuf here, not as 'grpc': set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json", "not as 'http/json'"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "localhost:4318", "must be a URL that begins with http:// or https://"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://", "must be a URL"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://[::1", "traces cannot be set up (ValueError: Invalid IPv6 URL)"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "-1", "traces cannot be set up (ValueError: max_queue_size must be a positive integer.)"),
    ],
)
def test_variables_that_cannot_work_are_one_clear_warning_and_no_traces(
    on: pytest.MonkeyPatch, name: str, value: str, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    on.setenv(name, value)
    assert not Traces.from_env("test").enabled
    (record,) = caplog.records
    assert (record.levelname, record.action) == ("WARNING", "traces_off")  # type: ignore[attr-defined]
    assert said in record.getMessage()
    assert record.getMessage().endswith("; no traces are sent")


def test_an_endpoint_without_the_extra_is_one_warning_that_names_it(on: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    on.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    assert not Traces.from_env("test").enabled
    (record,) = caplog.records
    assert "pip install 'emberank[otel]'" in record.getMessage()


@pytest.mark.parametrize(
    ("variables", "service"),
    [
        ({}, "emberank-runtime"),
        ({"OTEL_SERVICE_NAME": "search"}, "search"),
        ({"OTEL_RESOURCE_ATTRIBUTES": "service.name=search,team=blue"}, "search"),
    ],
)
def test_the_service_is_named_by_the_environment_else_by_the_process(
    on: pytest.MonkeyPatch, made: list[Traces], variables: dict[str, str], service: str, caplog: pytest.LogCaptureFixture
) -> None:
    for name, value in variables.items():
        on.setenv(name, value)
    made.append(Traces.from_env("emberank-runtime"))
    attributes = made[0]._provider.resource.attributes  # type: ignore[union-attr]
    assert (attributes["service.name"], attributes["emberank.process"]) == (service, "emberank-runtime")
    assert attributes["service.version"]
    assert attributes.get("team") == ("blue" if "team" in str(variables) else None)


def test_a_header_of_the_collectors_that_is_written_wrong_is_not_shown(on: pytest.MonkeyPatch, made: list[Traces], caplog: pytest.LogCaptureFixture) -> None:
    for name in ("opentelemetry.util", "opentelemetry.trace"):
        on.setattr(logging.getLogger(name), "level", logging.NOTSET)  # as in a new process
        logging.getLogger(name).manager._clear_cache()  # type: ignore[attr-defined]
    on.setenv("OTEL_EXPORTER_OTLP_HEADERS", "secret-key-without-a-name")
    made.append(Traces.from_env("test"))
    assert made[0].enabled
    assert "secret" not in caplog.text


# --- a collector that is none


class Collector(SpanExporter):
    """Takes spans or refuses them, and says so as the library's exporter does."""

    def __init__(self) -> None:
        self.result = SpanExportResult.SUCCESS
        self.closed = False

    def export(self, spans: Any) -> SpanExportResult:
        if self.result is SpanExportResult.FAILURE:
            library = logging.getLogger("opentelemetry.exporter.otlp.proto.http.trace_exporter")
            library.warning("Transient error %s", "Service Unavailable")
            library.error("Failed to export")
        return self.result

    def shutdown(self) -> None:
        self.closed = True


def test_failing_and_working_again_are_one_line_each(caplog: pytest.LogCaptureFixture) -> None:
    collector = Collector()
    quiet = QuietExporter(collector)
    with caplog.at_level(logging.INFO):
        for result in [SpanExportResult.FAILURE] * 3 + [SpanExportResult.SUCCESS] * 2 + [SpanExportResult.FAILURE]:
            collector.result = result
            assert quiet.export([]) is result
    quiet.shutdown()
    failing = "traces are not delivered: Transient error Service Unavailable"
    assert [record.getMessage() for record in caplog.records] == [failing, "traces are delivered again", failing]
    assert collector.closed


def test_an_exporter_that_raises_is_one_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    class Raising(Collector):
        def export(self, spans: Any) -> SpanExportResult:
            raise ConnectionError("refused")

    quiet = QuietExporter(Raising())
    assert [quiet.export([]), quiet.export([])] == [SpanExportResult.FAILURE] * 2
    assert [record.getMessage() for record in caplog.records] == ["traces are not delivered: refused"]


class Hanging(SpanExporter):
    def __init__(self) -> None:
        self.entered, self.go_on = threading.Event(), threading.Event()

    def export(self, spans: Any) -> SpanExportResult:
        self.entered.set()
        assert self.go_on.wait(WAIT_S)
        return SpanExportResult.SUCCESS


def test_closing_does_not_wait_for_a_collector_that_hangs(caplog: pytest.LogCaptureFixture) -> None:
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    hanging, provider = Hanging(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(hanging, schedule_delay_millis=1))
    traces = Traces(provider)
    trace = traces.request(method="POST", route="/", path="/", scheme="http", headers={}, began=time.monotonic())
    assert trace is not None
    trace.end(200)
    assert hanging.entered.wait(WAIT_S)
    traces.close(0.01)
    assert not hanging.go_on.is_set(), "it still hangs"
    assert [record.action for record in caplog.records] == ["traces_dropped"]  # type: ignore[attr-defined]
    hanging.go_on.set()
