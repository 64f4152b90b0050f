"""Everything on one machine: the gateway in this process, the forge as its child, the runtimes as the forge's. The composition root; decides nothing.

The forge is a process of its own, so that a gateway whose forge is killed serves on. It is started again when it ends by itself; it ends when this
process does, however that was, because its standard input ends then.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace

from emberank.gateway.process import GatewayProcess
from emberank.serving.listener import bind, check_tls, loop_factory, url_of
from emberank.settings import ForgeSettings, GatewaySettings, rows
from emberank.settings.folders import data_dir

log = logging.getLogger(__name__)

COULD_NOT_START = 2  # the exit status of a StartError, whose line the child has printed
FIRST_PAUSE_S, MOST_PAUSE_S = 0.2, 15.0
STEADY_S = 30.0  # a forge that ran this long had nothing wrong with its start


class Up:
    """One installation. `run` is its whole life."""

    def __init__(self, gateway: GatewaySettings, forge: ForgeSettings) -> None:
        folder = str(data_dir(forge.data_dir))
        self._gateway = replace(gateway, data_dir=folder)
        self._forge = replace(told(forge, gateway), data_dir=folder)

    def run(self) -> int:
        """Serve until a signal; returns the exit status."""
        check_tls(self._gateway)
        listener = bind(self._gateway)
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            return runner.run(self._serve(listener))

    async def _serve(self, listener: socket.socket) -> int:
        child = ForgeChild(self._forge, url_of(self._gateway, listener))
        gateway = GatewayProcess(self._gateway)
        serving = asyncio.ensure_future(gateway.serve(listener))
        watching = asyncio.ensure_future(child.run())
        try:
            await asyncio.wait({serving, watching}, return_when=asyncio.FIRST_COMPLETED)
            if not serving.done():
                signal.raise_signal(signal.SIGTERM)  # the forge could not start at all: its own line says why
            await serving
        finally:
            # The gateway has delivered its last usage by now.
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            await child.stop()
        return COULD_NOT_START if child.refused else 0


class ForgeChild:
    """`emberank forge` as a child: started, started again with growing pauses, stopped at the end. `refused` is set when the first start failed."""

    def __init__(self, settings: ForgeSettings, public_url: str) -> None:
        self._settings = settings
        self._environment = environment_of(
            replace(settings, host="127.0.0.1", port=0, tls_cert_path="", tls_key_path="", public_url=settings.public_url or public_url)
        )
        self._process: asyncio.subprocess.Process | None = None
        self.refused = False

    async def run(self) -> None:
        """Keep one running, until cancelled. Returns when the first one could not start."""
        pause_s, starts = FIRST_PAUSE_S, 0
        while True:
            began = time.monotonic()
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "emberank.cli", "forge", "--with-parent", stdin=asyncio.subprocess.PIPE, env=self._environment, start_new_session=True
            )
            starts += 1
            status = await self._process.wait()
            if status == COULD_NOT_START and starts == 1:
                self.refused = True
                return
            pause_s = FIRST_PAUSE_S if time.monotonic() - began > STEADY_S else min(pause_s * 2, MOST_PAUSE_S)
            log.warning("the forge ended; it is started again", extra={"action": "forge_ended", "status": status, "pause_s": pause_s})
            await asyncio.sleep(pause_s)

    async def stop(self) -> None:
        """SIGTERM; it drains and ends its runtimes. Killed when it does not end in the time it has for that."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(self._settings.stop_timeout_s + self._settings.shutdown_grace_s + 10):
                await process.wait()
        except TimeoutError:
            log.warning("the forge did not end; it is killed", extra={"action": "forge_killed"})
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()


def told(forge: ForgeSettings, gateway: GatewaySettings) -> ForgeSettings:
    """A forge's settings with what its pages say of the gateway: how much that takes in one request."""
    return replace(forge, gateway_max_passages=gateway.max_passages, gateway_max_inputs=gateway.max_inputs, gateway_max_body_bytes=gateway.max_body_bytes)


def environment_of(settings: ForgeSettings, around: Mapping[str, str] = os.environ) -> dict[str, str]:
    """An environment that gives a forge exactly these settings. Not flags: some are secrets, and a command line can be read by everybody."""
    kept = {
        name: value for name, value in around.items() if not name.startswith(("EMBERANK_", "NIM_")) and name not in ("RUST_LOG", "LOG_FORMAT", "SHOW_CONFIG")
    }
    return kept | {row.env: _text(getattr(settings, row.name)) for row in rows(ForgeSettings)}


def _text(value: object) -> str:
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)
