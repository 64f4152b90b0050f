"""An asker in, a verdict for every route of a task out: under the first name that some route answers to. Judges nothing itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic

from emberank.doctor.asker import Asker
from emberank.doctor.heard import Heard
from emberank.doctor.readings import Scores
from emberank.doctor.routes import Question, Read, Route
from emberank.doctor.verdict import Verdict, judge_scores, untried

_FIRST_PATIENCE_S = 90.0  # the first answer may have to wait until a cold model is loaded
Judge = Callable[[Route[Read], Question, Heard], Verdict[Read]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoken(Generic[Read]):
    """A task's routes. `model` is what was asked for; `name` how it is to be called in settings, empty when nobody says."""

    model: str | None = None
    name: str = ""
    verdicts: tuple[Verdict[Read], ...] = ()

    @property
    def best(self) -> Verdict[Read] | None:
        """The first route that is right, else the first that is spoken."""
        return next((one for one in self.verdicts if one.state == "right"), next((one for one in self.verdicts if one.spoken), None))

    def at(self, *paths: str) -> Verdict[Read] | None:
        """The first of these routes that is spoken; TEI's body on a shared path does not count."""
        return next((one for path in paths for one in self.verdicts if one.route.path == path and one.spoken and one.route.family != "tei"), None)

    def in_family(self, family: str) -> Verdict[Read] | None:
        """The first spoken route of a dialect."""
        return next((one for one in self.verdicts if one.route.family == family and one.spoken), None)


async def speak(asker: Asker, routes: Sequence[Route[Read]], names: Sequence[str | None], judge: Judge[Read]) -> Spoken[Read]:
    """Try the names until one is answered, then every route under it. Without one, the verdicts are those of the first name."""
    tried: dict[tuple[str, str | None], Verdict[Read]] = {}
    waited = False
    absent: set[str] = set()
    for model in names:
        for route in routes:
            path = route.where(model)
            if path is None or route.name in absent:
                continue
            verdict = await _ask(asker, route, path, model, judge, None if waited else min(_FIRST_PATIENCE_S, 0.6 * asker.left_s))
            waited = waited or (verdict.heard is not None and verdict.heard.trouble == "no answer")
            tried[(route.name, model)] = verdict
            if verdict.state == "absent":
                absent.add(route.name)
            if verdict.spoken:
                return await _all(asker, routes, model, judge, tried)
            if verdict.heard is not None and verdict.heard.status in (401, 403):
                return Spoken(model=model, verdicts=(verdict,))
    return Spoken(model=names[0], verdicts=tuple(_of_first(route, names[0], tried) for route in routes))


async def _all(
    asker: Asker, routes: Sequence[Route[Read]], model: str | None, judge: Judge[Read], tried: dict[tuple[str, str | None], Verdict[Read]]
) -> Spoken[Read]:
    verdicts = []
    name = model or ""
    for route in routes:
        path = route.where(name or None)
        found = tried.get((route.name, model))
        if found is None and path is None:
            found = untried(route, "its path holds the model's name, which nobody says: give --model")
        elif found is None:
            found = await _ask(asker, route, path or "", model, judge, None)
        name = name or _name(found)
        verdicts.append(found)
    return Spoken(model=model, name=name, verdicts=tuple(verdicts))


async def _ask(asker: Asker, route: Route[Read], path: str, model: str | None, judge: Judge[Read], patience_s: float | None) -> Verdict[Read]:
    asked = Question(model=model)
    return judge(route, asked, await asker.post(path, route.write(asked), patience_s=patience_s))


def _of_first(route: Route[Read], model: str | None, tried: dict[tuple[str, str | None], Verdict[Read]]) -> Verdict[Read]:
    found = [verdict for (name, _), verdict in tried.items() if name == route.name]
    return tried.get((route.name, model)) or (found[0] if found else untried(route, "nothing answered that could have been compared with it"))


def _name(verdict: Verdict[Read]) -> str:
    """What the server itself calls the model that answered."""
    said = verdict.heard.header("x-emberank-model").partition("@")[0] if verdict.heard is not None else ""
    return said or (verdict.read.model if verdict.read is not None else "")


async def raw_scores(asker: Asker, spoken: Spoken[Scores]) -> tuple[bool | None, Scores | None]:
    """(whether `raw_scores` changes an answer; that answer): None when no route knows the field."""
    for family in ("cohere", "tei"):
        verdict = spoken.in_family(family)
        if verdict is None or verdict.read is None:
            continue
        asked = Question(model=spoken.model, raw=True)
        verdict_raw = judge_scores(verdict.route, asked, await asker.post(verdict.path, verdict.route.write(asked)))
        if verdict_raw.read is not None:
            changed = any(abs(one - other) > 1e-3 for one, other in zip(verdict_raw.read.values, verdict.read.values))
            return changed, verdict_raw.read if changed else None
    return None, None
