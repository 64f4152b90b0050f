"""Settings and a fleet in, a gateway put together out: what stands behind one port. Knows no socket and no signal."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Coroutine

from emberank.client.fleet import Fleet
from emberank.client.pool import Pool
from emberank.contract.errors import NotReady
from emberank.gateway.app import GatewayApp
from emberank.gateway.forge_link import ForgeLink
from emberank.gateway.hold import Hold
from emberank.gateway.metrics import GatewayMetrics
from emberank.gateway.page_sessions import PageSessions
from emberank.gateway.relay import Relay
from emberank.gateway.remote import Remotes
from emberank.gateway.sending import Sending
from emberank.gateway.snapshot import SnapshotFeed
from emberank.gateway.spool import Spool
from emberank.gateway.upstream import Upstream
from emberank.gateway.usage import Usage
from emberank.gateway.view import View
from emberank.settings import GatewaySettings
from emberank.settings.folders import data_dir

log = logging.getLogger(__name__)

_FORGE_CONNECTIONS = 256  # a page that is looked at holds one, as many as the forge lets have streams
_AFTER_FAULT_S = 1.0
# Who still waits for a start when this much of the grace is over is told so, rather than cut off.
_HELD_SHARE_OF_GRACE = 0.8


class Gateway:
    """Everything one gateway holds. `fleet` is the forge of the settings unless another one is given."""

    def __init__(self, settings: GatewaySettings, fleet: Fleet | None = None) -> None:
        self.settings = settings
        self.gateway_id = secrets.token_hex(8)
        self.metrics = metrics = GatewayMetrics()
        self.view = View()
        self.pool = Pool(max_connections_per_host=settings.max_upstream_connections)
        self.forge_pool = Pool(max_connections_per_host=_FORGE_CONNECTIONS)
        link = ForgeLink(settings, self.forge_pool)
        known = fleet or link
        places = self.view.places
        self.hold = Hold(known, places, settings, metrics)
        spool = Spool(data_dir(settings.data_dir) / "usage-spool")
        self.usage = Usage(known, spool, lambda now: places.loads(now, self.hold.waiting()), settings.usage_flush_s, self.gateway_id, metrics)
        self.feed = SnapshotFeed(known, self.view, self.gateway_id, metrics, self.hold.changed)
        sending = Sending(self.pool)
        remotes = Remotes(sending, settings, metrics, self.usage.unreachable)
        upstream = Upstream(sending, remotes, places, self.hold, metrics, self.usage.unreachable)
        self.relay = Relay(link.address, self.forge_pool)
        sessions = PageSessions(known, self.view, required=settings.auth != "none")
        self.app = GatewayApp(settings, self.view, upstream, self.usage, self.relay, sessions, self.feed, metrics)
        self._loops: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Follow the forge, and report to it."""
        loop = asyncio.get_running_loop()
        self._loops = [loop.create_task(_kept_up(self.feed.run)), loop.create_task(_kept_up(self.usage.run))]

    def drain(self) -> None:
        """Say that this gateway ends; streams end at once, and who is still held near the end of the grace is let go."""
        self.app.draining = True
        self.relay.drain()
        held_s = self.settings.shutdown_grace_s * _HELD_SHARE_OF_GRACE
        asyncio.get_running_loop().call_later(held_s, self.hold.close, NotReady("the gateway is shutting down", retry_after_s=1))

    async def close(self) -> None:
        """Deliver the last usage, or spool it; close every connection."""
        for task in self._loops:
            task.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)
        await self.usage.close()
        await self.pool.close()
        await self.forge_pool.close()


async def _kept_up(work: Callable[[], Coroutine[None, None, None]]) -> None:
    """A loop that runs for ever: what nobody foresaw is logged, and it goes on."""
    while True:
        try:
            await work()
        except Exception:
            log.exception("a loop of the gateway broke off", extra={"action": "loop_broke_off"})
        await asyncio.sleep(_AFTER_FAULT_S)
