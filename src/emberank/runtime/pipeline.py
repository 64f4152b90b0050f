"""One call in, one result out: read images → plan (tokenise) → submit (batch and run) → finish. Knows no wire format.

A call of texts is one plan. A call with many images is worked on in groups, so that its images are never all in memory: while one
group runs, the next is decoded. Tiles and texts have queues and engines of their own.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np

from emberank.contract.errors import BadRequest, DeadlineExceeded, QueueFull
from emberank.contract.inference import Chunk, Content, EmbedCall, EmbedResult, Modality, RankCall, Ranked, RankResult, Timings, Usage
from emberank.runtime import outputs
from emberank.runtime.chunks import MOST_CHUNKS
from emberank.runtime.heads import Floats
from emberank.runtime.items import Item
from emberank.runtime.job import Job
from emberank.runtime.model import ServedModel
from emberank.runtime.pictures import Pictures, groups
from emberank.runtime.plans import Plan
from emberank.serving.together import together
from emberank.telemetry import RequestTrace

Make: TypeAlias = Callable[[Sequence[Item]], Plan]
_Worked: TypeAlias = tuple[Plan, Timings]
_Step: TypeAlias = Literal["read", "tokenise"]

_IMAGES_IN_A_GROUP = 8
_GROUPS_IN_FLIGHT = 2  # of one call: one that runs, one that is decoded meanwhile
_WORDS: dict[_Step, tuple[str, str]] = {
    "read": ("for their images to be read", "its images were being read"),
    "tokenise": ("to be tokenised", "it was being tokenised"),
}
_READS: dict[Modality, str] = {"text": "texts", "image": "images", "text_image": "texts with an image"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    """What every step of a call needs to know."""

    model: ServedModel
    contents: Sequence[Content]
    place: Callable[[int], str]  # of a content, in words
    make: Make
    deadline: float
    trace: RequestTrace | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Done:
    """A call's numbers in its order; of a call in several groups the timings are sums."""

    values: Floats
    prompt_tokens: int
    truncated: tuple[int, ...]
    chunks: Mapping[int, Chunk]
    timings: Timings


class Pipeline:
    """Runs calls on models. One per process; its threads tokenise and decode, so that the event loop never does."""

    def __init__(self, tokenizer_threads: int, max_waiting: int = 1024, queue_full_status: int = 429, pictures: Pictures | None = None) -> None:
        self._threads = ThreadPoolExecutor(tokenizer_threads, thread_name_prefix="tokenize")
        self._pictures = pictures or Pictures()
        self._max_waiting = max_waiting
        self._queue_full_status = queue_full_status
        self._waiting = dict.fromkeys(_WORDS, 0)  # requests in each step or waiting for its threads: an executor's own queue has no bound

    def close(self) -> None:
        """Let the threads end."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._pictures.close()

    async def rank(self, model: ServedModel, call: RankCall, deadline: float, trace: RequestTrace | None = None) -> RankResult:
        """Rank the passages. `deadline` in seconds of time.monotonic. Raises BadRequest, InputTooLong, ServerBusy, ServerFault."""
        query = _query(model, call.query)
        _check_lengths(call)
        _refuse_what_it_does_not_read(model, call.passages, _passage)
        done = await self._run(
            _Request(
                model=model,
                contents=call.passages,
                place=_passage,
                make=lambda items: model.rank_plan(query, items, call.truncate, call.max_passage_tokens, call.max_chunks),
                deadline=deadline,
                trace=trace,
            )
        )
        outputs.check_logits(done.values)
        # Stable, so that equal logits keep the order of the call: NIM clients trust the server's order.
        order = np.argsort(-done.values, kind="stable")[: call.top_n]
        return RankResult(
            model=model.name,
            ranked=tuple(Ranked(int(i), float(done.values[i]), done.chunks.get(int(i))) for i in order),
            usage=Usage(prompt_tokens=done.prompt_tokens),
            timings=done.timings,
            truncated=done.truncated,
        )

    async def embed(self, model: ServedModel, call: EmbedCall, deadline: float, trace: RequestTrace | None = None) -> EmbedResult:
        """Embed the inputs. The same deadline and errors as `rank`."""
        outputs.check_asked(
            model.name,
            dimensions=call.dimensions,
            embedding_type=call.embedding_type,
            supported_dimensions=model.dimensions,
            supported_types=model.spec.embedding_types,
        )
        _refuse_what_it_does_not_read(model, call.inputs, _input)
        done = await self._run(
            _Request(
                model=model,
                contents=call.inputs,
                place=_input,
                make=lambda items: model.embed_plan(items, call.input_type, call.truncate),
                deadline=deadline,
                trace=trace,
            )
        )
        vectors = outputs.finish(done.values, normalize=model.recognised.normalize, dimensions=call.dimensions, embedding_type=call.embedding_type)
        return EmbedResult(
            model=model.name,
            vectors=vectors,
            usage=Usage(prompt_tokens=done.prompt_tokens),
            timings=done.timings,
            truncated=done.truncated,
        )

    async def _run(self, request: _Request) -> _Done:
        parts = groups(request.contents, min(_IMAGES_IN_A_GROUP, self._pictures.at_once))
        if len(parts) == 1:
            return _joined(request, [(parts[0], await self._group(request, parts[0]))])
        done: list[tuple[list[int], _Worked]] = []
        left = iter(parts)

        async def work() -> None:
            done.extend([(part, await self._group(request, part)) for part in left])

        await together([work() for _ in range(_GROUPS_IN_FLIGHT)])
        return _joined(request, done)

    async def _group(self, request: _Request, part: list[int]) -> _Worked:
        contents = [request.contents[i] for i in part]
        images = len({content.image for content in contents if content.image is not None})
        if not images:
            return await self._work(request, [Item(content.text) for content in contents])
        vision = request.model.recognised.vision
        assert vision is not None, "images are refused for a model that reads none"
        began = time.monotonic()
        async with contextlib.AsyncExitStack() as held:
            async with self._before_the_engine(request.deadline, "read"):
                await held.enter_async_context(self._pictures.room(images))
                items = await self._pictures.items(contents, [request.place(i) for i in part], vision.tiling)
            read = time.monotonic()
            if request.trace is not None:
                request.trace.child("decode", began, read, {"emberank.images": images})
            plan, timings = await self._work(request, items)
        return plan, replace(timings, decode_ms=(read - began) * 1e3)

    async def _work(self, request: _Request, items: list[Item]) -> _Worked:
        model, trace, began = request.model, request.trace, time.monotonic()
        async with self._before_the_engine(request.deadline, "tokenise"):
            plan = await asyncio.get_running_loop().run_in_executor(self._threads, request.make, items)
        tokenized = time.monotonic()
        jobs: list[Job] = []
        try:
            if plan.tiles:
                assert model.vision is not None, "a plan has tiles only where there is an engine for them"
                jobs.append(Job(sequences=plan.tiles, take=plan.take_tile, deadline=request.deadline))
                await model.vision.batcher.submit(jobs[-1])
            jobs.append(Job(sequences=plan.sequences, take=plan.take, deadline=request.deadline, leads=plan.leads, pooling=plan.pooling))
            await model.backend.batcher.submit(jobs[-1])
        finally:
            if trace is not None:
                trace.child("tokenize", began, tokenized, {"emberank.sequences": len(plan.sequences)})
                for job in jobs:
                    _trace_job(trace, job)
        queue_s, engine_s = sum(job.started - job.submitted for job in jobs), sum(job.engine_s for job in jobs)
        return plan, Timings(tokenize_ms=(tokenized - began) * 1e3, queue_ms=queue_s * 1e3, engine_ms=engine_s * 1e3)

    @contextlib.asynccontextmanager
    async def _before_the_engine(self, deadline: float, step: _Step) -> AsyncIterator[None]:
        """One of the steps on our own threads: bounded in requests, each step by itself, and by the deadline."""
        waiting_for, passed_while = _WORDS[step]
        if self._waiting[step] >= self._max_waiting:
            raise QueueFull(f"{self._waiting[step]} requests are waiting {waiting_for}; try again in 1 s", status=self._queue_full_status, retry_after_s=1)
        self._waiting[step] += 1
        try:
            async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                yield
        except TimeoutError as cause:
            raise DeadlineExceeded(f"the request's deadline passed while {passed_while}") from cause
        finally:
            self._waiting[step] -= 1


def _passage(i: int) -> str:
    return f"passages[{i}]"


def _input(i: int) -> str:
    return f"input[{i}]"


def _query(model: ServedModel, query: Content) -> str:
    """The query's text; BadRequest for an image, which no model takes as a query."""
    if query.image is None and query.text is not None:
        return query.text
    _refuse_what_it_does_not_read(model, [query], lambda i: "query")
    raise BadRequest("query holds an image, and a query is text; images are passages")


def _check_lengths(call: RankCall) -> None:
    if call.max_passage_tokens is not None and call.max_passage_tokens < 1:
        raise BadRequest(f"max_tokens_per_doc must be at least 1; got {call.max_passage_tokens}")
    if call.max_chunks is not None and not 1 <= call.max_chunks <= MOST_CHUNKS:
        raise BadRequest(f"max_chunks_per_doc must be from 1 to {MOST_CHUNKS}; got {call.max_chunks}")


def _refuse_what_it_does_not_read(model: ServedModel, contents: Sequence[Content], place: Callable[[int], str]) -> None:
    """BadRequest for the first content of a modality that `model` does not have."""
    for i, content in enumerate(contents):
        if content.modality in model.modalities:
            continue
        if content.image is not None and model.modalities == ("text",):
            raise BadRequest(f"{place(i)} holds an image, and model '{model.name}' reads text only; send text, or ask a server that serves a vision model")
        read = ", ".join(_READS[modality] for modality in model.modalities)
        raise BadRequest(f"{place(i)} is of modality '{content.modality}', and model '{model.name}' reads {read}")


def _joined(request: _Request, done: Sequence[tuple[list[int], _Worked]]) -> _Done:
    """The groups' numbers, each at its place in the call."""
    parts = [(np.array(part), plan.values()) for part, (plan, _) in done]
    values = np.empty((len(request.contents), *parts[0][1].shape[1:]), np.float32)
    for places, found in parts:
        values[places] = found
    timings = [timings for _, (_, timings) in done]
    return _Done(
        values=values,
        prompt_tokens=sum(plan.prompt_tokens for _, (plan, _) in done),
        truncated=tuple(sorted(part[i] for part, (plan, _) in done for i in plan.truncated)),
        chunks={part[i]: chunk for part, (plan, _) in done for i, chunk in plan.chunks().items()},
        timings=Timings(
            tokenize_ms=sum(t.tokenize_ms for t in timings),
            queue_ms=sum(t.queue_ms for t in timings),
            engine_ms=sum(t.engine_ms for t in timings),
            decode_ms=sum(t.decode_ms for t in timings),
        ),
    )


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
