"""A gateway process's life: bind, serve, follow the forge; on a signal stop accepting, finish, deliver usage, end with status 0.

It serves without a forge as long as it has heard from one, and waits for the first word of one for ever: which of the two starts first does not matter.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import socket

from emberank.gateway.gateway import Gateway
from emberank.serving.listener import bind, check_tls, drain_on_signals, loop_factory, server, url_of
from emberank.settings import GatewaySettings
from emberank.telemetry import Traces

log = logging.getLogger(__name__)


class GatewayProcess:
    """One process. `run` is its whole life."""

    def __init__(self, settings: GatewaySettings) -> None:
        self.settings = settings
        self.gateway = Gateway(settings)

    def run(self) -> int:
        """Serve until a signal; returns the exit status."""
        check_tls(self.settings)
        listener = bind(self.settings)
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            runner.run(self.serve(listener))
        return 0

    async def serve(self, listener: socket.socket) -> None:
        """Serve on a bound socket until SIGTERM or SIGINT."""
        traces = Traces.from_env("gateway")
        serving = server(self.settings, self.gateway.app.asgi(traces))
        drain_on_signals(serving, self.gateway.drain)
        self.gateway.start()
        # What is there by now stays: looking through it again and again would hold up every request for tens of milliseconds.
        gc.collect()
        gc.freeze()
        announcing = asyncio.get_running_loop().create_task(self._announce(listener))
        try:
            await serving.serve(sockets=[listener])
        finally:
            announcing.cancel()
            await self.gateway.close()
            traces.close()

    async def _announce(self, listener: socket.socket) -> None:
        url = url_of(self.settings, listener)
        log.info("listening", extra={"action": "listening", "url": url})
        view = self.gateway.view
        await view.first.wait()
        print(f"emberank: ready on {url}: {len(view.names)} models", flush=True)
        log.info("ready", extra={"action": "ready", "url": url, "models": len(view.names), "gateway_id": self.gateway.gateway_id})
