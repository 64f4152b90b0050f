"""`emberank eval`: starts a runtime of our own on a free port unless a server is named, measures it, prints the report."""

from __future__ import annotations

import argparse
from contextlib import nullcontext

from emberank.commands.key_env import key_in
from emberank.commands.own_runtime import own_runtime
from emberank.evaluate.flags import add_flags

HELP = "measure ranking quality on a test collection"
DESCRIPTION = "BM25, then rerank: nDCG@10, MRR, recall, TREC run files."
__all__ = ["DESCRIPTION", "HELP", "add_flags", "run"]


def run(arguments: argparse.Namespace) -> int:
    """Measure and print; returns the exit status."""
    from emberank.evaluate import as_json, as_table, evaluate, http_embedder, http_scorer, options, require_extra

    chosen = options(arguments)
    key = key_in(arguments.key_env)
    require_extra()
    with nullcontext(chosen.url) if chosen.url else own_runtime() as url, http_scorer(url, chosen.model, key=key) as scorer:
        if chosen.embed_model:
            with http_embedder(url, chosen.embed_model, key=key) as embedder:
                report = evaluate(chosen, scorer, embedder)
        else:
            report = evaluate(chosen, scorer)
    print(as_json(report) if chosen.json else as_table(report))
    return 0
