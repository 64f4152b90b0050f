from __future__ import annotations

from math import log2

import pytest

from emberank.evaluate.measure import MEASURES, Gain, gains, means, measure
from emberank.evaluate.runfile import Hit


def hits(*documents: str) -> list[Hit]:
    return [Hit(document, float(-rank)) for rank, document in enumerate(documents)]


def test_the_measures_are_those_of_a_calculation_by_hand() -> None:
    row = measure({"q": hits("x", "b", "a")}, {"q": {"a": 2, "b": 1, "c": 0, "d": 1}})["q"]
    found = 1 / log2(3) + 2 / log2(4)
    ideal = 2 / log2(2) + 1 / log2(3) + 1 / log2(4)
    assert row["nDCG@10"] == pytest.approx(found / ideal)
    assert row["RR@10"] == pytest.approx(1 / 2)
    assert row["R@10"] == row["R@100"] == pytest.approx(2 / 3)


def test_what_stands_below_the_tenth_place_counts_for_recall_at_100_only() -> None:
    row = measure({"q": hits(*"0123456789", "a")}, {"q": {"a": 1}})["q"]
    assert row == {"nDCG@10": 0.0, "RR@10": 0.0, "R@10": 0.0, "R@100": 1.0}


@pytest.mark.parametrize(("first", "second"), [("a", "b"), ("b", "a")])
def test_equal_scores_are_measured_in_the_order_of_the_run_whatever_the_ids(first: str, second: str) -> None:
    row = measure({"q": [Hit(first, 1.0), Hit(second, 1.0)]}, {"q": {first: 1}})["q"]
    assert (row["nDCG@10"], row["RR@10"]) == (1.0, 1.0)


def test_a_judged_query_that_found_nothing_counts_zero_and_an_unjudged_one_does_not_count() -> None:
    values = measure({"q1": hits("a"), "unjudged": hits("a")}, {"q1": {"a": 1}, "q2": {"a": 1}, "q3": {"a": 0}})
    assert values.keys() == {"q1", "q2", "q3"}
    assert means(values) == dict.fromkeys(MEASURES, pytest.approx(1 / 3))


def test_a_judged_document_outside_the_corpus_lowers_recall_and_ndcg() -> None:
    row = measure({"q": hits("a")}, {"q": {"a": 1, "gone": 1}})["q"]
    assert row["R@10"] == 0.5
    assert row["nDCG@10"] == pytest.approx(1 / (1 + 1 / log2(3)))


def rows(*values: float) -> dict[str, dict[str, float]]:
    return {f"q{i}": dict.fromkeys(MEASURES, value) for i, value in enumerate(values)}


def test_a_difference_that_is_the_same_for_every_query_is_certain() -> None:
    gain = gains(rows(0.5, 0.75, 1.0), rows(0.25, 0.5, 0.75), seed=0)["nDCG@10"]
    assert gain == Gain(mean=0.25, low=0.25, high=0.25)


def test_the_interval_of_two_queries_is_the_one_of_a_calculation_by_hand() -> None:
    # Resampled means are 0, 1/2 and 1 with chances 1/4, 1/2 and 1/4, so 2.5 % and 97.5 % lie at the ends.
    assert gains(rows(1.0, 0.0), rows(0.0, 0.0), seed=3)["R@10"] == Gain(mean=0.5, low=0.0, high=1.0)


def test_the_interval_depends_on_the_seed_alone_and_holds_the_mean() -> None:
    after, before = rows(0.9, 0.4, 0.3, 0.8, 0.1, 0.65, 0.2), rows(0.5, 0.5, 0.1, 0.2, 0.1, 0.6, 0.31)
    once, again = gains(after, before, seed=7), gains(after, before, seed=7)
    assert once == again
    gain = once["RR@10"]
    assert gain.low is not None
    assert gain.high is not None
    assert gain.low < gain.mean < gain.high


def test_the_pairs_are_made_by_query_and_not_by_place() -> None:
    before = {"q1": dict.fromkeys(MEASURES, 0.0), "q0": dict.fromkeys(MEASURES, 1.0)}
    assert gains(rows(1.0, 0.0), before, seed=0)["RR@10"] == Gain(mean=0.0, low=0.0, high=0.0)


def test_one_query_has_a_difference_but_no_interval() -> None:
    assert gains(rows(1.0), rows(0.25), seed=0)["RR@10"] == Gain(mean=0.75, low=None, high=None)
