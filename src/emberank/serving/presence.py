"""A request in, its work cancelled when the client closes the connection: nobody waits for the answer any more. Knows no route and no body."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from types import TracebackType
from typing import Protocol

from starlette.requests import Request

EXTENSION = "emberank.presence"  # under which a server of ours puts a Line into the scope's extensions
_LEFT = "the client closed its connection"


class Line(Protocol):
    """A connection that says when it is lost. Serves one request at a time."""

    @property
    def whole(self) -> bool:
        """Whether all of the latest request is there: reading it waits for nothing."""
        ...

    def on_lost(self, call: Callable[[], object] | None) -> None:
        """Call this when it is lost, or at once when it is; None: nothing any more."""
        ...


def client_left(cause: asyncio.CancelledError) -> bool:
    """Whether this cancellation is ours."""
    return bool(cause.args) and cause.args[0] == _LEFT


def line_of(request: Request) -> Line | None:
    """The connection a request came on, where the server is ours."""
    line: Line | None = request.scope.get("extensions", {}).get(EXTENSION)
    return line


class WhileConnected:
    """`with WhileConnected(request):` cancels what runs inside when the client leaves. The body must have been read."""

    __slots__ = ("_line", "_request", "_watcher")

    def __init__(self, request: Request) -> None:
        self._request = request
        self._line: Line | None = None
        self._watcher: asyncio.Task[None] | None = None

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._line = line_of(self._request)
        if self._line is not None:  # costs nothing, where a watcher costs as much as a quarter of a small request
            self._line.on_lost(functools.partial(task.cancel, _LEFT))
        else:
            self._watcher = asyncio.get_running_loop().create_task(_watch(self._request, task))

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        if self._line is not None:
            self._line.on_lost(None)
        elif self._watcher is not None:
            self._watcher.cancel()


async def _watch(request: Request, task: asyncio.Task[object]) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    task.cancel(_LEFT)
