"""Launches in, running endpoints out, by and by: each is made on a thread, so that one that hangs holds up no other. Knows no deployment."""

from __future__ import annotations

import asyncio
import errno
import logging
import threading
from collections.abc import Callable
from typing import TypeAlias

from emberank.contract.errors import EmberankError, StartError
from emberank.contract.fleet import FailureReason
from emberank.forge.launchers.base import Launch, Launcher, Running

log = logging.getLogger(__name__)

Outcome: TypeAlias = "Running | tuple[FailureReason, str]"


class Starts:
    """The starts that are under way."""

    def __init__(self) -> None:
        self._under_way: dict[str, asyncio.Future[None]] = {}

    def __contains__(self, endpoint_id: str) -> bool:
        return endpoint_id in self._under_way

    def __len__(self) -> int:
        return len(self._under_way)

    def begin(self, launcher: Launcher, launch: Launch, done: Callable[[Outcome], None]) -> None:
        """Have it made; `done` is called on the event loop, later. The thread is nobody's to wait for: one that hangs does not keep the process alive."""
        loop = asyncio.get_running_loop()
        under_way = self._under_way[launch.id] = loop.create_future()

        def settle(outcome: Outcome) -> None:
            self._under_way.pop(launch.id, None)
            try:
                done(outcome)
            finally:
                under_way.set_result(None)

        def run() -> None:
            outcome = _made(launcher, launch)
            try:
                loop.call_soon_threadsafe(settle, outcome)
            except RuntimeError:  # the loop is closed: the next forge finds in its journal what was made here
                log.warning("a start outlived its forge", extra={"action": "start_orphaned", "endpoint": launch.id})

        threading.Thread(target=run, name="start", daemon=True).start()

    async def finish(self, within_s: float) -> None:
        """Wait until none is under way, but not for longer."""
        if self._under_way:
            await asyncio.wait(list(self._under_way.values()), timeout=within_s)


def _made(launcher: Launcher, launch: Launch) -> Outcome:
    try:
        return launcher.start(launch)
    except EmberankError as error:
        log.warning("a start was refused", extra={"action": "start_refused", "endpoint": launch.id, "cause": error.message})
        return _reason(error), error.message
    except OSError as cause:
        log.exception("no process could be made", extra={"action": "start_failed", "endpoint": launch.id})
        no_memory = cause.errno in (errno.ENOMEM, errno.EAGAIN)
        return "out_of_memory" if no_memory else "crashed", f"no process could be made: {cause.strerror or 'the system refused'}"
    except Exception:
        log.exception("starting failed", extra={"action": "start_failed", "endpoint": launch.id})
        return "crashed", "it could not be started; the cause is in the forge's log"


def _reason(error: EmberankError) -> FailureReason:
    return error.reason if isinstance(error, StartError) else "crashed"  # type: ignore[return-value]
