"""A call too large for one request: cut in order, and its answers put together again as if it had been one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from emberank.contract.inference import Chunk, Content, RankCall, Ranked
from emberank.dialects.answers import Ranking
from emberank.dialects.pieces import joined, pieces


def call(texts: list[str]) -> RankCall:
    return RankCall(model=None, query=Content("q"), passages=tuple(map(Content, texts)), truncate="END", max_chunks=3)


def ranked(logits: list[float], start: int) -> Ranking:
    best = sorted(range(len(logits)), key=lambda i: (-logits[i], i))
    return Ranking(ranked=tuple(Ranked(i, logits[i], Chunk(start, start + 1, 0, 2)) for i in best), prompt_tokens=len(logits))


@given(st.lists(st.lists(st.integers(-3, 3).map(float), min_size=1, max_size=12), min_size=1, max_size=4), st.integers(1, 5))
def test_pieces_put_together_are_the_calls_as_if_each_had_been_one(logits: list[list[float]], most: int) -> None:
    calls = [call([f"{n}-{i}" for i in range(len(row))]) for n, row in enumerate(logits)]
    cut = list(pieces(calls, most))
    assert [content.text for piece in cut for content in piece.call.passages] == [content.text for one in calls for content in one.passages]
    assert all(1 <= len(piece.call.passages) <= most and piece.call.max_chunks == 3 for piece in cut)
    done = [(piece, ranked(logits[piece.whole][piece.start : piece.start + len(piece.call.passages)], piece.start)) for piece in cut]
    for row, ranking in zip(logits, joined(done), strict=True):
        assert [one.index for one in ranking.ranked] == sorted(range(len(row)), key=lambda i: (-row[i], i))
        assert [one.logit for one in ranking.ranked] == sorted(row, reverse=True)
        assert ranking.prompt_tokens == len(row)
        assert all(one.chunk is not None for one in ranking.ranked)


def test_a_call_that_is_small_enough_is_not_touched() -> None:
    one = call(["a", "b"])
    (piece,) = pieces([one], 2)
    assert piece.call is one
