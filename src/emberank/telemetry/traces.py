"""Times of a request in, OpenTelemetry spans out to the collector that the standard `OTEL_*` variables name (OTLP, http/protobuf).

Without an endpoint nothing is imported and every request's trace is None. `opentelemetry` is the extra `otel`; it is imported here only, and only
when it is used. Times are given after the fact, in seconds of `time.monotonic`; spans are made of them when the request is answered.
Does not know what a request asks for: no text, no header and no query of it becomes an attribute.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import urlsplit

from emberank import __version__

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
    from opentelemetry.trace import Span

log = logging.getLogger(__name__)

Attributes: TypeAlias = Mapping[str, str | int | float | bool]

# Names of attributes beside those of OpenTelemetry's conventions for HTTP.
MODEL = "emberank.model"  # the served model, never a caller's text
PASSAGES = "emberank.passages"
INPUTS = "emberank.inputs"
PROMPT_TOKENS = "emberank.prompt_tokens"
TARGET = "emberank.target"
REQUEST_ID = "emberank.request_id"
# What a process without traces of its own passes on as it came.
FORWARDED = ("traceparent", "tracestate")

_CLOSE_S = 2.0
_LONGEST_PATH = 200  # characters: a path may be a caller's invention
_EXPORTER_LOG = "opentelemetry.exporter.otlp.proto.http.trace_exporter"
# These would write what a caller sent in `tracestate`, and what a secret header of OTEL_EXPORTER_OTLP_HEADERS looks like.
_SILENCED = ("opentelemetry.trace", "opentelemetry.util")


class Traces:
    """Makes requests' traces; one per process. `enabled` is False when there is no provider, and then `request` gives None."""

    def __init__(self, provider: TracerProvider | None = None) -> None:
        self.enabled = provider is not None
        self._provider = provider
        if provider is None:
            return
        from opentelemetry.trace import SpanKind, StatusCode, set_span_in_context
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        _silence()
        self._tracer = provider.get_tracer("emberank", __version__)
        self._propagator = TraceContextTextMapPropagator()
        self._kinds, self._error, self._context = SpanKind, StatusCode.ERROR, set_span_in_context

    @classmethod
    def from_env(cls, service: str) -> Traces:
        """Traces as the process's `OTEL_*` variables ask for them; `service` is the name where they give none. Never raises: a warning says what is wrong."""
        endpoint = os.environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") or os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT")
        if not endpoint or not _wanted(os.environ):
            return cls()
        made = cls()
        try:
            wrong = _unusable(endpoint, os.environ)
            if wrong is None:
                made = cls(_provider(service))
        except ModuleNotFoundError:
            wrong = "an OTLP endpoint is set, and OpenTelemetry is not installed: pip install 'emberank[otel]'"
        except Exception as cause:  # noqa: BLE001  whatever a variable makes the libraries do, the server runs
            wrong = f"traces cannot be set up ({type(cause).__name__}: {cause})"
        if wrong is None:
            log.info("traces are sent", extra={"action": "traces_on", "collector": urlsplit(endpoint).hostname})
        else:
            log.warning("%s; no traces are sent", wrong, extra={"action": "traces_off"})
        return made

    def request(self, *, method: str, route: str, path: str, scheme: str, headers: Mapping[str, str], began: float) -> RequestTrace | None:
        """The trace of a request that came in at `began` (s, monotonic), a child of its `traceparent` where it has one; None when there are no traces."""
        if not self.enabled:
            return None
        offset_ns = time.time_ns() - time.monotonic_ns()
        span = self._tracer.start_span(
            f"{method} {route}",
            self._propagator.extract({name: headers[name] for name in FORWARDED if name in headers}),
            self._kinds.SERVER,
            {"http.request.method": method, "http.route": route, "url.path": path[:_LONGEST_PATH], "url.scheme": scheme},
            start_time=offset_ns + _ns(began),
        )
        return RequestTrace(self, span, offset_ns)

    def close(self, timeout_s: float = _CLOSE_S) -> None:
        """Send what is queued and end; a collector that does not answer is left after `timeout_s`."""
        if self._provider is None:
            return
        # The library's own shutdown waits for 30 s. Its thread and this one are daemons: the process does not wait for them.
        closing = threading.Thread(target=self._provider.shutdown, name="traces-close", daemon=True)
        closing.start()
        closing.join(timeout_s)
        if closing.is_alive():
            log.warning("the last traces could not be delivered in %g s", timeout_s, extra={"action": "traces_dropped"})

    def headers_of(self, span: Span) -> dict[str, str]:
        """The headers that make a next hop's spans children of this one."""
        headers: dict[str, str] = {}
        self._propagator.inject(headers, self._context(span))
        return headers

    def open(self, name: str, parent: Span, start_ns: int, attributes: Attributes | None, *, client: bool = False) -> Span:
        """A span below `parent`, not yet ended."""
        return self._tracer.start_span(name, self._context(parent), self._kinds.CLIENT if client else self._kinds.INTERNAL, attributes, start_time=start_ns)

    def conclude(self, span: Span, end_ns: int, status: int | None, errors_from: int) -> None:
        """End a span of HTTP. `status` None: no answer came. `errors_from` 500 for a server, to which a 4xx is its caller's error, 400 for a client."""
        if status is not None:
            span.set_attribute("http.response.status_code", status)
        if status is None or status >= errors_from:
            span.set_attribute("error.type", "no_answer" if status is None else str(status))
            span.set_status(self._error)
        span.end(end_ns)


class RequestTrace:
    """One request's server span and what is below it. Children cost a list's entry while the request runs; spans are made of them at its end."""

    __slots__ = ("_attributes", "_children", "_offset_ns", "_span", "_traces")

    def __init__(self, traces: Traces, span: Span, offset_ns: int) -> None:
        self._traces = traces
        self._span = span
        # One offset for all of a request: a clock that is set in the meantime tears nothing apart.
        self._offset_ns = offset_ns
        self._children: list[tuple[str, float, float, Attributes | None]] = []
        self._attributes: dict[str, str | int | float | bool] = {}

    @property
    def headers(self) -> dict[str, str]:
        """`traceparent`, and `tracestate` where there is one, for what works for this request without a hop of its own."""
        return self._traces.headers_of(self._span)

    def note(self, attributes: Attributes) -> None:
        """Attributes of the request, known along the way."""
        self._attributes.update(attributes)

    def child(self, name: str, start: float, end: float, attributes: Attributes | None = None) -> None:
        """Something within the request that began and ended at these times (s, monotonic)."""
        self._children.append((name, start, end, attributes))

    def hop(self, name: str, attributes: Attributes | None = None) -> Hop:
        """A call to another process that begins now: send its `headers` along."""
        span = self._traces.open(name, self._span, self._offset_ns + time.monotonic_ns(), attributes, client=True)
        return Hop(self._traces, span, self._offset_ns)

    def end(self, status: int) -> None:
        """The request is answered with this status."""
        end_ns = self._offset_ns + time.monotonic_ns()
        if self._span.is_recording():
            for name, start, end, attributes in self._children:
                self._traces.open(name, self._span, self._offset_ns + _ns(start), attributes).end(self._offset_ns + _ns(end))
            self._span.set_attributes(self._attributes)
        self._traces.conclude(self._span, end_ns, status, errors_from=500)


class Hop:
    """A call to another process, from `RequestTrace.hop` to `end`."""

    __slots__ = ("_offset_ns", "_span", "_traces", "headers")

    def __init__(self, traces: Traces, span: Span, offset_ns: int) -> None:
        self._traces = traces
        self._span = span
        self._offset_ns = offset_ns
        self.headers = traces.headers_of(span)

    def end(self, status: int | None, attributes: Attributes | None = None) -> None:
        """It answered with this status; None when it did not answer."""
        if attributes:
            self._span.set_attributes(attributes)
        self._traces.conclude(self._span, self._offset_ns + time.monotonic_ns(), status, errors_from=400)


class _FirstWords(logging.Filter):
    """Keeps what a logger is told first, which says what is wrong (later it only gives up), and lets nothing through."""

    said = ""

    def filter(self, record: logging.LogRecord) -> bool:
        self.said = self.said or record.getMessage()
        return False


_WORDS = _FirstWords()


class QuietExporter:
    """An exporter that says once that it fails and once that it works again; the library would say it with every batch."""

    def __init__(self, inner: SpanExporter) -> None:
        self._inner = inner
        self._failing = False
        logging.getLogger(_EXPORTER_LOG).addFilter(_WORDS)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send the spans, on the thread of the library's queue."""
        from opentelemetry.sdk.trace.export import SpanExportResult

        _WORDS.said = ""
        try:
            result = self._inner.export(spans)
        except Exception as cause:  # noqa: BLE001  some releases let a connection's errors through, and the queue would write a traceback for each
            _WORDS.said = str(cause)
            result = SpanExportResult.FAILURE
        failed = result is not SpanExportResult.SUCCESS
        if failed and not self._failing:
            log.warning("traces are not delivered: %s", _WORDS.said[:300], extra={"action": "traces_failing"})
        elif self._failing and not failed:
            log.info("traces are delivered again", extra={"action": "traces_delivered"})
        self._failing = failed
        return result

    def shutdown(self) -> None:
        """No more spans will come."""
        self._inner.shutdown()


def _ns(seconds: float) -> int:
    return int(seconds * 1e9)


def _wanted(environ: Mapping[str, str]) -> bool:
    """Whether the standard switches leave traces on."""
    return environ.get("OTEL_SDK_DISABLED", "").strip().lower() != "true" and environ.get("OTEL_TRACES_EXPORTER", "otlp").strip().lower() in ("", "otlp")


def _unusable(endpoint: str, environ: Mapping[str, str]) -> str | None:
    """What is wrong with the variables, None when nothing is."""
    protocol = environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or environ.get("OTEL_EXPORTER_OTLP_PROTOCOL") or "http/protobuf"
    if protocol != "http/protobuf":
        return f"OTLP is spoken as http/protobuf here, not as {protocol!r}: set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf and the collector's port for it, mostly 4318"
    url = urlsplit(endpoint)
    if url.scheme not in ("http", "https") or not url.hostname:
        return "the OTLP endpoint must be a URL that begins with http:// or https://"
    return None


def _provider(service: str) -> TracerProvider:
    """The SDK as its own variables set it up: sampler, headers, time-outs, queue and all."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    _silence()
    provider = TracerProvider(resource=_resource(service), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(QuietExporter(OTLPSpanExporter())))  # type: ignore[arg-type]
    return provider


def _silence() -> None:
    for name in _SILENCED:
        logging.getLogger(name).setLevel(logging.CRITICAL)


def _resource(service: str) -> Resource:
    from opentelemetry.sdk.resources import Resource

    found = Resource({"service.version": __version__, "emberank.process": service}).merge(Resource.create())
    if str(found.attributes.get("service.name", "unknown_service")).startswith("unknown_service"):
        found = found.merge(Resource({"service.name": service}))
    return found
