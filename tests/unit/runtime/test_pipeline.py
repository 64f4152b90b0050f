"""One call through the pipeline: tiny checkpoints, a real batcher, a fake engine. Deadlines are on time.monotonic, the pipeline's own clock."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from checkpoints import HIDDEN
from emberank.contract.errors import BadRequest, DeadlineExceeded, InputTooLong, QueueFull, ServerFault
from emberank.contract.inference import Content, EmbedCall, RankCall
from emberank.runtime.engines.fake import FakeEngine
from emberank.runtime.engines.reference import ReferenceEngine
from emberank.runtime.model import ServedModel
from emberank.runtime.outputs import quantise
from emberank.runtime.pipeline import Pipeline, cosine

WAIT_S = 20.0
LONG = "the " * 600


@pytest.fixture
def pipeline() -> Iterator[Pipeline]:
    made = Pipeline(tokenizer_threads=2)
    yield made
    made.close()


def soon() -> float:
    return time.monotonic() + WAIT_S


def rank_call(query: str, /, *passages: str, **more: Any) -> RankCall:
    return RankCall(**{"model": None, "query": Content(query), "passages": tuple(map(Content, passages)), "truncate": "END"} | more)


def embed_call(*inputs: str, **more: Any) -> EmbedCall:
    return EmbedCall(**{"model": None, "inputs": tuple(map(Content, inputs)), "truncate": "END"} | more)


def run(test: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asyncio.wait_for(test, WAIT_S))


def engine(model: ServedModel) -> FakeEngine:
    found = model.backend.engine
    assert isinstance(found, FakeEngine)
    return found


@dataclass
class Slow:
    """A model whose tokenising stops until it is told to go on."""

    model: ServedModel
    entered: threading.Event = field(default_factory=threading.Event)
    go_on: threading.Event = field(default_factory=threading.Event)
    threads: list[str] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)

    def embed_plan(self, *arguments: Any) -> Any:
        self.threads.append(threading.current_thread().name)
        self.entered.set()
        assert self.go_on.wait(WAIT_S)
        return self.model.embed_plan(*arguments)


PASSAGES = ("snow", "ice road", "the way", "which way should go", "red hot")


@pytest.mark.parametrize("kind", ["ranker", "late_ranker"])
def test_the_best_passage_comes_first_and_keeps_its_index(pipeline: Pipeline, workshop: Any, kind: str, request: pytest.FixtureRequest) -> None:
    workshop.make = lambda network, weights: ReferenceEngine(network, weights)  # to the fake one every [CLS] is the same
    model: ServedModel = request.getfixturevalue(kind)
    result = run(pipeline.rank(model, rank_call("which way", *PASSAGES), soon()))
    logits = {index: run(pipeline.rank(model, rank_call("which way", passage), soon())).ranked[0].logit for index, passage in enumerate(PASSAGES)}
    assert {ranked.index: ranked.logit for ranked in result.ranked} == pytest.approx(logits, abs=1e-5)
    in_order = [ranked.logit for ranked in result.ranked]
    assert in_order == sorted(in_order, reverse=True)
    assert len(set(in_order)) == len(PASSAGES)
    assert result.model == model.name


def test_passages_with_equal_logits_keep_the_order_of_the_call(pipeline: Pipeline, late_ranker: ServedModel) -> None:
    result = run(pipeline.rank(late_ranker, rank_call("which way", "snow", "which way", "snow", "which way", "snow"), soon()))
    assert [ranked.index for ranked in result.ranked] == [1, 3, 0, 2, 4]
    many = run(pipeline.rank(late_ranker, rank_call("which way", *["snow", "which way"] * 200), soon()))
    assert [ranked.index for ranked in many.ranked] == [*range(1, 400, 2), *range(0, 400, 2)]


def test_only_as_many_as_asked_for_are_given_back(pipeline: Pipeline, late_ranker: ServedModel) -> None:
    everything = run(pipeline.rank(late_ranker, rank_call("which way", *PASSAGES), soon()))
    best = run(pipeline.rank(late_ranker, rank_call("which way", *PASSAGES, top_n=2), soon()))
    assert best.ranked == everything.ranked[:2]
    assert best.usage == everything.usage


def test_a_ranking_says_what_it_read_and_what_it_cut(pipeline: Pipeline, late_ranker: ServedModel) -> None:
    result = run(pipeline.rank(late_ranker, rank_call("way", "snow", LONG), soon()))
    assert result.usage.prompt_tokens == result.usage.total_tokens == (3 + 3) + (3 + 512)
    assert result.truncated == (1,)


@pytest.mark.parametrize("kind", ["ranker", "late_ranker"])
def test_a_ranking_names_the_best_piece_of_what_was_read_in_pieces_and_of_nothing_else(
    pipeline: Pipeline, workshop: Any, kind: str, request: pytest.FixtureRequest
) -> None:
    workshop.make = lambda network, weights: ReferenceEngine(network, weights)
    model: ServedModel = request.getfixturevalue(kind)
    text = "red hot ice. the way of the snow. which way should go. " * 2
    result = run(pipeline.rank(model, rank_call("which way", "snow", text, "ice", text, max_passage_tokens=5, max_chunks=3), soon()))
    found = {ranked.index: ranked for ranked in result.ranked}
    assert [found[i].chunk is None for i in range(4)] == [True, False, True, False]
    chunk = found[1].chunk
    assert chunk == found[3].chunk
    assert chunk is not None
    assert (chunk.of, result.truncated) == (3, (1, 3))
    piece = run(pipeline.rank(model, rank_call("which way", text[chunk.start : chunk.end]), soon()))
    assert piece.ranked[0].logit == pytest.approx(found[1].logit, abs=1e-5)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"max_chunks": 0}, "max_chunks_per_doc must be from 1 to 1000; got 0"),
        ({"max_chunks": 1001}, "max_chunks_per_doc must be from 1 to 1000; got 1001"),
        ({"max_passage_tokens": 0}, "max_tokens_per_doc must be at least 1; got 0"),
    ],
)
def test_a_number_of_pieces_or_tokens_that_cannot_be_is_refused(pipeline: Pipeline, ranker: ServedModel, more: dict[str, int], said: str) -> None:
    with pytest.raises(BadRequest, match=f"^{said}$"):
        run(pipeline.rank(ranker, rank_call("q", "p", **more), soon()))


def test_one_vector_of_length_one_comes_back_for_each_input(pipeline: Pipeline, embedder: ServedModel) -> None:
    result = run(pipeline.embed(embedder, embed_call("snow", "ice road", "snow"), soon()))
    assert result.vectors.shape == (3, HIDDEN)
    assert result.vectors.dtype == np.float32
    assert np.linalg.norm(result.vectors, axis=1) == pytest.approx(np.ones(3), abs=1e-6)
    assert result.vectors[0].tolist() == result.vectors[2].tolist() != result.vectors[1].tolist()
    assert (result.model, result.usage.prompt_tokens, result.truncated) == ("tiny-embed", 3 + 4 + 3, ())


@pytest.mark.parametrize(("kind", "dtype", "width"), [("int8", np.int8, 64), ("uint8", np.uint8, 64), ("binary", np.int8, 8), ("ubinary", np.uint8, 8)])
def test_vectors_come_in_the_type_asked_for(pipeline: Pipeline, embedder: ServedModel, kind: Any, dtype: Any, width: int) -> None:
    floats = run(pipeline.embed(embedder, embed_call("snow", "ice"), soon())).vectors
    result = run(pipeline.embed(embedder, embed_call("snow", "ice", embedding_type=kind), soon()))
    assert (result.vectors.dtype, result.vectors.shape) == (dtype, (2, width))
    assert result.vectors.tolist() == quantise(floats, kind).tolist()


def test_the_models_own_number_of_dimensions_may_be_asked_for_and_no_other(pipeline: Pipeline, embedder: ServedModel) -> None:
    assert run(pipeline.embed(embedder, embed_call("snow", dimensions=HIDDEN), soon())).vectors.shape == (1, HIDDEN)
    with pytest.raises(BadRequest, match="dimensions 32 is not supported by model 'tiny-embed'; supported: 64"):
        run(pipeline.embed(embedder, embed_call("snow", dimensions=32), soon()))


@pytest.mark.parametrize(
    ("content", "place"), [({"query": Content(image="data:,")}, "query"), ({"passages": (Content("a"), Content("b", image="data:,"))}, r"passages\[1\]")]
)
def test_an_image_in_a_ranking_is_refused_with_its_place(pipeline: Pipeline, ranker: ServedModel, content: dict[str, Any], place: str) -> None:
    with pytest.raises(BadRequest, match=f"^{place} holds an image, and model 'tiny-rank' reads text only"):
        run(pipeline.rank(ranker, rank_call("q", "p", **content), soon()))


def test_an_image_among_inputs_is_refused_with_its_place(pipeline: Pipeline, embedder: ServedModel) -> None:
    with pytest.raises(BadRequest, match=r"^input\[1\] holds an image"):
        run(pipeline.embed(embedder, embed_call("a", inputs=(Content("a"), Content(image="data:,"))), soon()))


def test_an_over_long_text_is_refused_before_the_engine_is_asked(pipeline: Pipeline, embedder: ServedModel, ranker: ServedModel) -> None:
    with pytest.raises(InputTooLong):
        run(pipeline.embed(embedder, embed_call("snow", LONG, truncate="NONE"), soon()))
    with pytest.raises(InputTooLong):
        run(pipeline.rank(ranker, rank_call("way", LONG, truncate="NONE"), soon()))
    assert not engine(embedder).batches
    assert not engine(ranker).batches


def test_a_failing_engine_is_the_servers_fault(pipeline: Pipeline, embedder: ServedModel) -> None:
    def fail(batch: object) -> None:
        raise ZeroDivisionError

    engine(embedder).before_run = fail
    with pytest.raises(ServerFault):
        run(pipeline.embed(embedder, embed_call("snow"), soon()))


def test_timings_are_said_and_are_no_nonsense(pipeline: Pipeline, embedder: ServedModel) -> None:
    timings = run(pipeline.embed(embedder, embed_call(*PASSAGES), soon())).timings
    assert all(math.isfinite(ms) and 0 <= ms < WAIT_S * 1e3 for ms in (timings.tokenize_ms, timings.queue_ms, timings.engine_ms))


class Spans:
    """In the place of a request's trace."""

    def __init__(self) -> None:
        self.children: list[tuple[str, float, float, Any]] = []

    def child(self, name: str, start: float, end: float, attributes: Any = None) -> None:
        self.children.append((name, start, end, attributes))

    @property
    def names(self) -> list[str]:
        return [child[0] for child in self.children]


def test_a_trace_gets_the_three_stages_with_the_times_they_had(pipeline: Pipeline, embedder: ServedModel) -> None:
    spans, began = Spans(), time.monotonic()
    timings = run(pipeline.embed(embedder, embed_call(*PASSAGES), soon(), spans)).timings  # type: ignore[arg-type]
    assert spans.names == ["tokenize", "queue", "engine"]
    times = [moment for _, start, end, _ in spans.children for moment in (start, end)]
    assert times == sorted(times)
    assert began <= times[0] <= times[-1] <= time.monotonic()
    assert [(end - start) * 1e3 for _, start, end, _ in spans.children[:2]] == pytest.approx([timings.tokenize_ms, timings.queue_ms])
    assert [child[3] for child in spans.children] == [{"emberank.sequences": 5}, None, {"emberank.engine_ms": timings.engine_ms}]


def test_a_trace_of_a_call_that_is_given_up_in_the_queue_ends_in_the_queue(pipeline: Pipeline, embedder: ServedModel) -> None:
    spans, gate = Spans(), threading.Event()
    engine(embedder).gate = gate

    async def test() -> None:
        first = asyncio.create_task(pipeline.embed(embedder, embed_call("snow"), soon()))
        while not engine(embedder).batches:  # noqa: ASYNC110  run() bounds the wait
            await asyncio.sleep(0)
        late = asyncio.create_task(pipeline.embed(embedder, embed_call("ice"), soon(), spans))  # type: ignore[arg-type]
        while embedder.backend.batcher.queued_jobs < 2:  # noqa: ASYNC110
            await asyncio.sleep(0)
        late.cancel()
        await asyncio.gather(late, return_exceptions=True)
        gate.set()
        await first

    run(test())
    assert spans.names == ["tokenize", "queue"]


def test_a_trace_of_a_call_that_the_engine_failed_has_all_three_stages(pipeline: Pipeline, embedder: ServedModel) -> None:
    def fail(batch: object) -> None:
        raise ZeroDivisionError

    spans = Spans()
    engine(embedder).before_run = fail
    with pytest.raises(ServerFault):
        run(pipeline.embed(embedder, embed_call("snow"), soon(), spans))  # type: ignore[arg-type]
    assert spans.names == ["tokenize", "queue", "engine"]


def test_tokenising_does_not_hold_up_the_event_loop(pipeline: Pipeline, embedder: ServedModel) -> None:
    slow = Slow(embedder)

    async def test() -> None:
        waiting = asyncio.create_task(pipeline.embed(slow, embed_call("snow"), soon()))  # type: ignore[arg-type]
        assert await asyncio.to_thread(slow.entered.wait, WAIT_S)
        other = await pipeline.embed(embedder, embed_call("ice"), soon())  # passes it, on the second thread
        assert other.vectors.shape == (1, HIDDEN)
        assert not waiting.done()
        slow.go_on.set()
        assert (await waiting).vectors.shape == (1, HIDDEN)

    run(test())
    assert slow.threads[0].startswith("tokenize")


@pytest.mark.parametrize("status", [429, 503])
def test_more_requests_than_may_wait_for_the_tokenizer_are_refused(embedder: ServedModel, status: int) -> None:
    pipeline, slow = Pipeline(1, max_waiting=2, queue_full_status=status), Slow(embedder)

    async def test() -> None:
        waiting = [asyncio.create_task(pipeline.embed(slow, embed_call("snow"), soon())) for _ in range(2)]  # type: ignore[arg-type]
        assert await asyncio.to_thread(slow.entered.wait, WAIT_S)
        with pytest.raises(QueueFull, match="2 requests are waiting to be tokenised") as refused:
            await pipeline.embed(embedder, embed_call("ice"), soon())
        assert (refused.value.http_status, refused.value.retry_after_s) == (status, 1)
        slow.go_on.set()
        await asyncio.gather(*waiting)
        await pipeline.embed(embedder, embed_call("ice"), soon())  # and then there is room again

    run(test())
    pipeline.close()


def test_a_deadline_that_passes_while_tokenising_is_said_and_the_engine_is_not_asked(pipeline: Pipeline, embedder: ServedModel) -> None:
    slow = Slow(embedder)

    async def test() -> None:
        with pytest.raises(DeadlineExceeded, match="while it was being tokenised"):
            await pipeline.embed(slow, embed_call("snow"), time.monotonic() + 0.01)  # type: ignore[arg-type]
        slow.go_on.set()
        await pipeline.embed(embedder, embed_call("ice"), soon())

    run(test())
    assert len(engine(embedder).batches) == 1


def test_a_deadline_that_has_passed_already_costs_nothing(pipeline: Pipeline, embedder: ServedModel) -> None:
    with pytest.raises(DeadlineExceeded):
        run(pipeline.embed(embedder, embed_call("snow"), time.monotonic() - 1))
    assert not engine(embedder).batches


def test_a_caller_who_leaves_takes_the_work_out_of_the_queue(pipeline: Pipeline, embedder: ServedModel) -> None:
    gate = threading.Event()
    engine(embedder).gate = gate
    batcher = embedder.backend.batcher

    async def until(condition: Callable[[], bool]) -> None:
        while not condition():  # noqa: ASYNC110  the engine's thread sets no event; run() bounds the wait
            await asyncio.sleep(0)

    async def test() -> None:
        stays = asyncio.create_task(pipeline.embed(embedder, embed_call("snow"), soon()))
        await until(lambda: bool(engine(embedder).batches))
        leaves = asyncio.create_task(pipeline.embed(embedder, embed_call("ice", "road"), soon()))
        await until(lambda: batcher.queued_jobs == 2)
        leaves.cancel()
        await asyncio.gather(leaves, return_exceptions=True)
        assert leaves.cancelled()
        assert (batcher.queued_jobs, batcher.queued_tokens) == (1, 0)
        gate.set()
        await stays

    run(test())
    assert len(engine(embedder).batches) == 1


def test_calls_that_run_at_the_same_time_get_their_own_answers(pipeline: Pipeline, embedder: ServedModel, late_ranker: ServedModel) -> None:
    texts = [f"{word} {other}" for word in PASSAGES for other in PASSAGES]
    alone = [run(pipeline.embed(embedder, embed_call(text), soon())).vectors for text in texts]
    ranking = run(pipeline.rank(late_ranker, rank_call("which way", *texts), soon()))
    engine(embedder).batches.clear()

    async def test() -> list[Any]:
        calls = [pipeline.embed(embedder, embed_call(text), soon()) for text in texts]
        return await asyncio.gather(*calls, pipeline.rank(late_ranker, rank_call("which way", *texts), soon()))

    *together, ranked = run(test())
    assert all(np.array_equal(one.vectors, other) for one, other in zip(together, alone, strict=True))
    assert {r.index: r.logit for r in ranked.ranked} == pytest.approx({r.index: r.logit for r in ranking.ranked}, abs=1e-5)


@pytest.mark.parametrize(("a", "b", "expected"), [([3, 4], [6, 8], 1), ([1, 0], [0, 5], 0), ([1, 2], [-1, -2], -1)])
def test_a_cosine_is_an_angle_not_a_length(a: list[float], b: list[float], expected: float) -> None:
    assert cosine(np.array(a, np.float32), np.array(b, np.float32)) == pytest.approx(expected)
