"""A judged collection in, what reading long documents in pieces gains and costs beside cutting them out.

    python bench/long_documents.py --data ../shared/data/cranfield --tokens 64

BM25's best `--depth` documents of each query are ranked by the first reranker of the environment's settings, by a runtime's own pipeline in this
process: documents cut to `--tokens` tokens, documents in pieces of so many of which the best counts, and documents whole. The three take turns, query
by query. nDCG@10 is against the judgements; gains are to cut, their intervals a paired bootstrap over queries. With `--before` so many other documents,
drawn from those that are judged relevant to no query, stand before each document: what is looked for is then far from the beginning.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path

import report
from emberank import settings
from emberank.contract.inference import Content, RankCall
from emberank.evaluate.collection import Collection, load_collection
from emberank.evaluate.measure import gains, means, measure
from emberank.evaluate.retrieve import search_bm25
from emberank.evaluate.runfile import Hit, ranked
from emberank.runtime.model import ServedModel
from emberank.runtime.pipeline import Pipeline
from emberank.runtime.process import RuntimeProcess

MEASURES = ("nDCG@10", "RR@10", "R@10")


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way to read a document, and what became of it."""

    name: str
    tokens: int | None
    chunks: int | None
    run: dict[str, tuple[Hit, ...]] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)  # one a query
    tokenize_ms: list[float] = field(default_factory=list)
    read: list[int] = field(default_factory=list)  # tokens a query
    split: list[float] = field(default_factory=list)  # share of a query's documents that were read in several pieces


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="../shared/data/cranfield")
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--depth", type=int, default=100)
    parser.add_argument("--queries", type=int, help="only the first so many judged queries")
    parser.add_argument("--before", type=int, default=0)
    options = parser.parse_args()
    collection = load_collection(Path(options.data), options.queries)
    ways = [
        Way(name=f"cut to {options.tokens}", tokens=options.tokens, chunks=None),
        Way(name=f"pieces of {options.tokens}", tokens=options.tokens, chunks=1000),
        Way(name="whole", tokens=None, chunks=None),
    ]
    print(
        report.machine(),
        {"collection": collection.name, "queries": len(collection.queries), "depth": options.depth, "before": options.before},
        sep="\n",
        flush=True,
    )
    asyncio.run(rank(collection, buried(collection, options.before), ways, options.depth))
    print(report.aligned(table(collection, ways)))


def buried(collection: Collection, before: int) -> dict[str, str]:
    """Each document behind `before` others."""
    relevant = {id_ for grades in collection.judgements.values() for id_, grade in grades.items() if grade > 0}
    others = [text for id_, text in collection.documents.items() if text and id_ not in relevant]
    dice = random.Random(7)
    return {id_: "\n\n".join([*dice.sample(others, before), text]) for id_, text in collection.documents.items()}


async def rank(collection: Collection, documents: dict[str, str], ways: list[Way], depth: int) -> None:
    """Every query by every way, the order of the ways changing from query to query. BM25 searches the documents as they are in the collection."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    process = RuntimeProcess(settings.load(os.environ, {}))
    await process.load()
    model = next(one for one in process.models if one.task == "rank")
    print({"model": model.name, "precision": model.backend.engine.facts.precision}, flush=True)
    found = search_bm25(collection, depth)
    for number, query in enumerate(query for query in found if found[query]):
        for turn in range(len(ways)):
            way = ways[(number + turn) % len(ways)]
            await one(process.pipeline, model, collection.queries[query], {hit.document: documents[hit.document] for hit in found[query]}, query, way)
    process.close()


async def one(pipeline: Pipeline, model: ServedModel, text: str, documents: dict[str, str], query: str, way: Way) -> None:
    """One query by one way."""
    ids, passages = list(documents), tuple(map(Content, documents.values()))
    call = RankCall(model=None, query=Content(text), passages=passages, truncate="END", max_passage_tokens=way.tokens, max_chunks=way.chunks)
    began = time.perf_counter()
    result = await pipeline.rank(model, call, time.monotonic() + 3600)
    way.seconds.append(time.perf_counter() - began)
    way.tokenize_ms.append(result.timings.tokenize_ms)
    way.read.append(result.usage.prompt_tokens)
    way.split.append(sum(one.chunk is not None for one in result.ranked) / len(ids))
    logits = {one.index: one.logit for one in result.ranked}
    way.run[query] = ranked(ids, [logits[place] for place in range(len(ids))])


def table(collection: Collection, ways: list[Way]) -> list[tuple[str, ...]]:
    """A line a way; times and tokens are medians of queries, and beside them how many times those of the first way they are."""
    values = [measure(way.run, collection.judgements) for way in ways]
    first = statistics.median(ways[0].seconds)
    rows: list[tuple[str, ...]] = [("documents", *MEASURES, "Δ nDCG@10 to cut [95 %]", "split", "tokens", "tokenize ms", "seconds", "times cut")]
    for way, found in zip(ways, values, strict=True):
        mean, gain = means(found), gains(found, values[0], seed=0)["nDCG@10"]
        said = "" if way is ways[0] or gain.low is None else f"{gain.mean:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}]"
        seconds = statistics.median(way.seconds)
        rows.append(
            (
                way.name,
                *(f"{mean[name]:.4f}" for name in MEASURES),
                said,
                f"{statistics.mean(way.split):.0%}",
                f"{statistics.median(way.read):.0f}",
                f"{statistics.median(way.tokenize_ms):.0f}",
                f"{seconds:.2f}",
                f"{seconds / first:.2f}",
            )
        )
    return rows


if __name__ == "__main__":
    main()
