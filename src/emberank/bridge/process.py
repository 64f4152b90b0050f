"""A bridge's life: bind, serve, load LiteLLM, say ready; on a signal drain and end. Exit status 0 after a drain, 2 when it cannot start."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import cast

from emberank.bridge import status
from emberank.bridge.provider import provider
from emberank.bridge.server import Asks, BridgeServer
from emberank.bridge.settings import BridgeSettings
from emberank.contract.errors import EmberankError, SettingError, StartError
from emberank.contract.inference import Task
from emberank.serving.listener import Server, bind, drain_on_signals, server, url_of

log = logging.getLogger(__name__)

SOURCE = "litellm:"
_MODEL = re.compile(r"[A-Za-z0-9_]+/\S+")
Load = Callable[[str, BridgeSettings], Asks]


def load(model: str, settings: BridgeSettings) -> Asks:
    """LiteLLM's SDK. Raises SettingError."""
    return provider(model, key_env=settings.api_key_env, api_base=settings.api_base)


def run(settings: BridgeSettings, loader: Load = load) -> int:
    """Serve until a signal. Raises StartError, which is in the status file as well."""
    failure: EmberankError | None = None
    try:
        name, task, model = entry(settings.model_file)
        listener = bind(settings)
        failure = asyncio.run(_serve(settings, BridgeServer(settings, name, task), model, loader, listener))
    except StartError as error:
        failure = error
    if failure is None:
        status.say(settings.status_file, "ended")
        return 0
    status.say(settings.status_file, "failed", reason=getattr(failure, "reason", "crashed"), message=failure.message)
    raise failure


def entry(path: str) -> tuple[str, Task, str]:
    """(what the model is called, its task, the provider's model) of a model file. Raises SettingError."""
    try:
        (model,) = json.loads(Path(path).read_bytes())["model"]
        name, task, source = model["name"], model["task"], model["source"]
    except (OSError, ValueError, KeyError, TypeError) as cause:
        raise SettingError(f"{path!r} holds no `model` entry with a name, a task and a source") from cause
    provided = str(source).removeprefix(SOURCE)
    if not str(source).startswith(SOURCE) or not _MODEL.fullmatch(provided) or task not in ("rank", "embed"):
        raise SettingError(f"{source!r} names no provider: it has to be litellm:provider/model, such as litellm:cohere/rerank-v3.5")
    return str(name), cast(Task, task), provided


async def _serve(settings: BridgeSettings, bridge: BridgeServer, model: str, loader: Load, listener: socket.socket) -> EmberankError | None:
    serving = server(settings, bridge.app())

    def drain() -> None:
        bridge.draining = True

    drain_on_signals(serving, drain)
    status.say(settings.status_file, "loading")
    loading = asyncio.get_running_loop().create_task(_load(settings, bridge, model, loader, serving, listener))
    await serving.serve(sockets=[listener])
    loading.cancel()
    (outcome,) = await asyncio.gather(loading, return_exceptions=True)
    return outcome if isinstance(outcome, EmberankError) else None


async def _load(settings: BridgeSettings, bridge: BridgeServer, model: str, loader: Load, serving: Server, listener: socket.socket) -> None:
    """On a thread: importing LiteLLM takes seconds, and the health routes answer meanwhile."""
    try:
        bridge.provider = await asyncio.to_thread(loader, model, settings)
    except EmberankError:
        serving.should_exit = True
        raise
    except Exception as cause:
        serving.should_exit = True
        log.exception("loading failed", extra={"action": "load_failed"})
        raise StartError(f"LiteLLM could not be loaded: {type(cause).__name__}") from cause
    url = url_of(settings, listener)
    print(f"emberank: ready on {url} (LiteLLM): {model}", flush=True)
    status.say(settings.status_file, "ready", url=url)
