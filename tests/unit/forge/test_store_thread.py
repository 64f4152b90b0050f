"""The store's thread: in order, one at a time, bounded, and never in the event loop's way."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest

from emberank.contract.errors import NotReady
from emberank.forge import store_thread
from emberank.forge.store import Store
from emberank.forge.store_thread import StoreThread


class Double:
    """In the store's place: notes who calls it."""

    def __init__(self) -> None:
        self.calls: list[object] = []
        self.threads: set[int] = set()
        self.closed = False

    def note(self, what: object) -> object:
        self.threads.add(threading.get_ident())
        self.calls.append(what)
        return what

    def close(self) -> None:
        self.closed = True


def with_thread(test: Callable[[StoreThread, Double], Awaitable[None]]) -> Double:
    double = Double()

    async def run() -> None:
        thread = StoreThread(cast(Store, double))
        try:
            await test(thread, double)
        finally:
            await thread.close()

    asyncio.run(run())
    return double


def note(what: object) -> Callable[[Any], object]:
    return lambda store: store.note(what)


def test_calls_are_made_in_their_order_by_one_thread_which_is_not_the_loops() -> None:
    async def test(thread: StoreThread, double: Double) -> None:
        thread.post(note(1), "one")
        assert await thread.ask(note(2)) == 2
        thread.post(note(3), "three")

    double = with_thread(test)
    assert double.calls == [1, 2, 3]  # the last one too: closing makes what waits
    assert len(double.threads) == 1
    assert threading.get_ident() not in double.threads
    assert double.closed


def test_what_a_call_raises_is_raised_where_it_is_awaited_and_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def fail(store: Any) -> None:
        raise ValueError("no")

    async def test(thread: StoreThread, double: Double) -> None:
        thread.post(fail, "something")
        with pytest.raises(ValueError, match="no"):
            await thread.ask(fail)
        assert await thread.ask(note(1)) == 1

    with_thread(test)
    assert [getattr(record, "what", None) for record in caplog.records] == ["something"]


def test_a_call_that_hangs_is_waited_for_no_longer_than_was_said() -> None:
    go_on = threading.Event()

    async def test(thread: StoreThread, double: Double) -> None:
        with pytest.raises(NotReady, match="too slow"):
            await thread.ask(lambda store: go_on.wait(20), within_s=0.05)
        go_on.set()
        assert await thread.ask(note(1)) == 1

    with_thread(test)


def test_too_many_waiting_calls_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_thread, "MOST_WAITING", 3)
    begun, go_on = threading.Event(), threading.Event()

    def hang(store: Any) -> None:
        begun.set()
        go_on.wait(20)

    async def test(thread: StoreThread, double: Double) -> None:
        thread.post(hang, "hang")
        await asyncio.to_thread(begun.wait, 20)
        for i in range(3):
            thread.post(note(i), "waits")
        with pytest.raises(NotReady):
            thread.post(note(9), "too much")
        go_on.set()

    assert with_thread(test).calls == [0, 1, 2]
