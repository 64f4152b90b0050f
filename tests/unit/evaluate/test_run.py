from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from emberank.contract.inference import InputType
from emberank.evaluate import EvalOptions, evaluate
from emberank.evaluate.collection import load_collection
from emberank.evaluate.measure import MEASURES, measure
from emberank.evaluate.runfile import read_run

RELEVANT = ("slipstream", "conduction")


def knows_the_answers(query: str, passages: Sequence[str]) -> list[float]:
    return [float(any(word in passage for word in RELEVANT)) for passage in passages]


def letters(texts: Sequence[str], input_type: InputType) -> NDArray[np.float32]:
    return np.array([[text.count(letter) for letter in "abcdefghij"] for text in texts], dtype=np.float32)


def test_each_stage_is_measured_and_compared_with_the_first(tiny: Path) -> None:
    ticks = count(0.0, 2.0)
    report = evaluate(EvalOptions(data=tiny), knows_the_answers, letters, clock=lambda: next(ticks))
    assert [stage.name for stage in report.stages] == ["BM25", "+ rerank", "embed cosine"]
    assert (report.queries, report.documents, report.unjudged_queries, report.missing_documents) == (3, 7, 1, 0)
    first, reranked, cosine = report.stages
    assert first.gains is None
    assert reranked.gains is not None
    assert reranked.gains["nDCG@10"].mean == pytest.approx(reranked.means["nDCG@10"] - first.means["nDCG@10"])
    # q-lift: slip (2), wing (1), the best order; q-heat: heat first; q-layer: twin1 and twin2 tie, and the right one is second.
    assert [reranked.per_query[query]["RR@10"] for query in ("q-lift", "q-heat", "q-layer")] == [1.0, 1.0, 0.5]
    assert reranked.per_query["q-lift"]["nDCG@10"] == pytest.approx(1.0)
    assert (reranked.texts, reranked.seconds, reranked.texts_per_s) == (6, 2.0, 3.0)
    assert cosine.texts == 6 + 3, "six documents that are not empty, three queries"


def test_without_an_embedder_there_are_two_stages(tiny: Path) -> None:
    report = evaluate(EvalOptions(data=tiny, queries=1), knows_the_answers)
    assert [stage.name for stage in report.stages] == ["BM25", "+ rerank"]
    assert report.queries == 1
    assert report.stages[0].means.keys() == set(MEASURES)


def test_the_runs_are_written_one_file_a_stage_and_measure_the_same_when_read(tiny: Path, tmp_path: Path) -> None:
    report = evaluate(EvalOptions(data=tiny, run_file=tmp_path / "out.trec"), knows_the_answers, letters)
    judgements = load_collection(tiny).judgements
    for name, stage in zip(["out.bm25.trec", "out.trec", "out.embed.trec"], report.stages, strict=True):
        assert measure(read_run(tmp_path / name), judgements) == stage.per_query
    assert (tmp_path / "out.trec").read_text().splitlines()[0] == "q-lift Q0 slip 1 1 emberank-rerank"
