"""Cohere's and TEI's rerank: bodies in, answers out, and what an endpoint's answer has to be before it is rendered."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from emberank.contract.errors import BadRequest, ServerFault
from emberank.contract.inference import Ranked
from emberank.dialects import cohere, rerank, tei
from emberank.dialects.answers import Ranking, read_ranking, sigmoid

ASKED: dict[str, Any] = {"query": "which way?", "documents": ["two roads", "the ice"]}
TEXTS: dict[str, Any] = {"query": "which way?", "texts": ["two roads", "the ice"]}
RANKING = Ranking(ranked=(Ranked(1, 2.0), Ranked(0, -1.0)), prompt_tokens=12)
IMAGE = "data:image/png;base64,AAAA"


def answered(**fields: Any) -> Any:
    return json.loads(cohere.render_rerank(cohere.read_rerank(ASKED | fields, 9), RANKING, model="m", request_id="r"))


def test_documents_are_texts_or_objects() -> None:
    asked = cohere.read_rerank(ASKED | {"documents": ["a", {"text": "b"}, {"text": "c", "image": IMAGE}, {"image": IMAGE}]}, 9)
    assert [(one.text, one.image) for one in asked.call.passages] == [("a", None), ("b", None), ("c", IMAGE), (None, IMAGE)]
    assert (asked.call.query.text, asked.call.truncate, asked.top_n, asked.documents, asked.score) == ("which way?", "END", None, "none", "sigmoid")


def test_other_fields_than_text_may_be_ranked() -> None:
    asked = cohere.read_rerank(ASKED | {"documents": [{"title": "T", "body": "B", "id": 7}], "rank_fields": ["title", "body"]}, 9)
    assert asked.call.passages[0].text == "T\nB"


@pytest.mark.parametrize(
    ("fields", "top_n"), [({}, None), ({"top_n": 1}, 1), ({"top_k": 2}, 2), ({"top_n": None, "top_k": None}, None), ({"top_n": 0}, None), ({"top_n": 99}, 99)]
)
def test_null_and_nought_are_no_limit(fields: dict[str, Any], top_n: int | None) -> None:
    assert cohere.read_rerank(ASKED | fields, 9).top_n == top_n


def test_what_changes_nothing_is_ignored_and_named_and_null_is_absent() -> None:
    asked = cohere.read_rerank(ASKED | {"max_tokens_per_doc": None, "priority": 3, "model": None, "return_documents": None}, 9)
    assert (asked.ignored, asked.call.model) == (("priority",), None)


def test_cut_or_refused_is_voyages_word_or_nims() -> None:
    assert cohere.read_rerank(ASKED | {"truncation": False}, 9).call.truncate == "NONE"
    assert cohere.read_rerank(ASKED | {"truncation": "false", "truncate": "END"}, 9).call.truncate == "END"


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
        return json.loads(tei.render_rerank(tei.read_rerank(TEXTS | fields, 9), RANKING))

    assert rendered() == [{"index": 1, "score": pytest.approx(1 / (1 + math.exp(-2)))}, {"index": 0, "score": pytest.approx(1 / (1 + math.e))}]
    assert rendered(raw_scores=True, return_text=True) == [{"index": 1, "score": 2.0, "text": "the ice"}, {"index": 0, "score": -1.0, "text": "two roads"}]
    assert len(rendered(top_n=1)) == 1


def test_tei_cuts_only_when_it_is_told_to() -> None:
    assert tei.read_rerank(TEXTS, 9).call.truncate == "NONE"
    assert tei.read_rerank(TEXTS | {"truncate": True, "truncation_direction": "Right"}, 9).call.truncate == "END"


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
    ],
)
def test_an_answer_that_is_not_whole_is_nobody_elses_fault(body: bytes) -> None:
    with pytest.raises(ServerFault):
        read_ranking(body, 2)


def test_a_sigmoid_never_overflows() -> None:
    assert [sigmoid(x) for x in (-1e4, 0.0, 1e4)] == [0.0, 0.5, 1.0]


def test_infinitys_path_alone_gets_strings() -> None:
    asked = ASKED | {"return_documents": True}
    assert [getattr(rerank.read(asked, 9, path), "documents", None) for path in ("/rerank", "/infinity/rerank")] == ["object", "string"]
    assert isinstance(rerank.read(TEXTS, 9, "/rerank"), tei.Rerank)
