"""`emberank eval`: starts a runtime of our own on a free port unless a server is named, measures it, prints the report."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from emberank.contract.errors import StartError
from emberank.evaluate.flags import add_flags

HELP = "measure ranking quality on a test collection"
DESCRIPTION = "BM25, then rerank: nDCG@10, MRR, recall, TREC run files."
__all__ = ["DESCRIPTION", "HELP", "add_flags", "run"]


def run(arguments: argparse.Namespace) -> int:
    """Measure and print; returns the exit status."""
    from emberank.evaluate import as_json, as_table, evaluate, http_embedder, http_scorer, options, require_extra

    chosen = options(arguments)
    require_extra()
    with nullcontext(chosen.url) if chosen.url else _own_runtime() as url, http_scorer(url, chosen.model) as scorer:
        if chosen.embed_model:
            with http_embedder(url, chosen.embed_model) as embedder:
                report = evaluate(chosen, scorer, embedder)
        else:
            report = evaluate(chosen, scorer)
    print(as_json(report) if chosen.json else as_table(report))
    return 0


@contextmanager
def _own_runtime() -> Iterator[str]:
    """A runtime with the settings of the environment on a free loopback port, ended by its pid."""
    # A process of its own, as in service: the figures include HTTP, and nothing of it stays behind.
    environment = {**os.environ, "EMBERANK_HOST": "127.0.0.1", "EMBERANK_PORT": "0", "EMBERANK_LOG_LEVEL": "warning"}
    child = subprocess.Popen([sys.executable, "-m", "emberank.cli", "runtime"], env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None
        # The ready line, or nothing when it could not start: fetching has a deadline of its own, and nothing else takes long.
        line = child.stdout.readline()
        if "ready on " not in line:
            raise StartError("the runtime did not start; its own line above says why")
        url = line.split("ready on ", 1)[1].split()[0]
        yield url
    finally:
        child.terminate()
        try:
            child.wait(30)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
