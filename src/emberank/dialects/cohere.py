"""Cohere's rerank, both directions: bytes ↔ contract. Pure. Jina's, Voyage's, vLLM's, Infinity's and LocalAI's are the same with a field more or less.

Sources: Cohere's API reference (v1 and v2 rerank), Jina's and Voyage's, vLLM's `/rerank`; and what their unmodified clients were seen to
send and to need back. One answer serves them all: `results` (Cohere, Jina, vLLM) and `data` (Voyage) hold the same scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import orjson

from emberank.contract.errors import BadRequest
from emberank.contract.inference import Content, RankCall, Truncate
from emberank.dialects.answers import Ranking
from emberank.dialects.asked import AskedRank, Told
from emberank.dialects.long_documents import FIELDS as LONG
from emberank.dialects.long_documents import max_chunks, max_passage_tokens, rendered_chunk
from emberank.dialects.reading import choice, flag, kind, optional_count, optional_text, text_field, unknown_fields
from emberank.dialects.scores import Score, refuse_raw_and, scored_as
from emberank.dialects.vllm_options import FIELDS as VLLM
from emberank.dialects.vllm_options import pairs_truncate, refuse_what_cannot_be, score_of

# Fields that say what an answer holds, and those that clients send whatever the server is.
FIELDS = (
    "model",
    "query",
    "documents",
    "top_n",
    "top_k",
    "return_documents",
    "rank_fields",
    "raw_scores",
    "score_mode",
    "truncation",
    *VLLM,
    *LONG,
)

_MOST_RANK_FIELDS = 100
_DOCUMENTS_A_UNIT = 100  # of what Cohere bills: one query with up to so many documents (docs.cohere.com, "How does Cohere's pricing work")

Shape = Literal["none", "object", "string"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """How the answer of a call is to be written."""

    call: RankCall
    top_n: int | None
    documents: Shape
    score: Score
    version: str  # of Cohere's API


def read_rerank(fields: dict[str, Any], max_documents: int, *, strings: bool = False, version: str = "2") -> AskedRank:
    """A body of /v1/rerank, /v2/rerank or /rerank; with `strings` documents come back as Infinity's. Null is absent. Raises BadRequest naming the field and what would be right."""
    ignored = tuple(name for name in unknown_fields(fields, FIELDS) if fields[name] is not None)
    refuse_what_cannot_be(fields)
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
        truncate=pairs_truncate(fields | {"truncate": None}, _truncate(fields)),
        max_passage_tokens=max_passage_tokens(fields),
        max_chunks=max_chunks(fields),
    )
    top_n = optional_count(fields, "top_n") or optional_count(fields, "top_k")
    score = score_of(fields, "logit" if raw else "sigmoid")
    refuse_raw_and(fields, score)
    wanted = Wanted(call=call, top_n=top_n, documents=returned, score=score, version=version)
    return AskedRank(calls=(call,), score=wanted.score, render=partial(render_rerank, wanted), ignored=ignored)


def _truncate(fields: dict[str, Any]) -> Truncate:
    """These dialects cut what is too long unless they are told not to: Voyage's `truncation`, a `truncate` of true or false, or NIM's own word."""
    allowed: tuple[Truncate, ...] = ("NONE", "END")
    if isinstance(fields.get("truncate"), bool):
        return "END" if fields["truncate"] else "NONE"
    if fields.get("truncate") is not None:
        return choice(fields, "truncate", allowed, "END")
    return "END" if flag(fields, "truncation", default=True) else "NONE"


def _rank_fields(fields: dict[str, Any]) -> Sequence[str]:
    value = fields.get("rank_fields")
    if value is None:
        return ("text",)
    if not isinstance(value, list) or not value or not all(isinstance(name, str) and name for name in value):
        raise BadRequest("rank_fields must be an array of field names, at least one")
    if len(value) > _MOST_RANK_FIELDS:  # they are looked up in every document
        raise BadRequest(f"rank_fields holds {len(value)} names; at most {_MOST_RANK_FIELDS} are allowed")
    return tuple(dict.fromkeys(value))


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


def render_rerank(wanted: Wanted, rankings: Sequence[Ranking], told: Told) -> bytes:
    """Best first. `document` is left out where it was not asked for: null breaks clients. `relevance_score` is sigmoid(logit) unless another score was wanted."""
    (ranking,) = rankings
    results, data = [], []
    for one in ranking.ranked[: wanted.top_n]:
        scored: dict[str, object] = {"index": one.index, "relevance_score": scored_as(one.logit, wanted.score, told.calibration), **rendered_chunk(one)}
        if wanted.documents == "none":
            results.append(scored)
            data.append(scored)
            continue
        text = wanted.call.passages[one.index].text or ""
        results.append({**scored, "document": {"text": text} if wanted.documents == "object" else text})
        data.append({**scored, "document": text})
    usage = {"prompt_tokens": ranking.prompt_tokens, "total_tokens": ranking.prompt_tokens}
    meta = {
        "api_version": {"version": wanted.version},
        "billed_units": {"search_units": -(-len(wanted.call.passages) // _DOCUMENTS_A_UNIT)},
        "tokens": {"input_tokens": ranking.prompt_tokens, "output_tokens": 0},
    }
    return orjson.dumps({"id": told.request_id, "object": "rerank", "model": told.model, "results": results, "data": data, "usage": usage, "meta": meta})
