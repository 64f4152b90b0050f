"""Jobs in from the event loop, batches out to the engine, results back: the only module that decides when the engine runs.

One thread owns the engine. While it runs, new jobs gather; the moment it is free the backlog says what runs next. Nothing waits
for company unless `max_wait_ms` says so. The queue is bounded in jobs and in tokens, every job has a deadline, and a job whose
caller is gone is taken out.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from emberank.contract.errors import DeadlineExceeded, EmberankError, NotReady, QueueFull, ServerFault
from emberank.runtime.backlog import ATTENTION_TOKENS, Backlog, Waiting
from emberank.runtime.engines.base import Batch, Engine
from emberank.runtime.heads import Pooling
from emberank.runtime.job import Job, Sequence

log = logging.getLogger(__name__)

_FAILURES = 3  # one bad batch may be its own fault; so many in a row are the engine's


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The batcher's bounds; see the settings of the same names."""

    max_batch_tokens: int = 1024
    max_wait_ms: float = 0.0
    max_queue_size: int = 1024
    max_queue_tokens: int = 4 << 20
    queue_full_status: int = 429


class Observer(Protocol):
    """Told what happens, on the engine's thread; must be quick and must not raise."""

    def batch_ran(self, *, tokens: int, rows: int, attention_rows: int, sequences: int, engine_s: float) -> None:
        """One run of the engine: real tokens, rows of its linear and of its attention layers with padding, sequences, seconds."""

    def job_started(self, *, waited_s: float) -> None:
        """A job's first sequence is about to run."""


class Batcher:
    """Feeds one engine. `submit` is for the event loop's thread; everything else it calls runs on its own."""

    def __init__(
        self,
        engine: Engine,
        limits: Limits,
        observer: Observer,
        *,
        clock: Callable[[], float] = time.monotonic,
        name: str = "engine",
        merged: int = 1,
        attention_tokens: float = ATTENTION_TOKENS,
    ) -> None:
        self._engine = engine
        self._merged = merged  # tokens that become one row of the engine's output
        self._attention_tokens = attention_tokens  # see Backlog
        self._limits = limits
        self._observer = observer
        self._clock = clock
        self._backlog = Backlog(attention_tokens)
        self._jobs: set[Job] = set()  # submitted and not yet answered, running ones included
        self._changed = threading.Condition()
        self._stopping = False
        self._tokens_per_s = 5000.0  # a guess until the first batch; only for Retry-After
        self._failures = 0  # batches in a row that the engine failed
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def queued_jobs(self) -> int:
        """Jobs submitted and not yet answered."""
        return len(self._jobs)

    @property
    def queued_tokens(self) -> int:
        """Tokens not yet given to the engine."""
        return self._backlog.tokens

    @property
    def failing(self) -> bool:
        """Whether the engine failed the last few batches, all of them: the process is alive and of no use."""
        return self._failures >= _FAILURES

    async def submit(self, job: Job) -> None:
        """Run all of a job's sequences; returns when the last one was taken.

        Raises QueueFull at once, DeadlineExceeded at the job's deadline, NotReady when stopping, ServerFault when the engine fails.
        Cancelling the caller takes the job's remaining sequences out of the queue.
        """
        if not job.sequences:
            return
        self._admit(job)
        try:
            async with asyncio.timeout(max(0.0, job.deadline - self._clock())):
                await job.done  # type: ignore[misc]
        except TimeoutError as cause:
            raise DeadlineExceeded("the request's deadline passed before its answer was ready") from cause
        finally:
            with self._changed:
                self._backlog.drop(job)
                self._jobs.discard(job)

    def _admit(self, job: Job) -> None:
        with self._changed:
            if self._stopping:
                raise NotReady("the server is shutting down", retry_after_s=1)
            self._refuse_when_full(job)
            job.done = asyncio.get_running_loop().create_future()
            job.submitted = self._clock()
            job.left = len(job.sequences)
            self._jobs.add(job)
            self._backlog.add(job)
            self._changed.notify()

    def _refuse_when_full(self, job: Job) -> None:
        # An empty queue takes any job, or one larger than the bound could never be served.
        full = len(self._jobs) >= self._limits.max_queue_size or (
            self._backlog.tokens > 0 and self._backlog.tokens + job.tokens > self._limits.max_queue_tokens
        )
        if full:
            wait_s = min(60.0, max(1.0, self._backlog.tokens / self._tokens_per_s))
            raise QueueFull(
                f"the queue is full ({len(self._jobs)} requests, {self._backlog.tokens} tokens waiting); try again in {wait_s:.0f} s",
                status=self._limits.queue_full_status,
                retry_after_s=wait_s,
            )

    def stop(self, timeout_s: float = 10.0) -> None:
        """Refuse new jobs, fail what still waits, and end the thread after the running batch."""
        with self._changed:
            self._stopping = True
            waiting = list(self._backlog.jobs())
            for job in waiting:
                self._backlog.drop(job)
            self._changed.notify()
        for job in waiting:
            _answer([(job, NotReady("the server is shutting down", retry_after_s=1))])
        self._thread.join(timeout_s)

    # The engine's thread from here on.

    def _run(self) -> None:
        while True:
            try:
                batch = self._next()
            except Exception:  # a fault of ours in choosing a batch: whoever waits is told, and the thread lives on
                log.exception("choosing a batch failed", extra={"action": "batcher_failed"})
                self._fail_waiting()
                continue
            if batch is None:
                return
            if batch:
                self._run_batch(batch)

    def _fail_waiting(self) -> None:
        with self._changed:
            self._backlog = Backlog(self._attention_tokens)
            waiting = list(self._jobs)
        _answer([(job, ServerFault()) for job in waiting])

    def _next(self) -> list[Waiting] | None:
        """Wait for work and return the next batch; None when stopping. An empty list means: ask again."""
        with self._changed:
            while not self._backlog and not self._stopping:
                self._changed.wait()
            if self._stopping:
                return None
            self._wait_for_company()
            self._drop_expired()
            return self._backlog.next_batch(self._limits.max_batch_tokens)

    def _wait_for_company(self) -> None:
        if self._limits.max_wait_ms <= 0 or not self._backlog:
            return
        until = next(self._backlog.jobs()).submitted + self._limits.max_wait_ms / 1000
        while self._backlog.tokens < self._limits.max_batch_tokens and not self._stopping:
            if (left := until - self._clock()) <= 0 or not self._changed.wait(left):
                return

    def _drop_expired(self) -> None:
        now = self._clock()
        for job in [job for job in self._backlog.jobs() if job.deadline <= now]:
            self._backlog.drop(job)

    def _run_batch(self, batch: list[Waiting]) -> None:
        # A job's leading sequence is taken first: it comes first in the batch, because it led it or opened its job to it.
        started = self._clock()
        try:
            for job in {waiting.job: None for waiting in batch}:
                if not job.started:
                    job.started = started
                    self._observer.job_started(waited_s=started - job.submitted)
            self._compute(batch, started)
        except Exception as cause:
            log.exception("batch failed", extra={"action": "engine_failed", "sequences": len(batch)})
            self._failures += 1
            fault = ServerFault()
            fault.__cause__ = cause
            failed = {waiting.job: None for waiting in batch}
            with self._changed:
                for job in failed:
                    self._backlog.drop(job)
            _answer([(job, fault) for job in failed])

    def _compute(self, batch: list[Waiting], started: float) -> None:
        sequences = [waiting.job.sequences[waiting.index] for waiting in batch]
        packed = _packed(sequences)
        pooling = _common_pooling(batch)
        hidden = self._engine.run(packed, pooling)
        self._failures = 0  # before anybody is answered
        elapsed = self._clock() - started
        finished: list[tuple[Job, EmberankError | None]] = []
        start = 0
        for waiting in batch:
            job = waiting.job
            rows = 1 if pooling else waiting.length // self._merged
            job.take(waiting.index, hidden[start : start + rows])
            start += rows
            job.engine_s += elapsed * waiting.length / len(packed.ids)
            job.left -= 1
            if not job.left:
                finished.append((job, None))
        _answer(finished)
        self._tokens_per_s += 0.2 * (len(packed.ids) / max(elapsed, 1e-6) - self._tokens_per_s)
        rows, attention = self._engine.padded_tokens(packed.lengths), self._engine.attention_rows(packed.lengths)
        self._observer.batch_ran(tokens=len(packed.ids), rows=rows, attention_rows=attention, sequences=len(batch), engine_s=elapsed)


def _packed(sequences: list[Sequence]) -> Batch:
    typed = any(sequence.types is not None for sequence in sequences)
    types = [np.zeros_like(s.ids) if s.types is None else s.types for s in sequences] if typed else None
    return Batch.of([s.ids for s in sequences], types, [s.features for s in sequences])


def _common_pooling(batch: list[Waiting]) -> Pooling | None:
    """What all jobs of the batch pool by; None when one of them wants every token's state, or they differ."""
    first = batch[0].job.pooling
    return first if all(waiting.job.pooling == first for waiting in batch) else None


def _answer(outcomes: list[tuple[Job, EmberankError | None]]) -> None:
    """Resolve the jobs' futures on their loops: one wake-up per loop and batch, not one per job."""
    loops: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[None], EmberankError | None]]] = {}
    for job, error in outcomes:
        if job.done is not None:
            loops.setdefault(job.done.get_loop(), []).append((job.done, error))
    for loop, answers in loops.items():
        try:
            loop.call_soon_threadsafe(_resolve, answers)
        except RuntimeError:  # the loop is closed: nobody is waiting any more
            log.debug("answers for a closed loop", extra={"action": "answer_dropped", "jobs": len(answers)})


def _resolve(answers: list[tuple[asyncio.Future[None], EmberankError | None]]) -> None:
    for future, error in answers:
        if future.done():
            continue
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)
