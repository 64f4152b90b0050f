"""A folder of queries, documents and judgements in, quality figures or a calibration out: `emberank eval`, `emberank calibrate`. Knows no model, only who scores texts."""

from emberank.evaluate.extra import require_extra
from emberank.evaluate.flags import EvalOptions, add_flags, options
from emberank.evaluate.report import Report, as_json, as_table
from emberank.evaluate.run import evaluate
from emberank.evaluate.scorer import Embedder, Scorer, http_embedder, http_scorer

__all__ = [
    "Embedder",
    "EvalOptions",
    "Report",
    "Scorer",
    "add_flags",
    "as_json",
    "as_table",
    "evaluate",
    "http_embedder",
    "http_scorer",
    "options",
    "require_extra",
]
