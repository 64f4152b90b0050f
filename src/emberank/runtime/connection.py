"""uvicorn's HTTP/1.1 connection with the deadline it lacks: a client has a bounded time to send its headers. Knows no route."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


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
