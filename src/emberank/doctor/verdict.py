"""What was heard on a route in, whether it is spoken there out: right only with the right shape, every passage once, and the answer first. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Generic, Literal, TypeAlias

from emberank.doctor.heard import Heard
from emberank.doctor.readings import Scores, Vectors, WrongShape
from emberank.doctor.routes import Question, Read, Route
from emberank.doctor.texts import RELEVANT

# right · order: the shape is right and the relevant passage is not first · shape: 200, and no answer of this dialect · refused: the route is there and says no
# absent: no such route · silent: nothing came · untried: not asked
State: TypeAlias = Literal["right", "order", "shape", "refused", "absent", "silent", "untried"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict(Generic[Read]):
    """One route's. `read` is there for `right` and `order`; `why` for all others."""

    route: Route[Read]
    path: str
    state: State
    why: str = ""
    heard: Heard | None = None
    read: Read | None = None

    @property
    def spoken(self) -> bool:
        """Whether a client of this dialect gets what it can read."""
        return self.state in ("right", "order")


def judge_scores(route: Route[Scores], asked: Question, heard: Heard) -> Verdict[Scores]:
    """A rerank route's."""
    verdict = _heard(route, heard)
    if verdict is not None:
        return verdict
    found = Verdict(route=route, path=heard.path, state="right", heard=heard)
    try:
        read = route.read(heard.json)
    except WrongShape as wrong:
        return replace(found, state="shape", why=str(wrong))
    indexes = [index for index, _ in read.entries]
    if sorted(indexes) != list(range(len(asked.texts))):
        return replace(found, state="shape", why=f"{len(asked.texts)} passages were sent, and the indexes that came back are {_few(indexes)}")
    if max(read.values) == min(read.values):
        return replace(found, state="order", why="every passage has the same score", read=read)
    scores = [score for _, score in read.entries]
    if route.family not in ("score", "predict") and scores != sorted(scores, reverse=True):
        return replace(found, state="order", why="the best score does not stand first, and many clients do not sort", read=read)
    best = max(read.entries, key=lambda entry: entry[1])[0]
    if best != RELEVANT:
        return replace(found, state="order", why="the passage that answers the question is not the best", read=read)
    return replace(found, read=read)


def judge_vectors(route: Route[Vectors], asked: Question, heard: Heard) -> Verdict[Vectors]:
    """An embeddings route's: of the passages the one that answers the question has to be nearest to it."""
    verdict = _heard(route, heard)
    if verdict is not None:
        return verdict
    found = Verdict(route=route, path=heard.path, state="right", heard=heard)
    try:
        read = route.read(heard.json)
    except WrongShape as wrong:
        return replace(found, state="shape", why=str(wrong))
    if len(read.rows) != len(asked.texts) + 1:
        return replace(found, state="shape", why=f"{len(asked.texts) + 1} texts were sent, and {len(read.rows)} embeddings came back")
    near = [cosine(read.rows[0], row) for row in read.rows[1:]]
    if not all(map(math.isfinite, near)):
        return replace(found, state="shape", why="an embedding is all zeros")
    if near.index(max(near)) != RELEVANT:
        return replace(found, state="order", why="the passage that answers the question is not the nearest", read=read)
    return replace(found, read=read)


def untried(route: Route[Read], why: str) -> Verdict[Read]:
    """Of a route that was not asked."""
    return Verdict(route=route, path=route.path, state="untried", why=why)


def _heard(route: Route[Read], heard: Heard) -> Verdict[Read] | None:
    """What an answer that is no 200 says; None for a 200."""
    if heard.ok and not heard.html:
        return None
    state: State = "refused"
    if heard.trouble is not None:
        state = "untried" if heard.trouble == "spent" else "silent"
    elif heard.absent or (heard.html and heard.status == 404):
        state = "absent"
    elif heard.status < 300 or heard.html:
        state = "shape"
    why = heard.sentence if heard.trouble is not None else f"{heard.status}: {heard.sentence}"
    return Verdict(route=route, path=heard.path, state=state, why=why, heard=heard)


def cosine(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    """Of two vectors; NaN when one of them is nothing."""
    length = math.hypot(*one) * math.hypot(*other)
    return sum(a * b for a, b in zip(one, other)) / length if length else math.nan


def _few(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers[:8])) + (", …" if len(numbers) > 8 else "") or "none"
