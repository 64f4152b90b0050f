"""Options and whoever scores texts in, a report out. Starts no server and prints nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from emberank.evaluate.collection import Collection, load_collection
from emberank.evaluate.extra import require_extra
from emberank.evaluate.flags import EvalOptions
from emberank.evaluate.measure import PerQuery, gains, means, measure
from emberank.evaluate.report import Report, Stage
from emberank.evaluate.retrieve import BM25_SETTINGS, rerank, search_bm25, search_cosine
from emberank.evaluate.runfile import Run, write_run
from emberank.evaluate.scorer import Embedder, Scorer

Clock: TypeAlias = Callable[[], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ran:
    """One stage's ranking and its cost. `tag` names it in run files."""

    name: str
    tag: str
    run: Run
    texts: int
    seconds: float


def evaluate(options: EvalOptions, scorer: Scorer, embedder: Embedder | None = None, *, clock: Clock = time.perf_counter) -> Report:
    """Find with BM25, rerank what was found, search by cosine if there is an embedder, and measure each against the judgements."""
    require_extra()
    collection = load_collection(options.data, options.queries)
    found = _ran("BM25", "bm25", lambda: search_bm25(collection, options.depth), len(collection.documents), clock)
    stages = [found, _ran("+ rerank", "rerank", lambda: rerank(collection, found.run, scorer), sum(map(len, found.run.values())), clock)]
    if embedder is not None:
        texts = sum(map(bool, collection.documents.values())) + len(collection.queries)
        stages.append(_ran("embed cosine", "embed", lambda: search_cosine(collection, embedder, options.depth), texts, clock))
    if options.run_file is not None:
        _write_runs(options.run_file, stages)
    return _report(collection, options, stages)


def _ran(name: str, tag: str, work: Callable[[], Run], texts: int, clock: Clock) -> _Ran:
    started = clock()
    run = work()
    return _Ran(name=name, tag=tag, run=run, texts=texts, seconds=clock() - started)


def _write_runs(path: Path, stages: list[_Ran]) -> None:
    """The reranked run to `path`, the others beside it: programs that read run files take one ranking a file."""
    for stage in stages:
        beside = path if stage.tag == "rerank" else path.with_name(f"{path.stem}.{stage.tag}{path.suffix}")
        write_run(beside, stage.run, f"emberank-{stage.tag}")


def _report(collection: Collection, options: EvalOptions, stages: list[_Ran]) -> Report:
    values = [measure(stage.run, collection.judgements) for stage in stages]
    return Report(
        collection=collection.name,
        queries=len(collection.queries),
        documents=len(collection.documents),
        depth=options.depth,
        unjudged_queries=collection.unjudged_queries,
        missing_documents=collection.missing_documents,
        first_stage=BM25_SETTINGS,
        seed=options.seed,
        stages=tuple(_stage(ran, own, values[0] if ran is not stages[0] else None, options.seed) for ran, own in zip(stages, values, strict=True)),
    )


def _stage(ran: _Ran, values: PerQuery, first: PerQuery | None, seed: int) -> Stage:
    """`first` None marks the stage that the others are compared with."""
    gained = None if first is None else gains(values, first, seed)
    return Stage(name=ran.name, means=means(values), per_query=values, gains=gained, texts=ran.texts, seconds=ran.seconds)
