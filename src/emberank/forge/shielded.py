"""Work in, its result out; it is done to its end even when the caller goes away in the middle. Knows nothing of the work.

What is in the store and what is in memory must not part because a client closed its connection between the two.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
_running: set[asyncio.Task[Any]] = set()  # the event loop itself keeps only weak references


async def shielded(work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, or what it raised."""
    task = asyncio.get_running_loop().create_task(work)
    _running.add(task)
    task.add_done_callback(_done)
    return await asyncio.shield(task)


def _done(task: asyncio.Task[Any]) -> None:
    _running.discard(task)
    if not task.cancelled():
        task.exception()  # seen: nobody may be left to await it
