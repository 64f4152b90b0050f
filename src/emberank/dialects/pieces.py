"""A call that is larger than one request may be in, calls that are not out; their answers in, the answer of the whole out. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from emberank.contract.inference import RankCall, Ranked
from emberank.dialects.answers import Ranking


@dataclass(frozen=True, slots=True)
class RankPiece:
    """Passages [start, start + len(call.passages)) of the call that stands at `whole` among those of a request."""

    call: RankCall
    whole: int
    start: int


def pieces(calls: Sequence[RankCall], most: int) -> Iterator[RankPiece]:
    """The calls in pieces of at most `most` passages, in order; a call that is small enough is its own only piece."""
    for whole, call in enumerate(calls):
        if len(call.passages) <= most:
            yield RankPiece(call, whole, 0)
            continue
        for start in range(0, len(call.passages), most):
            yield RankPiece(replace(call, passages=call.passages[start : start + most]), whole, start)


def waves(cut: Iterable[RankPiece], most: int, at_once: int) -> Iterator[list[RankPiece]]:
    """Pieces that may be asked for at one time, in order: of at most `most` passages together, and at most `at_once` of them."""
    wave: list[RankPiece] = []
    passages = 0
    for piece in cut:
        if wave and (len(wave) == at_once or passages + len(piece.call.passages) > most):
            yield wave
            wave, passages = [], 0
        wave.append(piece)
        passages += len(piece.call.passages)
    if wave:
        yield wave


def joined(done: Sequence[tuple[RankPiece, Ranking]]) -> list[Ranking]:
    """One ranking a call, in the order of the calls: best first, equal logits in the order of the passages."""
    found: dict[int, list[tuple[RankPiece, Ranking]]] = {}
    for piece, ranking in done:
        found.setdefault(piece.whole, []).append((piece, ranking))
    return [_joined(found[whole]) for whole in sorted(found)]


def _joined(parts: Sequence[tuple[RankPiece, Ranking]]) -> Ranking:
    if len(parts) == 1:
        return parts[0][1]
    ranked = [Ranked(one.index + piece.start, one.logit, one.chunk) for piece, ranking in parts for one in ranking.ranked]
    return Ranking(
        ranked=tuple(sorted(ranked, key=lambda one: (-one.logit, one.index))),
        prompt_tokens=sum(ranking.prompt_tokens for _, ranking in parts),
    )
