from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emberank.contract.errors import StartError
from emberank.evaluate.runfile import Hit, ranked, read_run, write_run


def test_equal_scores_keep_the_order_they_came_in() -> None:
    assert [hit.document for hit in ranked(["d", "c", "b", "a"], [1.0, 2.0, 1.0, 2.0])] == ["c", "a", "d", "b"]


def test_a_run_file_has_the_six_columns_of_trec(tmp_path: Path) -> None:
    write_run(tmp_path / "run.trec", {"q1": [Hit("b", 2.5), Hit("a", -1.25)], "q2": [Hit("a", 0.1)]}, "tag")
    assert (tmp_path / "run.trec").read_text() == "q1 Q0 b 1 2.5 tag\nq1 Q0 a 2 -1.25 tag\nq2 Q0 a 1 0.100000001 tag\n"


@given(st.lists(st.floats(-1e30, 1e30), max_size=40))
def test_the_order_survives_a_program_that_reads_32_bit_scores_and_breaks_ties_by_id(tmp_path_factory: pytest.TempPathFactory, scores: list[float]) -> None:
    path = tmp_path_factory.getbasetemp() / "order.trec"
    hits = ranked([f"d{i:02}" for i in range(len(scores))], scores)
    write_run(path, {"q": hits}, "tag")
    rows = [line.split() for line in path.read_text().splitlines()]
    by_score = sorted(rows, key=lambda row: (np.float32(row[4]), row[2]), reverse=True)
    assert [row[2] for row in by_score] == [hit.document for hit in hits]
    assert [hit.document for hit in read_run(path).get("q", ())] == [hit.document for hit in hits]


def test_what_was_read_and_written_again_is_the_same_file(tmp_path: Path) -> None:
    write_run(tmp_path / "once", {"q": [Hit("c", 3.3), Hit("b", 1.0), Hit("a", 1.0), Hit("d", 1.0)]}, "tag")
    write_run(tmp_path / "twice", read_run(tmp_path / "once"), "tag")
    assert (tmp_path / "once").read_bytes() == (tmp_path / "twice").read_bytes()


def test_another_programs_run_is_ordered_by_score_and_then_by_rank(tmp_path: Path) -> None:
    (tmp_path / "theirs").write_text("q Q0 low 1 0.5 x\nq Q0 second 3 0.7 x\n\nq Q0 first 2 0.7 x\n")
    assert read_run(tmp_path / "theirs") == {"q": (Hit("first", 0.7), Hit("second", 0.7), Hit("low", 0.5))}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("q Q0 a 1 0.5 x\nq Q0 b 2\n", "run.trec:2: expected `qid Q0 docid rank score tag`"),
        ("q Q0 a first 0.5 x\n", "run.trec:1: expected"),
        ("q Q0 a 1 0.5 x\nq Q0 a 2 0.4 x\n", "run.trec:2: document 'a' appears twice for query 'q'"),
    ],
)
def test_a_fault_in_a_run_file_is_named_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "run.trec").write_text(text)
    with pytest.raises(StartError, match=message):
        read_run(tmp_path / "run.trec")


def test_a_run_file_that_cannot_be_opened_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(StartError, match=r"cannot be read: No such file"):
        read_run(tmp_path / "none")
    with pytest.raises(StartError, match=r"cannot be written: No such file"):
        write_run(tmp_path / "none" / "run.trec", {}, "tag")
