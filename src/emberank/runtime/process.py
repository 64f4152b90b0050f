"""A runtime process's life: bind, serve, load, verify, say ready; on a signal drain and end. Exit status 0 after a drain, 2 when it cannot start.

The socket is bound before anything heavy, so that a taken port is said at once, and the health routes answer while models load.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import math
import os
import signal
import socket
import ssl
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar, cast

import uvicorn

from emberank.contract.errors import EmberankError, SettingError, StartError
from emberank.runtime.batcher import Batcher, Limits
from emberank.runtime.connection import connection_class
from emberank.runtime.engines.base import Engine, EngineOptions
from emberank.runtime.engines.cores import cores
from emberank.runtime.engines.registry import builder
from emberank.runtime.golden import verify_golden
from emberank.runtime.metrics import Metrics
from emberank.runtime.model import Loader, ServedModel
from emberank.runtime.named_weights import NamedWeights
from emberank.runtime.pipeline import Pipeline
from emberank.runtime.presets import ModelSpec, specs
from emberank.runtime.recognise import Recognised
from emberank.runtime.roster import Roster
from emberank.runtime.server import RuntimeServer
from emberank.runtime.weights import TerminalProgress, default_cache_dir
from emberank.settings import RuntimeSettings

log = logging.getLogger(__name__)

T = TypeVar("T")
_LOADING = "load"  # the name of the thread that fetches, hashes and compiles


class _Server(uvicorn.Server):
    """uvicorn's server without its signal handling, which would end the process by the signal instead of with status 0."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class RuntimeProcess:
    """Everything one process holds. `run` is its whole life."""

    def __init__(self, settings: RuntimeSettings) -> None:
        self.settings = settings
        self.specs = specs(settings)
        self.metrics = Metrics()
        self.pipeline = Pipeline(settings.tokenizer_threads or min(4, cores()), settings.max_queue_size, settings.queue_full_status)
        self.server = RuntimeServer(settings, self.pipeline, self.metrics)
        self.models: list[ServedModel] = []
        self._failure: EmberankError | None = None
        self._loading: asyncio.Task[None] | None = None

    def run(self) -> int:
        """Serve until a signal; returns the exit status."""
        check_tls(self.settings)
        listener = bind(self.settings)
        loop_factory = _loop_factory()
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(self.serve(listener))
        if self._failure is not None:
            print(f"emberank: {self._failure.message}", file=sys.stderr)
            return 2
        if any(thread.name == _LOADING for thread in threading.enumerate()):
            # Ended in the middle of loading: the interpreter would wait for the downloads and hashes that are under way.
            logging.shutdown()
            os._exit(0)
        return 0

    async def serve(self, listener: socket.socket) -> None:
        """Serve on a bound socket until SIGTERM or SIGINT, or until loading fails."""
        server = _Server(_uvicorn_config(self.settings, self.server))
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._drain, server, number)
        self._loading = loop.create_task(self._load(server, listener))
        try:
            await server.serve(sockets=[listener])
        finally:
            self._loading.cancel()
            await asyncio.gather(self._loading, return_exceptions=True)
            self.close()

    def _drain(self, server: uvicorn.Server, number: int) -> None:
        if server.should_exit:
            server.force_exit = True  # a second signal: do not wait for running requests
            return
        log.info("draining", extra={"action": "drain", "signal": signal.Signals(number).name})
        if self._loading is not None:
            self._loading.cancel()  # or it would say ready once more
        self.server.ready = False
        self.server.state = "shutting down"
        server.should_exit = True

    async def _load(self, server: uvicorn.Server, listener: socket.socket) -> None:
        try:
            await self.load()
        except StartError as failure:
            self._failure = failure
        except Exception as cause:
            log.exception("loading failed", extra={"action": "load_failed"})
            self._failure = StartError(f"loading failed: {cause}")
        if self._failure is not None:
            server.should_exit = True
            return
        if not server.should_exit:
            self._announce(listener)

    async def load(self) -> None:
        """Load every model off the event loop, check the golden examples, become ready. Raises StartError."""
        loader = Loader(cache_dir(self.settings), self._build_engine, self._build_batcher, TerminalProgress(), self.settings.over_length_status)
        for spec in self.specs:
            self.models.append(await _aside(functools.partial(loader.load, spec)))
        for model in self.models:
            scores = await verify_golden(model, self.pipeline)
            log.info("golden example checked", extra={"action": "golden", "model": model.name, "scores": [round(score, 4) for score in scores]})
        self.server.roster = Roster(self.models)
        self.server.ready = True

    def _announce(self, listener: socket.socket) -> None:
        host, port = listener.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        scheme = "https" if self.settings.tls_cert_path else "http"
        facts = self.models[0].backend.engine.facts
        names = ", ".join(model.name for model in self.models)
        log.info("ready", extra={"action": "ready", "url": f"{scheme}://{shown}:{port}", "models": names, "precision": facts.precision, "device": facts.device})
        print(f"emberank: ready on {scheme}://{shown}:{port} ({facts.engine}, {facts.precision}, {facts.threads} threads): {names}", flush=True)

    def _build_engine(self, recognised: Recognised, weights: NamedWeights) -> Engine:
        options = EngineOptions(precision=self.settings.precision, threads=self.settings.threads)
        return builder(self.settings.engine)(recognised.network, weights, options)

    def _build_batcher(self, engine: Engine) -> Batcher:
        s = self.settings
        limits = Limits(
            max_batch_tokens=s.max_batch_tokens,
            max_wait_ms=s.max_wait_ms,
            max_queue_size=s.max_queue_size,
            max_queue_tokens=s.max_queue_tokens,
            queue_full_status=s.queue_full_status,
        )
        return Batcher(engine, limits, self.metrics)

    def close(self) -> None:
        """End the threads and let go of the engines."""
        self.pipeline.close()
        for backend in {id(model.backend): model.backend for model in self.models}.values():
            backend.batcher.stop()
            backend.engine.close()


def cache_dir(settings: RuntimeSettings) -> Path:
    """Where fetched weights are kept."""
    return Path(settings.cache_dir).expanduser() if settings.cache_dir else default_cache_dir()


def pull(spec: ModelSpec, settings: RuntimeSettings) -> Path:
    """Fetch and verify one model's files; returns their folder. Raises StartError."""
    from emberank.runtime.sources.base import parse_source
    from emberank.runtime.weights import locate, manifest, verify

    folder = locate(parse_source(spec.source, spec.sha256), cache_dir(settings), progress=TerminalProgress())
    verify(manifest(folder), spec.sha256)
    return folder


async def _aside(call: Callable[[], T]) -> T:
    """The result of `call`, run on a thread that nothing waits for: a signal in the middle of a long download ends the process at once."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if done.done():
            return
        if error is None:
            done.set_result(cast(T, result))
        else:
            done.set_exception(error)

    def run() -> None:
        result, error = None, None
        try:
            result = call()
        except Exception as cause:  # noqa: BLE001  raised again where it is awaited
            error = cause
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=run, name=_LOADING, daemon=True).start()
    return await done


def check_tls(settings: RuntimeSettings) -> None:
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


def bind(settings: RuntimeSettings) -> socket.socket:
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


def _uvicorn_config(settings: RuntimeSettings, server: RuntimeServer) -> uvicorn.Config:
    return uvicorn.Config(
        server.app(),
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


def _loop_factory() -> type[asyncio.AbstractEventLoop] | None:
    """uvloop where it exists."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.Loop
