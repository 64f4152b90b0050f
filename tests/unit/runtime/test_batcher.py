"""The one thread that feeds the engine, with an engine that stops where a test wants it to."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from emberank.contract.errors import DeadlineExceeded, NotReady, QueueFull, ServerFault
from emberank.runtime.backlog import Backlog, Waiting
from emberank.runtime.batcher import Batcher, Limits
from emberank.runtime.engines.base import Batch
from emberank.runtime.engines.fake import FakeEngine
from emberank.runtime.job import Job, Sequence

WAIT_S = 20.0  # only a broken program waits that long
FAR = 1e9  # a deadline that never comes


class Gate(threading.Event):
    """Says when the engine has come to it."""

    def __init__(self) -> None:
        super().__init__()
        self.reached = threading.Event()

    def wait(self, timeout: float | None = None) -> bool:
        self.reached.set()
        return super().wait(timeout)


class Clock:
    """Stands still until it is set. Says when the engine's thread has looked at it."""

    def __init__(self) -> None:
        self.now = 100.0
        self.engine_s_ahead = 0.0
        self.engine_looked = threading.Event()

    def __call__(self) -> float:
        if threading.current_thread().name != "engine":
            return self.now
        self.engine_looked.set()
        return self.now + self.engine_s_ahead


@dataclass
class Seen:
    """The observer."""

    batches: list[dict[str, float]] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)

    def batch_ran(self, *, tokens: int, rows: int, attention_rows: int, sequences: int, engine_s: float) -> None:
        self.batches.append({"tokens": tokens, "rows": rows, "attention_rows": attention_rows, "sequences": sequences, "engine_s": engine_s})

    def job_started(self, *, waited_s: float) -> None:
        self.waits.append(waited_s)


class Work(Job):
    """A job that keeps what it is given."""

    def __init__(self, *texts: list[int], deadline: float = FAR, leads: bool = False) -> None:
        super().__init__([Sequence(np.array(ids, np.int32)) for ids in texts], self.keep, deadline, leads)
        self.got: dict[int, NDArray[np.float32]] = {}

    def keep(self, index: int, hidden: NDArray[np.float32]) -> None:
        assert index not in self.got, "a sequence is taken once"
        self.got[index] = hidden.copy()

    def is_right(self) -> bool:
        expected = [FakeEngine().run(Batch.of([sequence.ids])) for sequence in self.sequences]
        return sorted(self.got) == list(range(len(expected))) and all(np.array_equal(self.got[i], one) for i, one in enumerate(expected))


@dataclass
class Bench:
    batcher: Batcher
    engine: FakeEngine
    seen: Seen
    clock: Clock
    gate: Gate

    def started(self, *jobs: Job) -> list[asyncio.Task[None]]:
        return [asyncio.get_running_loop().create_task(self.batcher.submit(job)) for job in jobs]

    async def held(self, *jobs: Job) -> list[asyncio.Task[None]]:
        """Submit jobs, and return when the engine stands at the closed gate with the first of them and all the others wait."""
        first = self.started(*jobs[:1])
        assert await asyncio.to_thread(self.gate.reached.wait, WAIT_S)
        rest = self.started(*jobs[1:])
        await asyncio.sleep(0)  # each submit runs up to where it waits
        return first + rest

    def texts(self) -> list[list[list[int]]]:
        """The ids of every batch that the engine was given, by sequence."""
        return [[part.tolist() for part in np.split(batch.ids, np.cumsum(batch.lengths)[:-1])] for batch in self.engine.batches]


@contextmanager
def bench(*, gated: bool = False, **limits: Any) -> Iterator[Bench]:
    engine, seen, clock, gate = FakeEngine(), Seen(), Clock(), Gate()
    engine.gate = gate if gated else None
    before = set(threading.enumerate())  # other tests' servers have engines too
    batcher = Batcher(engine, Limits(**limits), seen, clock=clock, name="engine")
    try:
        yield Bench(batcher, engine, seen, clock, gate)
    finally:
        gate.set()
        batcher.stop(WAIT_S)
        assert not any(thread.name == "engine" and thread not in before for thread in threading.enumerate())


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, WAIT_S))


async def outcome(task: asyncio.Task[None]) -> BaseException | None:
    return (await asyncio.gather(task, return_exceptions=True))[0]


def ids(start: int, count: int) -> list[int]:
    return list(range(start, start + count))


@pytest.mark.parametrize("seed", range(4))
def test_every_job_gets_its_own_numbers_whatever_ran_together(seed: int) -> None:
    random = np.random.default_rng(seed)
    jobs = [
        Work(*(random.integers(0, 500, random.integers(1, 60)).tolist() for _ in range(random.integers(1, 40))), leads=bool(random.integers(2)))
        for _ in range(30)
    ]
    shared, spread = 0, dict.fromkeys(jobs, 0)

    async def test() -> None:
        with bench(gated=True, max_batch_tokens=256) as b:
            tasks = await b.held(*jobs)
            b.gate.set()
            await asyncio.gather(*tasks)
            nonlocal shared
            for texts in b.texts():
                owners = {job for job in jobs for sequence in job.sequences if sequence.ids.tolist() in texts}
                shared += len(owners) > 1
                for job in owners:
                    spread[job] += 1
            assert b.batcher.queued_jobs == b.batcher.queued_tokens == 0

    run(test())
    assert all(job.is_right() for job in jobs)
    assert shared > 3, "batches held sequences of several jobs"
    assert max(spread.values()) > 3, "jobs were spread over several batches"


def test_jobs_that_come_while_the_engine_runs_share_the_next_batch() -> None:
    async def test() -> None:
        with bench(gated=True) as b:
            tasks = await b.held(Work(ids(0, 8)), Work(ids(10, 8)), Work(ids(20, 8)), Work(ids(30, 8)))
            assert len(b.engine.batches) == 1
            b.gate.set()
            await asyncio.gather(*tasks)
            assert b.texts() == [[ids(0, 8)], [ids(10, 8), ids(20, 8), ids(30, 8)]]

    run(test())


def test_the_event_loop_goes_on_while_the_engine_runs() -> None:
    async def test() -> None:
        with bench(gated=True) as b:
            tasks = await b.held(Work(ids(0, 8)))
            for _ in range(100):
                await asyncio.sleep(0)
            assert not tasks[0].done()
            b.gate.set()
            await tasks[0]

    run(test())


def test_a_leading_sequence_is_taken_first_even_when_others_share_its_batch() -> None:
    async def test() -> None:
        with bench(gated=True) as b:
            order: list[int] = []
            leading = Work(ids(0, 9), *(ids(10 * i, 8) for i in range(1, 20)), leads=True)
            leading.take = lambda index, hidden: order.append(index)
            tasks = await b.held(Work(ids(0, 8)), Work(ids(3, 9)), leading)
            b.gate.set()
            await asyncio.gather(*tasks)
            assert order[0] == 0
            assert sorted(order) == list(range(20))

    run(test())


def test_types_of_one_job_reach_the_engine_and_others_are_all_zero() -> None:
    async def test() -> None:
        with bench(gated=True) as b:
            typed = Work(ids(0, 4))
            typed.sequences = [Sequence(np.arange(4, dtype=np.int32), np.array([0, 0, 1, 1], np.int32))]
            tasks = await b.held(Work(ids(50, 4)), typed, Work(ids(60, 4)))
            b.gate.set()
            await asyncio.gather(*tasks)
            assert [batch.types.tolist() for batch in b.engine.batches] == [[0, 0, 0, 0], [0, 0, 1, 1, 0, 0, 0, 0]]

    run(test())


def test_the_timings_and_the_observer_say_what_happened() -> None:
    async def test() -> None:
        with bench(gated=True) as b:
            first, second, third = Work(ids(0, 8)), Work(ids(10, 6)), Work(ids(20, 2))
            tasks = await b.held(first, second, third)
            b.clock.now += 2.0  # they waited two seconds
            b.engine.before_run = lambda batch: setattr(b.clock, "now", b.clock.now + 4.0)  # a run takes four
            b.gate.set()
            await asyncio.gather(*tasks)
            await asyncio.to_thread(b.batcher.stop, WAIT_S)  # the observer is told after the callers are
            assert b.seen.waits == [0.0, 6.0, 6.0]
            assert (first.engine_s, second.engine_s, third.engine_s) == (6.0, 3.0, 1.0)
            assert second.started - second.submitted == 6.0
            assert b.seen.batches[1] == {"tokens": 8, "rows": 8, "attention_rows": 8, "sequences": 2, "engine_s": 4.0}

    run(test())


@pytest.mark.parametrize("status", [429, 503])
def test_over_the_bound_in_jobs_a_request_is_refused_at_once_with_a_time_to_come_back(status: int) -> None:
    async def test() -> None:
        with bench(gated=True, max_queue_size=2, queue_full_status=status) as b:
            tasks = await b.held(Work(ids(0, 8)), Work(ids(10, 8)))
            with pytest.raises(QueueFull, match="the queue is full") as refused:
                await b.batcher.submit(Work(ids(20, 8)))
            assert refused.value.http_status == status
            assert refused.value.retry_after_s is not None
            assert 1 <= refused.value.retry_after_s <= 60
            assert b.batcher.queued_jobs == 2
            b.gate.set()
            await asyncio.gather(*tasks)
            await b.batcher.submit(Work(ids(20, 8)))  # and later it is welcome

    run(test())


def test_over_the_bound_in_tokens_a_request_is_refused_and_a_smaller_one_is_not() -> None:
    async def test() -> None:
        with bench(gated=True, max_queue_tokens=100) as b:
            tasks = await b.held(Work(ids(0, 50)), Work(ids(0, 60)))
            assert b.batcher.queued_tokens == 60  # the first is with the engine
            with pytest.raises(QueueFull):
                await b.batcher.submit(Work(ids(0, 41)))
            tasks += b.started(Work(ids(0, 40)))
            await asyncio.sleep(0)
            assert b.batcher.queued_tokens == 100
            b.gate.set()
            await asyncio.gather(*tasks)

    run(test())


def test_an_empty_queue_takes_a_job_larger_than_the_bound() -> None:
    async def test() -> None:
        with bench(max_queue_tokens=100) as b:
            large = Work(ids(0, 90), ids(0, 90))
            await b.batcher.submit(large)
            assert large.is_right()

    run(test())


def test_a_job_whose_deadline_passes_in_the_queue_is_answered_then_and_never_run() -> None:
    async def test() -> None:
        with bench(gated=True) as b:
            late = Work(ids(500, 8), deadline=100.01)
            tasks = await b.held(Work(ids(0, 8)), late)
            assert isinstance(await outcome(tasks[1]), DeadlineExceeded)  # while the engine still stands at the gate
            assert not b.gate.is_set()
            assert (b.batcher.queued_jobs, b.batcher.queued_tokens) == (1, 0)
            b.gate.set()
            await asyncio.gather(tasks[0], *b.started(Work(ids(10, 8))))
            assert b.texts() == [[ids(0, 8)], [ids(10, 8)]]
            assert not late.got

    run(test())


def test_the_engine_is_not_given_work_whose_deadline_has_passed_although_nobody_was_told_yet() -> None:
    async def test() -> None:
        with bench(gated=True) as b:
            tasks = await b.held(Work(ids(0, 8)), Work(ids(500, 8), deadline=200.0), Work(ids(10, 8)))
            b.clock.now = 200.0
            b.gate.set()
            await asyncio.gather(tasks[0], tasks[2])
            assert b.texts() == [[ids(0, 8)], [ids(10, 8)]]
            tasks[1].cancel()
            assert isinstance(await outcome(tasks[1]), asyncio.CancelledError)

    run(test())


def test_a_job_that_comes_after_its_deadline_is_refused() -> None:
    async def test() -> None:
        with bench() as b:
            with pytest.raises(DeadlineExceeded):
                await b.batcher.submit(Work(ids(500, 8), deadline=99.0))
            await b.batcher.submit(Work(ids(0, 8)))
            assert b.texts() == [[ids(0, 8)]]

    run(test())


def test_cancelling_the_caller_takes_its_sequences_out_of_the_queue() -> None:
    async def test() -> None:
        with bench(gated=True, max_batch_tokens=16) as b:
            tasks = await b.held(Work(ids(0, 8)), Work(ids(500, 8), ids(510, 8), ids(520, 8)), Work(ids(10, 8)))
            tasks[1].cancel()
            assert isinstance(await outcome(tasks[1]), asyncio.CancelledError)
            assert (b.batcher.queued_jobs, b.batcher.queued_tokens) == (2, 8)
            b.gate.set()
            await asyncio.gather(tasks[0], tasks[2])
            assert b.texts() == [[ids(0, 8)], [ids(10, 8)]]

    run(test())


def test_cancelling_the_caller_of_a_running_job_leaves_the_others_alone() -> None:
    async def test() -> None:
        with bench(gated=True, max_batch_tokens=16) as b:
            other = Work(ids(10, 8))
            tasks = await b.held(Work(ids(0, 8), ids(500, 300)), other)
            tasks[0].cancel()
            assert isinstance(await outcome(tasks[0]), asyncio.CancelledError)
            b.gate.set()
            await tasks[1]
            assert other.is_right()
            assert b.texts() == [[ids(0, 8)], [ids(10, 8)]]

    run(test())


def failing_on(bad: int) -> Callable[[Batch], None]:
    def before_run(batch: Batch) -> None:
        if bad in batch.ids:
            raise ZeroDivisionError("a kernel broke")

    return before_run


def test_an_engine_that_fails_fails_the_jobs_of_that_batch_only_and_goes_on() -> None:
    async def test() -> None:
        with bench(gated=True, max_batch_tokens=16) as b:
            b.engine.before_run = failing_on(777)
            victims = [Work([777, 1, 2, 3, 4, 5, 6, 7], ids(900, 500)), Work(ids(20, 8))]
            others = [Work(ids(40, 60)), Work(ids(60, 200))]
            tasks = await b.held(Work(ids(0, 8)), *victims, *others)
            b.gate.set()
            outcomes = [await outcome(task) for task in tasks]
            assert [type(one) for one in outcomes] == [type(None), ServerFault, ServerFault, type(None), type(None)]
            assert isinstance(outcomes[1].__cause__, ZeroDivisionError)  # type: ignore[union-attr]
            assert "kernel" not in str(outcomes[1])
            assert all(other.is_right() for other in others)
            assert not any(900 in text for texts in b.texts() for text in texts), "the rest of a failed job is not run"
            after = Work(ids(80, 8))
            await b.batcher.submit(after)
            assert after.is_right()
            assert (b.batcher.queued_jobs, b.batcher.queued_tokens) == (0, 0)

    run(test())


def test_an_engine_that_fails_again_and_again_is_said_to_fail_until_it_runs_once_more() -> None:
    async def test() -> None:
        with bench() as b:
            b.engine.before_run = failing_on(777)
            said = []
            for _ in range(4):
                with pytest.raises(ServerFault):
                    await b.batcher.submit(Work([777]))
                said.append(b.batcher.failing)
            assert said == [False, False, True, True]
            await b.batcher.submit(Work(ids(0, 8)))
            assert not b.batcher.failing

    run(test())


def test_a_fault_in_choosing_a_batch_is_told_to_those_who_wait_and_the_thread_lives_on(monkeypatch: pytest.MonkeyPatch) -> None:
    choose = Backlog.next_batch
    broken = iter([True])

    def once(self: Backlog, budget: int) -> list[Waiting]:
        if next(broken, False):
            raise ZeroDivisionError("a fault of ours")
        return choose(self, budget)

    monkeypatch.setattr(Backlog, "next_batch", once)

    async def test() -> None:
        with bench() as b:
            with pytest.raises(ServerFault):
                await b.batcher.submit(Work(ids(0, 8)))
            after = Work(ids(0, 8))
            await b.batcher.submit(after)
            assert after.is_right()

    run(test())


def test_a_job_that_cannot_take_its_numbers_fails_without_stopping_the_thread() -> None:
    async def test() -> None:
        with bench() as b:
            broken = Work(ids(0, 8))
            broken.take = lambda index, hidden: 1 // 0
            with pytest.raises(ServerFault):
                await b.batcher.submit(broken)
            await b.batcher.submit(Work(ids(0, 8)))

    run(test())


def test_a_job_of_nothing_is_done_at_once_and_stops_nobody() -> None:
    async def test() -> None:
        with bench() as b:
            await b.batcher.submit(Work())
            await b.batcher.submit(Work(ids(0, 8)))
            assert b.texts() == [[ids(0, 8)]]

    run(test())


def test_stopping_answers_those_who_wait_and_lets_the_running_batch_finish() -> None:
    async def test() -> None:
        with bench(gated=True, max_batch_tokens=16) as b:
            running = Work(ids(0, 8))
            tasks = await b.held(running, Work(ids(10, 8)), Work(ids(20, 8), ids(30, 300)))
            stopping = asyncio.get_running_loop().run_in_executor(None, b.batcher.stop, WAIT_S)
            for task in tasks[1:]:
                error = await outcome(task)
                assert isinstance(error, NotReady)
                assert error.retry_after_s == 1
            assert not tasks[0].done()
            b.gate.set()
            await stopping
            await tasks[0]
            assert running.is_right()
            assert b.texts() == [[ids(0, 8)]]
            with pytest.raises(NotReady):
                await b.batcher.submit(Work(ids(40, 8)))

    run(test())


def test_an_idle_batcher_stops_at_once() -> None:
    async def test() -> None:
        with bench() as b:
            await asyncio.to_thread(b.batcher.stop, WAIT_S)
            with pytest.raises(NotReady):
                await b.batcher.submit(Work(ids(0, 8)))

    run(test())


def test_an_answer_for_a_loop_that_is_gone_harms_nobody() -> None:
    with bench(gated=True) as b:
        loop = asyncio.new_event_loop()
        gone = loop.create_task(b.batcher.submit(Work(ids(0, 8))))

        async def reach() -> None:
            assert await asyncio.to_thread(b.gate.reached.wait, WAIT_S)

        loop.run_until_complete(reach())
        gone._log_destroy_pending = False  # type: ignore[attr-defined]  # destroyed on purpose
        loop.close()
        b.gate.set()
        run(b.batcher.submit(Work(ids(10, 8))))
        assert b.texts() == [[ids(0, 8)], [ids(10, 8)]]


def test_waiting_for_company_puts_two_jobs_into_one_batch() -> None:
    async def test() -> None:
        # Eight tokens do not fill the batch, so the engine waits; sixteen do, so it starts without waiting to the end.
        with bench(max_wait_ms=10_000, max_batch_tokens=16) as b:
            first = b.started(Work(ids(0, 8)))
            assert await asyncio.to_thread(b.clock.engine_looked.wait, WAIT_S)
            assert not b.engine.batches
            await asyncio.gather(*first, *b.started(Work(ids(10, 8))))
            assert b.texts() == [[ids(0, 8), ids(10, 8)]]

    run(test())


def test_company_that_does_not_come_is_not_waited_for_longer_than_said() -> None:
    async def test() -> None:
        with bench(max_wait_ms=50, max_batch_tokens=16) as b:
            b.clock.engine_s_ahead = 0.05
            await b.batcher.submit(Work(ids(0, 8)))
            assert b.texts() == [[ids(0, 8)]]

    run(test())


def test_without_a_wait_an_idle_engine_starts_with_the_first_job() -> None:
    async def test() -> None:
        with bench(gated=True, max_batch_tokens=16) as b:
            tasks = await b.held(Work(ids(0, 8)), Work(ids(10, 8)))
            assert b.texts() == [[ids(0, 8)]]
            b.gate.set()
            await asyncio.gather(*tasks)

    run(test())


def test_stopping_ends_a_wait_for_company() -> None:
    async def test() -> None:
        with bench(max_wait_ms=10_000) as b:
            tasks = b.started(Work(ids(0, 8)))
            assert await asyncio.to_thread(b.clock.engine_looked.wait, WAIT_S)
            await asyncio.to_thread(b.batcher.stop, WAIT_S)
            assert isinstance(await outcome(tasks[0]), NotReady)
            assert not b.engine.batches

    run(test())
