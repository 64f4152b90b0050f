from __future__ import annotations

import json
from dataclasses import replace

from emberank.evaluate.measure import MEASURES, Gain
from emberank.evaluate.report import Report, Stage, as_json, as_table


def report() -> Report:
    first = Stage(name="BM25", means=dict.fromkeys(MEASURES, 0.25), per_query={"q": dict.fromkeys(MEASURES, 0.25)}, gains=None, texts=9, seconds=0.5)
    sure, single = Gain(mean=0.125, low=0.0625, high=0.25), Gain(mean=-0.125, low=None, high=None)
    reranked = Stage(name="+ rerank", means=dict.fromkeys(MEASURES, 0.375), per_query={}, gains=dict.fromkeys(MEASURES, sure), texts=200, seconds=16.0)
    cosine = Stage(name="embed cosine", means=dict.fromkeys(MEASURES, 0.125), per_query={}, gains=dict.fromkeys(MEASURES, single), texts=0, seconds=0.0)
    return Report(
        collection="tiny",
        queries=2,
        documents=9,
        depth=100,
        unjudged_queries=0,
        missing_documents=0,
        first_stage="as set",
        seed=5,
        stages=(first, reranked, cosine),
    )


TABLE = """\
tiny: 2 queries, 9 documents, the best 100 of each query

stage         nDCG@10   RR@10    R@10   R@100            Δ nDCG@10 [95 %]  texts/s  seconds
BM25           0.2500  0.2500  0.2500  0.2500                                           0.5
+ rerank       0.3750  0.3750  0.3750  0.3750  +0.1250 [+0.0625, +0.2500]     12.5     16.0
embed cosine   0.1250  0.1250  0.1250  0.1250                     -0.1250               0.0

BM25: as set. Interval: paired bootstrap over queries, seed 5."""


def test_the_table_has_one_row_per_stage() -> None:
    assert as_table(report()) == TABLE


def test_what_was_left_out_or_missing_is_said_below_the_table() -> None:
    table = as_table(replace(report(), unjudged_queries=3, missing_documents=4))
    assert table.endswith("Left out for want of any judgement: 3 queries.\nJudged, but not in the corpus, and so counted as not found: 4 documents.")


def test_json_holds_the_figures_their_intervals_and_each_querys_values() -> None:
    said = json.loads(as_json(report()))
    assert (said["collection"], said["queries"], said["depth"], said["seed"]) == ("tiny", 2, 100, 5)
    first, reranked, cosine = said["stages"]
    assert first["gains"] is None
    assert first["per_query"] == {"q": dict.fromkeys(MEASURES, 0.25)}
    assert reranked["gains"]["nDCG@10"] == {"mean": 0.125, "low": 0.0625, "high": 0.25}
    assert (reranked["texts"], reranked["seconds"], reranked["texts_per_s"]) == (200, 16.0, 12.5)
    assert cosine["texts_per_s"] is None
