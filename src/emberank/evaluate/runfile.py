"""Rankings in, a TREC run file out, and back: `qid Q0 docid rank score tag`. Does not know which stage made them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np

from emberank.contract.errors import StartError


@dataclass(frozen=True, slots=True)
class Hit:
    """A document and what it scored."""

    document: str
    score: float


Run: TypeAlias = Mapping[str, Sequence[Hit]]
"""Query id → its hits, best first. The order is the ranking; scores only explain it."""


def ranked(documents: Sequence[str], scores: Sequence[float]) -> tuple[Hit, ...]:
    """The documents by score, highest first. Equal scores keep the order they came in, so a run is the same every time."""
    return tuple(Hit(documents[i], float(scores[i])) for i in sorted(range(len(documents)), key=lambda i: -scores[i]))


def write_run(path: Path, run: Run, tag: str) -> None:
    """Write `run` under the name `tag`."""
    lines = [
        f"{query} Q0 {hit.document} {rank} {score:.9g} {tag}\n"
        for query, hits in run.items()
        for rank, (hit, score) in enumerate(zip(hits, _falling(hits), strict=True), 1)
    ]
    try:
        path.write_text("".join(lines), encoding="utf-8", newline="\n")
    except OSError as error:
        raise StartError(f"the run file {str(path)!r} cannot be written: {error.strerror}") from error


def _falling(hits: Sequence[Hit]) -> list[float]:
    """The scores, each pushed just below the one before it where it was not.

    trec_eval ignores the rank column, reads scores as 32-bit floats and breaks ties by document id; equal scores would come
    back in another order. 2⁻²² of a number is at least two steps of a 32-bit float, and nine digits write such a float exactly.
    """
    falling: list[float] = []
    ceiling = math.inf
    for hit in hits:
        score = float(np.float32(min(hit.score, ceiling)))
        falling.append(score)
        ceiling = score - max(1e-6, abs(score) * 2**-22)
    return falling


def read_run(path: Path) -> dict[str, tuple[Hit, ...]]:
    """Read a run file of anyone's. Hits are ordered by score as trec_eval does, and by rank where scores are equal."""
    rows: dict[str, dict[str, tuple[float, int]]] = {}
    for place, line in _lines(path):
        query, document, rank, score = _columns(place, line)
        if document in rows.setdefault(query, {}):
            raise StartError(f"{place}: document {document!r} appears twice for query {query!r}")
        rows[query][document] = (-score, rank)
    return {query: tuple(Hit(document, -keys[0]) for document, keys in sorted(found.items(), key=lambda row: row[1])) for query, found in rows.items()}


def _columns(place: str, line: str) -> tuple[str, str, int, float]:
    try:
        query, _, document, rank, score, _ = line.split()
        return query, document, int(rank), float(score)
    except ValueError as error:
        raise StartError(f"{place}: expected `qid Q0 docid rank score tag`") from error


def _lines(path: Path) -> list[tuple[str, str]]:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise StartError(f"the run file {str(path)!r} cannot be read: {error.strerror}") from error
    return [(f"{path.name}:{number}", line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
