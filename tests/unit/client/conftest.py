"""Both event loops, a bound on every wait, and both clients."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvloop

from client_kinds import Kind
from wire import WAIT_S

Run = Callable[[Coroutine[Any, Any, Any]], Any]


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    """Run a coroutine to its end on a fresh loop of either kind; fail when that takes too long, or leaves a task behind."""

    async def bounded(coroutine: Coroutine[Any, Any, Any]) -> Any:
        async with asyncio.timeout(WAIT_S):
            result = await coroutine
        # asyncio's own server keeps a task for a TLS handshake that its client broke off.
        left = [task for task in asyncio.all_tasks() if getattr(task.get_coro(), "__name__", "") != "_accept_connection2"]
        assert left == [asyncio.current_task()]
        return result

    def go(coroutine: Coroutine[Any, Any, Any]) -> Any:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop) as runner:
            return runner.run(bounded(coroutine))

    return go


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FORGE_API_BASE", "FORGE_API_KEY", "EMBERANK_API_BASE", "EMBERANK_API_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(params=["Client", "AsyncClient"])
def kind(request: pytest.FixtureRequest) -> Kind:
    return Kind(request.param)
