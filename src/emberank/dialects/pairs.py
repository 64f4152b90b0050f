"""Pairs of a query and a passage in, one call for each query out; its rankings in, the pairs' scores in their own order out. Pure.

For dialects that ask for scores and not for an order, and may ask with several queries at one time: vLLM's `/score` and TEI's `/predict`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from emberank.contract.errors import BadRequest
from emberank.contract.inference import Content, RankCall, Ranked
from emberank.dialects.answers import Ranking

MOST_QUERIES = 1000  # different ones in one request: each is a call of its own


class NewCall(Protocol):
    """A `RankCall` but for its texts."""

    def __call__(self, *, query: Content, passages: tuple[Content, ...]) -> RankCall:
        """The call for one query."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grouped:
    """`places` has for each pair its call and its passage in that call."""

    calls: tuple[RankCall, ...]
    places: tuple[tuple[int, int], ...]


def group(pairs: Sequence[tuple[str, Content]], new_call: NewCall) -> Grouped:
    """One call for each query, in the order in which they first come. Raises BadRequest for more queries than one request may have."""
    numbers: dict[str, int] = {}
    passages: list[list[Content]] = []
    places: list[tuple[int, int]] = []
    for query, passage in pairs:
        number = numbers.setdefault(query, len(numbers))
        if number == len(passages):
            passages.append([])
        places.append((number, len(passages[number])))
        passages[number].append(passage)
    if len(numbers) > MOST_QUERIES:
        raise BadRequest(f"the request holds {len(numbers)} different queries; at most {MOST_QUERIES} are allowed in one request")
    calls = tuple(new_call(query=Content(query), passages=tuple(own)) for query, own in zip(numbers, passages))
    return Grouped(calls=calls, places=tuple(places))


def in_order(rankings: Sequence[Ranking], places: Sequence[tuple[int, int]]) -> list[Ranked]:
    """The pairs' scores; an entry's own `index` is that within its call."""
    found = [{one.index: one for one in ranking.ranked} for ranking in rankings]
    return [found[call][passage] for call, passage in places]
