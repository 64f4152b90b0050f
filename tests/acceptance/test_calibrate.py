"""`emberank calibrate` as a person runs it: a tiny catalogue entry over the fake engine, whose late interaction counts shared words."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from emberank.forge.catalog import launch_spec
from emberank.forge.catalog_file import load_catalog
from tinybert import write_checkpoint

Command = Callable[..., CompletedProcess[str]]
WORDS = ("way", "go", "road", "wood", "snow", "ice", "red", "hot")


@pytest.fixture
def collection(tmp_path: Path) -> Path:
    """Questions of two words; most of the papers that have both are relevant, and some that have one."""
    folder = tmp_path / "papers"
    folder.mkdir()
    papers = list(itertools.combinations(WORDS, 3))
    (folder / "corpus.jsonl").write_text("".join(json.dumps({"_id": "-".join(paper), "text": " ".join(paper)}) + "\n" for paper in papers))
    lines = ["query-id\tcorpus-id\tscore\n"]
    questions = list(itertools.combinations(WORDS, 2))
    for number, (question, paper) in enumerate(itertools.product(questions, papers)):
        shared = len(set(question) & set(paper))
        if (shared == 2 and number % 5) or (shared == 1 and number % 17 == 0):
            lines.append(f"{'-'.join(question)}\t{'-'.join(paper)}\t1\n")
    (folder / "qrels.tsv").write_text("".join(lines))
    (folder / "queries.jsonl").write_text("".join(json.dumps({"_id": "-".join(question), "text": " ".join(question)}) + "\n" for question in questions))
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder whose models.toml has one reranker."""
    checkpoint = write_checkpoint(tmp_path / "tiny", ranks=False)
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "models.toml").write_text(
        '[[model]]\nslug = "acme-words"\nid = "acme/words"\ntitle = "Words"\ntask = "rank"\n\n'
        f'[[model.version]]\nname = "v1"\nsource = "file:{checkpoint}"\nhead = "late_interaction"\nsettings = {{ engine = "fake" }}\n'
    )
    return folder


def test_it_starts_the_entry_fits_writes_and_the_runtime_then_says_probabilities(
    emberank: Command, runtime: Callable[..., Any], collection: Path, data: Path, tmp_path: Path
) -> None:
    words = ["--data", str(collection), "--model", "acme/words", "--data-dir", str(data)]
    done = emberank("calibrate", *words, "--write", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["model"], report["version"], report["written"]) == ("acme-words", "v1", str(data / "models.toml"))
    assert report["sample"]["queries"] == 28
    assert report["figures"]["calibrated"]["log_loss"] < report["figures"]["sigmoid"]["log_loss"]
    catalog = load_catalog(data)
    model = catalog.resolve("acme-words")
    found = model.versions[0].calibration
    assert found is not None
    assert (found.slope, found.intercept) == pytest.approx((report["slope"], report["intercept"]), rel=1e-4)
    assert found.data == report["data"]

    (tmp_path / "model.json").write_text(json.dumps({"model": [launch_spec(model, model.versions[0])]}))
    server = runtime("--model-file", str(tmp_path / "model.json"), EMBERANK_ENGINE="fake").ready()
    said = server.get("/v1/metadata").json["models"][0]["calibration"]
    assert said == {"slope": found.slope, "intercept": found.intercept}
    body = {"query": "snow road", "documents": ["snow on the road", "red hot"]}
    logits = server.post("/v1/rerank", {**body, "score_mode": "logit"}).json["results"]
    calibrated = server.post("/v1/rerank", {**body, "score_mode": "calibrated"}).json["results"]
    expected = [1 / (1 + math.exp(-(found.slope * row["relevance_score"] + found.intercept))) for row in logits]
    assert [row["relevance_score"] for row in calibrated] == pytest.approx(expected, rel=1e-9)


def test_without_write_the_lines_to_paste_are_printed_and_nothing_is_changed(emberank: Command, collection: Path, data: Path) -> None:
    before = (data / "models.toml").read_text()
    done = emberank("calibrate", "--data", str(collection), "--model", "acme-words", "--data-dir", str(data))
    assert done.returncode == 0, done.stderr
    assert (data / "models.toml").read_text() == before
    lines = done.stdout[done.stdout.index("[[model]]") :]
    (data / "models.toml").write_text(before + "\n" + lines)
    pasted = load_catalog(data).resolve("acme-words").versions[0].calibration
    assert pasted is not None
    assert pasted.data.startswith("papers qrels, 28 queries, n = ")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--model", "all-minilm-l6-v2"], "all-minilm-l6-v2 is an embedder, and has no scores to calibrate"),
        (["--model", "nobody"], "nobody"),
        (["--model", "acme-words", "--model-version", "v9"], "known versions: v1"),
        (["--url", "http://127.0.0.1:9", "--write"], "--write needs --model"),
        (["--url", "http://127.0.0.1:9", "--key-env", "NO_SUCH_VARIABLE"], "the environment has no NO_SUCH_VARIABLE"),
        (["--url", "http://127.0.0.1:9"], "cannot be reached"),
        (["--model", "acme-words", "--queries", "5"], "too little to calibrate on: 5 queries with a relevant document"),
    ],
)
def test_what_cannot_be_done_is_one_clear_line(emberank: Command, collection: Path, data: Path, words: list[str], said: str) -> None:
    done = emberank("calibrate", "--data", str(collection), "--data-dir", str(data), *words)
    assert done.returncode == 2
    assert done.stderr.startswith("emberank: ")
    assert len(done.stderr.splitlines()) == 1
    assert said in done.stderr
