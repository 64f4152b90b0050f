"""A version whose source names somebody else's server in, that server as an endpoint out. Never starts or stops it: it answers, or it does not.

A NIM of one's own (`nim:`) is asked for its health. A server that charges (`nvidia_nim/`, `cohere:`) is not: it is ready when it is known where it stands
and its key is there, and what becomes of requests is the gateway's to see.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from emberank.contract.errors import SettingError
from emberank.forge.endpoint_probe import EndpointProbe
from emberank.forge.launchers.base import Launch, Observed, Running, Wire
from emberank.forge.remote_names import API_BASE, API_KEY, base_of, is_hosted_by_nvidia, kind_of, remote_of
from emberank.forge.remote_settings import RemoteSettings, read_remote_settings
from emberank.forge.secret_store import SecretStore

_TRIES = 5  # one a second without an answer: it is not there


class RemoteLauncher:
    """Servers that others run. `stored` gives the secret that is kept under a name, or an empty one."""

    def __init__(
        self,
        *,
        environment: Mapping[str, str] | None = None,
        stored: Callable[[str], str] = lambda name: "",
        clock: Callable[[], float] = time.monotonic,
        probe: EndpointProbe | None = None,
    ) -> None:
        self._environment = os.environ if environment is None else environment
        self._stored = stored
        self._clock = clock
        self._probe = probe or EndpointProbe(every_s=1.0, failures=_TRIES)
        self._ready: set[str] = set()
        self._let_go: set[str] = set()

    def start(self, launch: Launch) -> Running:
        """Where it stands and how it is spoken to; asks nobody. Raises SettingError for a source that names no server, and for a key that is not there."""
        model, version = launch.model, launch.version
        if kind_of(version.source) is None:
            raise SettingError(
                f"the source of {model.slug} {version.name} names no server: it has to be nim:http://host:port, nvidia_nim/… or cohere:https://…"
            )
        settings = read_remote_settings(version.source, version.settings)
        base = base_of(version.source, model.task, settings.api_base, self._environment.get(API_BASE, ""))
        try:
            remote = remote_of(version.source, model.task, base)
        except SettingError as cause:
            raise SettingError(f"{model.slug} {version.name}: {cause.message}") from cause
        running = Running(
            id=launch.id,
            launcher="remote",
            url=remote.origin,
            served_name=settings.served_name or remote.model or model.id,
            secret_env=self._key_name(version.source, settings, base),
            wire=Wire(
                dialect=remote.dialect,
                path=remote.path,
                score=settings.score,
                max_passages=settings.max_passages,
                timeout_s=settings.timeout_s,
                usd_per_request=settings.usd_per_request,
                usd_per_million_tokens=settings.usd_per_million_tokens,
            ),
            has_health=remote.has_health,
        )
        return self._with_secret(running)

    def look(self, running: Running) -> Observed:
        """Ready from its first good answer on; what comes later is for whoever watches its health."""
        if running.id in self._let_go:
            self._let_go.discard(running.id)
            return Observed(state="gone")
        if running.id in self._ready or not running.has_health:
            return Observed(state="ready", url=running.url)
        health = self._probe.look(running, self._clock())
        if health == "ready":
            self._probe.forget(running.id)
            self._ready.add(running.id)
            return Observed(state="ready", url=running.url)
        if health == "unreachable":
            self._probe.forget(running.id)
            return Observed(state="ended", reason="unreachable", message="the server does not say on /v1/health/ready that it is ready")
        return Observed(state="starting", step="asking")

    def stop(self, running: Running) -> None:
        """Let go of it; the server goes on."""
        self._ready.discard(running.id)
        self._probe.forget(running.id)
        self._let_go.add(running.id)

    def kill(self, running: Running) -> None:
        """The same."""
        self.stop(running)

    def adopt(self, saved: Running) -> Running | None:
        """It was never ours: it is taken up again, and its health says the rest."""
        try:
            return self._with_secret(saved) if saved.url else None
        except SettingError:
            return None

    def _key_name(self, source: str, settings: RemoteSettings, base: str) -> str:
        """What its key is called; NVIDIA's own name is meant where none is said, and has to be there for NVIDIA's own server."""
        if settings.api_key_env or kind_of(source) != "nvidia_nim":
            return settings.api_key_env
        return API_KEY if is_hosted_by_nvidia(source, base) or self._secret(API_KEY) else ""

    def _secret(self, name: str) -> str:
        return self._environment.get(name, "") or self._stored(name)

    def _with_secret(self, running: Running) -> Running:
        name = running.secret_env
        if not name:
            return running
        secret = self._secret(name).strip()
        if not secret:
            raise SettingError(
                f"the environment variable {name!r}, which shall hold the server's key, is not set, and no secret of that name is kept here: emberank secret set {name}"
            )
        if not (secret.isascii() and secret.isprintable()):
            raise SettingError(f"what stands in {name!r} cannot be a key: a key is one line of visible ASCII characters")
        return replace(running, secret=secret)


def build(folder: Path) -> RemoteLauncher:
    """The registry's builder; secrets lie in the data folder."""
    return RemoteLauncher(stored=SecretStore(folder).get)
