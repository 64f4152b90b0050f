"""A fleet in, a view kept up to date out: asks again and again for what changed, and keeps serving from the last answer when none comes."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable

from emberank.client.fleet import Fleet
from emberank.contract.errors import EmberankError
from emberank.contract.fleet import Revisions, Snapshot
from emberank.gateway.metrics import GatewayMetrics
from emberank.gateway.view import View

log = logging.getLogger(__name__)

_WAIT_S = 25.0  # one question stands this long; also how often a silent forge is known to be there
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 3.0
_LEAST_BETWEEN_S = 0.02  # a forge whose parts change all the time is asked fifty times a second at most


class SnapshotFeed:
    """Keeps `view` up to date."""

    def __init__(self, fleet: Fleet, view: View, gateway_id: str, metrics: GatewayMetrics, on_change: Callable[[], None]) -> None:
        self._fleet = fleet
        self._view = view
        self._gateway_id = gateway_id
        self._metrics = metrics
        self._on_change = on_change
        self._heard_at: float | None = None
        self._away_since: float | None = None

    def age_s(self, now: float) -> float:
        """Since the forge was last heard; infinite before the first time."""
        return now - self._heard_at if self._heard_at is not None else float("inf")

    async def run(self) -> None:
        """For ever."""
        pause_s = _FIRST_PAUSE_S
        while True:
            asked = time.monotonic()
            try:
                await self._ask()
            except EmberankError as error:
                self._note_away(error)
                await asyncio.sleep(pause_s * random.uniform(0.5, 1))  # noqa: S311  no secret
                pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
                continue
            self._note_heard()
            pause_s = _FIRST_PAUSE_S
            await asyncio.sleep(max(0.0, asked + _LEAST_BETWEEN_S - time.monotonic()))

    async def _ask(self) -> None:
        view = self._view
        news = await self._fleet.snapshot(self._gateway_id, view.revisions, view.forge_id, _WAIT_S if self._away_since is None and view.ready else 0.0)
        if not view.can_take(news):
            news = await self._fleet.snapshot(self._gateway_id, Revisions(), "", 0.0)
        if view.can_take(news):
            self._take(news)

    def _take(self, news: Snapshot) -> None:
        if news.forge_id != self._view.forge_id:
            log.info("forge", extra={"action": "forge_heard", "forge_id": news.forge_id, "before": self._view.forge_id})
        if self._view.take(news, time.monotonic()):
            self._metrics.endpoints.set(len(self._view.places))
            self._on_change()

    def _note_away(self, error: EmberankError) -> None:
        self._metrics.forge_reachable.set(0)
        if self._away_since is None:
            self._away_since = time.monotonic()
            # At a start the forge may simply be slower than its gateway.
            log.log(logging.WARNING if self._view.ready else logging.INFO, "the forge is away: %s", error.message, extra={"action": "forge_away"})

    def _note_heard(self) -> None:
        now = time.monotonic()
        self._metrics.forge_reachable.set(1)
        self._heard_at = now
        if self._away_since is not None:
            log.info("the forge is back", extra={"action": "forge_back", "away_s": now - self._away_since})
            self._away_since = None
