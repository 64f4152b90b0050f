"""All that one examination found, as a value; and as JSON or as text for a terminal. Judges nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from emberank.doctor.access import Access
from emberank.doctor.heard import Heard
from emberank.doctor.kind import Kind
from emberank.doctor.limits import Passages
from emberank.doctor.manners import Manners, Told
from emberank.doctor.models import Listed
from emberank.doctor.readings import Scores, Vectors
from emberank.doctor.scale import Scaled
from emberank.doctor.speaking import Spoken
from emberank.doctor.truncation import Long
from emberank.doctor.verdict import Verdict

# broken: clients fail · off: clients get something else than they think · note: worth knowing, and right for some
Severity: TypeAlias = Literal["broken", "off", "note"]
SEVERITIES: tuple[Severity, ...] = ("broken", "off", "note")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something to know: what, how it was seen, and what to do."""

    severity: Severity
    what: str
    evidence: str
    advice: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What was seen, before anybody judges it."""

    base: str
    reached: bool = True
    first: Heard | None = None
    kind: Kind = field(default_factory=Kind)
    models: tuple[Listed, ...] = ()
    answered: tuple[str, ...] = ()  # paths of ABOUT_PATHS that did
    listed_at: tuple[str, ...] = ()  # paths of the model lists that hold something
    access: Access | None = None
    rank: Spoken[Scores] = field(default_factory=Spoken)
    embed: Spoken[Vectors] = field(default_factory=Spoken)
    raw_honoured: bool | None = None
    scales: tuple[Scaled, ...] = ()
    base64: Verdict[Vectors] | None = None
    long: tuple[Long, ...] = ()
    passages: tuple[Passages, ...] = ()
    manners: Manners | None = None
    told: tuple[Told, ...] = ()
    requests: int = 0
    sent_bytes: int = 0
    seconds: float = 0.0
    spent: bool = False  # whether it was ended by its own bounds

    @property
    def verdicts(self) -> tuple[Verdict[Any], ...]:
        """Of every route, both tasks."""
        return (*self.rank.verdicts, *self.embed.verdicts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Settings of one client for one task, ready to be copied; empty `text` where it cannot be used, and why."""

    client: str
    task: str
    text: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The facts, what is off, and the settings."""

    facts: Facts
    findings: tuple[Finding, ...]
    recipes: tuple[Recipe, ...]

    @property
    def status(self) -> int:
        """0: fine, 1: something is off, 2: it cannot be reached."""
        if not self.facts.reached:
            return 2
        return 1 if any(finding.severity != "note" for finding in self.findings) else 0


def as_json(report: Report) -> dict[str, Any]:
    """Everything, with stable names."""
    facts = report.facts
    return {
        "url": facts.base,
        "status": report.status,
        "reached": facts.reached,
        "server": {"kind": facts.kind.name, "evidence": list(facts.kind.evidence)},
        "models": [{"id": one.id, "task": one.task, "max_tokens": one.max_tokens} for one in facts.models],
        "about": list(facts.answered),
        "key": None if facts.access is None else {"needed": not facts.access.open, "given": facts.access.given, "accepted": facts.access.refused is None},
        "asked_for": {"rank": facts.rank.name or None, "embed": facts.embed.name or None},
        "routes": [_route(verdict) for verdict in facts.verdicts],
        "scores": [{"route": one.path, "dialect": one.family, "scale": one.scale, "seen": list(one.scores)} for one in facts.scales],
        "raw_scores_honoured": facts.raw_honoured,
        "too_long": [_long(one) for one in facts.long],
        "passages": [
            {"route": one.path, "dialect": one.family, "most": one.most, "refused": one.refused, "said": one.said or None, "exact": one.exact}
            for one in facts.passages
        ],
        "told": [{"route": one.path, "dialect": one.family, "top_n_honoured": one.top_n, "documents": one.documents} for one in facts.told],
        "odd_requests": {}
        if facts.manners is None
        else {name: {"status": one.status, "said": one.sentence} for name, one in facts.manners.heard.items() if not one.ok},
        "p50_ms": None if facts.manners is None else facts.manners.p50_ms,
        "findings": [{"severity": one.severity, "what": one.what, "evidence": one.evidence, "advice": one.advice} for one in report.findings],
        "settings": [{"client": one.client, "task": one.task, "text": one.text or None, "why_not": one.why or None} for one in report.recipes],
        "asked": {"requests": facts.requests, "bytes": facts.sent_bytes, "seconds": round(facts.seconds, 1), "everything": not facts.spent},
    }


def _route(verdict: Verdict[Any]) -> dict[str, Any]:
    return {
        "name": verdict.route.name, "path": verdict.path, "task": verdict.route.task, "dialect": verdict.route.family, "state": verdict.state, "why": verdict.why or None,
    }  # fmt: skip


def _long(one: Long) -> dict[str, Any]:
    return {
        "route": one.path, "dialect": one.family, "words": one.words, "outcome": one.outcome, "said": one.said or None,
        "tokens": one.tokens, "with_truncate_end": one.end, "with_truncate_none": one.none,
    }  # fmt: skip


_SIGNS = {"right": "yes", "order": "doubtful", "shape": "wrong", "refused": "refused", "absent": "no", "silent": "no answer", "untried": "not asked"}


def as_text(report: Report) -> str:
    """For a terminal: who it is, what it speaks, what is off, and the settings."""
    facts = report.facts
    lines = [f"{facts.base}: {facts.kind.name}"]
    lines += [f"  {said}" for said in facts.kind.evidence]
    lines += _about(facts)
    for title, spoken in (("Reranking", facts.rank), ("Embeddings", facts.embed)):
        if spoken.verdicts:
            lines += ["", f"{title}, asked for {spoken.name or spoken.model or 'no model by name'}"]
            lines += _table(
                [(verdict.path, verdict.route.family, _SIGNS[verdict.state], "" if verdict.state == "absent" else verdict.why) for verdict in spoken.verdicts]
            )
    if facts.scales:
        lines += ["", "Scores"]
        lines += _table([(one.path, one.family, one.scale, one.shown()) for one in facts.scales])
    if facts.long or facts.passages:
        lines += ["", "Limits", *_limits(facts)]
    lines += ["", *_findings(report)]
    if any(recipe.text for recipe in report.recipes):
        anyones = ": no key is needed; a client that insists on one takes any" if facts.access is not None and facts.access.open else ""
        lines += ["", f"Settings{anyones}"]
        for recipe in report.recipes:
            lines += [f"  {recipe.client}, {recipe.task}" + (f": {recipe.why}" if recipe.why else "")]
            lines += [f"    {line}" for line in recipe.text.splitlines()]
    lines += ["", f"{facts.requests} requests, {facts.sent_bytes / 1e3:.0f} kB, {facts.seconds:.1f} s"]
    return "\n".join(lines)


def _about(facts: Facts) -> list[str]:
    lines = [f"  answers GET {', '.join(facts.answered)}"] if facts.answered else []
    if facts.models:
        names = ", ".join(one.id for one in facts.models[:8]) + (f" and {len(facts.models) - 8} more" if len(facts.models) > 8 else "")
        lines.append(f"  models: {names}")
    if facts.access is not None and facts.access.refused is None:
        lines.append("  keys: none needed" if facts.access.open else "  keys: needed; this one is accepted")
    if facts.manners is not None and facts.manners.p50_ms is not None:
        lines.append(f"  a small request takes {facts.manners.p50_ms:.0f} ms (median)")
    return lines


_ODD = {"blank": "a blank passage", "none": "no passages", "nothing": "a body without fields", "no such model": "a model that does not exist"}


def _limits(facts: Facts) -> list[str]:
    lines = []
    for found in facts.passages:
        upper = f", {found.refused} not: {found.said}" if found.refused else ", larger requests were not tried" if found.slow else ""
        lines.append(f"  passages in one request ({found.path}): {found.most}{upper}")
    for one in facts.long:
        said = f": {one.said}" if one.said else ""
        more = f"; with truncate END {one.end}" if one.end else f"; with truncate NONE {one.none}" if one.none else ""
        read = f", {one.tokens} tokens read" if one.tokens and one.outcome == "cut" and one.tokens < 2 * one.words else ""
        lines.append(f"  a passage of {one.words} words ({one.path}, {one.family}): {one.outcome}{read}{said}{more}")
    for odd, heard in facts.manners.heard.items() if facts.manners is not None else ():
        if odd not in _ODD:
            continue
        lines.append(f"  {_ODD[odd]} ({heard.path}): {'answered' if heard.ok else f'{heard.status}: {heard.sentence}' if heard.status else heard.sentence}")
    return lines


def _findings(report: Report) -> list[str]:
    if not report.findings:
        return ["Nothing is off."]
    lines = []
    for finding in report.findings:
        lines += [f"{finding.severity.upper()}: {finding.what}", f"  seen: {finding.evidence}", f"  do: {finding.advice}"]
    if not any(finding.severity != "note" for finding in report.findings):
        lines.append("Nothing is off.")
    return lines


def _table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Columns side by side, the last as long as it is."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    return ["  " + "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths)), row[-1]]).rstrip() for row in rows]
