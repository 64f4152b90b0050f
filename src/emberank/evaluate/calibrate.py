"""A judged collection and a scorer in, a calibration of its scores out with what it is worth, or a refusal with numbers. Starts no server, prints nothing.

The pairs are, for each judged query, the first stage's best documents; one that nobody judged counts as not relevant. So the probabilities hold for
candidates such as a first stage finds, and not for the whole corpus, where far fewer are relevant. Judged documents that the first stage missed are not added:
they would be chosen by their label, and each would stand among the low scores without the hundreds of others that were missed as well.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emberank.contract.errors import StartError
from emberank.evaluate.collection import Collection, load_collection
from emberank.evaluate.platt import Fit, Labels, Numbers, fit_platt
from emberank.evaluate.reliability import Figures, figures
from emberank.evaluate.retrieve import BM25_SETTINGS, rerank, search_bm25
from emberank.evaluate.runfile import Run, read_run
from emberank.evaluate.scorer import Scorer

LEAST_RELEVANT, LEAST_OTHERS, LEAST_QUERIES = 50, 50, 20
FOLDS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrateOptions:
    """What is calibrated on. `relevant_from` is the lowest grade that counts as relevant; `run_file` holds logits of an earlier run, in the place of scoring."""

    data: Path
    run_file: Path | None = None
    depth: int = 100
    queries: int | None = None
    relevant_from: int = 1
    folds: int = FOLDS
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What the pairs are."""

    collection: str
    queries: int
    pairs: int
    relevant: int
    unjudged: int  # pairs that count as not relevant because nobody judged them
    missed: int  # relevant documents that the first stage did not find: no pairs of them
    depth: int  # the most documents of one query
    relevant_from: int
    first_stage: str

    @property
    def prevalence(self) -> float:
        """The share of relevant pairs: the base rate that the calibrated probabilities have."""
        return self.relevant / self.pairs

    @property
    def sentence(self) -> str:
        """The data in one line, for the catalogue."""
        at_least = f" of grade {self.relevant_from} or more" if self.relevant_from > 1 else ""
        return f"{self.collection} qrels, {self.queries} queries, n = {self.pairs} pairs, {self.relevant} relevant{at_least}: the best {self.depth} of each query by {self.first_stage}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationReport:
    """The fit to all pairs; `figures` (base rate, sigmoid, calibrated) are of pairs whose query the fit in question did not see. `folds` are those fits."""

    sample: Sample
    fit: Fit
    folds: tuple[Fit, ...]
    seed: int
    figures: tuple[Figures, Figures, Figures]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pairs:
    """Labels and queries of the pairs, in the order of `run`."""

    run: Run
    relevant: Labels  # (n,)
    query: NDArray[np.intp]  # (n,) the query's place in `run`


def calibrate(options: CalibrateOptions, scorer: Scorer) -> CalibrationReport:
    """Score the pairs and fit. Raises StartError where there is too little data (before anything is scored), or no calibration worth having comes out.

    With a run file nothing is scored, and `scorer` is not called.
    """
    collection = load_collection(options.data, options.queries)
    found = search_bm25(collection, options.depth) if options.run_file is None else _of_file(collection, options.run_file)
    pairs = _pairs(collection, {query: hits for query, hits in found.items() if hits}, options.relevant_from)
    sample = _sample(collection, pairs, options)
    _refuse_too_little(sample, pairs)
    scored = rerank(collection, pairs.run, scorer) if options.run_file is None else pairs.run
    by_document = {query: {hit.document: hit.score for hit in hits} for query, hits in scored.items()}
    scores: Numbers = np.array([by_document[query][hit.document] for query, hits in pairs.run.items() for hit in hits])
    return fitted(scores, pairs.relevant, pairs.query, sample=sample, folds=options.folds, seed=options.seed)


def _of_file(collection: Collection, path: Path) -> Run:
    """The judged queries of a run file, all their hits: cutting a reranked run would choose by the score."""
    run = read_run(path)
    known = {query: run[query] for query in collection.queries if query in run}
    for query, hits in known.items():
        if not all(math.isfinite(hit.score) for hit in hits):
            raise StartError(f"the run file {path.name}: query {query!r} has a score that is not a finite number")
    if not known:
        raise StartError(f"the run file {path.name} has none of the {len(collection.queries)} judged queries of {collection.name}")
    return known


def fitted(scores: Numbers, relevant: Labels, query: NDArray[np.intp], *, sample: Sample, folds: int = FOLDS, seed: int = 0) -> CalibrationReport:
    """The report on (n,) scores and labels; `query` (n,) numbers the queries, and all pairs of one are in the same fold: they are alike."""
    whole = _fit(scores, relevant)
    fold_of = _dealt(int(query.max()) + 1, folds, seed)[query]
    base, calibrated, fits = np.empty_like(scores), np.empty_like(scores), []
    for fold in range(folds):
        held = fold_of == fold
        fit = _fit(scores[~held], relevant[~held])
        calibrated[held] = fit.logits(scores[held])
        share = relevant[~held].mean()
        base[held] = np.log(share / (1 - share))
        fits.append(fit)
    three = (figures("base rate", base, relevant), figures("sigmoid", scores, relevant), figures("calibrated", calibrated, relevant))
    if three[2].log_loss >= three[0].log_loss:
        raise StartError(
            f"these scores say nothing of relevance that a calibration could use: on queries not fitted to its log loss is {three[2].log_loss:.4f}, "
            f"and always saying the base rate {sample.prevalence:.3f} has {three[0].log_loss:.4f}"
        )
    return CalibrationReport(sample=sample, fit=whole, folds=tuple(fits), seed=seed, figures=three)


def _fit(scores: Numbers, relevant: Labels) -> Fit:
    fit = fit_platt(scores, relevant)
    if not fit.slope > 0:
        raise StartError(
            f"a higher score does not mean a more relevant passage here: the fitted slope is {fit.slope:.4g} over {len(scores)} pairs, "
            f"{int(relevant.sum())} of them relevant, and such a calibration would turn the order round"
        )
    return fit


def _dealt(queries: int, folds: int, seed: int) -> NDArray[np.intp]:
    """(queries,) the fold of each, evenly dealt in an order that the seed says."""
    order = np.random.default_rng(seed).permutation(queries)
    fold = np.empty(queries, dtype=np.intp)
    fold[order] = np.arange(queries) % folds
    return fold


def _pairs(collection: Collection, run: Run, relevant_from: int) -> _Pairs:
    grades = [collection.judgements[query].get(hit.document, 0) for query, hits in run.items() for hit in hits]
    numbers = [number for number, hits in enumerate(run.values()) for _ in hits]
    return _Pairs(run=run, relevant=np.array(grades, dtype=np.int64) >= relevant_from, query=np.array(numbers, dtype=np.intp))


def _sample(collection: Collection, pairs: _Pairs, options: CalibrateOptions) -> Sample:
    judged = {query: collection.judgements[query] for query in pairs.run}
    relevant = sum(grade >= options.relevant_from for grades in collection.judgements.values() for grade in grades.values())
    return Sample(
        collection=collection.name,
        queries=len(pairs.run),
        pairs=len(pairs.relevant),
        relevant=int(pairs.relevant.sum()),
        unjudged=sum(hit.document not in judged[query] for query, hits in pairs.run.items() for hit in hits),
        missed=relevant - int(pairs.relevant.sum()),
        depth=max(map(len, pairs.run.values()), default=0),
        relevant_from=options.relevant_from,
        first_stage=f"BM25 ({BM25_SETTINGS})" if options.run_file is None else options.run_file.name,
    )


def _refuse_too_little(sample: Sample, pairs: _Pairs) -> None:
    with_relevant = len(np.unique(pairs.query[pairs.relevant]))
    others = sample.pairs - sample.relevant
    if with_relevant < LEAST_QUERIES or sample.relevant < LEAST_RELEVANT or others < LEAST_OTHERS:
        raise StartError(
            f"too little to calibrate on: {with_relevant} queries with a relevant document, {sample.relevant} relevant pairs and {others} others; "
            f"it takes {LEAST_QUERIES}, {LEAST_RELEVANT} and {LEAST_OTHERS} at least"
        )
