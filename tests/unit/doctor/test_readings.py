"""Each dialect's answer as its readers need it: what is right is read, what is not is refused with half a sentence."""

from __future__ import annotations

import base64
import struct
from collections.abc import Callable
from typing import Any

import pytest

from emberank.doctor import readings
from emberank.doctor.readings import WrongShape


def packed(*numbers: float) -> str:
    return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()


@pytest.mark.parametrize(
    ("read", "body"),
    [
        (readings.nim, {"rankings": [{"index": 1, "logit": 2.5}, {"index": 0, "logit": -1}]}),
        (readings.cohere, {"results": [{"index": 1, "relevance_score": 2.5}, {"index": 0, "relevance_score": -1}]}),
        (readings.cohere, {"object": "list", "data": [{"index": 1, "relevance_score": 2.5}, {"index": 0, "relevance_score": -1}]}),
        (readings.tei, [{"index": 1, "score": 2.5}, {"index": 0, "score": -1}]),
        (readings.score, {"data": [{"index": 1, "score": 2.5}, {"index": 0, "score": -1}]}),
    ],
)
def test_scores_are_read_by_index_in_the_order_they_came(read: Callable[[Any], readings.Scores], body: Any) -> None:
    found = read(body)
    assert found.entries == ((1, 2.5), (0, -1.0))
    assert found.values == (-1.0, 2.5)
    assert found.odd == ()


def test_teis_predict_is_one_list_a_pair() -> None:
    assert readings.predict([[{"score": -1, "label": "LABEL_0"}], [{"score": 2.5, "label": "LABEL_0"}]]).values == (-1.0, 2.5)


@pytest.mark.parametrize(
    ("read", "body", "why"),
    [
        (readings.nim, [], "no JSON object"),
        (readings.nim, None, "no JSON object"),
        (readings.nim, {"results": []}, "no list `rankings`"),
        (readings.nim, {"rankings": [{"index": 0, "logit": "2.5"}]}, "`logit` is no finite number"),
        (readings.nim, {"rankings": [{"index": 0, "logit": True}]}, "`logit` is no finite number"),
        (readings.nim, {"rankings": [{"index": "0", "logit": 1}]}, "no whole number as its `index`"),
        (readings.nim, {"rankings": [{"index": -1, "logit": 1}]}, "no whole number as its `index`"),
        (readings.cohere, {"results": [1]}, "no list `results`"),
        (readings.cohere, {"results": [{"index": 0}]}, "`relevance_score` is no finite number"),
        (readings.tei, {"results": []}, "no bare array"),
        (readings.tei, [1], "no whole number as its `index`"),
        (readings.predict, [{"score": 1}], "no array of arrays"),
        (readings.openai, {"data": [{"index": 0, "score": 1}]}, "no `embedding`"),
        (readings.openai, {"data": [{"index": 1, "embedding": [1]}, {"index": 0, "embedding": [1]}]}, "order of the inputs"),
        (readings.openai, {"data": [{"index": 0, "embedding": "%%"}]}, "no base64 of float32"),
        (readings.openai, {"data": [{"index": 0, "embedding": [None]}]}, "no list of finite numbers"),
        (readings.openai, {"data": [{"index": 0, "embedding": [1, 2]}, {"index": 1, "embedding": [1]}]}, "differ in length"),
        (readings.tei_embed, {"data": []}, "no array of arrays"),
        (readings.tei_embed, [], "no embeddings"),
        (readings.cohere_embed, {"texts": []}, "no `embeddings`"),
    ],
)
def test_what_no_client_could_read_is_refused_with_the_reason(read: Callable[[Any], object], body: Any, why: str) -> None:
    with pytest.raises(WrongShape, match=why):
        read(body)


@pytest.mark.parametrize(("value", "kind"), [(None, "null"), ("text", "string"), ({"text": "text"}, "object"), ({"title": "t"}, "other"), (7, "other")])
def test_the_kind_of_documents_is_told(value: Any, kind: str) -> None:
    assert readings.cohere({"results": [{"index": 0, "relevance_score": 1, "document": value}]}).documents == kind
    assert readings.cohere({"results": [{"index": 0, "relevance_score": 1}]}).documents == "absent"


@pytest.mark.parametrize(
    ("more", "odd"),
    [
        ({"usage": None}, "`usage` is there and holds no whole"),
        ({"usage": {"total_tokens": "7"}}, "`usage` is there and holds no whole"),
        ({"id": 7}, "`id` is not a string"),
        ({"results": [{"index": 0, "relevance_score": 1, "document": None}]}, "`document` is null"),
    ],
)
def test_what_breaks_some_client_is_odd(more: dict[str, Any], odd: str) -> None:
    found = readings.cohere({"results": [{"index": 0, "relevance_score": 1}]} | more)
    assert [each for each in found.odd if odd in each]


@pytest.mark.parametrize(
    ("fields", "tokens"),
    [({"usage": {"prompt_tokens": 7, "total_tokens": 7}}, 7), ({"usage": {"total_tokens": 8}}, 8), ({"meta": {"tokens": {"input_tokens": 9}}}, 9), ({}, None)],
)
def test_tokens_are_read_where_a_dialect_has_them(fields: dict[str, Any], tokens: int | None) -> None:
    assert readings.cohere({"results": [{"index": 0, "relevance_score": 1}]} | fields).tokens == tokens


def test_embeddings_are_the_same_in_numbers_and_in_base64() -> None:
    usage = {"usage": {"prompt_tokens": 1, "total_tokens": 1}}
    numbers = readings.openai({"data": [{"index": 0, "embedding": [0.5, -2]}]} | usage)
    text = readings.openai({"data": [{"index": 0, "embedding": packed(0.5, -2)}]} | usage)
    assert numbers.rows == text.rows == ((0.5, -2.0),)
    assert (numbers.base64, text.base64) == (False, True)
    assert readings.tei_embed([[0.5, -2]]).rows == readings.cohere_embed({"embeddings": [[0.5, -2]]}).rows == numbers.rows
    assert readings.cohere_embed({"embeddings": {"float": [[0.5, -2]]}}).rows == numbers.rows
