"""Measured stages in, a table for the terminal or JSON out. Computes nothing but a rate and layout."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from emberank.evaluate.measure import MEASURES, Gain, PerQuery

_CHIEF = MEASURES[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One way of ranking, measured. `gains` is None for the stage that the others are compared with."""

    name: str
    means: Mapping[str, float]
    per_query: PerQuery
    gains: Mapping[str, Gain] | None
    texts: int
    seconds: float

    @property
    def texts_per_s(self) -> float | None:
        """Texts read per second; None where too little time passed to say."""
        return self.texts / self.seconds if self.seconds > 0 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What was measured, on what, and the stages in the order they ran."""

    collection: str
    queries: int
    documents: int
    depth: int
    unjudged_queries: int
    missing_documents: int
    first_stage: str
    seed: int
    stages: tuple[Stage, ...]


def as_table(report: Report) -> str:
    """The report for a person: a line on the collection, one row per stage, notes."""
    rows = [["stage", *MEASURES, f"Δ {_CHIEF} [95 %]", "texts/s", "seconds"], *map(_row, report.stages)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join([row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]).rstrip() for row in rows]
    title = f"{report.collection}: {report.queries} queries, {report.documents} documents, the best {report.depth} of each query"
    return "\n".join([title, "", *lines, "", *_notes(report)])


def _row(stage: Stage) -> list[str]:
    figures = [f"{stage.means[name]:.4f}" for name in MEASURES]
    if stage.gains is None:
        # The first stage reads an index, so a rate of texts would compare with nothing.
        return [stage.name, *figures, "", "", f"{stage.seconds:.1f}"]
    rate = "" if stage.texts_per_s is None else f"{stage.texts_per_s:.1f}"
    return [stage.name, *figures, _gain(stage.gains[_CHIEF]), rate, f"{stage.seconds:.1f}"]


def _gain(gain: Gain) -> str:
    interval = "" if gain.low is None or gain.high is None else f" [{gain.low:+.4f}, {gain.high:+.4f}]"
    return f"{gain.mean:+.4f}{interval}"


def _notes(report: Report) -> list[str]:
    notes = [f"BM25: {report.first_stage}. Interval: paired bootstrap over queries, seed {report.seed}."]
    if report.unjudged_queries:
        notes.append(f"Left out for want of any judgement: {report.unjudged_queries} queries.")
    if report.missing_documents:
        notes.append(f"Judged, but not in the corpus, and so counted as not found: {report.missing_documents} documents.")
    return notes


def as_json(report: Report) -> str:
    """The report for a program, the values of every query included."""
    return json.dumps(_plain(report), indent=2, ensure_ascii=False)


def _plain(report: Report) -> dict[str, Any]:
    return {
        "collection": report.collection,
        "queries": report.queries,
        "documents": report.documents,
        "depth": report.depth,
        "unjudged_queries": report.unjudged_queries,
        "missing_documents": report.missing_documents,
        "first_stage": report.first_stage,
        "seed": report.seed,
        "stages": [_plain_stage(stage) for stage in report.stages],
    }


def _plain_stage(stage: Stage) -> dict[str, Any]:
    gains = None if stage.gains is None else {name: {"mean": gain.mean, "low": gain.low, "high": gain.high} for name, gain in stage.gains.items()}
    return {
        "name": stage.name,
        "measures": stage.means,
        "gains": gains,
        "texts": stage.texts,
        "seconds": stage.seconds,
        "texts_per_s": stage.texts_per_s,
        "per_query": stage.per_query,
    }
