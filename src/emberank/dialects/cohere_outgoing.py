"""A call in, the body that asks a Cohere-compatible reranker for it out; its answer in, checked numbers out. Pure.

Sources: https://docs.cohere.com/reference/rerank (v1 and v2), https://jina.ai/reranker (whose `return_documents` is true when it is left out),
https://docs.vllm.ai (its /rerank), https://docs.voyageai.com/reference/reranker-api (whose results stand under `data`).
"""

from __future__ import annotations

import math
from typing import Any

import orjson

from emberank.contract.errors import BadRequest, ServerFault
from emberank.contract.fleet import Endpoint
from emberank.contract.inference import RankCall, Ranked
from emberank.dialects.answers import MOST_FLOAT32, Ranking

# ln(p / (1 − p)) of the largest p below 1 that a float64 holds is 36.7: a score of 0 or 1 was rounded, and is no infinity.
MOST_LOGIT = 36.0
LEAST_LOGIT = -745.0  # of a score of 0: below that of the least float above it


def write_rerank(call: RankCall, endpoint: Endpoint, model: str) -> bytes:
    """`top_n` is not sent: every passage is wanted back. Raises BadRequest for what this wire has no words for."""
    if any(passage.image is not None for passage in call.passages):
        raise BadRequest("a passage holds an image, and the model runs on a server that reads texts only: leave images out, or ask for a vision model")
    fields: dict[str, object] = {"model": model, "query": call.query.text, "documents": [passage.text for passage in call.passages], "return_documents": False}
    if call.max_passage_tokens is not None:
        if not endpoint.path.endswith("/v2/rerank"):
            raise BadRequest("max_tokens_per_doc cannot be had here: the model runs on a server that does not cut documents by tokens; Cohere's v2 does")
        fields["max_tokens_per_doc"] = call.max_passage_tokens
    return orjson.dumps(fields)


def read_rerank(body: bytes, passages: int, endpoint: Endpoint) -> Ranking:
    """`results[]` with `index` and `relevance_score`. Raises ServerFault for an answer that is not whole: each passage once, each score a number as the endpoint's are."""
    try:
        fields = orjson.loads(body)
        results = fields["results"] if "results" in fields else fields["data"]
        ranked = [(entry["index"], _logit(entry["relevance_score"], endpoint)) for entry in results]
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as cause:
        raise ServerFault from cause
    places = [index for index, _ in ranked]
    if any(type(place) is not int for place in places) or sorted(places) != list(range(passages)):
        raise ServerFault from ValueError(f"the endpoint ranked {len(ranked)} passages of {passages}, or one of them twice")
    # Some servers leave the order to their clients.
    best_first = sorted(ranked, key=lambda one: (-one[1], one[0]))
    return Ranking(ranked=tuple(Ranked(index, logit) for index, logit in best_first), prompt_tokens=_tokens(fields))


def _logit(score: object, endpoint: Endpoint) -> float:
    """The model's number for the score it came out as. Raises ValueError."""
    if isinstance(score, bool) or not isinstance(score, int | float) or not abs(score) <= MOST_FLOAT32:
        raise ValueError("the endpoint's answer holds a score that is no finite number")
    if endpoint.score == "logit":
        return float(score)
    if not 0.0 <= score <= 1.0:
        raise ValueError(
            f'the endpoint\'s answer holds a score of {score:.6g}, which is not between 0 and 1: settings = {{ score = "logit" }} is for such a server'
        )
    if score in (0.0, 1.0):
        return MOST_LOGIT if score else LEAST_LOGIT
    return min(MOST_LOGIT, math.log(score) - math.log1p(-score))  # small scores keep their order: a float holds those far below 1, not those close to it


def _tokens(fields: dict[str, Any]) -> int:
    """Of `usage` (Jina, vLLM, Voyage) or `meta.tokens` (Cohere); 0 where nobody says."""
    usage, meta = fields.get("usage"), fields.get("meta")
    counted = meta.get("tokens") if isinstance(meta, dict) else None
    for said, name in ((usage, "prompt_tokens"), (usage, "total_tokens"), (counted, "input_tokens")):
        found = said.get(name) if isinstance(said, dict) else None
        if isinstance(found, int | float) and not isinstance(found, bool) and 0 <= found < 1e12:
            return int(found)
    return 0
