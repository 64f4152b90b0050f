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
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar, cast

from emberank.contract.errors import EmberankError, StartError
from emberank.runtime.backlog import row_cost
from emberank.runtime.batcher import Batcher, Limits
from emberank.runtime.engines.base import Engine, EngineOptions
from emberank.runtime.engines.cores import cores
from emberank.runtime.engines.nvml import gpu_count
from emberank.runtime.engines.prepared import forget_unused
from emberank.runtime.engines.registry import AUTO, best, builder
from emberank.runtime.fit import CPU_BATCH_TOKENS, checker
from emberank.runtime.golden import verify_golden
from emberank.runtime.metrics import Metrics
from emberank.runtime.model import CheckFits, Loader, ServedModel
from emberank.runtime.named_weights import NamedWeights
from emberank.runtime.networks.network import Network
from emberank.runtime.pictures import Pictures
from emberank.runtime.pipeline import Pipeline
from emberank.runtime.presets import ModelSpec, specs
from emberank.runtime.roster import Roster
from emberank.runtime.server import RuntimeServer
from emberank.runtime.status_file import StatusFile, count_peak_anew
from emberank.runtime.weights import TerminalProgress, default_cache_dir
from emberank.serving.listener import Server, bind, check_tls, drain_on_signals, loop_factory, server, url_of
from emberank.settings import RuntimeSettings
from emberank.telemetry import Traces

log = logging.getLogger(__name__)

T = TypeVar("T")
_LOADING = "load"  # the name of the thread that fetches, hashes and compiles


class RuntimeProcess:
    """Everything one process holds. `run` is its whole life."""

    def __init__(self, settings: RuntimeSettings) -> None:
        self.settings = settings
        self.status = StatusFile(settings.status_file)
        self.specs = specs(settings)
        self.metrics = Metrics()
        pictures = Pictures(settings.image_threads or min(8, cores()), settings.max_images_at_once, self.metrics)
        self.pipeline = Pipeline(settings.tokenizer_threads or min(4, cores()), settings.max_queue_size, settings.queue_full_status, pictures)
        self.traces = Traces.from_env("emberank-runtime")
        self.server = RuntimeServer(settings, self.pipeline, self.metrics, self.traces)
        self.models: list[ServedModel] = []
        self._failure: EmberankError | None = None
        self._loading: asyncio.Task[None] | None = None

    def run(self) -> int:
        """Serve until a signal; returns the exit status."""
        check_tls(self.settings)
        listener = bind(self.settings)
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
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
        serving = server(self.settings, self.server.app())
        drain_on_signals(serving, self._drain)
        self._loading = asyncio.get_running_loop().create_task(self._load(serving, listener))
        try:
            await serving.serve(sockets=[listener])
        finally:
            self._loading.cancel()
            await asyncio.gather(self._loading, return_exceptions=True)
            self.close()
            self.status.ended(self._failure)

    def _drain(self) -> None:
        if self._loading is not None:
            self._loading.cancel()  # or it would say ready once more
        self.server.ready = False
        self.server.state = "shutting down"

    async def _load(self, serving: Server, listener: socket.socket) -> None:
        try:
            await self.load()
        except StartError as failure:
            self._failure = failure
        except Exception as cause:
            log.exception("loading failed", extra={"action": "load_failed"})
            self._failure = StartError(f"loading failed: {cause}")
        if self._failure is not None:
            serving.should_exit = True
            return
        if not serving.should_exit:
            self._announce(listener)

    async def load(self) -> None:
        """Load every model off the event loop, check the golden examples, become ready. Raises StartError."""
        progress = self.status.progress(TerminalProgress())
        status = self.settings.over_length_status
        forget_unused(cache_dir(self.settings), time.time())
        loader = Loader(cache_dir(self.settings), self._build_engine, self._build_batcher, progress, status, self._check_fits())
        self.status.say("loading")
        for spec in self.specs:
            self.models.append(await _aside(functools.partial(loader.load, spec)))
        self.status.say("verifying")
        for model in self.models:
            scores = await verify_golden(model, self.pipeline)
            log.info("golden example checked", extra={"action": "golden", "model": model.name, "scores": [round(score, 4) for score in scores]})
        count_peak_anew()
        self.server.roster = Roster(self.models)
        self.server.ready = True

    def _announce(self, listener: socket.socket) -> None:
        url = url_of(self.settings, listener)
        facts = self.models[0].backend.engine.facts
        names = ", ".join(f"{model.name}{' (random weights)' if model.random_weights else ''}" for model in self.models)
        log.info("ready", extra={"action": "ready", "url": url, "models": names, "precision": facts.precision, "device": facts.device})
        print(f"emberank: ready on {url} ({facts.engine}, {facts.precision}, {facts.threads} threads): {names}", flush=True)
        self.status.say("ready", url=url)

    def _check_fits(self) -> CheckFits | None:
        """The look at this machine's memory before an engine is built; none where a GPU's memory counts."""
        s = self.settings
        engine = best(s.device) if s.engine == AUTO else s.engine
        if engine == "torch" and s.device != "cpu" and gpu_count():
            return None
        return checker(engine=engine, precision=s.precision, max_batch_tokens=s.max_batch_tokens or CPU_BATCH_TOKENS, policy=s.memory_check)

    def _build_engine(self, network: Network, weights: NamedWeights, prepared: Path) -> Engine:
        s = self.settings
        options = EngineOptions(precision=s.precision, threads=s.threads, device=s.device, prepared=prepared)
        return builder(s.engine, s.device)(network, weights, options)

    def _build_batcher(self, engine: Engine, network: Network) -> Batcher:
        s = self.settings
        limits = Limits(
            max_batch_tokens=s.max_batch_tokens or engine.facts.batch_tokens,
            max_wait_ms=s.max_wait_ms,
            max_queue_size=s.max_queue_size,
            max_queue_tokens=s.max_queue_tokens,
            queue_full_status=s.queue_full_status,
        )
        attention_tokens = math.inf if engine.facts.packed else row_cost(network.attention_tokens)
        return Batcher(engine, limits, self.metrics, merged=network.merged, attention_tokens=attention_tokens)

    def close(self) -> None:
        """End the threads and let go of the engines."""
        self.pipeline.close()
        backends = [backend for model in self.models for backend in (model.backend, model.vision) if backend is not None]
        for backend in {id(backend): backend for backend in backends}.values():
            backend.batcher.stop()
            backend.engine.close()
        self.traces.close()


def run(settings: RuntimeSettings) -> int:
    """One process's life; returns its exit status. What ends it before it serves is in the status file as well."""
    try:
        return RuntimeProcess(settings).run()
    except StartError as failure:
        StatusFile(settings.status_file).ended(failure)
        raise


def cache_dir(settings: RuntimeSettings) -> Path:
    """Where fetched weights are kept."""
    return Path(settings.cache_dir).expanduser() if settings.cache_dir else default_cache_dir()


def pull(spec: ModelSpec, settings: RuntimeSettings) -> Path:
    """Fetch and verify one model's files; returns their folder. Raises StartError."""
    from emberank.runtime.sources.base import parse_source
    from emberank.runtime.weights import locate, manifest, verify

    folder = locate(parse_source(spec.source, spec.sha256), cache_dir(settings), progress=TerminalProgress())
    verify(manifest(folder, cache_dir(settings)), spec.sha256)
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
