"""A loaded model in, nothing or GoldenMismatch out: an inference through the same pipeline as every request, and a look at its numbers.

A process can load a model, answer its health check, and still compute nonsense (a broken kernel, wrong weights, a wrong prompt).
Ready is said only after this.
"""

from __future__ import annotations

import math
import time
from itertools import pairwise

import numpy as np

from emberank.contract.errors import EmberankError, GoldenMismatch
from emberank.contract.inference import Content, EmbedCall, RankCall
from emberank.runtime.model import ServedModel
from emberank.runtime.pipeline import Pipeline, cosine
from emberank.runtime.presets import Golden

# For a checkpoint that brings no golden example: only that numbers come out, finite ones.
_ANY = Golden(query="what is a warm-up?", passages=("A first inference, made before anybody waits for one.",))
_DEADLINE_S = 120.0


async def verify_golden(model: ServedModel, pipeline: Pipeline) -> tuple[float, ...]:
    """Run the model's golden example (or any warm-up) and check it; returns the scores in the example's order. Raises GoldenMismatch."""
    golden = _ANY if model.random_weights else model.spec.golden or _ANY  # random weights have the right shapes and no right answers
    try:
        scores = await _scores(model, pipeline, golden)
    except EmberankError as cause:
        raise GoldenMismatch(f"model '{model.name}' fails its warm-up inference: {cause.message}") from cause
    said = ", ".join(f"{score:.4f}" for score in scores)
    if not all(math.isfinite(score) for score in scores):
        raise GoldenMismatch(f"model '{model.name}' computes {said} for its warm-up inference: not finite numbers")
    if any(before <= after for before, after in pairwise(scores)):
        raise GoldenMismatch(f"model '{model.name}' gets its golden example in the wrong order: {said}")
    for score, known in zip(scores, golden.scores, strict=False):
        if abs(score - known) > golden.tolerance:
            raise GoldenMismatch(f"model '{model.name}' computes {said} for its golden example; known are {golden.scores}, within {golden.tolerance}")
    return scores


async def _scores(model: ServedModel, pipeline: Pipeline, golden: Golden) -> tuple[float, ...]:
    deadline = time.monotonic() + _DEADLINE_S
    if model.task == "rank":
        passages = tuple(Content(passage) for passage in golden.passages)
        result = await pipeline.rank(model, RankCall(model=None, query=Content(golden.query), passages=passages, truncate="END"), deadline)
        by_index = {ranked.index: ranked.logit for ranked in result.ranked}
        return tuple(by_index[i] for i in range(len(passages)))
    queries = await pipeline.embed(model, EmbedCall(model=None, inputs=(Content(golden.query),), truncate="END", input_type="query"), deadline)
    inputs = tuple(Content(passage) for passage in golden.passages)
    vectors = await pipeline.embed(model, EmbedCall(model=None, inputs=inputs, truncate="END", input_type="passage"), deadline)
    return tuple(cosine(queries.vectors[0].astype(np.float32), vector.astype(np.float32)) for vector in vectors.vectors)
