"""The status page's query in, what of everything is looked for out: a target, a phase, a word, and how many rows. Pure: what it does not understand it names."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, get_args
from urllib.parse import urlencode

from emberank.contract.fleet import Phase
from emberank.forge.catalog import Model, plain
from emberank.forge.targets import Target

PHASES: tuple[Phase, ...] = get_args(Phase)
ROWS = (25, 100, 500)  # of a table: the first unless more are asked for
_MOST_Q = 100  # characters
_MOST_IGNORED = 10
_LONGEST_SHOWN = 60
_LIVE = "live"  # said by the page's script, which asks again and again: that is no use of a session


@dataclass(frozen=True, slots=True, kw_only=True)
class LookedFor:
    """What is looked for. Empty: whatever it is. `ignored` are names and values that say nothing here."""

    target: Target | None = None
    phase: Phase | None = None
    q: str = ""
    rows: int = ROWS[0]
    ignored: tuple[tuple[str, str], ...] = ()

    def url(self, **changes: Any) -> str:
        """The address of the page with something else looked for."""
        found = replace(self, **changes)
        pairs = [("target", word_of(found.target) if found.target else ""), ("phase", (found.phase or "").lower()), ("q", found.q)]
        pairs += [("rows", str(found.rows) if found.rows != ROWS[0] else "")]
        query = urlencode([(name, value) for name, value in pairs if value])
        return f"/status?{query}" if query else "/status"

    @property
    def narrowed(self) -> bool:
        """Whether anything is left out."""
        return bool(self.target or self.phase or self.q)

    @property
    def more(self) -> str:
        """The address with more rows; empty where there are as many as there can be."""
        larger = [rows for rows in ROWS if rows > self.rows]
        return self.url(rows=larger[0]) if larger else ""

    def names(self, slug: str, model: Model | None) -> bool:
        """Whether the word is in one of the model's names."""
        words = plain(self.q).split()
        if not words:
            return True
        text = plain("\n".join((slug, *((*model.names, model.title) if model is not None else ()))))
        return all(word in text for word in words)

    def on(self, target: tuple[str, str]) -> bool:
        """Whether that target is meant."""
        return self.target in (None, target)


def word_of(target: Target) -> str:
    """A target in an address: `CPU/local`."""
    return f"{target.gpu_type}/{target.region}"


def looked_for(pairs: Iterable[tuple[str, str]], targets: Iterable[Target]) -> LookedFor:
    """What a query asks for; the last value of a name counts."""
    known = {word_of(target).lower(): target for target in targets}
    phases = {phase.lower(): phase for phase in PHASES}
    found = LookedFor()
    ignored: list[tuple[str, str]] = []
    for name, value in pairs:
        word = value.strip()
        if name == _LIVE or not word:
            continue
        if name == "target" and word.lower() in known:
            found = replace(found, target=known[word.lower()])
        elif name == "phase" and word.lower() in phases:
            found = replace(found, phase=phases[word.lower()])
        elif name == "q":
            found = replace(found, q=word[:_MOST_Q])
        elif name == "rows" and word in map(str, ROWS):
            found = replace(found, rows=int(word))
        else:
            ignored.append((name[:_LONGEST_SHOWN], word[:_LONGEST_SHOWN]))
    return replace(found, ignored=tuple(ignored[:_MOST_IGNORED]))
