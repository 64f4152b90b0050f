"""Rankings and judgements in, nDCG@10, RR@10, R@10 and R@100 out, and how sure a difference is. Does not know how a ranking was made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from emberank.evaluate.extra import load_extra
from emberank.evaluate.runfile import Hit, Run

MEASURES = ("nDCG@10", "RR@10", "R@10", "R@100")
RESAMPLES = 10_000

PerQuery: TypeAlias = Mapping[str, Mapping[str, float]]
"""Query id → measure → value, for every judged query."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """A mean difference per query and its 95 % interval, which is None where one query says nothing about others."""

    mean: float
    low: float | None
    high: float | None


def measure(run: Run, judgements: Mapping[str, Mapping[str, int]]) -> PerQuery:
    """Each measure for each judged query; a query that `run` has nothing for counts 0. Gains of nDCG are linear, as in trec_eval."""
    ir_measures = load_extra("ir_measures")
    wanted = {str(found): found for found in map(ir_measures.parse_measure, MEASURES)}
    values = {query: dict.fromkeys(MEASURES, 0.0) for query in judgements}
    places = {query: _places(run.get(query, ())) for query in judgements}
    for metric in ir_measures.iter_calc(list(wanted.values()), {query: dict(grades) for query, grades in judgements.items()}, places):
        values[metric.query_id][str(metric.measure)] = float(metric.value)
    return values


def _places(hits: Sequence[Hit]) -> dict[str, float]:
    """Numbers that fall with the rank. The programs below read only scores, and each breaks ties its own way."""
    return {hit.document: float(-rank) for rank, hit in enumerate(hits)}


def means(values: PerQuery) -> dict[str, float]:
    """Each measure's average over the queries."""
    return {name: float(np.mean([row[name] for row in values.values()])) for name in MEASURES}


def gains(values: PerQuery, first: PerQuery, seed: int) -> dict[str, Gain]:
    """Each measure's difference to `first`: paired by query, percentile bootstrap over queries. The same seed gives the same interval."""
    differences = np.array([[row[name] - first[query][name] for name in MEASURES] for query, row in values.items()])  # (queries, measures)
    count = len(differences)
    mean = differences.mean(axis=0)
    if count < 2:
        return {name: Gain(mean=float(mean[i]), low=None, high=None) for i, name in enumerate(MEASURES)}
    random = np.random.default_rng(seed)
    resampled = np.array([differences[random.integers(0, count, count)].mean(axis=0) for _ in range(RESAMPLES)])
    low, high = np.percentile(resampled, [2.5, 97.5], axis=0)
    return {name: Gain(mean=float(mean[i]), low=float(low[i]), high=float(high[i])) for i, name in enumerate(MEASURES)}
