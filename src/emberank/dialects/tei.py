"""Text Embeddings Inference's rerank, both directions: bytes ↔ contract. Pure.

Source: TEI's OpenAPI document (`/rerank`), and what its clients were seen to send and to need back: a bare array, every text in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import orjson

from emberank.contract.errors import BadRequest
from emberank.contract.inference import Content, RankCall
from emberank.dialects.answers import Ranking
from emberank.dialects.asked import AskedRank, Told
from emberank.dialects.long_documents import FIELDS as LONG
from emberank.dialects.long_documents import max_chunks, max_passage_tokens, rendered_chunk
from emberank.dialects.reading import choice, flag, kind, optional_count, optional_text, text_field, unknown_fields
from emberank.dialects.scores import Score, read_score, refuse_raw_and, scored_as

FIELDS = ("model", "query", "texts", "raw_scores", "return_text", "truncate", "truncation_direction", "top_n", "score_mode", *LONG)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """How the answer of a call is to be written."""

    call: RankCall
    top_n: int | None  # no field of TEI's, but litellm sends it
    score: Score
    return_text: bool


def read_rerank(fields: dict[str, Any], max_texts: int) -> AskedRank:
    """A body of /rerank with `texts`. Raises BadRequest naming the field and what would be right."""
    if fields.get("documents") is not None:
        raise BadRequest("texts and documents are two dialects: send texts for TEI's answer, documents for Cohere's")
    truncate = flag(fields, "truncate", default=False)
    direction = choice({"truncation_direction": _lower(fields)}, "truncation_direction", ("right", "left"), "right")
    if truncate and direction == "left":
        raise BadRequest("truncation_direction 'Left' is not supported for pairs: they are cut from the right, starting with the text")
    call = RankCall(
        model=optional_text(fields, "model"),
        query=Content(text_field(fields, "query")),
        passages=_texts(fields, max_texts),
        truncate="END" if truncate else "NONE",
        max_passage_tokens=max_passage_tokens(fields),
        max_chunks=max_chunks(fields),
    )
    score = read_score(fields, "logit" if flag(fields, "raw_scores", default=False) else "sigmoid")
    refuse_raw_and(fields, score)
    wanted = Wanted(
        call=call,
        top_n=optional_count(fields, "top_n"),
        score=score,
        return_text=flag(fields, "return_text", default=False),
    )
    ignored = tuple(name for name in unknown_fields(fields, FIELDS) if fields[name] is not None)
    return AskedRank(calls=(call,), score=wanted.score, render=partial(render_rerank, wanted), ignored=ignored)


def _lower(fields: dict[str, Any]) -> object:
    value = fields.get("truncation_direction")
    return value.lower() if isinstance(value, str) else value


def _texts(fields: dict[str, Any], limit: int) -> tuple[Content, ...]:
    texts = fields.get("texts")
    if not isinstance(texts, list):
        raise BadRequest(f"texts must be an array of strings, not {kind(texts)}")
    if not texts:
        raise BadRequest("texts must not be empty")
    if len(texts) > limit:
        raise BadRequest(f"texts holds {len(texts)} entries; at most {limit} are allowed in one request")
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            raise BadRequest(f"texts[{i}] must be a string, not {kind(text)}")
        if not text.strip():
            raise BadRequest(f"texts[{i}] must not be blank or empty")
    return tuple(map(Content, texts))


def render_rerank(wanted: Wanted, rankings: Sequence[Ranking], told: Told) -> bytes:
    """A bare array, best first; `score` is sigmoid(logit) unless another score was wanted."""
    (ranking,) = rankings
    answer = []
    for one in ranking.ranked[: wanted.top_n]:
        scored: dict[str, object] = {"index": one.index, "score": scored_as(one.logit, wanted.score, told.calibration), **rendered_chunk(one)}
        if wanted.return_text:
            scored["text"] = wanted.call.passages[one.index].text
        answer.append(scored)
    return orjson.dumps(answer)
