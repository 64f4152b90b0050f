"""A judged folder and a scorer: which pairs are made of them, what is refused with which numbers, and what is printed."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from emberank.contract.errors import SettingError, StartError
from emberank.evaluate.calibrate import CalibrateOptions, CalibrationReport, Sample, calibrate, fitted
from emberank.evaluate.calibration_flags import add_calibration_flags, calibration_options
from emberank.evaluate.calibration_report import calibration_plain, calibration_table
from emberank.evaluate.collection import load_collection
from emberank.evaluate.platt import fit_platt, mean_loss, sigmoid
from emberank.evaluate.runfile import Hit, write_run

QUERIES, DOCUMENTS = 30, 12
SLOPE, INTERCEPT = 0.7, -1.2


def scores_of(seed: int = 5) -> np.ndarray:
    """(queries, documents) what the scorer says."""
    return np.random.default_rng(seed).normal(0, 2, (QUERIES, DOCUMENTS))


def write_folder(folder: Path, *, queries: int = QUERIES, relevant: Callable[[int, int], int] | None = None) -> Path:
    """Each query finds its own twelve documents; which are relevant is drawn with the sigmoid of their scores."""
    chance = sigmoid(SLOPE * scores_of() + INTERCEPT)
    truth = np.random.default_rng(6).random(chance.shape) < chance
    grade = relevant or (lambda q, d: int(truth[q, d]))
    folder.mkdir()
    rows = [{"_id": f"d{q}-{d}", "text": f"topic{q} paper number{d}"} for q in range(QUERIES) for d in range(DOCUMENTS)]
    (folder / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "queries.jsonl").write_text("".join(json.dumps({"_id": f"q{q}", "text": f"topic{q}"}) + "\n" for q in range(queries)))
    grades = [f"q{q}\td{q}-{d}\t{grade(q, d)}\n" for q in range(queries) for d in range(DOCUMENTS) if grade(q, d) or d == 0]
    (folder / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(grades))
    return folder


def scorer(query: str, passages: Sequence[str]) -> list[float]:
    known, q = scores_of(), int(query.removeprefix("topic"))
    return [float(known[q, int(passage.rpartition("number")[2])]) for passage in passages]


def never(query: str, passages: Sequence[str]) -> list[float]:
    raise AssertionError("nothing was to be scored")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "papers")


def refused(options: CalibrateOptions, who: Callable[[str, Sequence[str]], list[float]] = scorer) -> str:
    with pytest.raises(StartError) as caught:
        calibrate(options, who)
    assert "\n" not in caught.value.message
    return caught.value.message


def test_the_pairs_are_what_the_first_stage_finds_and_the_figures_are_of_queries_not_fitted_to(folder: Path) -> None:
    report = calibrate(CalibrateOptions(data=folder), scorer)
    sample = report.sample
    assert (sample.collection, sample.queries, sample.pairs, sample.depth, sample.missed) == ("papers", 30, 360, 12, 0)
    judged = sum(map(len, load_collection(folder).judgements.values()))
    assert 0 < sample.relevant < judged
    assert sample.unjudged == 360 - judged
    assert report.fit.slope == pytest.approx(SLOPE, abs=0.15)
    assert report.fit.intercept == pytest.approx(INTERCEPT, abs=0.3)
    assert len(report.folds) == 5
    base, plain, calibrated = report.figures
    assert (base.name, plain.name, calibrated.name) == ("base rate", "sigmoid", "calibrated")
    assert calibrated.log_loss < plain.log_loss
    assert calibrated.log_loss < base.log_loss
    assert calibrated.ece < plain.ece
    assert sum(one.n for one in calibrated.bins) == 360


def test_a_pair_is_never_judged_by_a_fit_that_saw_its_query() -> None:
    random = np.random.default_rng(0)
    query = np.repeat(np.arange(40), 25)
    scores = random.normal(0, 1, 1000)
    relevant = random.random(1000) < sigmoid(2 * scores - 1)
    sample = Sample(collection="c", queries=40, pairs=1000, relevant=int(relevant.sum()), unjudged=0, missed=0, depth=25, relevant_from=1, first_stage="x")
    report = fitted(scores, relevant, query, sample=sample, folds=4, seed=9)
    order = np.random.default_rng(9).permutation(40)
    held = np.isin(query, order[0::4])
    assert report.folds[0] == fit_platt(scores[~held], relevant[~held])
    expected = np.empty_like(scores)
    for fold, fit in enumerate(report.folds):
        inside = np.isin(query, order[fold::4])
        expected[inside] = fit.logits(scores[inside])
    assert report.figures[2].log_loss == pytest.approx(mean_loss(expected, relevant.astype(float)), rel=1e-12)
    assert fitted(scores, relevant, query, sample=sample, folds=4, seed=9) == report
    assert fitted(scores, relevant, query, sample=sample, folds=4, seed=10) != report


def test_judged_documents_that_were_not_found_are_counted_and_not_added(folder: Path) -> None:
    with (folder / "qrels.tsv").open("a") as file:
        file.write("q0\td1-0\t1\nq0\tno-such-document\t1\n")
    assert calibrate(CalibrateOptions(data=folder), scorer).sample.missed == 2


def test_only_grades_from_the_chosen_one_on_are_relevant(tmp_path: Path) -> None:
    best = scores_of()
    folder = write_folder(tmp_path / "graded", relevant=lambda q, d: 2 if best[q, d] > 1 and d % 3 else 1)
    strict = calibrate(CalibrateOptions(data=folder, relevant_from=2), scorer).sample
    assert strict.relevant == sum(best[q, d] > 1 and d % 3 > 0 for q in range(QUERIES) for d in range(DOCUMENTS))
    assert "relevant of grade 2 or more" in strict.sentence


@pytest.mark.parametrize(
    ("queries", "relevant", "said"),
    [
        (19, None, r"too little to calibrate on: 1[0-9] queries with a relevant document, \d+ relevant pairs and \d+ others; it takes 20, 50 and 50 at least"),
        (30, lambda q, d: int(d == 0), "30 queries with a relevant document, 30 relevant pairs and 330 others"),
        (30, lambda q, d: int((q, d) != (0, 0)), "30 queries with a relevant document, 359 relevant pairs and 1 others"),
    ],
)
def test_too_little_data_is_refused_with_numbers_before_anything_is_scored(
    tmp_path: Path, queries: int, relevant: Callable[[int, int], int] | None, said: str
) -> None:
    assert re.search(said, refused(CalibrateOptions(data=write_folder(tmp_path / "few", queries=queries, relevant=relevant)), never))


def test_scores_that_put_the_relevant_last_are_refused(folder: Path) -> None:
    said = refused(CalibrateOptions(data=folder), lambda query, passages: [-score for score in scorer(query, passages)])
    assert said.startswith("a higher score does not mean a more relevant passage here: the fitted slope is -0.")
    assert "over 360 pairs" in said


def test_scores_that_say_nothing_are_refused(folder: Path) -> None:
    # Hardly turned towards relevance: the slope has the right sign, and on other queries it helps nothing.
    random = np.random.default_rng(11)
    query = np.repeat(np.arange(30), 12)
    relevant = random.random(360) < 0.3
    scores = random.normal(0, 1, 360) + 0.08 * relevant
    sample = Sample(collection="c", queries=30, pairs=360, relevant=int(relevant.sum()), unjudged=0, missed=0, depth=12, relevant_from=1, first_stage="x")
    with pytest.raises(StartError, match=r"say nothing of relevance|a higher score does not mean"):
        fitted(scores, relevant, query, sample=sample)


def test_one_score_for_everything_is_refused(folder: Path) -> None:
    assert "every one of the 360 pairs has the score 0.5" in refused(CalibrateOptions(data=folder), lambda query, passages: [0.5] * len(passages))


def test_a_run_file_stands_in_the_place_of_scoring(folder: Path, tmp_path: Path) -> None:
    known = scores_of()
    hits = {f"q{q}": [Hit(f"d{q}-{d}", float(known[q, d])) for d in np.argsort(-known[q])] for q in range(QUERIES)}
    write_run(tmp_path / "own.trec", {**hits, "nobody-judged-this": [Hit("d0-0", 1.0)]}, "x")
    report = calibrate(CalibrateOptions(data=folder, run_file=tmp_path / "own.trec"), never)
    scored = calibrate(CalibrateOptions(data=folder), scorer)
    assert (report.fit.slope, report.fit.intercept) == pytest.approx((scored.fit.slope, scored.fit.intercept), rel=1e-4)
    assert report.sample == replace(scored.sample, first_stage="own.trec")
    (tmp_path / "other.trec").write_text("zz Q0 d0-0 1 0.5 x\n")
    assert refused(CalibrateOptions(data=folder, run_file=tmp_path / "other.trec")) == "the run file other.trec has none of the 30 judged queries of papers"
    (tmp_path / "nan.trec").write_text("q1 Q0 d0-0 1 nan x\n")
    assert "not a finite number" in refused(CalibrateOptions(data=folder, run_file=tmp_path / "nan.trec"))


# what is printed


@pytest.fixture
def report(folder: Path) -> CalibrationReport:
    return calibrate(CalibrateOptions(data=folder), scorer)


def test_the_table_has_the_prevalence_the_gain_and_the_diagram(report: CalibrationReport) -> None:
    lines = calibration_table(report).splitlines()
    sample = report.sample
    assert lines[0] == f"papers: 30 queries, 360 pairs, {sample.relevant} relevant ({sample.prevalence:.1%})"
    assert [line.split()[0] for line in lines[2:6]] == ["Brier", "base", "sigmoid", "calibrated"]
    rows = [line.split() for line in lines if line.startswith("0.")]
    assert [row[0] for row in rows] == [f"0.{i}" for i in range(10)]
    assert sum(int(row[3]) for row in rows) == 360
    assert f"Nobody judged {sample.unjudged} of them; they count as not relevant." in "\n".join(lines)
    assert "not for a whole corpus" in "\n".join(lines)
    assert all(len(line) <= 200 for line in lines)


def test_the_object_for_programs_is_json_and_holds_every_number(report: CalibrationReport) -> None:
    plain = json.loads(json.dumps(calibration_plain(report), allow_nan=False))
    assert plain["slope"] == report.fit.slope
    assert plain["sample"]["prevalence"] == report.sample.relevant / 360
    assert set(plain["figures"]) == {"base_rate", "sigmoid", "calibrated"}
    assert len(plain["figures"]["sigmoid"]["bins"]) == 10
    assert len(plain["folds"]) == 5
    assert (
        plain["data"] == f"papers qrels, 30 queries, n = 360 pairs, {report.sample.relevant} relevant: the best 12 of each query by {report.sample.first_stage}"
    )


# flags


def parsed(*words: str) -> CalibrateOptions:
    parser = argparse.ArgumentParser()
    add_calibration_flags(parser)
    return calibration_options(parser.parse_args(words))


def test_a_folder_is_enough_and_every_flag_reaches_its_option(tmp_path: Path) -> None:
    assert parsed("--data", str(tmp_path)) == CalibrateOptions(data=tmp_path)
    words = ["--depth", "7", "--queries", "30", "--relevant-from", "2", "--folds", "3", "--seed", "4"]
    assert parsed("--data", str(tmp_path), *words) == CalibrateOptions(data=tmp_path, depth=7, queries=30, relevant_from=2, folds=3, seed=4)


@pytest.mark.parametrize(
    "words",
    [["--depth", "0"], ["--queries", "0"], ["--relevant-from", "0"], ["--folds", "1"], ["--folds", "21"], ["--seed", "-1"], ["--run-file", "no-such.trec"]],
)
def test_what_could_only_fail_later_is_refused_now(tmp_path: Path, words: list[str]) -> None:
    with pytest.raises(SettingError, match=words[0]):
        parsed("--data", str(tmp_path), *words)


def test_a_run_file_and_a_server_contradict_each_other(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    with pytest.raises(SettingError, match="--run-file and --url cannot stand together"):
        parsed("--data", str(tmp_path), "--run-file", str(tmp_path / "run"), "--url", "http://h")


def test_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"--data .* is not a folder"):
        parsed("--data", str(tmp_path / "none"))
