"""The numbers that the playground draws answers with, run as a browser runs them, against numpy: vectors, maps, bars, offsets and orders."""

from __future__ import annotations

import base64
import itertools
import json
import random
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from emberank.dialects.scores import sigmoid
from emberank.dialects.vectors import coded, in_base64, unit
from node_modules import modules_folder

RUN_S = 60
MODULES = ("answer_projection.js", "answer_orders.js")
# Whatever the input asks for, all in one process: [[module, function, arguments], …] in, [answer, …] out. Typed arrays are written as lists.
MAIN = """
import { readFileSync } from "node:fs";
import * as projection from "./answer_projection.js";
import * as orders from "./answer_orders.js";
const modules = { projection, orders };
const plain = (key, value) => (ArrayBuffer.isView(value) ? [...value] : value instanceof Set ? [...value] : value === undefined ? null : value);
const asked = JSON.parse(readFileSync(0, "utf8"));
const revived = (one) => (Array.isArray(one) && one[0] === "vectors" ? one[1].map((row) => Float64Array.from(row)) : Array.isArray(one) && one[0] === "vector" ? Float64Array.from(one[1]) : one);
console.log(JSON.stringify(asked.map(([module, name, words]) => modules[module][name](...words.map(revived))), plain));
"""

Floats = NDArray[np.float64]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return modules_folder(tmp_path_factory.mktemp("numbers"), MODULES, MAIN)


def answers(folder: Path, *asked: tuple[str, str, list[Any]]) -> list[Any]:
    done = subprocess.run(["node", str(folder / "main.js")], input=json.dumps(asked), capture_output=True, text=True, timeout=RUN_S, check=False)
    assert done.returncode == 0, done.stderr
    found: list[Any] = json.loads(done.stdout)
    assert len(found) == len(asked)
    return found


def vectors(rows: Floats) -> list[Any]:
    return ["vectors", rows.tolist()]


def some(n: int, dimensions: int, seed: int = 0) -> Floats:
    """Vectors of length one that are not alike in all directions."""
    rng = np.random.default_rng(seed)
    return np.asarray(unit((rng.normal(size=(n, dimensions)) * np.linspace(2, 0.2, dimensions) + 0.3).astype(np.float32)), dtype=np.float64)


def components(rows: Floats) -> tuple[Floats, Floats]:
    """Coordinates on the first two principal components and their shares of the variance, by singular values."""
    centred = rows - rows.mean(axis=0)
    u, s, _ = np.linalg.svd(centred, full_matrices=False)
    at = u[:, :2] * s[:2]
    farthest = at[np.abs(at).argmax(axis=0), [0, 1]]
    return at * np.sign(farthest), (s**2 / (s**2).sum())[:2]


def test_cosines_are_those_of_numpy_and_one_with_itself(folder: Path) -> None:
    rows = some(12, 384)
    rows[7] = 0
    (found,) = answers(folder, ("projection", "cosines", [vectors(rows)]))
    np.testing.assert_allclose(found, rows @ rows.T - np.diag(np.diag(rows @ rows.T)) + np.diag([1.0] * 7 + [0.0] + [1.0] * 4), atol=1e-12)
    assert [found[i][i] for i in range(12)] == [1] * 7 + [0] + [1] * 4


@pytest.mark.parametrize(("n", "dimensions"), [(3, 2), (6, 384), (40, 64), (100, 2048), (100, 5)])
def test_the_map_has_the_coordinates_and_shares_of_principal_components(folder: Path, n: int, dimensions: int) -> None:
    rows = some(n, dimensions, seed=n)
    (found,) = answers(folder, ("projection", "projected", [vectors(rows)]))
    at, shares = components(rows)
    np.testing.assert_allclose(found["shares"], shares, atol=1e-9)
    np.testing.assert_allclose(found["points"], at, atol=1e-7)


def test_nearly_equal_components_are_told_apart(folder: Path) -> None:
    """Of the second and third, which differ by two thousandths, the larger one is taken: what power iteration would mix."""
    rng = np.random.default_rng(5)
    left = rng.normal(size=(30, 4))
    left, _ = np.linalg.qr(left - left.mean(axis=0))
    right, _ = np.linalg.qr(rng.normal(size=(50, 4)))
    rows = left * [3.0, 2.0, 1.999, 1.0] @ right.T
    (found,) = answers(folder, ("projection", "projected", [vectors(rows)]))
    at, shares = components(rows)
    np.testing.assert_allclose(found["points"], at, atol=1e-6)
    np.testing.assert_allclose(found["shares"], shares, atol=1e-9)


def test_a_map_is_the_same_every_time_and_its_farthest_points_are_positive(folder: Path) -> None:
    rows = some(9, 20)
    first, again, turned = answers(folder, *[("projection", "projected", [vectors(each)]) for each in (rows, rows, -rows)])
    assert first == again
    for found in (first, turned):
        at = np.array(found["points"])
        assert (at[np.abs(at).argmax(axis=0), [0, 1]] > 0).all()
    np.testing.assert_allclose(np.abs(first["points"]), np.abs(turned["points"]), atol=1e-9)


def test_a_map_of_none_of_one_of_equal_and_of_two_vectors_is_finite(folder: Path) -> None:
    one = some(1, 8)
    cases = [np.empty((0, 0)), one, np.repeat(one, 5, axis=0), np.zeros((3, 8)), some(2, 8)]
    none, alone, equal, zeros, two = answers(folder, *[("projection", "projected", [vectors(rows)]) for rows in cases])
    assert none == {"points": [], "shares": None}
    assert alone == {"points": [[0, 0]], "shares": None}
    assert equal == {"points": [[0, 0]] * 5, "shares": None}
    assert zeros["shares"] is None
    assert two["shares"] == pytest.approx([1, 0], abs=1e-12)
    assert np.linalg.norm(np.subtract(*two["points"])) == pytest.approx(np.linalg.norm(np.subtract(*cases[-1])))


@pytest.mark.parametrize("kind", ["float", "int8", "uint8", "binary", "ubinary"])
@pytest.mark.parametrize("in_text", [False, True])
def test_every_type_of_answer_is_read_as_the_vector_that_it_was_made_of(folder: Path, kind: Any, in_text: bool) -> None:
    rows = some(4, 64).astype(np.float32)
    codes = coded(rows, kind)
    embeddings = in_base64(codes) if in_text else codes.tolist()
    read = answers(folder, *[("projection", "entriesOf", [embedding, kind]) for embedding in embeddings])
    np.testing.assert_allclose(read, codes.astype(np.float64), rtol=1e-7)
    directions = answers(folder, *[("projection", "directionOf", [["vector", entries], kind]) for entries in read])
    expected = {"float": rows, "int8": codes, "uint8": codes.astype(int) - 128}.get(kind, np.where(rows > 0, 1, -1))
    np.testing.assert_allclose(directions, expected, rtol=1e-7)


@pytest.mark.parametrize(
    "embedding",
    [[], [1, None], [1, "2"], "", "no base64 %%%", base64.b64encode(b"12345").decode(), base64.b64encode(b"\x00\x00\xc0\x7f").decode(), None, {"a": 1}],
)
def test_what_is_no_vector_is_not_read(folder: Path, embedding: Any) -> None:
    assert answers(folder, ("projection", "entriesOf", [embedding, "float"])) == [None]


def test_the_type_is_what_the_request_asked_for(folder: Path) -> None:
    bodies = [{}, {"embedding_type": "int8"}, {"embedding_type": ["ubinary"]}, {"embedding_type": "base64"}, {"output_dtype": "binary"}, None]
    found = answers(folder, *[("projection", "kindOf", [body]) for body in bodies])
    assert found == ["float", "int8", "ubinary", "float", "binary", "float"]


def test_pairs_are_in_the_order_of_their_cosines_and_of_the_inputs_where_those_are_equal(folder: Path) -> None:
    matrix = [[1, 0.5, 0.5], [0.5, 1, 0.9], [0.5, 0.9, 1]]
    (found,) = answers(folder, ("projection", "pairsOf", [matrix]))
    assert [(pair["i"], pair["j"]) for pair in found] == [(1, 2), (0, 1), (0, 2)]


@pytest.mark.parametrize("text", ["plain text", "🦇 bats 🌳", "e\u0301 é ‮abc‬", "𝒜𝒷𝒸", ""])
def test_offsets_in_code_points_mark_the_same_characters(folder: Path, text: str) -> None:
    spans = list(itertools.combinations(range(len(text) + 1), 2))
    found = answers(folder, *[("orders", "unitsOf", [text, start, end]) for start, end in spans])
    units = text.encode("utf-16-le")
    for (start, end), place in zip(spans, found, strict=True):
        assert units[2 * place[0] : 2 * place[1]].decode("utf-16-le") == text[start:end]


@pytest.mark.parametrize("offsets", [(-1, 2), (2, 2), (3, 1), (0, 5), (4, 9), (0.5, 2), (None, 2), ("0", 2), (9**15, 9**15 + 1)])
def test_offsets_that_do_not_fit_the_text_mark_nothing(folder: Path, offsets: tuple[Any, Any]) -> None:
    assert answers(folder, ("orders", "unitsOf", ["text", *offsets])) == [None]


def run(rankings: Any, scale: str = "logit", passages: int = 3) -> dict[str, Any]:
    return {"answer": {"rankings": rankings}, "body": {"passages": [{"text": f"text {i}"} for i in range(passages)]}, "headers": {"emberank-score": scale}}


def test_a_ranking_has_places_ties_and_the_scale_that_the_answer_says(folder: Path) -> None:
    logits = [2.0, -1.0, -1.0]
    entries = [{"index": i, "logit": logit, "score": sigmoid(logit)} for i, logit in zip([2, 0, 1], logits, strict=True)]
    raw, unit_scale, unnamed = answers(
        folder,
        ("orders", "rankingOf", [run(entries)]),
        ("orders", "rankingOf", [run(entries, "sigmoid")]),
        ("orders", "rankingOf", [run([{"index": 0, "logit": 1}], "sigmoid")]),  # it says sigmoid and sends none
    )
    assert [(one["index"], one["place"], one["tied"]) for one in raw["entries"]] == [(2, 1, False), (0, 2, True), (1, 3, True)]
    assert (raw["scale"], unit_scale["scale"], unnamed["scale"]) == ("logit", "sigmoid", "logit")
    assert [one["score"] for one in raw["entries"]] == logits
    assert [one["score"] for one in unit_scale["entries"]] == pytest.approx([sigmoid(logit) for logit in logits])


def test_entries_that_cannot_be_read_are_counted_and_left_out(folder: Path) -> None:
    odd = [None, 7, {"index": "0", "logit": 1}, {"index": -1, "logit": 1}, {"index": 0, "logit": "x"}, {"index": 1, "logit": 0.5, "score": None}]
    found, none, other = answers(folder, *[("orders", "rankingOf", [each]) for each in (run(odd), {"answer": None}, run("text"))])
    assert [one["index"] for one in found["entries"]] == [1]
    assert found["unread"] == 5
    assert none is None
    assert other is None


AXIS = """
import { axisOf } from "./answer_orders.js";
const [scores, unit] = JSON.parse(process.argv[2]);
const axis = axisOf(scores, unit);
console.log(JSON.stringify({ ...axis, bars: scores.map((score) => axis.bar(score)) }));
"""


def bars(folder: Path, scores: list[float], unit_scale: bool) -> Any:
    (folder / "axis.js").write_text(AXIS, "utf-8")
    words = ["node", str(folder / "axis.js"), json.dumps([scores, unit_scale])]
    return json.loads(subprocess.run(words, capture_output=True, text=True, timeout=RUN_S, check=True).stdout)


@pytest.mark.parametrize("scores", [[3.0, 1.0, -2.0], [-0.5, -4.0], [9.0, 2.0], [0.0, 0.0], [-1e-9, 1e9]])
def test_bars_of_raw_scores_begin_at_zero_and_are_as_long_as_the_scores(folder: Path, scores: list[float]) -> None:
    found = bars(folder, scores, False)
    assert found["low"] == min(0, *scores)
    assert found["high"] == max(0, *scores)
    span = found["high"] - found["low"] or 1
    for score, bar in zip(scores, found["bars"], strict=True):
        assert bar["length"] == pytest.approx(100 * abs(score) / span)
        zero_end = bar["start"] if score >= 0 else bar["start"] + bar["length"]
        assert zero_end == pytest.approx(found["zero"], abs=1e-6)
        assert -1e-9 <= bar["start"] <= bar["start"] + bar["length"] <= 100 + 1e-6


def test_bars_from_zero_to_one_do_not_stretch_to_the_best_score(folder: Path) -> None:
    found = bars(folder, [0.06, 0.003], True)
    assert (found["low"], found["high"], found["zero"]) == (0, 1, 0)
    assert [bar["length"] for bar in found["bars"]] == pytest.approx([6, 0.3])


def tau_b(left: Sequence[float], right: Sequence[float]) -> float | None:
    """Kendall's tau-b by its definition, over all ordered pairs."""
    a, b = (np.sign(np.subtract.outer(each, each)) for each in (left, right))
    below = np.sqrt((a * a).sum() * (b * b).sum())
    return float((a * b).sum() / below) if below else None


def test_agreement_of_two_orders_is_kendalls_tau_with_ties(folder: Path) -> None:
    rnd = random.Random(3)
    cases = [([rnd.randint(0, most) for _ in range(n)], [rnd.randint(0, most) for _ in range(n)]) for n in (2, 3, 7, 40) for most in (2, 9, 1000)]
    cases += [([1, 2, 3], [10, 20, 30]), ([1, 2, 3], [3, 2, 1]), ([1, 1], [1, 2]), ([], []), ([1], [2])]
    found = answers(folder, *[("orders", "agreement", [left, right]) for left, right in cases])
    for (left, right), one in zip(cases, found, strict=True):
        expected = tau_b(left, right) if len(left) > 1 else None
        assert one["tau"] == (None if expected is None else pytest.approx(expected))
        assert one["same"] + one["turned"] <= one["pairs"] == len(left) * (len(left) - 1) / 2


def test_the_same_things_in_two_lists_meet_and_equal_ones_in_their_order(folder: Path) -> None:
    assert answers(folder, ("orders", "matched", [["a", "b", "a", "c"], ["a", "x", "a", "a", "b"]])) == [[[0, 0], [1, 4], [2, 2]]]


def test_what_was_cut_is_read_from_the_header(folder: Path) -> None:
    said = ["1,4", "0,...", "over 12 pairs", None]
    found = answers(folder, *[("orders", "truncatedOf", [{"headers": {"emberank-truncated": each}}]) for each in said])
    assert [one["places"] for one in found] == [[1, 4], [0], [], []]
    assert [one["more"] for one in found] == [False, True, False, False]
    assert [one["words"] for one in found] == ["", "", "over 12 pairs", ""]


def test_inputs_are_told_apart_as_text_image_and_both(folder: Path) -> None:
    url = "data:image/png;base64,AAAA"
    (found,) = answers(folder, ("orders", "inputsOf", [{"input": ["text", url, f'<img src="{url}"/>both', {"text": "t", "image": url}, 7]}]))
    assert found == [
        {"text": "text", "image": None},
        {"text": "", "image": url},
        {"text": "both", "image": url},
        {"text": "t", "image": url},
        {"text": "", "image": None},
    ]
    assert answers(folder, ("orders", "inputsOf", [{"input": "one"}])) == [[{"text": "one", "image": None}]]


@pytest.mark.parametrize(
    ("value", "decimals", "words"),
    [(1.23456, 3, "1.235"), (-4.069001, 3, "−4.069"), (0, 3, "0.000"), (0.0000123, 3, "0.000012"), (-0.0004, 3, "−0.00040"), (1e-20, 3, "1.0e−20")],
)
def test_no_number_is_rounded_to_nothing(folder: Path, value: float, decimals: int, words: str) -> None:
    assert answers(folder, ("orders", "written", [value, decimals])) == [words]


@pytest.mark.parametrize(
    ("ms", "words"),
    [
        (0, "0.00 ms"),
        (0.18, "0.18 ms"),
        (0.0004, "0.00040 ms"),
        (23.41, "23.4 ms"),
        (999.4, "999 ms"),
        (999.9, "1.00 s"),
        (59_999, "1 min 0 s"),
        (61_200, "1 min 1 s"),
        (None, "not known"),
    ],
)
def test_a_time_is_written_in_the_unit_that_suits_it(folder: Path, ms: float | None, words: str) -> None:
    assert answers(folder, ("orders", "duration", [ms])) == [words]


def test_scores_get_the_decimals_that_tell_them_apart(folder: Path) -> None:
    cases = [[1.5, 2.5], [1.23411, 1.23429], [1.0, 1.0], [0.99999, 0.5], [0.0002, 0.5], [1e-12, 0.5], []]
    found = answers(folder, *[("orders", "decimalsFor", [case]) for case in cases])
    assert found == [3, 4, 3, 5, 4, 6, 3]
