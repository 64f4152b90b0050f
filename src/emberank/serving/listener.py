"""Settings and an ASGI application in, a process that serves it out: bind, serve, drain on a signal. Knows no route.

The socket is bound before anything heavy, so that a taken port is said at once.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import signal
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp

from emberank.contract.errors import SettingError
from emberank.serving.connection import connection_class
from emberank.settings import DoorSettings

log = logging.getLogger(__name__)


class Server(uvicorn.Server):
    """uvicorn's server without its signal handling, which would end the process by the signal instead of with status 0."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Ours are set by `drain_on_signals`."""
        yield


def server(settings: DoorSettings, app: ASGIApp) -> Server:
    """A server for `app`; `await it.serve(sockets=[listener])` runs it."""
    return Server(_config(settings, app))


def drain_on_signals(serving: uvicorn.Server, on_drain: Callable[[], None]) -> None:
    """On SIGTERM or SIGINT: call `on_drain`, take no new connection, let running requests finish; on a second one do not wait for them."""
    loop = asyncio.get_running_loop()

    def drain(number: int) -> None:
        if serving.should_exit:
            serving.force_exit = True
            return
        log.info("draining", extra={"action": "drain", "signal": signal.Signals(number).name})
        on_drain()
        serving.should_exit = True

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, drain, number)


def url_of(settings: DoorSettings, listener: socket.socket) -> str:
    """Where a bound socket can be reached, as a URL."""
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    return f"{'https' if settings.tls_cert_path else 'http'}://{shown}:{port}"


def check_tls(settings: DoorSettings) -> None:
    """Raises SettingError, with one clear line, for a certificate and a key that cannot be used."""
    certificate, key = settings.tls_cert_path, settings.tls_key_path
    if not certificate and not key:
        return
    if not certificate or not key:
        raise SettingError("EMBERANK_TLS_CERT_PATH and EMBERANK_TLS_KEY_PATH go together: only one of them is set")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
    except OSError as cause:  # ssl.SSLError is one
        raise SettingError(f"TLS: certificate {certificate!r} and key {key!r} cannot be used: {cause.strerror or cause}") from cause


def bind(settings: DoorSettings) -> socket.socket:
    """A listening socket; raises SettingError with one clear line when the address cannot be had."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.socket(family, kind, protocol)
        if os.name == "posix":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a restart need not wait for old connections to time out
        listener.bind(address)
        listener.setblocking(False)
    except OSError as cause:
        hint = "; is another server running there? --port takes another port" if isinstance(cause, OSError) and "in use" in str(cause) else ""
        raise SettingError(f"cannot listen on {settings.host}:{settings.port}: {cause.strerror or cause}{hint}") from cause
    return listener


def _config(settings: DoorSettings, app: ASGIApp) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=connection_class(settings.read_timeout_s, settings.request_timeout_s),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=math.ceil(settings.keep_alive_s),
        timeout_graceful_shutdown=math.ceil(settings.shutdown_grace_s),
        limit_concurrency=settings.max_connections,
        ssl_certfile=settings.tls_cert_path or None,
        ssl_keyfile=settings.tls_key_path or None,
    )


def loop_factory() -> type[asyncio.AbstractEventLoop] | None:
    """uvloop where it exists."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.Loop
