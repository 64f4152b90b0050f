"""Texts in, vectors out by the bare engine: what the server is held against. No HTTP, no threads, no queue; the environment's settings."""

from __future__ import annotations

import asyncio
import functools
import os
from collections.abc import Callable

import numpy as np

from emberank import settings
from emberank.runtime.backlog import Backlog
from emberank.runtime.engines.base import Batch
from emberank.runtime.items import Item
from emberank.runtime.job import Job
from emberank.runtime.outputs import finish
from emberank.runtime.process import RuntimeProcess

Embed = Callable[[list[str]], np.ndarray]


def load(budget: int = 0, **overrides: str) -> Embed:
    """An embedding function over the first embedder of the settings; `budget` in tokens, 0 for the server's own; overrides are EMBERANK_ variables."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    process = RuntimeProcess(settings.load({**os.environ, **overrides}, {}))
    asyncio.run(process.load())
    model = next(served for served in process.models if served.task == "embed")
    budget = budget or process.settings.max_batch_tokens or model.backend.engine.facts.batch_tokens

    def embed(texts: list[str]) -> np.ndarray:
        plan = model.embed_plan([Item(text) for text in texts], "passage", "END")
        backlog = Backlog()
        backlog.add(Job(sequences=plan.sequences, take=plan.take, deadline=float("inf")))
        while batch := backlog.next_batch(budget):
            hidden = model.backend.engine.run(Batch.of([plan.sequences[waiting.index].ids for waiting in batch]))
            start = 0
            for waiting in batch:
                plan.take(waiting.index, hidden[start : start + waiting.length])
                start += waiting.length
        return finish(plan.values(), normalize=model.recognised.normalize, dimensions=None, embedding_type="float")

    return embed


_loaded = functools.cache(load)


def embed(texts: list[str]) -> list[list[float]]:
    """One vector a text; the first call loads the model."""
    return _loaded()(texts).tolist()
