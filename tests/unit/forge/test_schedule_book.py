"""Schedules: kept, found again after a restart, due once, and forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from emberank.contract.errors import BadRequest, NotFound, NotReady
from emberank.forge.schedule_book import Plan, ScheduleBook
from emberank.forge.store import Store, open_store

T = TypeVar("T")
FRIDAY_8_S = 1_800_000_000.0  # 2027-01-15T08:00Z
PLAN = Plan(slug="tiny", version=None, gpu_type="CPU", region=None, kind="prewarm", cron="0  9 * * *")


class Books:
    def __init__(self, folder: Path) -> None:
        self.store = open_store(folder / "book.db")
        self.broken = False

    def open(self) -> ScheduleBook:
        async def ask(call: Callable[[Store], T], /) -> T:
            if self.broken:
                raise NotReady("the disk is full")
            return call(self.store)

        book = ScheduleBook(ask, lambda: FRIDAY_8_S)
        asyncio.run(book.load())
        return book


def test_a_schedule_outlives_the_forge(tmp_path: Path) -> None:
    books = Books(tmp_path)
    one = asyncio.run(books.open().add(PLAN, "k1"))
    assert (one.cron, one.slug, one.gpu_type, one.region, one.kind, one.key_id) == ("0 9 * * *", "tiny", "CPU", None, "prewarm", "k1")
    again = books.open()
    assert again.all() == (one,)
    assert again.next_at(one) == FRIDAY_8_S + 3600
    asyncio.run(again.remove(one.id))
    assert again.all() == books.open().all() == ()


def test_a_schedule_is_due_when_its_time_comes_and_once(tmp_path: Path) -> None:
    book = Books(tmp_path).open()
    one = asyncio.run(book.add(PLAN, "k1"))
    assert book.due(FRIDAY_8_S, FRIDAY_8_S + 3599) == ()
    assert book.due(FRIDAY_8_S + 3599, FRIDAY_8_S + 3600) == (one,)
    assert book.due(FRIDAY_8_S + 3600, FRIDAY_8_S + 3601) == ()


def test_what_the_store_does_not_take_is_not_in_force(tmp_path: Path) -> None:
    books = Books(tmp_path)
    book = books.open()
    one = asyncio.run(book.add(PLAN, "k1"))
    books.broken = True
    with pytest.raises(NotReady):
        asyncio.run(book.add(PLAN, "k1"))
    with pytest.raises(NotReady):
        asyncio.run(book.remove(one.id))
    assert book.all() == (one,)


def test_a_line_that_cannot_be_read_and_an_id_that_is_none_are_refused(tmp_path: Path) -> None:
    book = Books(tmp_path).open()
    with pytest.raises(BadRequest, match="minute, hour"):
        asyncio.run(book.add(Plan(**{**{name: getattr(PLAN, name) for name in Plan.__slots__}, "cron": "daily"}), "k1"))
    with pytest.raises(NotFound, match="GET /v1/schedules"):
        asyncio.run(book.remove("s_nothing"))
