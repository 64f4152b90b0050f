"""A model that computes nonsense is not said to be ready."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emberank.contract.errors import GoldenMismatch
from emberank.runtime.engines.base import Batch, EngineOptions
from emberank.runtime.engines.fake import FakeEngine
from emberank.runtime.engines.reference import ReferenceEngine
from emberank.runtime.engines.registry import builder
from emberank.runtime.golden import verify_golden
from emberank.runtime.heads import Pooling
from emberank.runtime.model import ServedModel
from emberank.runtime.pipeline import Pipeline
from emberank.runtime.presets import Golden, ModelSpec, defaults, presets
from emberank.runtime.sources.base import parse_source
from emberank.runtime.weights import cached, default_cache_dir
from families import write_llama_reranker

Workshop = Any  # tests/unit/runtime/conftest.py
PASSAGES = ("which way", "the way", "snow ice")


@pytest.fixture
def pipeline() -> Iterator[Pipeline]:
    made = Pipeline(tokenizer_threads=1)
    yield made
    made.close()


def verified(model: ServedModel, pipeline: Pipeline) -> tuple[float, ...]:
    return asyncio.run(asyncio.wait_for(verify_golden(model, pipeline), 60))


def knowing(model: ServedModel, *passages: str, scores: tuple[float, ...] = (), tolerance: float = 0.0) -> ServedModel:
    golden = Golden(query="which way", passages=passages, scores=scores, tolerance=tolerance)
    return replace(model, spec=replace(model.spec, golden=golden))


@pytest.fixture(params=["embedder", "late_ranker"])
def model(request: pytest.FixtureRequest) -> ServedModel:
    return request.getfixturevalue(request.param)


def test_scores_come_in_the_order_of_the_example(model: ServedModel, pipeline: Pipeline) -> None:
    scores = verified(knowing(model, *PASSAGES), pipeline)
    assert len(scores) == 3
    assert scores[0] > scores[1] > scores[2]
    assert scores[0] == pytest.approx(1.0 if model.task == "embed" else 5.0, abs=1e-5)  # the passage that is the query


def test_an_example_in_another_order_is_a_mismatch(model: ServedModel, pipeline: Pipeline) -> None:
    with pytest.raises(GoldenMismatch, match=f"model '{model.name}' gets its golden example in the wrong order: "):
        verified(knowing(model, *PASSAGES[::-1]), pipeline)


def test_equal_scores_are_no_order(model: ServedModel, pipeline: Pipeline) -> None:
    with pytest.raises(GoldenMismatch, match="wrong order"):
        verified(knowing(model, "which way", "which way"), pipeline)


@pytest.mark.parametrize("off", [0.09, -0.09])
@pytest.mark.parametrize("place", range(3))
def test_known_scores_have_to_come_out_within_the_tolerance(model: ServedModel, pipeline: Pipeline, place: int, off: float) -> None:
    scores = verified(knowing(model, *PASSAGES), pipeline)
    almost = tuple(score + off * (place == i) for i, score in enumerate(scores))
    assert verified(knowing(model, *PASSAGES, scores=almost, tolerance=0.1), pipeline) == scores
    with pytest.raises(GoldenMismatch, match=r"for its golden example; known are .*, within 0\.05"):
        verified(knowing(model, *PASSAGES, scores=almost, tolerance=0.05), pipeline)


def test_without_an_example_any_finite_numbers_will_do(model: ServedModel, pipeline: Pipeline) -> None:
    assert model.spec.golden is None
    assert len(verified(model, pipeline)) == 1


def test_a_cross_encoder_is_verified_too(ranker: ServedModel, pipeline: Pipeline) -> None:
    assert len(verified(ranker, pipeline)) == 1


class Nonsense(FakeEngine):
    def run(self, batch: Batch, pooling: Pooling | None = None) -> np.ndarray:
        return np.full_like(super().run(batch, pooling), np.nan)


class Broken(FakeEngine):
    def run(self, batch: Batch, pooling: Pooling | None = None) -> np.ndarray:
        raise ZeroDivisionError("the cause is not for the terminal's one line")


@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
def test_numbers_that_are_none_are_a_mismatch(workshop: Workshop, tiny_embedder: Path, tiny_ranker: Path, pipeline: Pipeline) -> None:
    workshop.make = lambda network, weights: Nonsense(network.hidden)
    with pytest.raises(GoldenMismatch, match="model 'tiny-embed' fails its warm-up inference"):
        verified(workshop.load(tiny_embedder), pipeline)
    with pytest.raises(GoldenMismatch, match="model 'tiny-rank' fails its warm-up inference"):
        verified(workshop.load(tiny_ranker), pipeline)


def test_an_engine_that_fails_is_a_mismatch(workshop: Workshop, tiny_embedder: Path, pipeline: Pipeline) -> None:
    workshop.make = lambda network, weights: Broken(network.hidden)
    with pytest.raises(GoldenMismatch, match="model 'tiny-embed' fails its warm-up inference: internal error") as raised:
        verified(workshop.load(tiny_embedder), pipeline)
    assert "one line" not in str(raised.value)


@pytest.mark.parametrize("preset", defaults(), ids=lambda preset: preset.name)
def test_the_default_models_have_the_scores_that_ship_with_them(workshop: Workshop, minilm: Path, pipeline: Pipeline, preset: ModelSpec) -> None:
    workshop.make = lambda network, weights: ReferenceEngine(network, weights)
    scores = verified(workshop.load(minilm, name=preset.name, task=preset.task, head=preset.head, golden=preset.golden), pipeline)
    assert preset.golden is not None
    assert scores == pytest.approx(preset.golden.scores, abs=1e-3)


def test_random_weights_are_held_to_finite_numbers_only(workshop: Workshop, tmp_path: Path, pipeline: Pipeline) -> None:
    folder = write_llama_reranker(tmp_path / "random", emberank_random_weights=True)
    golden = Golden(query="which way", passages=("snow", "ice"), scores=(20.6, -23.1), tolerance=0.1)
    model = workshop.load(folder, golden=golden)
    assert model.random_weights
    assert len(verified(model, pipeline)) == 1


# Where real weights are: a folder named by the variable, or what a server on this machine has fetched into its cache before.
NVIDIA = [preset for preset in presets() if preset.golden and preset.source.startswith("hf:")]
FOLDER = "EMBERANK_TEST_WEIGHTS"


def real_weights(preset: ModelSpec) -> Path:
    folder = (
        Path(os.environ.get(FOLDER, "")) / preset.name.rpartition("/")[2]
        if os.environ.get(FOLDER)
        else cached(parse_source(preset.source), default_cache_dir())
    )
    if not (folder / "model.safetensors").is_file():
        pytest.skip(f"the weights of {preset.name} need an accepted licence and are not here: set {FOLDER} to a folder that has them in {folder.name}/")
    return folder


@pytest.mark.parametrize("preset", NVIDIA, ids=lambda preset: preset.name)
def test_the_published_weights_give_the_scores_of_their_model_card(workshop: Workshop, pipeline: Pipeline, preset: ModelSpec) -> None:
    folder = real_weights(preset)
    workshop.make = lambda network, weights: builder("openvino")(network, weights, EngineOptions(precision="fp32"))
    scores = verified(workshop.load(folder, name=preset.name, task=preset.task), pipeline)
    assert preset.golden is not None
    assert scores == pytest.approx(preset.golden.scores, abs=0.25)  # theirs were computed in bf16
