"""A patient in, a report out: the whole examination in one function, in the order in which each step needs the one before."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace

from emberank.doctor import findings, recipes
from emberank.doctor.access import keys, refused_everywhere
from emberank.doctor.address import base_of
from emberank.doctor.asker import Asker
from emberank.doctor.heard import Heard
from emberank.doctor.kind import kind_of, rows
from emberank.doctor.limits import passages
from emberank.doctor.manners import manners, told
from emberank.doctor.models import advertised_tokens, candidates, listed
from emberank.doctor.readings import Scores
from emberank.doctor.report import Facts, Report
from emberank.doctor.routes import ABOUT_PATHS, EMBED_ROUTES, RANK_ROUTES, Question
from emberank.doctor.scale import Scale, scales
from emberank.doctor.speaking import raw_scores, speak
from emberank.doctor.truncation import Long, long_passage
from emberank.doctor.verdict import Verdict, judge_scores, judge_vectors

_MOST_REQUESTS, _MOST_BYTES = 200, 2_000_000
_DEEP_REQUESTS, _DEEP_BYTES = 400, 20_000_000
_REQUEST_S = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Patient:
    """What is examined. `key_name` is the environment variable that the printed settings take the key from."""

    url: str
    key: str = field(default="", repr=False)
    key_name: str = ""
    model: str | None = None
    timeout_s: float = 120.0
    deep: bool = False


async def examine(patient: Patient) -> Report:
    """Ask, judge, write settings. Raises BadRequest for a URL that is none; whatever the server does is in the report."""
    began = time.monotonic()
    most = (_DEEP_REQUESTS, _DEEP_BYTES) if patient.deep else (_MOST_REQUESTS, _MOST_BYTES)
    asker = Asker(
        base_of(patient.url),
        patient.key,
        total_s=patient.timeout_s,
        most_requests=most[0],
        most_bytes=most[1],
        request_s=min(_REQUEST_S, patient.timeout_s / 4),
    )
    try:
        facts = await _facts(asker, patient)
    finally:
        await asker.close()
    facts = replace(facts, requests=asker.asked, sent_bytes=asker.sent_bytes, seconds=time.monotonic() - began, spent=asker.spent)
    return Report(facts=facts, findings=findings.of(facts), recipes=recipes.of(facts, patient.key_name))


async def _facts(asker: Asker, patient: Patient) -> Facts:
    about, dead = await _about(asker)
    if dead is not None:
        return Facts(base=asker.base, reached=False, first=dead)
    models = listed(about)
    lists = tuple(path for path in ("/v1/models", "/models") if rows(about[path]))
    facts = Facts(base=asker.base, models=models, listed_at=lists, answered=tuple(path for path, heard in about.items() if heard.ok and not heard.html))
    rank = await speak(asker, RANK_ROUTES, candidates(models, "rank", patient.model), judge_scores)
    if refused_everywhere(rank.verdicts, bool(patient.key)) is None:
        facts = replace(facts, embed=await speak(asker, EMBED_ROUTES, candidates(models, "embed", patient.model), judge_vectors))
    facts = replace(facts, rank=rank)
    facts = replace(facts, access=refused_everywhere(facts.verdicts, bool(patient.key)))
    heard = [verdict.heard for verdict in facts.verdicts if verdict.heard is not None]
    facts = replace(facts, kind=kind_of(about, heard), first=about[ABOUT_PATHS[0]])
    best, vectors = facts.rank.best, facts.embed.best
    if best is not None or vectors is not None:
        facts = await _scales_and_keys(asker, facts, bool(patient.key))
        facts = await _manners(asker, facts)
        facts = await _limits(asker, facts, about, deep=patient.deep)
    return facts


async def _about(asker: Asker) -> tuple[dict[str, Heard], Heard | None]:
    """What it says of itself; or, when nobody is there, the answer that shows it: a server that is silent twice is asked nothing more."""
    about: dict[str, Heard] = {}
    silent = 0
    for path in ABOUT_PATHS:
        heard = about[path] = await asker.get(path)
        silent += heard.trouble is not None
        if heard.trouble in ("refused", "certificate", "not TLS", "not HTTP") or (silent == 2 and silent == len(about)):
            return about, about[ABOUT_PATHS[0]]
        if silent >= 3:
            break
    return {path: about.get(path) or Heard(method="GET", path=path, trouble="spent") for path in ABOUT_PATHS}, None


async def _scales_and_keys(asker: Asker, facts: Facts, given: bool) -> Facts:
    honoured, raw = await raw_scores(asker, facts.rank)
    best, spoken = (facts.rank.best, facts.rank.model) if facts.rank.best is not None else (facts.embed.best, facts.embed.model)
    assert best is not None
    facts = replace(facts, raw_honoured=honoured, scales=scales(facts.rank.verdicts, raw), access=facts.access or await keys(asker, best, spoken, given))
    vectors = facts.embed.in_family("openai")
    if vectors is not None:
        asked = Question(model=facts.embed.model, base64=True)
        facts = replace(facts, base64=judge_vectors(vectors.route, asked, await asker.post(vectors.path, vectors.route.write(asked))))
    return facts


async def _manners(asker: Asker, facts: Facts) -> Facts:
    best, vectors = facts.rank.best, facts.embed.best
    seen = (
        await manners(asker, best, facts.rank.model) if best is not None else await manners(asker, vectors, facts.embed.model) if vectors is not None else None
    )
    found = [facts.rank.in_family(family) for family in ("nim", "cohere", "tei")]
    return replace(facts, manners=seen, told=tuple([await told(asker, one, facts.rank.model) for one in found if one is not None]))


async def _limits(asker: Asker, facts: Facts, about: dict[str, Heard], *, deep: bool) -> Facts:
    """Last, because it costs most: if the time is used up, everything else is known."""
    ranked = [one for one in (facts.rank.in_family("nim"), facts.rank.in_family("cohere") or facts.rank.in_family("tei")) if one is not None]
    facts = replace(facts, passages=tuple([await passages(asker, one, facts.rank.model, deep=deep) for one in ranked or _only(facts.rank.best)]))
    found: list[Long] = []
    for family in ("nim", "cohere", "tei"):
        verdict = facts.rank.in_family(family)
        if verdict is not None:
            scale: Scale = next((one.scale for one in facts.scales if (one.path, one.family) == (verdict.path, family)), "logit")
            tokens = advertised_tokens(about, facts.models, facts.rank.name)
            found.append(await long_passage(asker, verdict, facts.rank.model, scale=scale, advertised=tokens))
    vectors = facts.embed.in_family("openai") or facts.embed.best
    if vectors is not None:
        tokens = advertised_tokens(about, facts.models, facts.embed.name)
        found.append(await long_passage(asker, vectors, facts.embed.model, advertised=tokens))
    return replace(facts, long=tuple(found))


def _only(verdict: Verdict[Scores] | None) -> list[Verdict[Scores]]:
    return [] if verdict is None else [verdict]
