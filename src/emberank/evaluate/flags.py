"""Command line flags in, options out. Does not know how an evaluation runs, nor how a server is started."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from emberank.contract.errors import SettingError


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalOptions:
    """What `emberank eval` was asked for. `url` None means that the caller starts a server; `json` is for whoever prints the report."""

    data: Path
    url: str | None = None
    model: str | None = None
    embed_model: str | None = None
    depth: int = 100
    queries: int | None = None
    run_file: Path | None = None
    json: bool = False
    seed: int = 0


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of `emberank eval`."""
    parser.add_argument("--data", metavar="DIR", required=True, help="a BEIR-style folder: corpus.jsonl, queries.jsonl, and qrels.tsv or qrels/test.tsv")
    parser.add_argument("--url", metavar="URL", help="a running server; without it one is started for the evaluation")
    parser.add_argument("--key-env", metavar="VARIABLE", help="the environment variable that holds the key for --url")
    parser.add_argument("--model", metavar="NAME", help="the reranker, by its served name")
    parser.add_argument("--embed-model", metavar="NAME", help="also search the whole corpus by cosine with this embedder")
    parser.add_argument("--depth", metavar="N", type=int, default=100, help="documents per query that are found and reranked (default: %(default)s)")
    parser.add_argument("--queries", metavar="N", type=int, help="only the first N judged queries")
    parser.add_argument("--run-file", metavar="PATH", help="write the reranked run here in TREC format, and the other stages' beside it (NAME.bm25.EXT)")
    parser.add_argument("--json", action="store_true", help="print JSON with the values of every query instead of a table")


def options(namespace: argparse.Namespace) -> EvalOptions:
    """Parsed flags as options. What would only fail after the work was done is refused here."""
    data = Path(namespace.data)
    if not data.is_dir():
        raise SettingError(f"--data {namespace.data!r} is not a folder")
    for flag, number in (("--depth", namespace.depth), ("--queries", namespace.queries)):
        if number is not None and number < 1:
            raise SettingError(f"{flag} has to be at least 1, not {number}")
    run_file = None if namespace.run_file is None else Path(namespace.run_file)
    if run_file is not None and (run_file.is_dir() or not run_file.parent.is_dir()):
        raise SettingError(f"--run-file {namespace.run_file!r} is not a file name in an existing folder")
    return EvalOptions(
        data=data,
        url=namespace.url,
        model=namespace.model,
        embed_model=namespace.embed_model,
        depth=namespace.depth,
        queries=namespace.queries,
        run_file=run_file,
        json=namespace.json,
    )
