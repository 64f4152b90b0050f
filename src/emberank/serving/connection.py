"""uvicorn's HTTP/1.1 connection with what it lacks. Knows no route.

Bounds: a client has a bounded time to send its headers, and its body, and to read on in its answer; and a bounded room for its headers. Offers to upgrade
are passed over, as HTTP allows: uvicorn loses the body of such a request, and Java's own HTTP client offers h2c with every first one. What is not HTTP is
answered in NIM's error body.
A close that can be heard: a refusal in the middle of a body (413) is lost when the socket is closed at once, because the client is still
writing and gets a reset; so what still comes is read and dropped for a moment.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from emberank.contract.errors import BadRequest
from emberank.dialects.errors import render_error
from emberank.serving.presence import EXTENSION

MOST_HEAD_BYTES = 64 << 10  # of a request's first line and headers; what the parser would keep has no end otherwise
_LINGER_S = 2.0
_STATUS_LINE, _END_OF_HEAD = b"HTTP/1.1 ", b"\r\n\r\n"


class _Lingering:
    """A transport whose `close` waits for a client that is still sending: it says that nothing more will come, and reads on for a moment."""

    def __init__(self, transport: Any, loop: asyncio.AbstractEventLoop, unread_s: float) -> None:
        self._transport = transport
        self._loop = loop
        self._unread_s = unread_s
        self._unread: asyncio.TimerHandle | None = None
        self.receiving = False  # in the middle of a request
        self.lingering = False
        self.hurried = False  # the server ends
        self._head: bytes | None = None

    def write(self, data: bytes) -> None:
        """An answer's head waits for its body, which comes at once or in a moment: one packet, and one time that the client is woken."""
        if self._head is not None:
            head, self._head = self._head, None
            self._transport.writelines((head, data))
        elif data.endswith(_END_OF_HEAD) and data.startswith(_STATUS_LINE):
            self._head = data
            self._loop.call_soon(self._write_head)
        else:
            self._transport.write(data)

    def _write_head(self) -> None:
        if self._head is not None:
            head, self._head = self._head, None
            self._transport.write(head)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def is_closing(self) -> bool:
        return self.lingering or bool(self._transport.is_closing())

    def close(self) -> None:
        self._write_head()
        if not self.receiving or self.hurried or self.is_closing():
            self._transport.close()
            self.watch()
            return
        self.lingering = True
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self._transport.resume_reading()
        self._loop.call_later(_LINGER_S, self._transport.close)

    def watch(self) -> None:
        """What waits to be sent is given up when its reader takes nothing of it for a while: it would wait for ever, and a close waits for it."""
        if self._unread is None and self._transport.get_write_buffer_size():
            self._unread = self._loop.call_later(self._unread_s, self._look, self._transport.get_write_buffer_size())

    def read_on(self) -> None:
        """The reader has taken something: what waits from here on has its own time, however much more of it there is by then."""
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def _look(self, before: int) -> None:
        self._unread = None
        if self._transport.get_write_buffer_size() >= before:
            self._transport.abort()
        else:
            self.watch()


class Connection(HttpToolsProtocol):
    """One connection. Closed when a request's headers, or its body, take longer than its class says, or when its answer is not read: each holds a descriptor."""

    headers_within_s: float
    body_within_s: float
    _late: asyncio.TimerHandle | None = None
    _head_bytes: int | None = 0  # of the head that is awaited; None: none is
    _lost = False
    _when_lost: Callable[[], object] | None = None

    def connection_made(self, transport: Any) -> None:
        """Headers are awaited from here on."""
        super().connection_made(_Lingering(transport, self.loop, self.headers_within_s))  # type: ignore[arg-type]
        self._expect(self.headers_within_s)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is awaited any more."""
        self._came()
        self._lost = True
        if self._when_lost is not None:
            self._when_lost()
        super().connection_lost(exc)

    @property
    def whole(self) -> bool:
        """See presence.Line."""
        return self.cycle is not None and not self.cycle.more_body

    def on_lost(self, call: Callable[[], object] | None) -> None:
        """See presence.Line."""
        self._when_lost = call
        if call is not None:
            self.flow.resume_reading()  # a body that came in large pieces has paused it, and a pause hears nothing
            if self._lost:
                call()

    def shutdown(self) -> None:
        """The server ends: what is still being sent is not read."""
        self.transport.hurried = True  # type: ignore[attr-defined]
        super().shutdown()

    def on_message_begin(self) -> None:
        """A request has begun."""
        self.transport.receiving = True  # type: ignore[attr-defined]
        super().on_message_begin()
        self._head_bytes = 0
        self._expect(self.headers_within_s)

    def on_headers_complete(self) -> None:
        """Its headers are there; its body is awaited."""
        self._came()
        self._head_bytes = None
        if not self._offers_upgrade():
            # The whole body, whoever reads it: a handler's own time-out is between two pieces, and a 404 has no handler.
            self._expect(self.body_within_s)
            self.scope["extensions"] = {EXTENSION: self}  # type: ignore[dict-item]
            super().on_headers_complete()

    def on_message_complete(self) -> None:
        """All of it is there."""
        if not self._offers_upgrade():
            self._came()
            self.transport.receiving = False  # type: ignore[attr-defined]
            super().on_message_complete()

    def data_received(self, data: bytes) -> None:
        """As uvicorn's, with offers to upgrade passed over."""
        self._unset_keepalive_if_required()
        if self.transport.is_closing():
            return  # nobody answers what comes now
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            if self.parser.get_method() != b"CONNECT":  # which uvicorn has refused by now
                self._pass_over(data[offer.args[0] :])
        except httptools.HttpParserError:
            self.send_400_response("Invalid HTTP request received.")
        else:
            self._count(len(data))

    def pause_writing(self) -> None:
        """The client does not read as fast as we write."""
        super().pause_writing()
        self.transport.watch()  # type: ignore[attr-defined]

    def resume_writing(self) -> None:
        """It has caught up."""
        self.transport.read_on()  # type: ignore[attr-defined]
        super().resume_writing()

    def _count(self, size: int) -> None:
        if self._head_bytes is None:
            return
        self._head_bytes += size
        if self._head_bytes > MOST_HEAD_BYTES:
            self._refuse(BadRequest(f"the request's first line and headers are over {MOST_HEAD_BYTES} bytes, which is the most allowed", status=431))

    def _offers_upgrade(self) -> bool:
        return bool(self.parser.should_upgrade()) and self.parser.get_method() != b"CONNECT"

    def _pass_over(self, rest: bytes) -> None:
        """Read the request once more without the offer; `rest` is what came after its headers."""
        head = [b"%s %s HTTP/%s\r\n" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode("ascii"))]
        head += [b"%s: %s\r\n" % header for header in self.headers if header[0] not in (b"upgrade", b"connection", b"http2-settings")]
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
        self.data_received(b"".join(head) + b"\r\n" + rest)

    def send_400_response(self, msg: str) -> None:
        """What is not HTTP: the same answer as uvicorn's, in a body that NIM's clients can read."""
        self._refuse(BadRequest(msg))

    def _refuse(self, error: BadRequest) -> None:
        body, status = render_error(error, "", "nim"), HTTPStatus(error.http_status)
        head = f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
        self.transport.write(head.encode("ascii") + body)
        self.transport.close()

    def _expect(self, within_s: float) -> None:
        if self._late is None:
            self._late = self.loop.call_later(within_s, self._close_late)

    def _came(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _close_late(self) -> None:
        self._late = None
        self.transport.abort()


def connection_class(headers_within_s: float, body_within_s: float) -> type[Connection]:
    """The class with these deadlines, in seconds: uvicorn makes its connections itself and passes no arguments of ours."""
    return type("Connection", (Connection,), {"headers_within_s": headers_within_s, "body_within_s": body_within_s})
