"""Cohere's and TEI's rerank: bodies in, answers out, and what an endpoint's answer has to be before it is rendered."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from emberank.contract.errors import BadRequest, ServerFault
from emberank.contract.inference import Chunk, Ranked
from emberank.dialects import cohere, tei
from emberank.dialects.answers import Ranking, read_embeddings, read_ranking
from emberank.dialects.asked import AskedRank, Told
from emberank.dialects.nim import Rules
from emberank.dialects.routes import ROUTES
from emberank.dialects.scores import Calibration, sigmoid

ASKED: dict[str, Any] = {"query": "which way?", "documents": ["two roads", "the ice"]}
TEXTS: dict[str, Any] = {"query": "which way?", "texts": ["two roads", "the ice"]}
RANKING = Ranking(ranked=(Ranked(1, 2.0), Ranked(0, -1.0)), prompt_tokens=12)
TOLD = Told(model="m", request_id="r", calibration=Calibration(2.0, 1.0))
IMAGE = "data:image/png;base64,AAAA"


def answered(**fields: Any) -> Any:
    return json.loads(cohere.read_rerank(ASKED | fields, 9).render([RANKING], TOLD))


def test_documents_are_texts_or_objects() -> None:
    asked = cohere.read_rerank(ASKED | {"documents": ["a", {"text": "b"}, {"text": "c", "image": IMAGE}, {"image": IMAGE}]}, 9)
    (call,) = asked.calls
    assert [(one.text, one.image) for one in call.passages] == [("a", None), ("b", None), ("c", IMAGE), (None, IMAGE)]
    assert (call.query.text, call.truncate, call.top_n, asked.score) == ("which way?", "END", None, "sigmoid")


def test_other_fields_than_text_may_be_ranked() -> None:
    asked = cohere.read_rerank(ASKED | {"documents": [{"title": "T", "body": "B", "id": 7}], "rank_fields": ["title", "body"]}, 9)
    assert asked.calls[0].passages[0].text == "T\nB"


@pytest.mark.parametrize(
    ("fields", "many"), [({}, 2), ({"top_n": 1}, 1), ({"top_k": 1}, 1), ({"top_n": None, "top_k": None}, 2), ({"top_n": 0}, 2), ({"top_n": 99}, 2)]
)
def test_null_and_nought_are_no_limit(fields: dict[str, Any], many: int) -> None:
    assert len(answered(**fields)["results"]) == many
    assert cohere.read_rerank(ASKED | fields, 9).calls[0].top_n is None


def test_a_field_that_is_named_again_is_ranked_once() -> None:
    (call,) = cohere.read_rerank(ASKED | {"documents": [{"text": "a", "title": "t"}], "rank_fields": ["text", "title", "text"]}, 9).calls
    assert call.passages[0].text == "a\nt"


def test_what_changes_nothing_is_ignored_and_named_and_null_is_absent() -> None:
    asked = cohere.read_rerank(ASKED | {"max_tokens_per_doc": None, "score_mode": None, "priority": 3, "model": None, "return_documents": None}, 9)
    assert (asked.ignored, asked.calls[0].model) == (("priority",), None)


def test_cut_or_refused_is_voyages_word_or_nims() -> None:
    assert cohere.read_rerank(ASKED | {"truncation": False}, 9).calls[0].truncate == "NONE"
    assert cohere.read_rerank(ASKED | {"truncation": "false", "truncate": "END"}, 9).calls[0].truncate == "END"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"query": None}, "query: missing field"),
        ({"query": {"text": "x"}}, "query must be a string, not an object"),
        ({"documents": None}, "documents: missing field"),
        ({"documents": "x"}, "documents must be an array, not a string"),
        ({"documents": []}, "documents must not be empty"),
        ({"documents": ["x"] * 10}, "documents holds 10 entries; at most 9"),
        ({"documents": ["x", " "]}, "documents[1] must not be blank"),
        ({"documents": [3]}, "documents[0] must be a string or an object, not a number"),
        ({"documents": [{"title": "x"}]}, "documents[0] has nothing to rank: text must hold text"),
        ({"documents": [{"text": 3}]}, "documents[0]: the fields that are ranked must be strings"),
        ({"documents": [{"image": "https://example.org/a.png"}]}, "documents[0].image must be a data URL"),
        ({"rank_fields": "title"}, "rank_fields must be an array"),
        ({"rank_fields": []}, "rank_fields must be an array"),
        ({"rank_fields": [f"f{i}" for i in range(101)]}, "rank_fields holds 101 names; at most 100"),
        ({"top_n": "three"}, "top_n must be a whole number"),
        ({"top_n": -1}, "top_n must be a whole number from 1 on; got -1"),
        ({"return_documents": 1}, "return_documents must be true or false"),
        ({"model": 7}, "model must be a string"),
        ({"truncate": "START"}, "truncate must be one of 'NONE', 'END'"),
    ],
)
def test_a_bad_body_is_refused_by_field(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(BadRequest) as refused:
        cohere.read_rerank(ASKED | fields, 9)
    assert said in refused.value.message


def test_one_answer_serves_cohere_and_voyage() -> None:
    body = answered()
    scores = [{"index": 1, "relevance_score": pytest.approx(1 / (1 + math.exp(-2)))}, {"index": 0, "relevance_score": pytest.approx(1 / (1 + math.e))}]
    assert body["results"] == body["data"] == scores
    assert (body["id"], body["object"], body["model"]) == ("r", "rerank", "m")
    assert body["usage"] == {"prompt_tokens": 12, "total_tokens": 12}
    assert body["meta"]["billed_units"] == {"search_units": 1}


def test_documents_come_back_as_each_reader_takes_them() -> None:
    both = answered(return_documents=True, top_n=1)
    assert [one["document"] for one in both["results"]] == [{"text": "the ice"}]
    assert [one["document"] for one in both["data"]] == ["the ice"]
    assert answered(return_documents="true", raw_scores=False)["results"][0]["document"] == "the ice"
    assert "document" not in answered(return_documents=False)["results"][0]


def test_raw_scores_are_logits() -> None:
    assert [one["relevance_score"] for one in answered(raw_scores=True)["results"]] == [2.0, -1.0]


def test_teis_answer_is_a_bare_array() -> None:
    def rendered(**fields: Any) -> Any:
        return json.loads(tei.read_rerank(TEXTS | fields, 9).render([RANKING], TOLD))

    assert rendered() == [{"index": 1, "score": pytest.approx(1 / (1 + math.exp(-2)))}, {"index": 0, "score": pytest.approx(1 / (1 + math.e))}]
    assert rendered(raw_scores=True, return_text=True) == [{"index": 1, "score": 2.0, "text": "the ice"}, {"index": 0, "score": -1.0, "text": "two roads"}]
    assert len(rendered(top_n=1)) == 1


def test_tei_cuts_only_when_it_is_told_to() -> None:
    assert tei.read_rerank(TEXTS, 9).calls[0].truncate == "NONE"
    assert tei.read_rerank(TEXTS | {"truncate": True, "truncation_direction": "Right"}, 9).calls[0].truncate == "END"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"documents": ["x"]}, "texts and documents are two dialects"),
        ({"texts": "x"}, "texts must be an array of strings, not a string"),
        ({"texts": []}, "texts must not be empty"),
        ({"texts": ["x"] * 10}, "texts holds 10 entries"),
        ({"texts": ["x", 3]}, "texts[1] must be a string, not a number"),
        ({"texts": [""]}, "texts[0] must not be blank"),
        ({"truncate": True, "truncation_direction": "Left"}, "truncation_direction 'Left' is not supported"),
        ({"truncation_direction": "up"}, "truncation_direction must be one of 'right', 'left'"),
        ({"raw_scores": "yes"}, "raw_scores must be true or false; got 'yes'"),
    ],
)
def test_a_bad_tei_body_is_refused_by_field(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(BadRequest) as refused:
        tei.read_rerank(TEXTS | fields, 9)
    assert said in refused.value.message


def nim(*rankings: Any, **more: Any) -> bytes:
    return json.dumps({"rankings": list(rankings), **more}).encode()


def test_an_endpoints_order_is_not_trusted_and_its_usage_may_be_missing() -> None:
    found = read_ranking(nim({"index": 0, "logit": -1}, {"index": 1, "logit": 2.5}), 2)
    assert found == Ranking(ranked=(Ranked(1, 2.5), Ranked(0, -1.0)), prompt_tokens=0)
    assert read_ranking(nim({"index": 0, "logit": 1}, usage={"prompt_tokens": 7}), 1).prompt_tokens == 7


@pytest.mark.parametrize(
    "body",
    [
        b"<html>",
        b"[]",
        b"{}",
        nim({"index": 0}),
        nim({"index": 0, "logit": None}),
        nim({"index": 0, "logit": 1}),
        nim({"index": 0, "logit": 1}, {"index": 0, "logit": 2}),
        nim({"index": 0, "logit": 1}, {"index": 2, "logit": 2}),
        nim({"index": 0, "logit": 1}, {"index": -1, "logit": 2}),
        nim({"index": "0", "logit": 1}, {"index": 1, "logit": 2}),
        nim({"index": False, "logit": 1}, {"index": True, "logit": 2}),
        b'{"rankings":[{"index":0,"logit":1e999},{"index":1,"logit":2}]}',
        nim({"index": 0, "logit": True}, {"index": 1, "logit": 2}),
        nim({"index": 0, "logit": "1.5"}, {"index": 1, "logit": 2}),
    ],
)
def test_an_answer_that_is_not_whole_is_nobody_elses_fault(body: bytes) -> None:
    with pytest.raises(ServerFault):
        read_ranking(body, 2)


def embedded(*vectors: object) -> bytes:
    return json.dumps({"data": [{"index": i, "embedding": vector} for i, vector in enumerate(vectors)][::-1]}).encode()


@pytest.mark.parametrize(
    ("vectors", "kind"),
    [
        ([[]], "float"),
        ([[1e300]], "float"),
        ([[1.0], [1.0, 2.0]], "float"),
        ([["a"]], "float"),
        (["AAA"], "float"),
        ([[0.5, -0.9]], "int8"),
        ([[200]], "int8"),
        ([[-1]], "uint8"),
        ([None], "float"),
        ([[1.0], [2.0], [3.0]], "float"),
    ],
)
def test_embeddings_that_are_not_whole_are_nobody_elses_fault(vectors: list[object], kind: str) -> None:
    with pytest.raises(ServerFault):
        read_embeddings(embedded(*vectors), 2 if len(vectors) == 3 else len(vectors), kind)


def test_embeddings_are_read_in_the_order_of_the_inputs_from_numbers_and_from_base64() -> None:
    assert read_embeddings(embedded([1.0, 2.0], [3.0, 4.0]), 2).vectors.tolist() == [[1.0, 2.0], [3.0, 4.0]]
    assert read_embeddings(embedded("AACAPw=="), 1).vectors.tolist() == [[1.0]]
    assert read_embeddings(embedded([-128, 127]), 1, "int8").vectors.tolist() == [[-128, 127]]


PIECE = {"start": 3, "end": 9, "number": 0, "of": 2}


def test_a_piece_is_believed_of_our_own_server_alone() -> None:
    answer = nim({"index": 0, "logit": 1.0, "chunk": PIECE})
    assert read_ranking(answer, 1, pieces=True).ranked[0].chunk == Chunk(3, 9, 0, 2)
    assert read_ranking(nim({"index": 0, "logit": 1.0, "chunk": []}), 1).ranked[0].chunk is None


@pytest.mark.parametrize("wrong", [{}, [], {"start": 9}, {"end": 3}, {"number": 2}, {"of": 0}, {"start": -1}, {"start": 1.5}])
def test_a_piece_that_is_none_is_a_fault(wrong: Any) -> None:
    with pytest.raises(ServerFault):
        read_ranking(nim({"index": 0, "logit": 1.0, "chunk": PIECE | wrong if wrong else wrong}), 1, pieces=True)


def test_a_sigmoid_never_overflows() -> None:
    assert [sigmoid(x) for x in (-1e4, 0.0, 1e4)] == [0.0, 0.5, 1.0]


def read(path: str, body: dict[str, Any]) -> AskedRank:
    (route,) = [route for route in ROUTES if route.path == path]
    asked = route.read(body, Rules())
    assert isinstance(asked, AskedRank)
    return asked


def test_infinitys_path_alone_gets_strings() -> None:
    asked = ASKED | {"return_documents": True}
    found = [json.loads(read(path, asked).render([RANKING], TOLD))["results"][0]["document"] for path in ("/rerank", "/infinity/rerank")]
    assert found == [{"text": "the ice"}, "the ice"]
    assert json.loads(read("/rerank", TEXTS).render([RANKING], TOLD))[0]["index"] == 1


@pytest.mark.parametrize(
    ("asked", "scores"),
    [
        ({}, [sigmoid(2.0), sigmoid(-1.0)]),
        ({"score_mode": "raw"}, [2.0, -1.0]),
        ({"score_mode": "LOGIT"}, [2.0, -1.0]),
        ({"score_mode": "calibrated"}, [sigmoid(5.0), sigmoid(-1.0)]),
        ({"raw_scores": True, "score_mode": "logit"}, [2.0, -1.0]),
        ({"raw_scores": False, "score_mode": "logit"}, [2.0, -1.0]),
    ],
)
def test_score_mode_says_what_a_score_is_in_every_dialect(asked: dict[str, Any], scores: list[float]) -> None:
    assert [one["relevance_score"] for one in answered(**asked)["results"]] == scores
    assert [one["score"] for one in json.loads(read("/rerank", TEXTS | asked).render([RANKING], TOLD))] == scores
    mode = {name: value for name, value in asked.items() if name == "score_mode"}
    nim = json.loads(read("/v1/ranking", {"query": {"text": "q"}, "passages": [{"text": "a"}, {"text": "b"}], **mode}).render([RANKING], TOLD))
    assert [one["logit"] for one in nim["rankings"]] == [2.0, -1.0]
    assert [one.get("score") for one in nim["rankings"]] == (scores if "score_mode" in asked else [None, None])


@pytest.mark.parametrize("mode", ["probability", "", 1, True, ["sigmoid"]])
def test_another_score_mode_is_refused(mode: object) -> None:
    with pytest.raises(BadRequest, match="score_mode must be one of 'raw', 'logit', 'sigmoid', 'calibrated'; got"):
        cohere.read_rerank(ASKED | {"score_mode": mode}, 9)


def test_long_documents_are_cut_or_read_in_pieces_and_the_best_piece_is_named() -> None:
    (call,) = cohere.read_rerank(ASKED | {"max_tokens_per_doc": 64, "max_chunks_per_doc": 3}, 9).calls
    assert (call.max_passage_tokens, call.max_chunks) == (64, 3)
    ranking = Ranking(ranked=(Ranked(1, 2.0, Chunk(10, 20, 1, 3)), Ranked(0, -1.0)), prompt_tokens=12)
    results = json.loads(cohere.read_rerank(ASKED, 9).render([ranking], TOLD))["results"]
    assert [one.get("chunk") for one in results] == [{"start": 10, "end": 20, "number": 1, "of": 3}, None]
    with pytest.raises(BadRequest, match="max_chunks_per_doc must be at most 1000"):
        cohere.read_rerank(ASKED | {"max_chunks_per_doc": 1001}, 9)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"instruction": "find cats"}, "instruction is not supported"),
        ({"truncation_side": "left"}, "truncation_side 'left' is not supported for pairs"),
        ({"use_activation": False, "score_mode": "sigmoid"}, "use_activation false and score_mode 'sigmoid' differ"),
        ({"chat_template": "{{x}}"}, "chat_template is not supported"),
        ({"raw_scores": True, "score_mode": "sigmoid"}, "raw_scores true and score_mode 'sigmoid' say two things"),
        ({"truncate_prompt_tokens": 128}, "truncate_prompt_tokens 128 is not supported"),
    ],
)
def test_what_would_change_the_result_and_cannot_be_had_is_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(BadRequest, match=said):
        cohere.read_rerank(ASKED | fields, 9)


def test_what_means_what_is_done_anyway_is_taken() -> None:
    (call,) = cohere.read_rerank(ASKED | {"truncate_prompt_tokens": -1, "truncation_side": "right", "instruction": "", "truncate": True}, 9).calls
    assert call.truncate == "END"
    assert cohere.read_rerank(ASKED | {"truncate": False}, 9).calls[0].truncate == "NONE"
