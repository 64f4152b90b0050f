"""The life cycle over real processes, real signals and the real clock; each process is of a few milliseconds."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from child_runtime import __file__ as child_file
from emberank.contract.fleet import LoadReport, Wish
from emberank.forge.catalog import Catalog, Version
from emberank.forge.deployments import Deployment
from emberank.forge.endpoint_probe import is_ready
from emberank.forge.launchers.process import ProcessLauncher
from emberank.forge.lifecycle import Policy
from emberank.forge.reconciler import Reconciler
from emberank.forge.targets import Pool
from reconciling import GB, LOCAL, Journal, key, model

COMMAND = (sys.executable, "-S", "-E", str(child_file))
WAIT_S = 20.0


def behaving(behaviour: str, slug: str = "a") -> Any:
    return model(slug, Version(name="v1", source="hf:org/x", memory_gb=1.0, settings={"behaviour": behaviour}))


def reconciler(folder: Path, journal: Journal, *models: Any, **policy: Any) -> Reconciler:
    pools = [Pool(target=LOCAL, memory_bytes=10 * GB, slots=8)]
    launchers = {"process": ProcessLauncher(folder, command=COMMAND)}
    given = Policy(**{"notice_s": 0.05, "stop_timeout_s": 2.0, **policy})
    return Reconciler(Catalog(models or (behaving("ready"),)), pools, launchers, given, lambda slug, version: (), journal, lambda: None)


@asynccontextmanager
async def running(one: Reconciler, *, leave: bool = False) -> AsyncIterator[Reconciler]:
    task = asyncio.create_task(one.run())
    try:
        yield one
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await one.close(leave_running=leave)


async def until(true: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + WAIT_S
    while not true():
        assert time.monotonic() < end, f"not within {WAIT_S} s: {what}"
        await asyncio.sleep(0.01)


async def warm(one: Reconciler, slug: str = "a", *, keep_warm: bool | None = None) -> Deployment:
    found = await one.settled(one.wake(Wish(slug=slug), keep_warm=keep_warm).key, time.monotonic() + WAIT_S)
    assert found.phase == "WARM", found.message
    return found


def pid(one: Deployment) -> int:
    assert one.endpoint is not None
    assert one.endpoint.pid is not None
    return one.endpoint.pid


def on_a_loop(coroutine: Any) -> None:
    asyncio.run(asyncio.wait_for(coroutine, 60))


def test_an_unused_process_ends_by_itself_and_its_memory_with_it(tmp_path: Path) -> None:
    async def run() -> None:
        async with running(reconciler(tmp_path, Journal(), idle_after_s=0.3)) as one:
            found = await warm(one)
            assert found.endpoint is not None
            assert await asyncio.to_thread(is_ready, found.endpoint, 2.0)
            assert psutil.Process(pid(found)).memory_info().rss > 1_000_000
            await until(lambda: not one.deployments(), "it is cold")
            assert not psutil.pid_exists(pid(found))

    on_a_loop(run())


def test_two_hundred_wishes_at_one_time_are_one_process(tmp_path: Path) -> None:
    async def run() -> None:
        async with running(reconciler(tmp_path, Journal())) as one:
            found = await asyncio.gather(*(warm(one) for _ in range(200)))
            assert len({pid(each) for each in found}) == 1
            assert len(psutil.Process().children()) == 1

    on_a_loop(run())


def test_a_killed_process_is_replaced_at_once_when_a_gateway_says_that_it_is_gone(tmp_path: Path) -> None:
    async def run() -> None:
        async with running(reconciler(tmp_path, Journal())) as one:
            first = await warm(one)
            os.kill(pid(first), signal.SIGKILL)
            one.take_report(LoadReport(gateway_id="g", number=1, unreachable=(first.id,)))
            await until(lambda: all(each.id != first.id for each in one.deployments()), "it is seen to be dead")
            second = await warm(one)
            assert pid(second) != pid(first)
            assert not psutil.pid_exists(pid(first)), "and no zombie is left"

    on_a_loop(run())


def test_a_hung_process_is_replaced_when_a_gateway_says_that_it_does_not_answer(tmp_path: Path) -> None:
    async def run() -> None:
        async with running(reconciler(tmp_path, Journal(), health_timeout_s=0.1)) as one:
            first = await warm(one)
            os.kill(pid(first), signal.SIGSTOP)
            one.take_report(LoadReport(gateway_id="g", number=1, unreachable=(first.id,)))
            await until(lambda: all(each.id != first.id for each in one.deployments()), "it is given up")
            assert pid(await warm(one)) != pid(first)
            await until(lambda: not psutil.pid_exists(pid(first)), "it is gone")

    on_a_loop(run())


def test_a_forge_that_ends_leaves_no_process_not_even_one_that_does_not_listen_or_is_still_starting(tmp_path: Path) -> None:
    async def run() -> None:
        models = (behaving("ready", "a"), behaving("stubborn", "b"), behaving("hangs", "c"))
        async with running(reconciler(tmp_path, Journal(), *models, stop_timeout_s=0.3)) as one:
            await warm(one, "a")
            await warm(one, "b")
            one.wake(Wish(slug="c"))
        assert psutil.Process().children() == []
        assert list((tmp_path / "run").iterdir()) == []

    on_a_loop(run())


def test_the_next_forge_adopts_a_process_that_is_warm_and_one_that_is_starting(tmp_path: Path) -> None:
    async def run() -> None:
        journal = Journal()
        models = (behaving("ready", "a"), behaving("fetches", "b"))
        first = reconciler(tmp_path, journal, *models)
        async with running(first, leave=True):
            old = await warm(first, "a")
            first.wake(Wish(slug="b"))
        async with running(reconciler(tmp_path, journal, *models)) as following:
            following.adopt(list(journal.rows.values()))
            assert pid(await warm(following, "a")) == pid(old)
            (tmp_path / "run" / "fetched").touch()
            fetched = await warm(following, "b")
            assert len(psutil.Process().children()) == 2
            following.stop("a")
            await until(lambda: [each.key for each in following.deployments()] == [fetched.key], "the adopted one is cold")
            assert not psutil.pid_exists(pid(old))
        (tmp_path / "run" / "fetched").unlink()
        assert psutil.Process().children() == []
        _reaped(first)

    on_a_loop(run())


def test_the_next_forge_finds_a_process_whose_number_was_never_written_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        journal = Journal()
        first = reconciler(tmp_path, journal)
        async with running(first, leave=True):
            first.wake(Wish(slug="a"))
            row = journal.rows[key("a")]  # as it was written before there was a process
            assert row.pid is None
            await warm(first)
        async with running(reconciler(tmp_path, journal)) as following:
            following.adopt([row])
            assert len(following.deployments()) == 1
            await warm(following)
            assert len(psutil.Process().children()) == 1
        assert psutil.Process().children() == []
        _reaped(first)

    on_a_loop(run())


def _reaped(first: Reconciler) -> None:
    """In this test both forges are one process, which has taken the exit status of the first one's child already."""
    launcher = first._acts.launchers["process"]
    assert isinstance(launcher, ProcessLauncher)
    for child in launcher._children.values():
        assert child.process is not None
        child.process.poll()
