"""A forge in, how it is out: whether its store takes what must be kept. Knows no model and no page."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from emberank.contract.errors import EmberankError
from emberank.forge.moments import iso
from emberank.forge.parts import Parts

CHECKED_EVERY_S = 15.0
_WITHIN_S = 2.0
_NAME = "status page looked"  # the word that is written to see whether one can be


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreHealth:
    """Whether a word could be written just now, how long that took, or why not."""

    writable: bool
    took_ms: float | None = None
    problem: str = ""


class Wellbeing:
    """Looks after the store, at most every few seconds however many pages are open."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._store = StoreHealth(writable=False)
        self._good_until = float("-inf")
        self._looking = asyncio.Lock()

    async def store(self) -> StoreHealth:
        """Whether the store takes what must be kept: a word is written, which is the only way to know."""
        async with self._looking:
            if self._parts.clock() >= self._good_until:
                self._store = await self._write()
                self._good_until = self._parts.clock() + CHECKED_EVERY_S
        return self._store

    async def _write(self) -> StoreHealth:
        began, word = self._parts.clock(), iso(self._parts.wall_s()) or ""
        try:
            async with asyncio.timeout(_WITHIN_S):
                await self._parts.stored(lambda store: store.meta.set(_NAME, word))
        except TimeoutError:
            return StoreHealth(writable=False, problem=f"it did not answer within {_WITHIN_S:.0f} s")
        except EmberankError as error:
            return StoreHealth(writable=False, problem=error.message)
        return StoreHealth(writable=True, took_ms=(self._parts.clock() - began) * 1e3)
