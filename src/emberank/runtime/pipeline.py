"""One call in, one result out: plan (tokenise) → submit (batch and run) → finish. Knows no wire format."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np

from emberank.contract.errors import BadRequest, DeadlineExceeded, QueueFull
from emberank.contract.inference import Content, EmbedCall, EmbedResult, RankCall, Ranked, RankResult, Timings, Usage
from emberank.runtime.heads import Floats, quantise
from emberank.runtime.job import Job
from emberank.runtime.model import ServedModel
from emberank.runtime.plans import Plan
from emberank.telemetry import RequestTrace

T = TypeVar("T")


class Pipeline:
    """Runs calls on models. One per process; its threads tokenise, so that the event loop never does."""

    def __init__(self, tokenizer_threads: int, max_waiting: int = 1024, queue_full_status: int = 429) -> None:
        self._threads = ThreadPoolExecutor(tokenizer_threads, thread_name_prefix="tokenize")
        self._max_waiting = max_waiting
        self._queue_full_status = queue_full_status
        self._waiting = 0  # requests being tokenised or waiting for a thread: the executor's own queue has no bound

    def close(self) -> None:
        """Let the threads end."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def rank(self, model: ServedModel, call: RankCall, deadline: float, trace: RequestTrace | None = None) -> RankResult:
        """Rank the passages. `deadline` in seconds of time.monotonic. Raises BadRequest, InputTooLong, ServerBusy, ServerFault."""
        query, *passages = _texts(model, (call.query, *call.passages), lambda i: f"passages[{i - 1}]" if i else "query")
        plan, timings = await self._run(model, lambda: model.rank_plan(query, passages, call.truncate), deadline, trace)
        logits = plan.values()
        # Stable, so that equal logits keep the order of the call: NIM clients trust the server's order.
        order = np.argsort(-logits, kind="stable")[: call.top_n]
        return RankResult(
            model=model.name,
            ranked=tuple(Ranked(int(i), float(logits[i])) for i in order),
            usage=Usage(prompt_tokens=plan.prompt_tokens),
            timings=timings,
            truncated=plan.truncated,
        )

    async def embed(self, model: ServedModel, call: EmbedCall, deadline: float, trace: RequestTrace | None = None) -> EmbedResult:
        """Embed the inputs. The same deadline and errors as `rank`."""
        if call.dimensions is not None and call.dimensions != model.dimensions:
            raise BadRequest(f"dimensions {call.dimensions} is not supported by model '{model.name}'; supported: {model.dimensions}")
        texts = _texts(model, call.inputs, lambda i: f"input[{i}]")
        plan, timings = await self._run(model, lambda: model.embed_plan(texts, call.input_type, call.truncate), deadline, trace)
        return EmbedResult(
            model=model.name,
            vectors=quantise(plan.values(), call.embedding_type),
            usage=Usage(prompt_tokens=plan.prompt_tokens),
            timings=timings,
            truncated=plan.truncated,
        )

    async def _run(self, model: ServedModel, make: Callable[[], Plan], deadline: float, trace: RequestTrace | None) -> tuple[Plan, Timings]:
        began = time.monotonic()
        plan = await self._planned(make, deadline)
        tokenized = time.monotonic()
        job = Job(sequences=plan.sequences, take=plan.take, deadline=deadline, leads=plan.leads)
        try:
            await model.backend.batcher.submit(job)
        finally:
            if trace is not None:
                trace.child("tokenize", began, tokenized, {"emberank.sequences": len(plan.sequences)})
                _trace_job(trace, job)
        return plan, Timings(tokenize_ms=(tokenized - began) * 1e3, queue_ms=(job.started - job.submitted) * 1e3, engine_ms=job.engine_s * 1e3)

    async def _planned(self, make: Callable[[], Plan], deadline: float) -> Plan:
        if self._waiting >= self._max_waiting:
            raise QueueFull(f"{self._waiting} requests are waiting to be tokenised; try again in 1 s", status=self._queue_full_status, retry_after_s=1)
        self._waiting += 1
        try:
            async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                return await asyncio.get_running_loop().run_in_executor(self._threads, make)
        except TimeoutError as cause:
            raise DeadlineExceeded("the request's deadline passed while it was being tokenised") from cause
        finally:
            self._waiting -= 1


def _texts(model: ServedModel, contents: tuple[Content, ...], place: Callable[[int], str]) -> list[str]:
    """The texts of `contents`; BadRequest for an image, which no model here can read yet."""
    texts = []
    for i, content in enumerate(contents):
        if content.image is not None or content.text is None:
            raise BadRequest(f"{place(i)} holds an image, and model '{model.name}' reads text only; send text, or ask a server that serves a vision model")
        texts.append(content.text)
    return texts


def _trace_job(trace: RequestTrace, job: Job) -> None:
    """What became of a job, until now: refused, given up in the queue, or run."""
    now = time.monotonic()
    if job.submitted:
        trace.child("queue", job.submitted, job.started or now)
    if job.started:
        # Others' batches may run between its own: `engine_ms` is its share.
        trace.child("engine", job.started, now, {"emberank.engine_ms": job.engine_s * 1e3})


def cosine(a: Floats, b: Floats) -> float:
    """Cosine of two vectors."""
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))
