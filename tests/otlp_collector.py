"""A stand-in for an OpenTelemetry collector: takes OTLP over HTTP on loopback and keeps the spans, or refuses them, or never answers."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse

from wire import WAIT_S

Manner = Literal["takes", "refuses", "hangs"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """One span as it came over the wire; ids in hexadecimal, times in ns since 1970."""

    name: str
    kind: str
    trace: str
    id: str
    parent: str
    start: int
    end: int
    error: bool
    attributes: dict[str, Any]
    resource: dict[str, Any]


class Collector:
    """Listens until it is closed."""

    def __init__(self, manner: Manner = "takes") -> None:
        self.spans: list[Span] = []
        self.raw = b""  # every body, for what must not be in any
        self.asked = threading.Event()
        self._manner = manner
        self._released = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, name="collector")
        self._thread.start()

    def variables(self, **more: str) -> dict[str, str]:
        """The environment of a process that sends its spans here, soon after they end."""
        endpoint = f"http://127.0.0.1:{self._server.server_port}"
        return {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_BSP_SCHEDULE_DELAY": "20", "NO_PROXY": "*", "no_proxy": "*"} | more

    def of(self, trace: str) -> dict[str, Span]:
        """The spans of one trace by service and name, where each name is there once a service."""
        return {f"{span.resource['service.name']}: {span.name}": span for span in self.spans if span.trace == trace}

    def close(self) -> None:
        self._released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(WAIT_S)

    def _take(self, path: str, body: bytes) -> tuple[int, bytes]:
        self.asked.set()
        if self._manner == "hangs":
            self._released.wait()
        if self._manner != "takes":
            return 500, b""
        assert path == "/v1/traces"
        self.raw += body
        self.spans += _spans(ExportTraceServiceRequest.FromString(body))
        return 200, ExportTraceServiceResponse().SerializeToString()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        take = self._take

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                status, answer = take(self.path, self.rfile.read(int(self.headers["Content-Length"])))
                try:
                    self.send_response(status)
                    self.send_header("Content-Type", "application/x-protobuf")
                    self.send_header("Content-Length", str(len(answer)))
                    self.end_headers()
                    self.wfile.write(answer)
                except ConnectionError:  # whoever waited for a hanging one has ended
                    self.close_connection = True

            def log_message(self, *arguments: object) -> None:
                """Nothing on the terminal."""

        return Handler


def _spans(request: Any) -> list[Span]:
    found = []
    for group in request.resource_spans:
        resource = _values(group.resource.attributes)
        for scope in group.scope_spans:
            found += [_span(span, resource) for span in scope.spans]
    return found


def _span(span: Any, resource: dict[str, Any]) -> Span:
    return Span(
        name=span.name,
        kind=span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
        trace=span.trace_id.hex(),
        id=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        start=span.start_time_unix_nano,
        end=span.end_time_unix_nano,
        error=span.status.code == 2,
        attributes=_values(span.attributes),
        resource=resource,
    )


def _values(attributes: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in attributes}
