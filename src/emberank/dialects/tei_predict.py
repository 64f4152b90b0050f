"""Text Embeddings Inference's predictions of a reranker, both directions: bytes ↔ contract. Pure.

Source: TEI's OpenAPI document and its `PredictInput` (`/predict`). A reranker has one class, whose only label is LABEL_0, and its score is a pair's: a text alone has none.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import orjson

from emberank.contract.errors import BadRequest
from emberank.contract.inference import Content, RankCall, Truncate
from emberank.dialects.answers import Ranking
from emberank.dialects.asked import AskedRank, Told
from emberank.dialects.long_documents import FIELDS as LONG
from emberank.dialects.long_documents import max_chunks, max_passage_tokens, rendered_chunk
from emberank.dialects.nim import Rules
from emberank.dialects.pairs import group, in_order
from emberank.dialects.reading import choice, flag, kind, optional_text, unknown_fields
from emberank.dialects.scores import Score, read_score, refuse_raw_and, scored_as

FIELDS = ("model", "inputs", "raw_scores", "truncate", "truncation_direction", "score_mode", *LONG)
LABEL = "LABEL_0"  # what a checkpoint with one class says of it where it says nothing else
_PAIR = '["the query", "the text"]'


def read_predict(fields: dict[str, Any], rules: Rules) -> AskedRank:
    """POST /predict: a pair, or an array of pairs; one call for each query. Raises BadRequest naming the field and what would be right."""
    inputs = fields.get("inputs")
    if inputs is None:
        raise BadRequest(f"inputs: missing field; it must be a pair such as {_PAIR}, or an array of pairs")
    if not isinstance(inputs, list):
        raise BadRequest(f"inputs must be a pair such as {_PAIR}, or an array of pairs, not {kind(inputs)}: a reranker has no score for one text")
    if not inputs:
        raise BadRequest("inputs must not be empty")
    alone = isinstance(inputs[0], str)
    if not alone and len(inputs) > rules.max_documents:
        raise BadRequest(f"inputs holds {len(inputs)} entries; at most {rules.max_documents} are allowed in one request")
    score = read_score(fields, "logit" if flag(fields, "raw_scores", default=False) else "sigmoid")
    refuse_raw_and(fields, score)
    new_call = partial(
        RankCall,
        model=optional_text(fields, "model"),
        truncate=_truncate(fields),
        max_passage_tokens=max_passage_tokens(fields),
        max_chunks=max_chunks(fields),
    )
    pairs = [_pair(inputs, "inputs")] if alone else [_pair(pair, f"inputs[{i}]") for i, pair in enumerate(inputs)]
    grouped = group(pairs, new_call)
    ignored = tuple(name for name in unknown_fields(fields, FIELDS) if fields[name] is not None)
    return AskedRank(calls=grouped.calls, score=score, render=partial(_render, score, grouped.places, alone), ignored=ignored)


def _pair(value: object, at: str) -> tuple[str, Content]:
    if not isinstance(value, list):
        raise BadRequest(f"{at} must be a pair such as {_PAIR}, not {kind(value)}: a reranker has no score for one text")
    if len(value) != 2:
        raise BadRequest(f"{at} must be a pair such as {_PAIR}; it holds {len(value)} entries")
    for text, what in zip(value, ("query", "text")):
        if not isinstance(text, str):
            raise BadRequest(f"{at}: the {what} must be a string, not {kind(text)}")
        if not text.strip():
            raise BadRequest(f"{at}: the {what} must not be blank or empty")
    return value[0], Content(value[1])


def _truncate(fields: dict[str, Any]) -> Truncate:
    if not flag(fields, "truncate", default=False):
        return "NONE"
    side = fields.get("truncation_direction")
    words = ("right", "left")
    if choice({"truncation_direction": side.lower() if isinstance(side, str) else side}, "truncation_direction", words, "right") == "left":
        raise BadRequest("truncation_direction 'Left' is not supported for pairs: they are cut from the right, starting with the text")
    return "END"


def _render(score: Score, places: Sequence[tuple[int, int]], alone: bool, rankings: Sequence[Ranking], told: Told) -> bytes:
    """An array of predictions for each pair, in the order of the pairs; the one pair's own where no array of pairs was sent."""
    answer = [[{"score": scored_as(one.logit, score, told.calibration), "label": LABEL, **rendered_chunk(one)}] for one in in_order(rankings, places)]
    return orjson.dumps(answer[0] if alone else answer)
