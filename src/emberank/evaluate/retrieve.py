"""A collection in, rankings out: BM25 over the corpus, a reranker over BM25's finds, cosine over the corpus.

Does not know the judgements, and not who computes scores and vectors.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emberank.contract.errors import StartError
from emberank.evaluate.collection import Collection
from emberank.evaluate.extra import load_extra
from emberank.evaluate.runfile import Hit, Run, ranked
from emberank.evaluate.scorer import Embedder, Scorer

_LOG = logging.getLogger(__name__)

# Lucene's formula with the parameters Anserini runs on BEIR. bm25s's own (1.5, 0.75) do better on Cranfield's short abstracts
# (nDCG@10 0.337 instead of 0.316); choosing them for that would be tuning on the very queries that are measured.
BM25_METHOD, BM25_K1, BM25_B = "lucene", 0.9, 0.4
BM25_SETTINGS = f"{BM25_METHOD}, k1={BM25_K1}, b={BM25_B}, English stop words, no stemming"


def search_bm25(collection: Collection, depth: int) -> Run:
    """The `depth` best documents of each query. A document that shares no word with the query is not found at all."""
    bm25s = load_extra("bm25s")
    ids = list(collection.documents)
    index = bm25s.BM25(method=BM25_METHOD, k1=BM25_K1, b=BM25_B)
    index.index(_words(bm25s, collection.documents.values()), show_progress=False)
    queries = zip(collection.queries, _words(bm25s, collection.queries.values()), strict=True)
    # A query of stop words alone has no words left, and get_scores refuses an empty list.
    return {query: _best(ids, index.get_scores(words), depth) if words else () for query, words in queries}


def _words(bm25s: Any, texts: Iterable[str]) -> list[list[str]]:
    words: list[list[str]] = bm25s.tokenize(list(texts), stopwords="en", stemmer=None, return_ids=False, show_progress=False)
    return words


def _best(ids: Sequence[str], scores: NDArray[np.float32], depth: int) -> tuple[Hit, ...]:
    # Not bm25s's own top-k: it leaves the order of equal scores, and which of them are cut off, to the partition it uses.
    found = np.flatnonzero(scores > 0)
    order = found[np.argsort(-scores[found], kind="stable")][:depth]
    return tuple(Hit(ids[i], float(scores[i])) for i in order)


def rerank(collection: Collection, run: Run, scorer: Scorer) -> Run:
    """The same documents in the order of `scorer`; those it scores alike stay in the order of `run`."""
    reranked: dict[str, tuple[Hit, ...]] = {}
    for done, (query, hits) in enumerate(run.items(), 1):
        ids = [hit.document for hit in hits]
        passages = [collection.documents[id_] for id_ in ids]
        reranked[query] = ranked(ids, _checked(scorer(collection.queries[query], passages), query, len(ids)) if ids else [])
        _LOG.info("reranked query %d of %d", done, len(run), extra={"action": "eval.rerank"})
    return reranked


def _checked(scores: Sequence[float], query: str, expected: int) -> Sequence[float]:
    """One finite number per passage, or a refusal: NaN sorts anywhere, and the figures would mean nothing."""
    if len(scores) != expected:
        raise StartError(f"the reranker gave {len(scores)} scores for the {expected} passages of query {query!r}")
    if not all(math.isfinite(score) for score in scores):
        raise StartError(f"the reranker gave a score that is not a finite number for query {query!r}")
    return scores


def search_cosine(collection: Collection, embedder: Embedder, depth: int) -> Run:
    """The `depth` documents whose vectors point most in the query's direction. Every document is embedded, however many there are."""
    documents = {id_: passage for id_, passage in collection.documents.items() if passage}  # servers refuse an empty text
    ids = list(documents)
    vectors = _unit(embedder(list(documents.values()), "passage"), len(ids))
    queries = _unit(embedder(list(collection.queries.values()), "query"), len(collection.queries))
    cosines = (vectors @ query for query in queries)  # each (documents,)
    return {query: ranked(ids, scores.tolist())[:depth] for query, scores in zip(collection.queries, cosines, strict=True)}


def _unit(vectors: NDArray[np.float32], expected: int) -> NDArray[np.float32]:
    """(texts, dimensions), each row of length one; a row of zeros stays as it is."""
    if vectors.ndim != 2 or len(vectors) != expected or not np.isfinite(vectors).all():
        raise StartError(f"the embedder gave an array of shape {vectors.shape} for {expected} texts, or a number in it is not finite")
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(lengths > 0, lengths, 1), dtype=np.float32)
