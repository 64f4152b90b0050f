"""Careless and impossible requests in, how a server takes them out: slashes, wrong models, nothing, blanks; and whether it does what it is told.

Only asks: `findings.py` says what of it is off.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from emberank.doctor.asker import Asker
from emberank.doctor.heard import Heard
from emberank.doctor.readings import Documents, Scores, WrongShape
from emberank.doctor.routes import Question
from emberank.doctor.texts import ANSWER, NO_SUCH_MODEL, PASSAGES
from emberank.doctor.verdict import Verdict

_TIMED = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Manners:
    """Of one route. `heard` holds the answers: double slash, slash, no such model, nothing, none, blank."""

    path: str
    heard: Mapping[str, Heard]
    p50_ms: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a rerank route does with the fields that say what to give back. None: it did not answer when it was told so."""

    path: str
    family: str
    top_n: bool | None  # whether the best one alone came back
    documents: Documents | None  # how `return_documents` (or `return_text`) gives them back


async def manners(asker: Asker, verdict: Verdict[Any], model: str | None) -> Manners:
    """Six odd requests and a few ordinary ones, timed."""
    route, path = verdict.route, verdict.path
    good = route.write(Question(model=model))
    nothing = {"model": model} if model else {}
    field = next(name for name in ("passages", "documents", "texts", "input", "inputs", "text_2") if name in good)
    heard = {
        "double slash": await asker.post("/" + path, good),
        "slash": await asker.post(path + "/", good),
        "no such model": await asker.post(path, good | {"model": NO_SUCH_MODEL}),
        "nothing": await asker.post(path, nothing),
        "none": await asker.post(path, good | {field: []}),
        "blank": await asker.post(path, route.write(Question(model=model, texts=("", ANSWER)))),
    }
    times = [one.ms for one in [await asker.post(path, good) for _ in range(_TIMED)] if one.ok]
    return Manners(path=path, heard=heard, p50_ms=statistics.median(times) if times else None)


async def told(asker: Asker, verdict: Verdict[Scores], model: str | None) -> Told:
    """Ask for the best one only, and for the passages back."""
    first = await _read(asker, verdict, Question(model=model, top_n=1))
    back = await _read(asker, verdict, Question(model=model, documents=True))
    return Told(
        path=verdict.path,
        family=verdict.route.family,
        top_n=None if first is None else len(first.entries) == 1,
        documents=back.documents if back is not None and len(back.entries) == len(PASSAGES) else None,
    )


async def _read(asker: Asker, verdict: Verdict[Scores], asked: Question) -> Scores | None:
    heard = await asker.post(verdict.path, verdict.route.write(asked))
    try:
        return verdict.route.read(heard.json) if heard.ok else None
    except WrongShape:
        return None
