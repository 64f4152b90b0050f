"""A calibration in, a table for the terminal or a plain object for JSON out. Computes layout only."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from emberank.evaluate.calibrate import CalibrationReport, Sample
from emberank.evaluate.reliability import Figures


def calibration_table(report: CalibrationReport) -> str:
    """The calibration for a person: what the pairs are, the figures, a reliability diagram in numbers, the fit."""
    sample, fit = report.sample, report.fit
    rows = [["", "Brier", "log loss", "ECE"], *([one.name, f"{one.brier:.4f}", f"{one.log_loss:.4f}", f"{one.ece:.4f}"] for one in report.figures)]
    slopes, intercepts = [one.slope for one in report.folds], [one.intercept for one in report.folds]
    return "\n".join(
        [
            f"{sample.collection}: {sample.queries} queries, {sample.pairs} pairs, {sample.relevant} relevant ({sample.prevalence:.1%})",
            "",
            *_aligned(rows),
            "",
            *_diagram(report.figures[2], report.figures[1]),
            "",
            f"slope {fit.slope:.4f} (folds {min(slopes):.4f} to {max(slopes):.4f}), intercept {fit.intercept:.4f} (folds {min(intercepts):.4f} to {max(intercepts):.4f})",
            "",
            *_notes(sample, len(report.folds), report.seed),
        ]
    )


def _diagram(calibrated: Figures, sigmoid: Figures) -> list[str]:
    """Where the points of the diagram lie on the diagonal, `predicted` and `relevant` are alike."""
    rows = [["probability", "n", "predicted", "relevant", "", "n", "sigmoid", "relevant"]]
    for one, plain in zip(calibrated.bins, sigmoid.bins, strict=True):
        cells = [[str(each.n), _share(each.predicted), _share(each.relevant)] for each in (one, plain)]
        rows.append([f"{one.low:.1f} to {one.high:.1f}", *cells[0], "", *cells[1]])
    return _aligned(rows)


def _share(share: float | None) -> str:
    return "" if share is None else f"{share:.3f}"


def _aligned(rows: list[list[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join([row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]).rstrip() for row in rows]


def _notes(sample: Sample, folds: int, seed: int) -> list[str]:
    return [
        f"Pairs: the best {sample.depth} of each query by {sample.first_stage}. Nobody judged {sample.unjudged} of them; they count as not relevant.",
        f"Relevant documents that were not found, and are not among the pairs: {sample.missed}.",
        "A calibrated probability holds for candidates like these, not for a whole corpus.",
        f"Figures: {folds} folds of queries, seed {seed}; each pair is judged by a fit that did not see its query.",
    ]


def calibration_plain(report: CalibrationReport) -> dict[str, Any]:
    """The calibration for a program; the fit with all its digits."""
    return {
        "slope": report.fit.slope,
        "intercept": report.fit.intercept,
        "sample": {**asdict(report.sample), "prevalence": report.sample.prevalence},
        "data": report.sample.sentence,
        "figures": {one.name.replace(" ", "_"): {name: item for name, item in asdict(one).items() if name != "name"} for one in report.figures},
        "folds": [asdict(one) for one in report.folds],
        "seed": report.seed,
    }
