"""Endpoints that were killed in, nothing out once they are gone: until then their memory is taken. Knows no deployment."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass

from emberank.forge.deployments import Key
from emberank.forge.launchers.base import Launcher, Running

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """One that nobody uses any more."""

    key: Key
    launcher: Launcher
    running: Running
    memory_bytes: int


class Endings:
    """What was killed and has not been seen to be gone."""

    def __init__(self) -> None:
        self._endings: dict[str, Ending] = {}

    def __len__(self) -> int:
        return len(self._endings)

    def __iter__(self) -> Iterator[Ending]:
        return iter(tuple(self._endings.values()))

    def add(self, ending: Ending) -> None:
        """Kill it, and see that it goes."""
        self._endings[ending.running.id] = ending
        ending.launcher.kill(ending.running)

    def sweep(self) -> int:
        """Look at all; returns how many are gone now."""
        before = len(self._endings)
        for ending in self:
            try:
                if ending.launcher.look(ending.running).over:
                    del self._endings[ending.running.id]
                else:
                    ending.launcher.kill(ending.running)
            except Exception:
                log.exception("ending an endpoint failed", extra={"action": "ending_failed", "endpoint": ending.running.id})
        return before - len(self._endings)
