"""Contents in, items out: images are decoded and cut on threads of their own, and never more of them held than may be. Knows no plan and no engine.

A text-only request never comes here, so that no text waits for an image.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from emberank.contract.inference import Content
from emberank.runtime import images
from emberank.runtime.items import Item, Picture
from emberank.runtime.tiles import Tiling

LARGE_PIXELS = 32_000_000  # over it an image is decoded alone: with what its decoder needs it may take two gigabytes


class PictureObserver(Protocol):
    """Told of every image, on the thread that decoded it; must be quick and must not raise."""

    def image_read(self, *, tiles: int, seconds: float) -> None:
        """An image was decoded and cut into so many tiles, in so many seconds without its wait for a thread."""


class Pictures:
    """The decoders of one process. `at_once` bounds the images that are held as tiles, all requests together."""

    def __init__(self, threads: int = 1, at_once: int = 32, observer: PictureObserver | None = None) -> None:
        self.at_once = at_once
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="decode")
        self._room = Room(at_once)
        self._large = threading.Lock()
        self._observer = observer

    def close(self) -> None:
        """Let the threads end."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def room(self, images: int) -> contextlib.AbstractAsyncContextManager[None]:
        """Room for so many images, waited for in the order of the calls. Whoever calls `items` holds it until the tiles are no longer needed."""
        return self._room.taken(images)

    async def items(self, contents: Sequence[Content], places: Sequence[str], tiling: Tiling) -> list[Item]:
        """The contents with their images as tiles; equal images are decoded once. Raises BadRequest for the first image that cannot be read."""
        where: dict[str, str] = {}
        for content, place in zip(contents, places, strict=True):
            if content.image is not None:
                where.setdefault(content.image, place)
        loop = asyncio.get_running_loop()
        decoding = {url: loop.run_in_executor(self._threads, self._picture, url, place, tiling) for url, place in where.items()}
        try:
            pictures = {url: await picture for url, picture in decoding.items()}
        finally:
            for picture in decoding.values():
                picture.cancel()  # those that have not begun; the others end by themselves
            await asyncio.gather(*decoding.values(), return_exceptions=True)
        return [Item(content.text, None if content.image is None else pictures[content.image]) for content in contents]

    def _picture(self, url: str, place: str, tiling: Tiling) -> Picture:
        file = images.parse(url, place)
        with self._large if file.width * file.height > LARGE_PIXELS else contextlib.nullcontext():
            began = time.monotonic()
            picture = Picture(tiling.tiles(images.decode(file, place)))
        if self._observer is not None:
            self._observer.image_read(tiles=len(picture.tiles), seconds=time.monotonic() - began)
        return picture


class Room:
    """So many places, taken several at a time, first come first served. For one event loop at a time."""

    def __init__(self, places: int) -> None:
        self._free = self._places = places
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @contextlib.asynccontextmanager
    async def taken(self, count: int) -> AsyncIterator[None]:
        """Hold `count` places, at most all there are."""
        count = min(count, self._places)
        await self._take(count)
        try:
            yield
        finally:
            self._free += count
            self._let_in()

    async def _take(self, count: int) -> None:
        if not self._waiting and count <= self._free:
            self._free -= count
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((count, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # let in and cancelled at the same moment
                self._free += count
            else:
                self._waiting.remove((count, turn))
            self._let_in()
            raise

    def _let_in(self) -> None:
        while self._waiting and self._waiting[0][0] <= self._free:
            count, turn = self._waiting.popleft()
            self._free -= count
            turn.set_result(None)


def groups(contents: Sequence[Content], most_images: int) -> list[list[int]]:
    """Places of `contents` that are worked on together: all texts, and then images by the handful. Equal images fall into one group."""
    texts = [i for i, content in enumerate(contents) if content.image is None]
    found: list[list[int]] = [texts] if texts else []
    group_of: dict[str, list[int]] = {}
    for i, content in enumerate(contents):
        if content.image is None:
            continue
        if content.image not in group_of:
            if len(group_of) % most_images == 0:
                found.append([])
            group_of[content.image] = found[-1]
        group_of[content.image].append(i)
    return found
