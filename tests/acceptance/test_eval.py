"""`emberank eval` as a person runs it: on a small collection, with a runtime of its own and the real weights."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import psutil
import pytest

from acceptance_environment import environment

Command = Callable[..., CompletedProcess[str]]

DOCUMENTS = {
    "1": "A graphics processing unit accelerates parallel numerical workloads.",
    "2": "Retrieval augmented generation combines search over external documents with language model generation.",
    "3": "Embeddings map text into vectors for semantic search.",
    "4": "Augmented reality glasses: the next generation of retrieval, said the advertisement, is augmented.",
}
QUERY = "what is retrieval augmented generation?"


def collection(folder: Path) -> Path:
    """One question; BM25 is misled by a document that repeats its words."""
    folder.mkdir()
    (folder / "corpus.jsonl").write_text("".join(json.dumps({"_id": name, "title": "", "text": text}) + "\n" for name, text in DOCUMENTS.items()))
    (folder / "queries.jsonl").write_text(json.dumps({"_id": "q", "text": QUERY}) + "\n")
    (folder / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\nq\t2\t2\n")
    return folder


def test_it_starts_a_runtime_reranks_measures_and_leaves_a_run_file(weights: Path, emberank: Command, tmp_path: Path) -> None:
    run = tmp_path / "out.trec"
    done = emberank("eval", "--data", str(collection(tmp_path / "data")), "--run-file", str(run), "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert "rerank" in json.dumps(report)
    best = run.read_text().splitlines()[0].split()
    assert best[:4] == ["q", "Q0", "2", "1"]


def test_a_collection_that_is_not_there_is_one_clear_line(emberank: Command, tmp_path: Path) -> None:
    done = emberank("eval", "--data", str(tmp_path / "nowhere"))
    assert done.returncode == 2
    assert done.stderr.startswith("emberank: ")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("command", ["eval", "calibrate"])
def test_a_variable_that_holds_no_key_is_one_clear_line(emberank: Command, tmp_path: Path, command: str) -> None:
    done = emberank(command, "--data", str(collection(tmp_path / "data")), "--url", "http://127.0.0.1:9", "--key-env", "NO_SUCH_VARIABLE")
    assert done.returncode == 2
    assert done.stderr == "emberank: --key-env: the environment has no NO_SUCH_VARIABLE, or it is empty\n"


HOLD = """
import sys
from emberank.commands.own_runtime import own_runtime
with own_runtime():
    print("held", flush=True)
    sys.stdin.read()
"""


def test_sigterm_ends_the_command_and_the_runtime_that_it_started(weights: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD], env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        (child,) = psutil.Process(holder.pid).children()
        holder.send_signal(signal.SIGTERM)
        assert holder.wait(60) == 128 + signal.SIGTERM
        assert not child.is_running()
    finally:
        holder.kill()
        holder.communicate()
