"""A running forge in, what it does by the clock: schedules, a changed catalogue file, old rows, the last use of keys and web sessions. Each beat is short, and one that fails is not the last.

Knows no request.
"""

from __future__ import annotations

import asyncio
import logging
import time
from pathlib import Path

from emberank.contract.errors import EmberankError, SettingError
from emberank.contract.fleet import Wish
from emberank.forge.catalog_file import FILE, load_catalog
from emberank.forge.installation import Installation
from emberank.forge.schedule import ticked
from emberank.forge.store import Keep
from emberank.forge.store.schedules import Schedule

log = logging.getLogger(__name__)

BEAT_S = 1.0
PRUNE_EVERY_S = 600.0


class Routine:
    """The forge's clockwork. `beat` is one turn of it."""

    def __init__(self, forge: Installation) -> None:
        self._forge = forge
        self._file = forge.folder.path / FILE
        self._seen = _stamp(self._file)
        self._last_tick_s = time.time()
        self._pruned = time.monotonic()

    async def run(self) -> None:
        """Beat until cancelled."""
        while True:
            await asyncio.sleep(BEAT_S)
            try:
                await self.beat(time.time())
            except EmberankError as error:
                log.warning("a beat was missed: %s", error.message, extra={"action": "beat_missed"})
            except Exception:
                log.exception("a beat failed", extra={"action": "beat_failed"})

    async def beat(self, now_s: float) -> None:
        """Do what is due; `now_s` is Unix time."""
        self._reload()
        due = self._forge.schedules.due(self._last_tick_s, now_s)
        self._last_tick_s = ticked(self._last_tick_s, now_s)
        for one in due:
            self._start(one)
        await self._forge.keys.flush()
        await self._forge.sessions.flush()
        if time.monotonic() - self._pruned >= PRUNE_EVERY_S:
            self._pruned = time.monotonic()
            await self._prune(now_s)

    def _start(self, one: Schedule) -> None:
        log.info("schedule", extra={"action": "schedule", "schedule": one.id, "kind": one.kind, "model": one.slug})
        try:
            if one.kind == "probe":
                self._forge.probes.request(one.slug, one.version, one.gpu_type, one.region)
            else:
                self._forge.reconciler.wake(Wish(slug=one.slug, version=one.version, gpu_type=one.gpu_type, region=one.region))
        except EmberankError as error:
            log.warning("a schedule could not be kept: %s", error.message, extra={"action": "schedule_failed", "schedule": one.id})

    def _reload(self) -> None:
        """Take over models.toml when it has changed. One that cannot be read is said once, and the last one that could be stays."""
        stamp = _stamp(self._file)
        if stamp == self._seen:
            return
        self._seen = stamp
        try:
            self._forge.take_catalog(load_catalog(self._forge.folder.path))
        except SettingError as error:
            log.warning("the catalogue stays as it was: %s", error.message, extra={"action": "catalog_refused"})
        else:
            log.info("catalogue read", extra={"action": "catalog", "models": len(self._forge.catalog)})

    async def _prune(self, now_s: float) -> None:
        keep = Keep(usage_days=self._forge.settings.usage_keep_days)
        # Bit by bit, beat by beat, so that a report that comes in between does not wait for all of it.
        if await self._forge.store.ask(lambda store: store.prune(now_s, keep)):
            self._pruned = float("-inf")


def _stamp(file: Path) -> tuple[int, int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
