"""Text Embeddings Inference's rerank, both directions: bytes ↔ contract. Pure.

Source: TEI's OpenAPI document (`/rerank`), and what its clients were seen to send and to need back: a bare array, every text in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from emberank.contract.errors import BadRequest
from emberank.contract.inference import Content, RankCall
from emberank.dialects.answers import Ranking, Score, scored_as
from emberank.dialects.reading import choice, flag, kind, optional_count, optional_text, text_field, unknown_fields

FIELDS = ("model", "query", "texts", "raw_scores", "return_text", "truncate", "truncation_direction", "top_n")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rerank:
    """A call, and how its answer is to be written."""

    call: RankCall
    top_n: int | None  # no field of TEI's, but litellm sends it
    score: Score
    return_text: bool
    ignored: tuple[str, ...]


def read_rerank(fields: dict[str, Any], max_texts: int) -> Rerank:
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
    )
    return Rerank(
        call=call,
        top_n=optional_count(fields, "top_n"),
        score="logit" if flag(fields, "raw_scores", default=False) else "sigmoid",
        return_text=flag(fields, "return_text", default=False),
        ignored=tuple(name for name in unknown_fields(fields, FIELDS) if fields[name] is not None),
    )


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


def render_rerank(asked: Rerank, ranking: Ranking) -> bytes:
    """A bare array, best first; `score` is sigmoid(logit) unless raw scores were wanted."""
    answer = []
    for one in ranking.ranked[: asked.top_n]:
        scored: dict[str, object] = {"index": one.index, "score": scored_as(one.logit, asked.score)}
        if asked.return_text:
            scored["text"] = asked.call.passages[one.index].text
        answer.append(scored)
    return orjson.dumps(answer)
