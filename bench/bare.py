"""Texts in, vectors out by the bare engine: what the server is held against. No HTTP, no threads, no queue; the environment's settings."""

from __future__ import annotations

import asyncio
import functools
import os

import numpy as np

from emberank import settings
from emberank.runtime.backlog import Backlog
from emberank.runtime.engines.base import Batch
from emberank.runtime.job import Job
from emberank.runtime.model import ServedModel
from emberank.runtime.plans import EmbedPlan
from emberank.runtime.process import RuntimeProcess


@functools.cache
def model() -> tuple[ServedModel, int]:
    """The first embedder of the settings, loaded once, and the token budget of a batch."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    process = RuntimeProcess(settings.load(os.environ, {}))
    asyncio.run(process.load())
    return next(served for served in process.models if served.task == "embed"), process.settings.max_batch_tokens


def embed(texts: list[str]) -> list[list[float]]:
    """One vector a text."""
    served, budget = model()
    plan = served.embed_plan(texts, "passage", "END")
    assert isinstance(plan, EmbedPlan)
    backlog = Backlog()
    backlog.add(Job(sequences=plan.sequences, take=plan.take, deadline=float("inf")))
    while batch := backlog.next_batch(budget):
        hidden = served.backend.engine.run(Batch.of([plan.sequences[waiting.index].ids for waiting in batch]))
        start = 0
        for waiting in batch:
            plan.take(waiting.index, hidden[start : start + waiting.length])
            start += waiting.length
    return np.asarray(plan.values()).tolist()  # type: ignore[no-any-return]
