"""How whoever needs the store asks for it: a call in, its result out, made on the store's own thread. Knows no noun."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from emberank.forge.store import Store

T = TypeVar("T")


class Stored(Protocol):
    """Runs calls on the store's thread, one after the other, each with a deadline."""

    async def __call__(self, call: Callable[[Store], T], /) -> T:
        """The result of `call`, or what it raised. Raises NotReady when the deadline passes first; the call may be made all the same."""
        ...
