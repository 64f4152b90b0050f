"""Images on their threads: who waits for whom, what is held at one time, and what a leaving caller leaves behind."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import numpy as np
import pytest

from emberank.contract.errors import BadRequest
from emberank.contract.inference import Content
from emberank.runtime import images, pictures
from emberank.runtime.pictures import Pictures, Room, groups
from emberank.runtime.tiles import Tiling
from picture_files import data_url, photo, png, saved

WAIT_S = 20.0
TILING = Tiling(tile=32, patch=8, max_tiles=6)
URLS = [data_url(saved(photo(40, 30, seed), "PNG")) for seed in range(4)]
BROKEN = data_url(png(8, 8, pixels=b"no pixels"))


def run(test: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asyncio.wait_for(test, WAIT_S))


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110  threads set no event of the loop's; run() bounds the wait
        await asyncio.sleep(0)


class Seen:
    """An observer that remembers."""

    def __init__(self) -> None:
        self.read: list[tuple[int, float]] = []

    def image_read(self, *, tiles: int, seconds: float) -> None:
        self.read.append((tiles, seconds))


@pytest.fixture
def seen() -> Seen:
    return Seen()


@pytest.fixture
def decoders(seen: Seen) -> Iterator[Pictures]:
    made = Pictures(threads=2, at_once=4, observer=seen)
    yield made
    made.close()


def places(count: int) -> list[str]:
    return [f"input[{i}]" for i in range(count)]


def test_contents_become_items_in_their_order(decoders: Pictures, seen: Seen) -> None:
    contents = [Content("a"), Content(None, URLS[0]), Content("b", URLS[1])]
    items = run(decoders.items(contents, places(3), TILING))
    assert [item.text for item in items] == ["a", None, "b"]
    assert items[0].picture is None
    for item, seed in ((items[1], 0), (items[2], 1)):
        assert np.array_equal(item.picture.tiles, TILING.tiles(images.Bitmap(photo(40, 30, seed))))
    assert sorted(tiles for tiles, _ in seen.read) == [7, 7]
    assert all(0 <= seconds < WAIT_S for _, seconds in seen.read)


def test_equal_images_are_decoded_once(decoders: Pictures, seen: Seen) -> None:
    items = run(decoders.items([Content(None, URLS[0]), Content("a", URLS[0]), Content(None, URLS[1])], places(3), TILING))
    assert items[0].picture is items[1].picture is not items[2].picture
    assert len(seen.read) == 2


def test_of_several_images_that_cannot_be_read_the_first_is_named(decoders: Pictures) -> None:
    contents = [Content("a"), Content(None, URLS[0]), Content(None, BROKEN), Content(None, "data:image/png;base64,!!!!")]
    with pytest.raises(BadRequest, match=r"^input\[2\] holds a PNG image that cannot be read"):
        run(decoders.items(contents, places(4), TILING))


def test_images_are_decoded_on_threads_of_their_own(decoders: Pictures, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[str] = []
    parse = images.parse
    monkeypatch.setattr(images, "parse", lambda *given: threads.append(threading.current_thread().name) or parse(*given))
    run(decoders.items([Content(None, url) for url in URLS], places(4), TILING))
    assert len(threads) == 4
    assert all(name.startswith("decode") for name in threads)


class Gate:
    """Stops every decoding until it is opened, and counts those that are under way."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.opened = threading.Event()
        self.inside = self.most = self.entered = 0
        self._lock = threading.Lock()
        self._decode = images.decode
        monkeypatch.setattr(images, "decode", self)

    def __call__(self, *given: Any) -> Any:
        with self._lock:
            self.inside += 1
            self.entered += 1
            self.most = max(self.most, self.inside)
        assert self.opened.wait(WAIT_S)
        try:
            return self._decode(*given)
        finally:
            with self._lock:
                self.inside -= 1


def test_as_many_are_decoded_at_one_time_as_there_are_threads(decoders: Pictures, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(monkeypatch)

    async def test() -> None:
        reading = asyncio.ensure_future(decoders.items([Content(None, url) for url in URLS], places(4), TILING))
        await until(lambda: gate.inside == 2)
        gate.opened.set()
        await reading

    run(test())
    assert (gate.most, gate.entered) == (2, 4)


def test_large_images_are_decoded_one_by_one_and_small_ones_beside_them(decoders: Pictures, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "LARGE_PIXELS", 1000)
    gate = Gate(monkeypatch)
    small = data_url(saved(photo(20, 20), "PNG"))

    async def test() -> None:
        large = asyncio.ensure_future(decoders.items([Content(None, URLS[0]), Content(None, small)], places(2), TILING))
        await until(lambda: gate.inside == 2)  # one of each
        others = asyncio.ensure_future(decoders.items([Content(None, url) for url in URLS[1:]], places(3), TILING))
        gate.opened.set()
        await asyncio.gather(large, others)

    run(test())
    assert gate.entered == 5

    gate = Gate(monkeypatch)

    async def only_large() -> None:
        reading = asyncio.ensure_future(decoders.items([Content(None, url) for url in URLS], places(4), TILING))
        await until(lambda: gate.inside == 1)
        gate.opened.set()
        await reading

    run(only_large())
    assert (gate.most, gate.entered) == (1, 4)


def test_what_a_leaving_caller_waited_for_is_not_begun(decoders: Pictures, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(monkeypatch)

    async def test() -> None:
        reading = asyncio.ensure_future(decoders.items([Content(None, url) for url in URLS], places(4), TILING))
        await until(lambda: gate.inside == 2)
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        assert reading.cancelled()
        gate.opened.set()
        await decoders.items([Content(None, URLS[0])], places(1), TILING)  # the threads are free again

    run(test())
    assert gate.entered == 3


# --- room


def test_who_came_first_is_let_in_first_though_another_needs_less() -> None:
    order: list[str] = []

    async def stay(room: Room, name: str, count: int, leave: asyncio.Event) -> None:
        async with room.taken(count):
            order.append(name)
            await leave.wait()

    async def test() -> None:
        room, leave = Room(4), {name: asyncio.Event() for name in "abcd"}
        tasks = []
        for name, count in (("a", 3), ("b", 2), ("c", 1), ("d", 1)):
            tasks.append(asyncio.ensure_future(stay(room, name, count, leave[name])))
            await asyncio.sleep(0)
        assert order == ["a"]
        leave["a"].set()
        await until(lambda: len(order) == 4)
        for event in leave.values():
            event.set()
        await asyncio.gather(*tasks)
        async with room.taken(4):
            pass

    run(test())
    assert order == ["a", "b", "c", "d"]


def test_more_than_there_is_waits_for_all_there_is() -> None:
    async def test() -> None:
        room = Room(2)
        async with room.taken(9):
            late = asyncio.ensure_future(room.taken(1).__aenter__())
            await asyncio.sleep(0)
            assert not late.done()
            late.cancel()
            await asyncio.gather(late, return_exceptions=True)
        async with room.taken(2):
            pass

    run(test())


def test_who_leaves_the_queue_holds_nobody_up() -> None:
    async def test() -> None:
        room = Room(2)
        async with room.taken(1):
            leaves = asyncio.ensure_future(room.taken(2).__aenter__())
            await asyncio.sleep(0)
            stays = asyncio.ensure_future(room.taken(1).__aenter__())
            await asyncio.sleep(0)
            assert not stays.done()
            leaves.cancel()
            await stays

    run(test())


def test_who_leaves_at_the_moment_of_being_let_in_gives_the_room_back() -> None:
    async def test() -> None:
        room = Room(1)
        first = room.taken(1)
        await first.__aenter__()
        second = asyncio.ensure_future(room.taken(1).__aenter__())
        await asyncio.sleep(0)
        await first.__aexit__(None, None, None)  # lets the second in
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)
        async with room.taken(1):
            pass

    run(test())


# --- groups


def contents(*kinds: str) -> list[Content]:
    """t: a text; a number: that image; t and a number: both."""
    return [Content(None if kind.isdigit() else kind, kind.strip("t") or None) for kind in kinds]


@pytest.mark.parametrize(
    ("given", "most", "expected"),
    [
        (("t", "t"), 2, [[0, 1]]),
        (("0",), 2, [[0]]),
        (("0", "1", "2"), 2, [[0, 1], [2]]),
        (("t", "0", "t", "t1", "2", "t"), 2, [[0, 2, 5], [1, 3], [4]]),
        (("0", "1", "2", "t0", "2", "1"), 2, [[0, 1, 3, 5], [2, 4]]),
        (("0", "1", "2"), 1, [[0], [1], [2]]),
    ],
)
def test_texts_are_one_group_and_images_are_divided_with_equal_ones_together(given: tuple[str, ...], most: int, expected: list[list[int]]) -> None:
    assert groups(contents(*given), most) == expected
