"""A model that computes nonsense is not said to be ready."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emberank.contract.errors import GoldenMismatch
from emberank.runtime.engines.base import Batch
from emberank.runtime.engines.fake import FakeEngine
from emberank.runtime.engines.reference import ReferenceEngine
from emberank.runtime.golden import verify_golden
from emberank.runtime.model import ServedModel
from emberank.runtime.pipeline import Pipeline
from emberank.runtime.presets import Golden, ModelSpec, presets

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
    def run(self, batch: Batch) -> np.ndarray:
        return np.full_like(super().run(batch), np.nan)


class Broken(FakeEngine):
    def run(self, batch: Batch) -> np.ndarray:
        raise ZeroDivisionError("the cause is not for the terminal's one line")


@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
def test_numbers_that_are_none_are_a_mismatch(workshop: Workshop, tiny_embedder: Path, pipeline: Pipeline) -> None:
    workshop.make = lambda recognised, weights: Nonsense(recognised.network.hidden)
    with pytest.raises(GoldenMismatch, match="model 'tiny-embed' computes nan for its warm-up inference: not finite numbers"):
        verified(workshop.load(tiny_embedder), pipeline)


def test_an_engine_that_fails_is_a_mismatch(workshop: Workshop, tiny_embedder: Path, pipeline: Pipeline) -> None:
    workshop.make = lambda recognised, weights: Broken(recognised.network.hidden)
    with pytest.raises(GoldenMismatch, match="model 'tiny-embed' fails its warm-up inference: internal error") as raised:
        verified(workshop.load(tiny_embedder), pipeline)
    assert "one line" not in str(raised.value)


@pytest.mark.parametrize("preset", presets(), ids=lambda preset: preset.name)
def test_the_default_models_have_the_scores_that_ship_with_them(workshop: Workshop, minilm: Path, pipeline: Pipeline, preset: ModelSpec) -> None:
    workshop.make = lambda recognised, weights: ReferenceEngine(recognised.network, weights)
    scores = verified(workshop.load(minilm, name=preset.name, task=preset.task, head=preset.head, golden=preset.golden), pipeline)
    assert preset.golden is not None
    assert scores == pytest.approx(preset.golden.scores, abs=1e-3)
