"""Calls for the store in, their results out: one thread makes them, in the order in which they came. Knows no SQL and no noun.

The event loop never waits for a disk; the store is never used by two threads; what waits is bounded.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from emberank.contract.errors import NotReady
from emberank.forge.store import Store

log = logging.getLogger(__name__)

T = TypeVar("T")
MOST_WAITING = 10_000
_END = None


class StoreThread:
    """Owns a store from here on. `close` is the end of both."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._calls: queue.Queue[Callable[[], None] | None] = queue.Queue(MOST_WAITING)
        self._thread = threading.Thread(target=self._run, name="store", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Calls that are not made yet."""
        return self._calls.qsize()

    async def ask(self, call: Callable[[Store], T], within_s: float = 30.0) -> T:
        """The result of `call`, or what it raised. Raises NotReady when it was not there in time; it may be made all the same, later."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()

        def run() -> None:
            try:
                result = call(self._store)
            except Exception as error:  # noqa: BLE001  raised where it is awaited
                _tell(loop, _set_exception, done, error)
            else:
                _tell(loop, _set_result, done, result)

        self._put(run)
        try:
            async with asyncio.timeout(within_s):
                return await done
        except TimeoutError as cause:
            raise NotReady("the database is too slow at the moment; try again in a few seconds", retry_after_s=5) from cause

    def post(self, call: Callable[[Store], object], what: str) -> None:
        """Have `call` made, later; what it raises is logged. Raises NotReady when too many wait."""

        def run() -> None:
            try:
                call(self._store)
            except Exception:
                log.exception("the store refused", extra={"action": "store_failed", "what": what})

        self._put(run)

    async def close(self, within_s: float = 30.0) -> None:
        """Make what waits, close the store, end the thread."""
        self._calls.put(_END)
        await asyncio.to_thread(self._thread.join, within_s)

    def _put(self, run: Callable[[], None]) -> None:
        try:
            self._calls.put_nowait(run)
        except queue.Full as cause:
            raise NotReady("the database is too slow at the moment; try again in a few seconds", retry_after_s=5) from cause

    def _run(self) -> None:
        while (call := self._calls.get()) is not _END:
            call()
        self._store.close()


def _tell(loop: asyncio.AbstractEventLoop, settle: Callable[..., None], *arguments: Any) -> None:
    try:
        loop.call_soon_threadsafe(settle, *arguments)
    except RuntimeError:  # the loop is closed: nobody waits any more
        log.warning("an answer of the store came too late", extra={"action": "store_late"})


def _set_result(done: asyncio.Future[T], result: T) -> None:
    if not done.done():
        done.set_result(result)


def _set_exception(done: asyncio.Future[Any], error: Exception) -> None:
    if not done.done():
        done.set_exception(error)
