"""A long passage read in pieces has the logit that the best of its pieces has as a passage of its own: every family of rerankers, whole path, reference engine."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from checkpoints import write_embedder, write_ranker
from emberank.contract.inference import Chunk, Content, RankCall, Ranked, RankResult, Truncate
from emberank.runtime.batcher import Batcher, Limits
from emberank.runtime.chunks import split
from emberank.runtime.engines.base import Engine, EngineOptions
from emberank.runtime.engines.registry import builder
from emberank.runtime.late_interaction import LateInteraction
from emberank.runtime.model import Loader, ServedModel
from emberank.runtime.named_weights import NamedWeights
from emberank.runtime.networks.network import Network
from emberank.runtime.pipeline import Pipeline
from emberank.runtime.presets import ModelSpec
from families import write_llama_reranker, write_modernbert_reranker, write_qwen3_reranker, write_vl_reranker, write_xlm_reranker
from picture_files import data_url, photo, saved

CLOSE = 1e-5
WAIT_S = 60.0
QUERY = "which way is the snow road?"
LONG = (
    "The sky is blue over the snow. Which way should the red road go?\n\n\u96ea\u9053 ice and the wood, 1913! <image> e\u0301 \U0001f525 is hot; "
    "\u05e9\u05dc\u05d5\u05dd the warm ember of \u0627\u0644\u0639\u0631\u0628\u064a\u0629\u061f "
    + "unbelievableness of the ice road and what is the way. "
    * 6
)
PASSAGES = ("the snow", LONG, "", "ice road " * 90, LONG)
IMAGE = data_url(saved(photo(32, 32), "PNG"))


class Unseen:
    """An observer that looks away."""

    def batch_ran(self, *, tokens: int, rows: int, attention_rows: int, sequences: int, engine_s: float) -> None: ...

    def job_started(self, *, waited_s: float) -> None: ...


FAMILIES: dict[str, tuple[Callable[[Path], Path], dict[str, object]]] = {
    "bert-late-interaction": (write_embedder, {"task": "rank", "head": "late_interaction"}),
    "bert": (write_ranker, {}),
    "xlm": (write_xlm_reranker, {}),
    "modernbert": (write_modernbert_reranker, {}),
    "llama": (write_llama_reranker, {}),
    "qwen3": (write_qwen3_reranker, {"task": "rank"}),
    "vision": (write_vl_reranker, {}),
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], ServedModel]]:
    made: dict[str, ServedModel] = {}
    batchers: list[Batcher] = []

    def engine(network: Network, weights: NamedWeights, prepared: Path) -> Engine:
        return builder("reference")(network, weights, EngineOptions(threads=2))

    def batcher(engine: Engine, network: Network) -> Batcher:
        batchers.append(Batcher(engine, Limits(), Unseen(), merged=network.merged))
        return batchers[-1]

    def model(name: str) -> ServedModel:
        if name not in made:
            write, more = FAMILIES[name]
            folder = write(tmp_path_factory.mktemp("chunks") / "checkpoint")
            loader = Loader(folder.parent / "cache", engine, batcher, lambda file, done, total: None)
            made[name] = loader.load(ModelSpec(name=name, source=f"file:{folder}", **more))  # type: ignore[arg-type]
        return made[name]

    yield model
    for one in batchers:
        one.stop()


@pytest.fixture
def pipeline() -> Iterator[Pipeline]:
    made = Pipeline(tokenizer_threads=2)
    yield made
    made.close()


def ranked(
    pipeline: Pipeline, model: ServedModel, *passages: str | Content, truncate: Truncate = "END", tokens: int | None = None, chunks: int | None = None
) -> tuple[RankResult, list[Ranked]]:
    """The result, and its passages in the order of the call."""
    contents = tuple(Content(passage) if isinstance(passage, str) else passage for passage in passages)
    call = RankCall(model=None, query=Content(QUERY), passages=contents, truncate=truncate, max_passage_tokens=tokens, max_chunks=chunks)
    result = asyncio.run(asyncio.wait_for(pipeline.rank(model, call, time.monotonic() + WAIT_S), WAIT_S))
    return result, sorted(result.ranked, key=lambda one: one.index)


def pieces_of(model: ServedModel, tokens: int, text: str) -> list[str]:
    late = isinstance(model.pair_head, LateInteraction)
    ruler = model.tokenizer.ruler_of_singles(tokens) if late else model.composer.ruler(QUERY, tokens)
    return [text[start:end] for start, end in split(text, ruler, 1000).spans]


@pytest.mark.parametrize("tokens", [24, 7])
@pytest.mark.parametrize("name", FAMILIES)
def test_a_passage_in_pieces_has_the_logit_of_its_best_piece(models: Callable[[str], ServedModel], pipeline: Pipeline, name: str, tokens: int) -> None:
    model = models(name)
    result, found = ranked(pipeline, model, *PASSAGES, truncate="NONE", tokens=tokens, chunks=1000)
    chunk = found[1].chunk
    assert chunk is not None
    assert found[4] == Ranked(4, found[1].logit, chunk)
    assert result.truncated == ()
    assert [one.chunk is None for one in found] == [True, False, True, False, False]

    pieces = pieces_of(model, tokens, LONG)
    assert chunk.of == len(pieces) > 3
    assert LONG[chunk.start : chunk.end] == pieces[chunk.number]
    alone, each = ranked(pipeline, model, *pieces, truncate="NONE", tokens=tokens)
    assert alone.truncated == (), "no piece is longer than was asked for"
    logits = [one.logit for one in each]
    assert max(logits) - min(logits) > 100 * CLOSE, "the pieces differ from one another"
    assert found[1].logit == pytest.approx(max(logits), abs=CLOSE)
    assert logits[chunk.number] == pytest.approx(max(logits), abs=CLOSE)

    everything, _ = ranked(pipeline, model, *(piece for passage in PASSAGES for piece in pieces_of(model, tokens, passage)))
    assert result.usage == everything.usage, "every piece is counted"


@pytest.mark.parametrize("name", FAMILIES)
def test_the_order_in_which_passages_come_back_is_that_of_their_best_pieces(models: Callable[[str], ServedModel], pipeline: Pipeline, name: str) -> None:
    result, _ = ranked(pipeline, models(name), *PASSAGES, tokens=24, chunks=1000)
    logits = [one.logit for one in result.ranked]
    assert logits == sorted(logits, reverse=True)
    assert [one.index for one in result.ranked if one.index in (1, 4)] == [1, 4]


@pytest.mark.parametrize("name", FAMILIES)
def test_a_passage_that_is_cut_has_the_logit_of_what_is_left(models: Callable[[str], ServedModel], pipeline: Pipeline, name: str) -> None:
    model = models(name)
    text = "the snow road is hot and the ice is red which way"
    empty, _ = ranked(pipeline, model, "")
    beginnings = [one.logit for one in ranked(pipeline, model, *(text[:end] for end in range(len(text) + 1)))[1]]
    for tokens in (1, 4, 9):
        result, (found,) = ranked(pipeline, model, text, truncate="NONE", tokens=tokens)
        assert (result.truncated, found.chunk) == ((0,), None)
        assert result.usage.prompt_tokens == empty.usage.prompt_tokens + tokens
        assert min(abs(logit - found.logit) for logit in beginnings) <= CLOSE
    whole, _ = ranked(pipeline, model, text)
    result, (found,) = ranked(pipeline, model, text, truncate="NONE", tokens=100)
    assert (result.truncated, found.logit) == ((), pytest.approx(beginnings[-1], abs=CLOSE))
    assert result.usage == whole.usage


def test_the_text_beside_an_image_is_cut_and_never_split_and_others_of_the_call_are(models: Callable[[str], ServedModel], pipeline: Pipeline) -> None:
    model = models("vision")
    result, found = ranked(pipeline, model, LONG, Content(LONG, IMAGE), Content(None, IMAGE), "snow", Content("ice", IMAGE), tokens=24, chunks=1000)
    assert isinstance(found[0].chunk, Chunk)
    assert [one.chunk for one in found[1:]] == [None] * 4
    assert result.truncated == (1,)
    _, plain = ranked(pipeline, model, Content(LONG, IMAGE), Content(None, IMAGE), "snow", Content("ice", IMAGE), tokens=24)
    assert [one.logit for one in found[1:]] == pytest.approx([one.logit for one in plain], abs=CLOSE)
