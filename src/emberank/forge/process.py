"""A forge process's life: bind, lock the data folder, put everything together, adopt what runs, serve; on a signal end what runs, and itself with status 0.

`with_parent` makes the end of standard input a signal too: a forge that `emberank up` started does not outlive it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import threading
from contextlib import suppress

from emberank.forge.api import forge_app
from emberank.forge.data_folder import DataFolder, FleetFile
from emberank.forge.installation import Installation, install
from emberank.forge.keys import check_given
from emberank.forge.routine import Routine
from emberank.forge.store import Store, open_store
from emberank.forge.targets import ELSEWHERE
from emberank.forge.web.page import read_ahead
from emberank.forge.web.signin.links import link_at
from emberank.serving.listener import bind, check_tls, drain_on_signals, loop_factory, server, url_of
from emberank.settings import ForgeSettings
from emberank.settings.folders import data_dir
from emberank.telemetry import Traces

log = logging.getLogger(__name__)


class ForgeProcess:
    """One forge. `run` is its whole life."""

    def __init__(self, settings: ForgeSettings, *, with_parent: bool = False) -> None:
        self.settings = settings
        self._with_parent = with_parent

    def run(self) -> int:
        """Serve until a signal; returns the exit status. Raises StartError."""
        check_tls(self.settings)
        if self.settings.api_key:
            check_given(self.settings.api_key)
        folder = DataFolder(data_dir(self.settings.data_dir))
        folder.lock()  # before the port: of two forges on one folder the second one is told about the first
        listener = bind(self.settings)
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            runner.run(self.serve(listener, folder))
        return 0

    async def serve(self, listener: socket.socket, folder: DataFolder) -> None:
        """Serve on a bound socket until SIGTERM or SIGINT."""
        traces = Traces.from_env("forge")
        token = self.settings.fleet_token or folder.secret("fleet")
        forge = await install(self.settings, folder, self._store(folder), token, traces)
        serving = server(self.settings, forge_app(forge.parts))

        def drain() -> None:
            forge.parts.readiness.ready, forge.parts.readiness.state = False, "shutting down"
            forge.parts.snapshots.close()

        drain_on_signals(serving, drain)
        if self._with_parent:
            _end_with_parent(asyncio.get_running_loop())
        first_key = await forge.keys.first_admin(self.settings.api_key)
        forge.reconciler.adopt(await forge.store.ask(lambda store: store.deployments.all()))
        background = [asyncio.ensure_future(work) for work in (forge.reconciler.run(), forge.probes.run(), Routine(forge).run())]
        background.append(asyncio.ensure_future(asyncio.to_thread(read_ahead)))
        forge.parts.readiness.ready = True
        folder.write_fleet_file(FleetFile(url=url_of(self.settings, listener), token=token, pid=os.getpid()))
        self._announce(forge, url_of(self.settings, listener), first_key)
        try:
            await serving.serve(sockets=[listener])
        finally:
            folder.remove_fleet_file()
            for task in background:
                task.cancel()
            await asyncio.gather(*background, return_exceptions=True)
            await self._end(forge)
            traces.close()

    async def _end(self, forge: Installation) -> None:
        """What runs is ended or left for the next forge; then what must be kept is kept."""
        await forge.reconciler.close(leave_running=self.settings.leave_running)
        with suppress(Exception):
            await forge.keys.flush(now=True)
            await forge.sessions.flush(now=True)
        await forge.http.close()
        if forge.parts.provider is not None:
            await forge.parts.provider.close()
        await forge.store.close()

    def _store(self, folder: DataFolder) -> Store:
        return open_store(self.settings.database_url or folder.db, exclusive=True)

    def _announce(self, forge: Installation, url: str, first_key: str | None) -> None:
        models = len(forge.catalog)
        pools = ", ".join(str(pool.target) for pool in forge.parts.pools if pool.target != ELSEWHERE)
        log.info(
            "ready",
            extra={
                "action": "ready",
                "url": url,
                "models": models,
                "pools": pools,
                "database": (forge.parts.settings.database_url and "PostgreSQL") or "SQLite",
            },
        )
        if not self._with_parent:
            print(f"emberank: ready on {url}: forge with {models} models in the catalogue, targets {pools}", flush=True)
        base = self.settings.public_url or url
        if first_key is not None:
            print(
                f"\nemberank: the first admin key, shown this once; paste these lines into the terminal you work in:\n\n"
                f"export FORGE_API_BASE={base}\nexport FORGE_API_KEY={first_key}\n",
                flush=True,
            )
        if self.settings.auth == "keys":  # on the terminal only: whoever reads the log must not be the admin by it
            print(f"emberank: sign in once at {link_at(base, forge.parts.links.new())}", flush=True)


def _end_with_parent(loop: asyncio.AbstractEventLoop) -> None:
    """Take the end of standard input for SIGTERM."""

    def watch() -> None:
        with suppress(OSError):
            while os.read(0, 4096):  # not sys.stdin: its lock would be held when the interpreter ends
                pass
        with suppress(RuntimeError):  # the loop has ended already
            loop.call_soon_threadsafe(signal.raise_signal, signal.SIGTERM)

    threading.Thread(target=watch, name="parent", daemon=True).start()
