"""uvicorn's HTTP/1.1 connection with the deadline it lacks: a client has a bounded time to send its headers. Knows no route."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from emberank.contract.errors import BadRequest
from emberank.dialects import nim


def connection_class(headers_within_s: float) -> type[HttpToolsProtocol]:
    """A protocol class whose connections are closed when headers take longer than that (a slow or silent client holds a file descriptor)."""

    class Connection(HttpToolsProtocol):
        _late: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._expect_headers()

        def connection_lost(self, exc: Exception | None) -> None:
            self._got_headers()
            super().connection_lost(exc)

        def on_message_begin(self) -> None:
            super().on_message_begin()
            self._expect_headers()

        def on_headers_complete(self) -> None:
            self._got_headers()
            super().on_headers_complete()

        def send_400_response(self, msg: str) -> None:
            """What is not HTTP: the same answer as uvicorn's, in a body that NIM's clients can read."""
            body = nim.render_error(BadRequest(msg), "", openai=False)
            head = f"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
            self.transport.write(head.encode("ascii") + body)
            self.transport.close()

        def _expect_headers(self) -> None:
            if self._late is None:
                self._late = self.loop.call_later(headers_within_s, self._close_late)

        def _got_headers(self) -> None:
            if self._late is not None:
                self._late.cancel()
                self._late = None

        def _close_late(self) -> None:
            self._late = None
            if not self.transport.is_closing():
                self.transport.close()

    return Connection
