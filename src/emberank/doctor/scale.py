"""The scores of one question on every route in, their scale and how they hang together out: logits, sigmoid, twice, or something else. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from emberank.dialects.scores import sigmoid
from emberank.doctor.readings import Scores
from emberank.doctor.verdict import Verdict

# logit: outside [0, 1], or the NIM routes' own · sigmoid: 1 / (1 + e^−logit) of them · twice: the sigmoid of that again
# bounded: within [0, 1], with nothing to compare · other: bounded, and neither of the two
Scale: TypeAlias = Literal["logit", "sigmoid", "twice", "bounded", "other"]
_NEAR = 5e-3  # half precision in the batch of another size moves a sigmoid by less


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaled:
    """One route's scale, and the scores that show it."""

    path: str
    family: str
    scale: Scale
    scores: tuple[float, ...]

    def shown(self) -> str:
        """The evidence."""
        return ", ".join(f"{score:.4g}" for score in self.scores)


def scales(verdicts: Sequence[Verdict[Scores]], raw: Scores | None) -> tuple[Scaled, ...]:
    """Of every rerank route that answered. `raw` is what a route gave when it was asked for raw scores and changed its answer."""
    spoken = [(verdict, verdict.read) for verdict in verdicts if verdict.read is not None]
    logits = raw.values if raw is not None else _logits([read.values for verdict, read in spoken], [verdict.route.family for verdict, _ in spoken])
    return tuple(
        Scaled(path=verdict.path, family=verdict.route.family, scale=_scale(read.values, logits), scores=read.values) for verdict, read in spoken if read.values
    )


def is_bounded(values: Sequence[float]) -> bool:
    """Whether all of them lie in [0, 1]."""
    return all(0.0 <= value <= 1.0 for value in values)


def _logits(found: Sequence[tuple[float, ...]], families: Sequence[str]) -> tuple[float, ...] | None:
    """What to compare with: scores that leave [0, 1], else those of a NIM route if another route has their sigmoid."""
    for values in found:
        if not is_bounded(values):
            return values
    for values, family in zip(found, families):
        if family == "nim" and any(_same(other, values, sigmoid) for other in found):
            return values
    return None


def _scale(values: tuple[float, ...], logits: tuple[float, ...] | None) -> Scale:
    if not is_bounded(values):
        return "logit"
    if logits is None:
        return "bounded"
    if _same(values, logits, sigmoid):
        return "sigmoid"
    if _same(values, logits, lambda logit: sigmoid(sigmoid(logit))):
        return "twice"
    return "logit" if _same(values, logits, float) else "other"


def _same(values: Sequence[float], logits: Sequence[float], seen_as: Callable[[float], float]) -> bool:
    return len(values) == len(logits) and all(abs(value - seen_as(logit)) <= _NEAR for value, logit in zip(values, logits))


def looks_twice(values: Sequence[float]) -> bool:
    """Whether bounded scores lie where only the sigmoid of a number between 0 and 1 does: [0.5, 0.731], the clearly irrelevant among them."""
    return all(0.5 <= value <= sigmoid(1.0) + 1e-6 for value in values)


def as_logit(value: float, scale: Scale) -> float:
    """A score on the scale where equal steps are comparable; a sigmoid that has come to its end stays finite."""
    if scale in ("logit", "other"):
        return value
    bounded = min(max(value, 1e-12), 1 - 1e-12)
    return math.log(bounded / (1 - bounded))
