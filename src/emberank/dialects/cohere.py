"""Cohere's rerank, both directions: bytes ↔ contract. Pure. Jina's, Voyage's, vLLM's, Infinity's and LocalAI's are the same with a field more or less.

Sources: Cohere's API reference (v1 and v2 rerank), Jina's and Voyage's, vLLM's `/rerank`; and what their unmodified clients were seen to
send and to need back. One answer serves them all: `results` (Cohere, Jina, vLLM) and `data` (Voyage) hold the same scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from emberank.contract.errors import BadRequest
from emberank.contract.inference import Content, RankCall, Truncate
from emberank.dialects.answers import Ranking, Score, scored_as
from emberank.dialects.reading import choice, flag, kind, optional_count, optional_text, text_field, unknown_fields

# Fields that say what an answer holds, and those that clients send whatever the server is.
FIELDS = ("model", "query", "documents", "top_n", "top_k", "return_documents", "rank_fields", "raw_scores", "truncate", "truncation")

Shape = Literal["none", "object", "string"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rerank:
    """A call, and how its answer is to be written."""

    call: RankCall  # without `top_n`: the answer is cut when it is written
    top_n: int | None
    documents: Shape
    score: Score
    ignored: tuple[str, ...]


def read_rerank(fields: dict[str, Any], max_documents: int, *, strings: bool = False) -> Rerank:
    """A body of /v1/rerank, /v2/rerank or /rerank; with `strings` documents come back as Infinity's. Null is absent. Raises BadRequest naming the field and what would be right."""
    ignored = tuple(name for name in unknown_fields(fields, FIELDS) if fields[name] is not None)
    rank_fields = _rank_fields(fields)
    raw = flag(fields, "raw_scores", default=False)
    returned: Shape = "none"
    if flag(fields, "return_documents", default=False):
        # infinity_client, which alone sends raw_scores, takes a document only as a string; every other client wants an object.
        returned = "string" if strings or "raw_scores" in fields else "object"
    call = RankCall(
        model=optional_text(fields, "model"),
        query=Content(text_field(fields, "query")),
        passages=_documents(fields, max_documents, rank_fields),
        truncate=_truncate(fields),
    )
    top_n = optional_count(fields, "top_n") or optional_count(fields, "top_k")
    return Rerank(call=call, top_n=top_n, documents=returned, score="logit" if raw else "sigmoid", ignored=ignored)


def _truncate(fields: dict[str, Any]) -> Truncate:
    """These dialects cut what is too long unless they are told not to: Voyage's `truncation`, or NIM's own word."""
    allowed: tuple[Truncate, ...] = ("NONE", "END")
    if fields.get("truncate") is not None:
        return choice(fields, "truncate", allowed, "END")
    return "END" if flag(fields, "truncation", default=True) else "NONE"


def _rank_fields(fields: dict[str, Any]) -> Sequence[str]:
    value = fields.get("rank_fields")
    if value is None:
        return ("text",)
    if not isinstance(value, list) or not value or not all(isinstance(name, str) and name for name in value):
        raise BadRequest("rank_fields must be an array of field names, at least one")
    return value


def _documents(fields: dict[str, Any], limit: int, rank_fields: Sequence[str]) -> tuple[Content, ...]:
    documents = fields.get("documents")
    if documents is None:
        raise BadRequest("documents: missing field; it must be an array of strings, or of objects with a text")
    if not isinstance(documents, list):
        raise BadRequest(f"documents must be an array, not {kind(documents)}")
    if not documents:
        raise BadRequest("documents must not be empty")
    if len(documents) > limit:
        raise BadRequest(f"documents holds {len(documents)} entries; at most {limit} are allowed in one request")
    return tuple(_document(document, f"documents[{i}]", rank_fields) for i, document in enumerate(documents))


def _document(document: object, at: str, rank_fields: Sequence[str]) -> Content:
    if isinstance(document, str):
        if not document.strip():
            raise BadRequest(f"{at} must not be blank or empty")
        return Content(document)
    if not isinstance(document, dict):
        raise BadRequest(f"{at} must be a string or an object, not {kind(document)}")
    image = document.get("image")
    if image is not None and (not isinstance(image, str) or not image.startswith("data:image/")):
        raise BadRequest(f"{at}.image must be a data URL such as data:image/png;base64,…")
    found = [document[name] for name in rank_fields if document.get(name) is not None]
    for value in found:
        if not isinstance(value, str):
            raise BadRequest(f"{at}: the fields that are ranked must be strings, and one of them is {kind(value)}")
    text = "\n".join(found)
    if not text.strip() and image is None:
        raise BadRequest(f"{at} has nothing to rank: {', '.join(rank_fields)} must hold text")
    return Content(text or None, image)


def render_rerank(asked: Rerank, ranking: Ranking, *, model: str, request_id: str) -> bytes:
    """Best first. `document` is left out where it was not asked for: null breaks clients. `relevance_score` is sigmoid(logit) unless raw scores were wanted."""
    results, data = [], []
    for one in ranking.ranked[: asked.top_n]:
        scored: dict[str, object] = {"index": one.index, "relevance_score": scored_as(one.logit, asked.score)}
        text = asked.call.passages[one.index].text or ""
        results.append(scored if asked.documents == "none" else {**scored, "document": {"text": text} if asked.documents == "object" else text})
        data.append(scored if asked.documents == "none" else {**scored, "document": text})
    usage = {"prompt_tokens": ranking.prompt_tokens, "total_tokens": ranking.prompt_tokens}
    meta = {"api_version": {"version": "2"}, "billed_units": {"search_units": 1}, "tokens": {"input_tokens": ranking.prompt_tokens, "output_tokens": 0}}
    return orjson.dumps({"id": request_id, "object": "rerank", "model": model, "results": results, "data": data, "usage": usage, "meta": meta})
