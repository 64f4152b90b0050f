"""Figures in, a table or JSON out: every row is our figure, the peer's, and how many times better ours is.

Does not know how a figure was taken.
"""

from __future__ import annotations

import json
import os
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One comparison. The figures are one per round; the medians are what is compared."""

    what: str
    unit: str  # a unit of time is better when smaller, any other when larger
    ours: Sequence[float]
    peer: str
    theirs: Sequence[float]
    goal: str = ""

    @property
    def ratio(self) -> float:
        """How many times better ours is: above 1 we win."""
        ours, theirs = statistics.median(self.ours), statistics.median(self.theirs)
        upper, lower = (theirs, ours) if self.unit in ("ms", "s") else (ours, theirs)
        return upper / lower if lower else float("nan")


def table(rows: Sequence[Row]) -> str:
    """The rows for a terminal, with the least and the most of the rounds beside each median."""
    cells = [("", "unit", "emberank", "peer", "its figure", "ratio", "goal")]
    cells += [(row.what, row.unit, spread(row.ours), row.peer, spread(row.theirs), f"{row.ratio:.2f}", row.goal) for row in rows]
    return aligned(cells)


def aligned(cells: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells)


def spread(figures: Sequence[float]) -> str:
    return f"{_short(statistics.median(figures))} [{_short(min(figures))}..{_short(max(figures))}]"


def dump(path: str, facts: Mapping[str, Any], rows: Sequence[Row]) -> None:
    """Everything to a file, or to standard output for `-`."""
    text = json.dumps({**facts, "rows": [{**asdict(row), "ratio": row.ratio} for row in rows]}, indent=1)
    if path == "-":
        print(text)
    else:
        Path(path).write_text(text + "\n", encoding="utf-8")


def machine() -> dict[str, Any]:
    """What a figure depends on: the CPU, whether it multiplies bf16 or int8 matrices by itself, and what else was running."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    facts = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    known = {"amx_bf16", "amx_int8", "avx512_bf16", "avx512_vnni", "avx_vnni", "avx512f", "avx2"}
    return {
        "cpu": facts.get("model name", "unknown"),
        "cores": len(os.sched_getaffinity(0)),
        "instructions": sorted(known & set(facts.get("flags", "").split())),
        "load_1min": round(os.getloadavg()[0], 2),
    }


def _short(figure: float) -> str:
    return f"{figure:.0f}" if figure >= 100 else f"{figure:.3g}"
