"""Measured starts in, the latest of all models out: when, where, how long it took, or why it failed and what to do. Knows no page."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from heapq import nlargest

import numpy as np

from emberank.contract.fleet import FailureReason
from emberank.forge.deployments import Deployment, Key
from emberank.forge.samples import WEIGHTS_FROM, WeightsFrom
from emberank.forge.standing import SENTENCES
from emberank.forge.web.model.remedies import remedy
from emberank.forge.windows import REASONS, Series, Windows

MOST_EACH = 50  # of one version on one target
_NOW = {"WARM": "It is warm now.", "STARTING": "It is starting again."}


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """One start. `number` puts all of them in order, whatever the clock did; `took_ms` is None for one that failed."""

    key: Key
    number: int
    at_s: float
    ok: bool
    took_ms: float | None
    weights_from: WeightsFrom | None
    reason: FailureReason | None

    @property
    def why(self) -> str:
        """Why it failed, in words."""
        return "" if self.ok else SENTENCES[self.reason] if self.reason else "the reason is not known"


def starts_lately(windows: Windows, seen: Callable[[Key], bool], most: int) -> list[Start]:
    """The latest starts of what may be seen and is looked for, newest first."""
    found: list[Start] = []
    for key in windows.known():
        if key.kind == "start" and seen(Key(key.slug, key.version, key.gpu_type, key.region)):
            found += windows.of(key.slug, key.version, (key.gpu_type, key.region), "start").derive(_latest)
    return nlargest(most, found, key=lambda one: one.number)


@dataclass(frozen=True, slots=True, kw_only=True)
class StartLine:
    """A start as a page shows it. Failures of one kind in a row are one line: `times` of them, the first at `since_s`. Of the latest: what came of it, and what to do."""

    start: Start
    times: int
    since_s: float
    now: str = ""
    remedy: str = ""


def start_lines(starts: Iterable[Start], running: Iterable[Deployment], most: int) -> list[StartLine]:
    """Starts, newest first as they come, in at most so many lines."""
    phases = {one.key: one.phase for one in running}
    lines: list[StartLine] = []
    last: dict[Key, int] = {}  # which line a key's latest start so far is in
    for start in starts:
        place = last.get(start.key)
        if place is not None and not start.ok and not lines[place].start.ok and lines[place].start.reason == start.reason:
            lines[place] = replace(lines[place], times=lines[place].times + 1, since_s=start.at_s)
            continue
        if len(lines) == most:
            break
        latest = place is None and not start.ok
        last[start.key] = len(lines)
        now = _NOW.get(phases.get(start.key, "COLD"), "") if latest else ""
        lines.append(StartLine(start=start, times=1, since_s=start.at_s, now=now, remedy=remedy(start.reason) if latest and now != _NOW["WARM"] else ""))
    return lines


def _latest(series: Series) -> tuple[Start, ...]:
    key = Key(series.key.slug, series.key.version, series.key.gpu_type, series.key.region)
    return tuple(
        Start(
            key=key,
            number=int(row["number"]),
            at_s=float(row["at_s"]),
            ok=bool(row["ok"]),
            took_ms=None if np.isnan(row["cold_start_ms"]) or not row["ok"] else float(row["cold_start_ms"]),
            weights_from=None if row["weights_from"] < 0 else WEIGHTS_FROM[row["weights_from"]],
            reason=None if row["reason"] < 0 else REASONS[row["reason"]],
        )
        for row in series.rows()[-MOST_EACH:]
    )
