from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from emberank.contract.errors import StartError
from emberank.contract.inference import InputType
from emberank.evaluate.collection import Collection, load_collection
from emberank.evaluate.measure import means, measure
from emberank.evaluate.retrieve import rerank, search_bm25, search_cosine
from emberank.evaluate.runfile import Hit, Run

CRANFIELD = Path(__file__).parents[4] / "shared" / "data" / "cranfield"


def order(run: Run, query: str) -> list[str]:
    return [hit.document for hit in run[query]]


def test_bm25_finds_documents_that_share_a_word_and_no_others(tiny: Path) -> None:
    run = search_bm25(load_collection(tiny), depth=10)
    assert order(run, "q-heat") == ["heat", "plate"]
    assert set(order(run, "q-lift")) == {"wing", "slip"}


def test_bm25_keeps_documents_with_equal_scores_in_the_order_of_the_corpus(tiny: Path) -> None:
    collection = load_collection(tiny)
    assert order(search_bm25(collection, depth=10), "q-layer") == ["twin1", "twin2"]
    assert order(search_bm25(collection, depth=1), "q-layer") == ["twin1"]


def test_a_query_of_stop_words_or_of_unknown_words_finds_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    collection = Collection(name="x", documents={"a": "the wing"}, queries={"stop": "is it the", "unknown": "zebra"}, judgements={})
    assert search_bm25(collection, depth=5) == {"stop": (), "unknown": ()}
    assert capfd.readouterr() == ("", ""), "bm25s draws progress bars unless it is told not to"


def test_bm25_reaches_the_known_figure_on_cranfield() -> None:
    if not CRANFIELD.is_dir():
        pytest.skip("the Cranfield collection is not beside this checkout (../shared/data/cranfield)")
    collection = load_collection(CRANFIELD)
    figures = means(measure(search_bm25(collection, depth=100), collection.judgements))
    assert 0.30 <= figures["nDCG@10"] <= 0.33
    assert figures["R@100"] >= 0.65


def test_reranking_keeps_the_documents_and_takes_the_scorers_order() -> None:
    collection = Collection(name="x", documents={"a": "A", "b": "B", "c": "C"}, queries={"q": "Q"}, judgements={})
    asked: list[tuple[str, list[str]]] = []

    def scorer(query: str, passages: Sequence[str]) -> list[float]:
        asked.append((query, list(passages)))
        return [0.5, 2.0, 0.5]

    reranked = rerank(collection, {"q": [Hit("c", 3), Hit("a", 2), Hit("b", 1)]}, scorer)
    assert asked == [("Q", ["C", "A", "B"])]
    assert reranked == {"q": (Hit("a", 2.0), Hit("c", 0.5), Hit("b", 0.5))}, "c and b tie and stay in BM25's order"


def test_a_query_without_finds_is_not_sent_to_the_scorer() -> None:
    collection = Collection(name="x", documents={}, queries={"q": "Q"}, judgements={})
    assert rerank(collection, {"q": ()}, lambda query, passages: pytest.fail("asked for nothing")) == {"q": ()}


@pytest.mark.parametrize(
    ("scores", "message"), [([1.0], "1 scores for the 2 passages of query 'q'"), ([1.0, float("nan")], "not a finite number for query 'q'")]
)
def test_scores_that_cannot_be_sorted_are_refused(scores: list[float], message: str) -> None:
    collection = Collection(name="x", documents={"a": "A", "b": "B"}, queries={"q": "Q"}, judgements={})
    with pytest.raises(StartError, match=message):
        rerank(collection, {"q": [Hit("a", 2), Hit("b", 1)]}, lambda query, passages: scores)


def test_cosine_searches_the_whole_corpus_and_ignores_the_length_of_vectors() -> None:
    collection = Collection(name="x", documents={"far": "far", "void": "", "near": "near", "zero": "zero"}, queries={"q": "Q"}, judgements={})
    vectors = {"far": [100.0, 0.0], "near": [1.0, 1.0], "zero": [0.0, 0.0], "Q": [0.0, 2.0]}
    asked: list[tuple[list[str], InputType]] = []

    def embedder(texts: Sequence[str], input_type: InputType) -> NDArray[np.float32]:
        asked.append((list(texts), input_type))
        return np.array([vectors[text] for text in texts], dtype=np.float32)

    run = search_cosine(collection, embedder, depth=2)
    assert asked == [(["far", "near", "zero"], "passage"), (["Q"], "query")]
    assert order(run, "q") == ["near", "far"]
    assert run["q"][0].score == pytest.approx(0.5**0.5)


def test_vectors_that_are_not_one_per_text_are_refused() -> None:
    collection = Collection(name="x", documents={"a": "A", "b": "B"}, queries={"q": "Q"}, judgements={})
    with pytest.raises(StartError, match=r"shape \(1, 3\) for 2 texts"):
        search_cosine(collection, lambda texts, input_type: np.ones((1, 3), dtype=np.float32), depth=2)
