"""Command line flags in, what to calibrate on out. Does not know how a calibration runs, which server scores, nor where the outcome is written."""

from __future__ import annotations

import argparse
from pathlib import Path

from emberank.contract.errors import SettingError
from emberank.evaluate.calibrate import FOLDS, CalibrateOptions

MOST_FOLDS = 20


def add_calibration_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of `emberank calibrate` that say what is scored; named as those of `emberank eval`."""
    parser.add_argument("--data", metavar="DIR", required=True, help="a BEIR-style folder: corpus.jsonl, queries.jsonl, and qrels.tsv or qrels/test.tsv")
    parser.add_argument("--url", metavar="URL", help="a running server; without it the model is started for the calibration")
    parser.add_argument("--key-env", metavar="VARIABLE", help="the environment variable that holds the key for --url")
    parser.add_argument("--model", metavar="NAME", help="the reranker; default: the catalogue's first, or with --url the server's own choice")
    parser.add_argument("--model-version", metavar="VERSION", help="of the model; default: its first")
    parser.add_argument("--depth", metavar="N", type=int, default=100, help="documents per query that BM25 finds and the model scores (default: %(default)s)")
    parser.add_argument("--run-file", metavar="PATH", help="logits in TREC format, as `emberank eval --run-file` writes them; nothing is scored then")
    parser.add_argument("--queries", metavar="N", type=int, help="only the first N judged queries")
    parser.add_argument("--relevant-from", metavar="GRADE", type=int, default=1, help="the lowest grade that counts as relevant (default: %(default)s)")
    parser.add_argument("--folds", metavar="N", type=int, default=FOLDS, help="of queries, for figures on data not fitted to (default: %(default)s)")
    parser.add_argument("--seed", metavar="N", type=int, default=0, help="of the folds (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")


def calibration_options(namespace: argparse.Namespace) -> CalibrateOptions:
    """Parsed flags as options. What would only fail after the work was done is refused here."""
    data = Path(namespace.data)
    if not data.is_dir():
        raise SettingError(f"--data {namespace.data!r} is not a folder")
    for flag, number in (("--depth", namespace.depth), ("--queries", namespace.queries), ("--relevant-from", namespace.relevant_from)):
        if number is not None and number < 1:
            raise SettingError(f"{flag} has to be at least 1, not {number}")
    if not 2 <= namespace.folds <= MOST_FOLDS:
        raise SettingError(f"--folds has to be from 2 to {MOST_FOLDS}, not {namespace.folds}")
    if namespace.seed < 0:
        raise SettingError(f"--seed has to be at least 0, not {namespace.seed}")
    run_file = None if namespace.run_file is None else Path(namespace.run_file)
    if run_file is not None and not run_file.is_file():
        raise SettingError(f"--run-file {namespace.run_file!r} is not a file")
    if run_file is not None and namespace.url is not None:
        raise SettingError("--run-file and --url cannot stand together: with a run file nothing is scored")
    return CalibrateOptions(
        data=data,
        run_file=run_file,
        depth=namespace.depth,
        queries=namespace.queries,
        relevant_from=namespace.relevant_from,
        folds=namespace.folds,
        seed=namespace.seed,
    )
