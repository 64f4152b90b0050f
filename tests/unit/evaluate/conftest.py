"""The tiny collection of these tests: seven documents, of which one is empty, and four queries, of which one has no judgements."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

DOCUMENTS = [
    {"_id": "wing", "title": "wing lift", "text": "wing lift grows with the angle of attack"},
    {"_id": "slip", "title": "slipstream", "text": "a propeller slipstream changes the lift of a wing"},
    {"_id": "heat", "title": "", "text": "heat conduction in composite slabs"},
    {"_id": "plate", "title": "Flat plate", "text": "heat transfer at a plate"},
    {"_id": "twin1", "text": "boundary layer suction"},
    {"_id": "twin2", "text": "boundary layer suction"},
    {"_id": "void", "title": "", "text": ""},
]
QUERIES = [
    {"_id": "q-lift", "text": "what is the lift of a wing"},
    {"_id": "q-idle", "text": "a query that nobody judged"},
    {"_id": "q-heat", "text": "heat conduction"},
    {"_id": "q-layer", "text": "suction of the boundary layer"},
]
JUDGEMENTS = "query-id\tcorpus-id\tscore\nq-lift\tslip\t2\nq-lift\twing\t1\nq-heat\theat\t1\nq-heat\tplate\t0\nq-layer\ttwin2\t1\n"


def jsonl(rows: list[dict[str, str]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.fixture
def write_collection(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes the tiny collection, with the files that a test gives in place of its own."""

    def write(corpus: str = jsonl(DOCUMENTS), queries: str = jsonl(QUERIES), qrels: str = JUDGEMENTS, qrels_name: str = "qrels.tsv") -> Path:
        folder = tmp_path / "tiny"
        (folder / qrels_name).parent.mkdir(parents=True)
        (folder / "corpus.jsonl").write_text(corpus, encoding="utf-8")
        (folder / "queries.jsonl").write_text(queries, encoding="utf-8")
        (folder / qrels_name).write_text(qrels, encoding="utf-8")
        return folder

    return write


@pytest.fixture
def tiny(write_collection: Callable[..., Path]) -> Path:
    return write_collection()
