"""A version whose source is `nim:URL` in, somebody else's server as an endpoint out. Never starts or stops it: it answers, or it does not.

The version's settings may name `api_key_env`, the variable that holds the server's key, and `served_name`, what the server calls the model.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from emberank.contract.errors import SettingError
from emberank.forge.endpoint_probe import EndpointProbe
from emberank.forge.launchers.base import Launch, Observed, Running

_TRIES = 5  # one a second without an answer: it is not there


class RemoteLauncher:
    """Servers that others run."""

    def __init__(
        self, *, environment: Mapping[str, str] | None = None, clock: Callable[[], float] = time.monotonic, probe: EndpointProbe | None = None
    ) -> None:
        self._environment = os.environ if environment is None else environment
        self._clock = clock
        self._probe = probe or EndpointProbe(every_s=1.0, failures=_TRIES)
        self._ready: set[str] = set()
        self._let_go: set[str] = set()

    def start(self, launch: Launch) -> Running:
        """Raises SettingError for a URL that is none, and a key that is not there."""
        scheme, _, url = launch.version.source.partition(":")
        if scheme != "nim" or not _is_url(url):
            raise SettingError(f"the source of {launch.model.slug} {launch.version.name} names no server: it has to be nim:http://host:port")
        settings = launch.version.settings
        served_name, secret_env = settings.get("served_name", launch.model.id), settings.get("api_key_env", "")
        return self._with_secret(Running(id=launch.id, launcher="remote", url=url.rstrip("/"), served_name=served_name, secret_env=secret_env))

    def look(self, running: Running) -> Observed:
        """Ready from its first good answer on; what comes later is for whoever watches its health."""
        if running.id in self._let_go:
            self._let_go.discard(running.id)
            return Observed(state="gone")
        if running.id in self._ready:
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

    def _with_secret(self, running: Running) -> Running:
        if not running.secret_env:
            return running
        secret = self._environment.get(running.secret_env, "")
        if not secret:
            raise SettingError(f"the environment variable {running.secret_env!r}, which shall hold the server's key, is not set")
        return replace(running, secret=secret)


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def build(folder: Path) -> RemoteLauncher:
    """The registry's builder; it keeps no files."""
    return RemoteLauncher()
