"""Pairs grouped by their queries, and their scores in the order of the pairs again."""

from __future__ import annotations

from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emberank.contract.errors import BadRequest
from emberank.contract.inference import Content, RankCall, Ranked
from emberank.dialects.answers import Ranking
from emberank.dialects.pairs import MOST_QUERIES, group, in_order

NEW_CALL = partial(RankCall, model=None, truncate="NONE")


def test_equal_queries_are_one_call_in_the_order_in_which_they_first_come() -> None:
    grouped = group([("q", Content("a")), ("r", Content("b")), ("q", Content("c")), ("q", Content("a"))], NEW_CALL)
    assert [(call.query.text, [one.text for one in call.passages]) for call in grouped.calls] == [("q", ["a", "c", "a"]), ("r", ["b"])]
    assert grouped.places == ((0, 0), (1, 0), (0, 1), (0, 2))


@given(st.lists(st.tuples(st.sampled_from("qrs"), st.integers(-50, 50)), min_size=1))
def test_every_pair_gets_its_own_score_however_a_ranking_is_sorted(pairs: list[tuple[str, int]]) -> None:
    grouped = group([(query, Content(str(number))) for query, number in pairs], NEW_CALL)
    rankings = [
        Ranking(ranked=tuple(sorted((Ranked(i, float(one.text or "")) for i, one in enumerate(call.passages)), key=lambda one: -one.logit)), prompt_tokens=1)
        for call in grouped.calls
    ]
    assert [one.logit for one in in_order(rankings, grouped.places)] == [number for _, number in pairs]
    assert len(grouped.calls) == len({query for query, _ in pairs})


def test_a_request_has_no_more_queries_than_a_server_can_call_for() -> None:
    most = [(str(i), Content("a")) for i in range(MOST_QUERIES)]
    assert len(group(most, NEW_CALL).calls) == MOST_QUERIES
    with pytest.raises(BadRequest, match=r"1001 different queries; at most 1000"):
        group([*most, ("one more", Content("a"))], NEW_CALL)
    assert len(group(most * 2, NEW_CALL).calls) == MOST_QUERIES
