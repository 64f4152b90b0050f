"""An over-long passage in, what becomes of it out: refused, cut without a word, or read to its end; and whether it takes the whole request with it.

Two passages that differ only at their very end are sent: a server that gives both the same score has not read that far.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

from emberank.doctor.asker import Asker
from emberank.doctor.heard import Heard
from emberank.doctor.readings import Scores, Vectors, WrongShape
from emberank.doctor.routes import Question
from emberank.doctor.scale import Scale, as_logit
from emberank.doctor.texts import ANSWER, long_pair
from emberank.doctor.verdict import Verdict, cosine

# refused: 4xx · cut: answered, without its end · read: answered, end and all · failed: 5xx · silent: no answer in time · untried
Outcome: TypeAlias = Literal["refused", "cut", "read", "failed", "silent", "untried"]
_SIZES = (600, 2_400, 10_000, 40_000)  # words, each at least one token
_PATIENCE_S = 45.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Long:
    """What a route does with a passage of `words` words when it is told nothing, and when it is told to cut (END) or to refuse (NONE)."""

    path: str
    family: str
    words: int
    outcome: Outcome
    said: str = ""
    tokens: int | None = None  # of the whole request, as it says
    told: bool = False  # whether the answer says that something was cut
    end: Outcome | None = None
    none: Outcome | None = None

    @property
    def over(self) -> bool:
        """Whether this is over some limit."""
        return self.outcome in ("refused", "cut")


async def long_passage(asker: Asker, verdict: Verdict[Any], model: str | None, *, scale: Scale = "logit", advertised: int | None = None) -> Long:
    """Grow a passage until it is over some limit. `advertised` is the limit in tokens, when the server tells it."""
    sizes = _SIZES if advertised is None else tuple(dict.fromkeys((min(40_000, max(600, int(advertised * 1.3))), 40_000)))
    found = Long(path=verdict.path, family=verdict.route.family, words=0, outcome="untried")
    for words in sizes:
        one, heard = await _send(asker, verdict, Question(model=model, texts=(ANSWER, *long_pair(words))), scale)
        if one.outcome == "untried":
            break
        found = replace(one, words=words)
        if found.outcome != "read" or heard.ms > 1e3 * _PATIENCE_S / 4:  # the next one would take several times as long
            break
    if not found.over:
        return found
    texts = (ANSWER, *long_pair(found.words))
    if found.outcome == "refused":
        told_to_cut, _ = await _send(asker, verdict, Question(model=model, texts=texts, truncate="END"), scale)
        return replace(found, end=told_to_cut.outcome)
    told_to_refuse, _ = await _send(asker, verdict, Question(model=model, texts=texts, truncate="NONE"), scale)
    return replace(found, none=told_to_refuse.outcome)


async def _send(asker: Asker, verdict: Verdict[Any], asked: Question, scale: Scale) -> tuple[Long, Heard]:
    heard = await asker.post(verdict.path, verdict.route.write(asked), patience_s=_PATIENCE_S)
    found = Long(path=verdict.path, family=verdict.route.family, words=len(asked.texts[1].split()), outcome="read", said=heard.sentence)
    if heard.trouble is not None:
        return replace(found, outcome="untried" if heard.trouble == "spent" else "silent"), heard
    if not heard.ok:
        return replace(found, outcome="failed" if heard.status >= 500 else "refused", said=f"{heard.status}: {heard.sentence}"), heard
    try:
        read: Scores | Vectors = verdict.route.read(heard.json)
    except WrongShape as wrong:
        return replace(found, outcome="failed", said=str(wrong)), heard
    told = bool(heard.header("emberank-truncated"))
    few = read.tokens is not None and read.tokens < 0.8 * sum(len(text.split()) for text in asked.texts)
    same = _same_vectors(read) if isinstance(read, Vectors) else _same_scores(read, scale)
    return replace(found, outcome="cut" if told or few or same else "read", said="", tokens=read.tokens, told=told), heard


def _same_scores(read: Scores, scale: Scale) -> bool:
    one, other = as_logit(read.of(1), scale), as_logit(read.of(2), scale)
    return abs(one - other) <= 1e-5 * max(1.0, abs(one))


def _same_vectors(read: Vectors) -> bool:
    # The question stands before the passages.
    return cosine(read.rows[-2], read.rows[-1]) >= 1 - 1e-7
