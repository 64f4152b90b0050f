"""Calls with images through the pipeline: groups, deadlines, who waits for whom, and what is refused. A tiny vision checkpoint, a fake engine."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emberank.contract.errors import BadRequest, DeadlineExceeded, QueueFull, ServerFault
from emberank.contract.inference import Content, EmbedCall, RankCall
from emberank.runtime import images
from emberank.runtime import pipeline as module
from emberank.runtime.engines.fake import FakeEngine
from emberank.runtime.engines.reference import ReferenceEngine
from emberank.runtime.model import ServedModel
from emberank.runtime.pictures import Pictures
from emberank.runtime.pipeline import Pipeline
from families import write_vl_embedder, write_vl_reranker
from picture_files import data_url, photo, png, saved

WAIT_S = 30.0
URLS = [data_url(saved(photo(40, 30, seed), "PNG")) for seed in range(12)]  # seven tiles each
SMALL = data_url(saved(photo(32, 32), "PNG"))  # one
BROKEN = data_url(png(8, 8, pixels=b"no pixels"))


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    base = tmp_path_factory.mktemp("vision")
    return {"embed": write_vl_embedder(base / "embed"), "rank": write_vl_reranker(base / "rank")}


@pytest.fixture
def embedder(workshop: Any, folders: dict[str, Path]) -> ServedModel:
    return workshop.load(folders["embed"], name="tiny-vl")


@pytest.fixture
def ranker(workshop: Any, folders: dict[str, Path]) -> ServedModel:
    return workshop.load(folders["rank"], name="tiny-vl-rank")


@pytest.fixture
def pipeline() -> Iterator[Pipeline]:
    made = Pipeline(tokenizer_threads=2, pictures=Pictures(threads=2, at_once=16))
    yield made
    made.close()


def soon() -> float:
    return time.monotonic() + WAIT_S


def call(*contents: Content, **more: Any) -> EmbedCall:
    return EmbedCall(**{"model": None, "inputs": contents, "truncate": "NONE", "input_type": "passage"} | more)


def rank_call(*passages: Content, query: Content | None = None) -> RankCall:
    return RankCall(model=None, query=query or Content("which way"), passages=passages, truncate="NONE")


def run(test: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asyncio.wait_for(test, WAIT_S))


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110  the engines' threads set no event; run() bounds the wait
        await asyncio.sleep(0)


def engines(model: ServedModel) -> tuple[FakeEngine, FakeEngine]:
    """(texts', tiles')."""
    assert model.vision is not None
    text, vision = model.backend.engine, model.vision.engine
    assert isinstance(text, FakeEngine)
    assert isinstance(vision, FakeEngine)
    return text, vision


MIXED = (Content("a"), Content(None, URLS[0]), Content("b", URLS[1]), Content("c"), Content("d", URLS[0]), Content(None, SMALL))


@pytest.fixture
def exact(workshop: Any) -> None:
    workshop.make = lambda network, weights: ReferenceEngine(network, weights)  # the fake one learns nothing from an image


@pytest.mark.usefixtures("exact")
def test_every_input_of_a_mixed_call_has_the_vector_it_has_alone(pipeline: Pipeline, embedder: ServedModel) -> None:
    together = run(pipeline.embed(embedder, call(*MIXED), soon()))
    alone = [run(pipeline.embed(embedder, call(content), soon())) for content in MIXED]
    assert together.vectors == pytest.approx(np.concatenate([one.vectors for one in alone]), abs=1e-5)
    assert together.usage.prompt_tokens == sum(one.usage.prompt_tokens for one in alone)
    assert len({vector.tobytes() for vector in np.round(together.vectors, 4)}) == len(MIXED)


@pytest.mark.claim("nim:ranking:images")
@pytest.mark.usefixtures("exact")
def test_passages_with_images_are_ranked_as_they_are_alone(pipeline: Pipeline, ranker: ServedModel) -> None:
    ranked = run(pipeline.rank(ranker, rank_call(*MIXED), soon()))
    alone = [run(pipeline.rank(ranker, rank_call(content), soon())).ranked[0].logit for content in MIXED]
    assert {one.index: one.logit for one in ranked.ranked} == pytest.approx(dict(enumerate(alone)), abs=1e-4)
    assert [one.logit for one in ranked.ranked] == sorted((one.logit for one in ranked.ranked), reverse=True)


@pytest.mark.usefixtures("exact")
def test_groups_change_no_number(pipeline: Pipeline, embedder: ServedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run(pipeline.embed(embedder, call(*MIXED), soon()))
    monkeypatch.setattr(module, "_IMAGES_IN_A_GROUP", 1)
    divided = run(pipeline.embed(embedder, call(*MIXED), soon()))
    assert divided.vectors == pytest.approx(whole.vectors, abs=1e-5)
    assert (divided.usage, divided.truncated) == (whole.usage, whole.truncated)


@pytest.mark.claim("nim:embeddings:images-in-every-type")
@pytest.mark.parametrize(
    ("dimensions", "kind", "shape"), [(None, "float", (2, 64)), (None, "int8", (2, 64)), (None, "ubinary", (2, 8)), (64, "float", (2, 64))]
)
def test_images_come_in_every_type(pipeline: Pipeline, embedder: ServedModel, dimensions: int | None, kind: Any, shape: tuple[int, int]) -> None:
    result = run(pipeline.embed(embedder, call(Content(None, SMALL), Content("a"), dimensions=dimensions, embedding_type=kind), soon()))
    assert result.vectors.shape == shape


def test_tiles_go_to_their_own_engine_and_each_image_s_only_once(pipeline: Pipeline, embedder: ServedModel) -> None:
    text, vision = engines(embedder)
    run(pipeline.embed(embedder, call(Content(None, URLS[0]), Content("a", URLS[0]), Content("b")), soon()))
    assert sum(len(batch.lengths) for batch in vision.batches) == 7
    assert sum(len(batch.lengths) for batch in text.batches) == 3


def test_of_many_images_only_a_few_are_held_at_one_time(embedder: ServedModel) -> None:
    pipeline, held = Pipeline(2, pictures=Pictures(threads=2, at_once=3)), Held()
    pictures = pipeline._pictures
    room = pictures.room
    pictures.room = lambda count: held.entering(room(count), count)  # type: ignore[method-assign]
    result = run(pipeline.embed(embedder, call(*(Content(None, url) for url in URLS)), soon()))
    assert result.vectors.shape == (12, 64)
    assert held.most <= 3
    assert held.now == 0
    pipeline.close()


class Held:
    """Counts the images whose room is taken."""

    def __init__(self) -> None:
        self.now = self.most = 0

    def entering(self, room: Any, count: int) -> Any:
        held = self

        class Counted:
            async def __aenter__(self) -> None:
                await room.__aenter__()
                held.now += count
                held.most = max(held.most, held.now)

            async def __aexit__(self, *given: Any) -> None:
                held.now -= count
                await room.__aexit__(*given)

        return Counted()


def test_texts_do_not_wait_for_images(pipeline: Pipeline, embedder: ServedModel) -> None:
    _, vision = engines(embedder)
    vision.gate = threading.Event()

    async def test() -> None:
        page = asyncio.ensure_future(pipeline.embed(embedder, call(Content(None, URLS[0])), soon()))
        await until(lambda: bool(vision.batches))
        for _ in range(5):
            assert (await pipeline.embed(embedder, call(Content("a text")), soon())).vectors.shape == (1, 64)
        assert not page.done()
        vision.gate.set()  # type: ignore[union-attr]
        await page

    run(test())


def test_images_are_read_while_texts_hold_the_other_engine(pipeline: Pipeline, embedder: ServedModel) -> None:
    text, vision = engines(embedder)
    text.gate = threading.Event()

    async def test() -> None:
        first = asyncio.ensure_future(pipeline.embed(embedder, call(Content("a text")), soon()))
        await until(lambda: bool(text.batches))
        page = asyncio.ensure_future(pipeline.embed(embedder, call(Content(None, URLS[0])), soon()))
        await until(lambda: sum(len(batch.lengths) for batch in vision.batches) == 7)
        text.gate.set()  # type: ignore[union-attr]
        await asyncio.gather(first, page)

    run(test())


def test_texts_do_not_wait_for_the_threads_that_decode(embedder: ServedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline, opened, entered = Pipeline(1, max_waiting=2, pictures=Pictures(threads=1)), threading.Event(), threading.Event()
    decode = images.decode

    def slow(*given: Any) -> Any:
        entered.set()
        assert opened.wait(WAIT_S)
        return decode(*given)

    monkeypatch.setattr(images, "decode", slow)

    async def test() -> None:
        pages = [asyncio.ensure_future(pipeline.embed(embedder, call(Content(None, url)), soon())) for url in URLS[:2]]
        assert await asyncio.to_thread(entered.wait, WAIT_S)
        await pipeline.embed(embedder, call(Content("a text")), soon())
        with pytest.raises(QueueFull, match="2 requests are waiting for their images to be read"):
            await pipeline.embed(embedder, call(Content(None, URLS[3])), soon())
        opened.set()
        await asyncio.gather(*pages)

    run(test())
    pipeline.close()


def test_a_deadline_that_passes_while_images_are_read_is_said_and_no_engine_is_asked(
    pipeline: Pipeline, embedder: ServedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, decode = threading.Event(), images.decode

    def slow(*given: Any) -> Any:
        assert opened.wait(WAIT_S)
        return decode(*given)

    monkeypatch.setattr(images, "decode", slow)

    async def test() -> None:
        with pytest.raises(DeadlineExceeded, match="passed while its images were being read"):
            await pipeline.embed(embedder, call(Content(None, URLS[0])), time.monotonic() + 0.01)
        opened.set()

    run(test())
    assert not any(engine.batches for engine in engines(embedder))


def test_a_deadline_that_passes_at_the_vision_engine_is_said(pipeline: Pipeline, embedder: ServedModel) -> None:
    _, vision = engines(embedder)
    vision.gate = threading.Event()

    async def test() -> None:
        with pytest.raises(DeadlineExceeded):
            await pipeline.embed(embedder, call(Content(None, URLS[0])), time.monotonic() + 0.2)
        vision.gate.set()  # type: ignore[union-attr]

    run(test())
    assert not engines(embedder)[0].batches


def test_a_caller_who_leaves_leaves_nothing_behind(embedder: ServedModel) -> None:
    pipeline = Pipeline(2, pictures=Pictures(threads=2, at_once=2))
    _, vision = engines(embedder)
    vision.gate = threading.Event()
    assert embedder.vision is not None
    queue = embedder.vision.batcher

    async def test() -> None:
        leaves = asyncio.ensure_future(pipeline.embed(embedder, call(Content("a"), *(Content(None, url) for url in URLS)), soon()))
        await until(lambda: bool(vision.batches))
        leaves.cancel()
        await asyncio.gather(leaves, return_exceptions=True)
        assert leaves.cancelled()
        assert (queue.queued_jobs, queue.queued_tokens) == (0, 0)
        vision.gate.set()  # type: ignore[union-attr]
        stays = await pipeline.embed(embedder, call(*(Content(None, url) for url in URLS[:3])), soon())  # there is room
        assert stays.vectors.shape == (3, 64)

    run(test())
    assert set(pipeline._waiting.values()) == {0}
    pipeline.close()


def test_a_group_that_fails_ends_the_others(pipeline: Pipeline, embedder: ServedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_IMAGES_IN_A_GROUP", 1)
    text, vision = engines(embedder)
    with pytest.raises(BadRequest, match=r"^input\[2\] holds a PNG image that cannot be read"):
        run(pipeline.embed(embedder, call(Content("a"), Content(None, SMALL), Content(None, BROKEN), *(Content(None, url) for url in URLS)), soon()))
    assert sum(len(batch.lengths) for batch in vision.batches) < 7 * len(URLS)
    assert sum(len(batch.lengths) for batch in text.batches) < len(URLS)


@pytest.mark.parametrize("which", [0, 1])
def test_a_failing_engine_of_either_kind_is_the_servers_fault(pipeline: Pipeline, embedder: ServedModel, which: int) -> None:
    def fail(batch: object) -> None:
        raise ZeroDivisionError

    engines(embedder)[which].before_run = fail
    with pytest.raises(ServerFault):
        run(pipeline.embed(embedder, call(Content(None, URLS[0])), soon()))


def test_an_image_as_a_query_of_a_ranking_is_refused(pipeline: Pipeline, ranker: ServedModel) -> None:
    with pytest.raises(BadRequest, match=r"^query holds an image, and a query is text; images are passages$"):
        run(pipeline.rank(ranker, rank_call(Content("a"), query=Content("a", SMALL)), soon()))


def test_a_model_that_reads_no_pairs_of_text_and_image_says_what_it_reads(pipeline: Pipeline, embedder: ServedModel) -> None:
    class ImagesOnly:
        modalities = ("image",)

        def __getattr__(self, name: str) -> Any:
            return getattr(embedder, name)

    with pytest.raises(BadRequest, match=r"^input\[1\] is of modality 'text_image', and model 'tiny-vl' reads images$"):
        run(pipeline.embed(ImagesOnly(), call(Content(None, SMALL), Content("a", SMALL)), soon()))  # type: ignore[arg-type]


class Spans:
    """In the place of a request's trace."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.attributes: dict[str, Any] = {}

    def child(self, name: str, start: float, end: float, attributes: Any = None) -> None:
        assert start <= end
        self.names.append(name)
        self.attributes |= attributes or {}


def test_a_trace_and_the_timings_have_the_reading_of_images(pipeline: Pipeline, embedder: ServedModel) -> None:
    spans = Spans()
    timings = run(pipeline.embed(embedder, call(Content(None, URLS[0]), Content("a", URLS[1])), soon(), spans)).timings  # type: ignore[arg-type]
    assert spans.names == ["decode", "tokenize", "queue", "engine", "queue", "engine"]
    assert spans.attributes["emberank.images"] == 2
    assert 0 < timings.decode_ms < WAIT_S * 1e3
    assert run(pipeline.embed(embedder, call(Content("a")), soon())).timings.decode_ms == 0
