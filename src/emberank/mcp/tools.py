"""The tools: their names, what they say of themselves, and what goes in and comes out as JSON schemas. Data; knows no protocol and no client.

Every input is bounded. A schema's words are read by language models, so each says what to send and what comes back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

Schema: TypeAlias = dict[str, Any]

MOST_PASSAGES, MOST_TEXTS, MOST_CHARACTERS, MOST_NUMBERS = 512, 32, 4_000_000, 131_072
_TEXT: Schema = {"type": "string", "minLength": 1, "maxLength": 100_000}
_NAME: Schema = {"type": "string", "minLength": 1, "maxLength": 200}
_TEXT_OR_NULL: Schema = {"type": ["string", "null"]}
_NUMBER_OR_NULL: Schema = {"type": ["number", "null"]}
_COUNT_OR_NULL: Schema = {"type": ["integer", "null"]}
_PHASE: Schema = {"type": "string", "description": "COLD, STARTING, WARM, DRAINING or FAILED."}

_MODEL: Schema = _NAME | {"description": "A name from list_models: its id or its slug."}
_TARGET: Schema = {
    "model_version": _NAME | {"description": "Such as v1; left out: the model's first."},
    "gpu_type": _NAME | {"description": "Where it is to run, such as CPU or B200; left out: the server chooses."},
    "region": _NAME | {"description": "Goes with gpu_type."},
}


def _takes(properties: Schema, *required: str) -> Schema:
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}


def _gives(properties: Schema) -> Schema:
    """All of them are always there; more may be."""
    return {"type": "object", "properties": properties, "required": list(properties)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """One tool as it is shown to clients. `reads_only`: it changes nothing but what a request changes, which may have a model started."""

    name: str
    title: str
    description: str
    takes: Schema
    gives: Schema
    reads_only: bool = True


_LISTED: Schema = _gives(
    {
        "id": {"type": "string"},
        "slug": _TEXT_OR_NULL,
        "title": _TEXT_OR_NULL,
        "description": _TEXT_OR_NULL,
        "task": {"enum": ["rank", "embed", None]},
        "phase": _TEXT_OR_NULL,
        "context_window": _COUNT_OR_NULL | {"description": "Tokens."},
        "dimensions": _COUNT_OR_NULL | {"description": "Of an embedder's vectors."},
    }
)
_PLACE: Schema = {
    "type": "object",
    "properties": {
        "index": {"type": "integer", "description": "Which of the passages that were sent, from 0 on."},
        "logit": {"type": "number", "description": "The model's own score, unbounded; only the order and differences mean something."},
        "score": {"type": "number", "description": "As score_mode asked for."},
        "chunk": {"type": "object", "description": "The piece of a long passage that was best: characters from start to end."},
    },
    "required": ["index", "logit"],
}
_ENDPOINT: Schema = _gives(
    {
        "version": {"type": "string"},
        "gpu_type": {"type": "string"},
        "region": {"type": "string"},
        "phase": _PHASE,
        "step": _TEXT_OR_NULL,
        "percent": _NUMBER_OR_NULL,
        "eta_s": _NUMBER_OR_NULL,
        "queue_depth": {"type": "integer"},
        "reason": _TEXT_OR_NULL,
        "message": {"type": "string"},
        "retry_in_s": _NUMBER_OR_NULL,
    }
)

LIST_MODELS = Tool(
    name="list_models",
    title="List models",
    description="The rerankers and embedders that this server can run for this key. Rerankers (task rank) go with the tool rank, embedders (task embed) with embed.",
    takes=_takes(
        {
            "task": {"enum": ["rank", "embed"], "description": "Only those for this task."},
            "limit": {"type": "integer", "minimum": 1, "maximum": 100, "default": 50},
        }
    ),
    gives=_gives({"models": {"type": "array", "items": _LISTED}, "more": {"type": "integer", "description": "How many were left out."}}),
)
RANK = Tool(
    name="rank",
    title="Rank passages",
    description=(
        "Order passages by how relevant they are to a query, best first. Returns each passage's index and score, not its text. "
        "A model that is not running is started first, which can take minutes; start_model tells how far that is."
    ),
    takes=_takes(
        {
            "query": _TEXT | {"maxLength": 20_000},
            "passages": {"type": "array", "items": _TEXT, "minItems": 1, "maxItems": MOST_PASSAGES},
            "model": _MODEL | {"description": "A reranker from list_models; left out: the server's first."},
            "top_n": {"type": "integer", "minimum": 1, "maximum": MOST_PASSAGES, "description": "Only the best so many."},
            "score_mode": {
                "enum": ["logit", "sigmoid", "calibrated"],
                "description": "Adds a score: sigmoid is between 0 and 1; calibrated is a probability, for models that were calibrated.",
            },
            "truncate": {"enum": ["NONE", "END"], "description": "A passage that is longer than the model reads: NONE refuses the call, END cuts it."},
            "max_chunks_per_doc": {
                "type": "integer",
                "minimum": 1,
                "maximum": 100,
                "description": "Read a long passage in up to so many pieces; the best counts.",
            },
            **_TARGET,
        },
        "query",
        "passages",
    ),
    gives=_gives(
        {
            "rankings": {"type": "array", "items": _PLACE},
            "prompt_tokens": _COUNT_OR_NULL,
            "cost_usd": _NUMBER_OR_NULL,
            "gpu_type": _TEXT_OR_NULL,
            "region": _TEXT_OR_NULL,
            "request_id": _TEXT_OR_NULL,
        }
    ),
)
EMBED = Tool(
    name="embed",
    title="Embed texts",
    description=(
        f"Turn up to {MOST_TEXTS} texts into vectors, one each, in the structured result. Use input_type query for what is searched with and passage for what is searched."
    ),
    takes=_takes(
        {
            "texts": {"type": "array", "items": _TEXT, "minItems": 1, "maxItems": MOST_TEXTS},
            "model": _MODEL | {"description": "An embedder from list_models; left out: the server's first."},
            "input_type": {"enum": ["query", "passage"], "default": "passage"},
            "truncate": {
                "enum": ["NONE", "START", "END"],
                "description": "A text that is longer than the model reads: NONE refuses the call, END and START cut it.",
            },
            "dimensions": {"type": "integer", "minimum": 1, "maximum": 65_536, "description": "Shorter vectors, where the model has them."},
            **_TARGET,
        },
        "texts",
    ),
    gives=_gives({"dimensions": {"type": "integer"}, "vectors": {"type": "array", "items": {"type": "array", "items": {"type": "number"}}}}),
)
ESTIMATE = Tool(
    name="estimate",
    title="Estimate time and cost",
    description="What one request would take and cost before it is sent, on a running model and on one that has to start first. Nothing is run.",
    takes=_takes(
        {
            "model": _MODEL,
            "tokens": {"type": "integer", "minimum": 1, "maximum": 10**9, "description": "Of the request; left out with passages: of a sample request."},
            "passages": {"type": "integer", "minimum": 1, "maximum": 10**6},
            **_TARGET,
        },
        "model",
    ),
    gives=_gives(
        {
            "slug": {"type": "string"},
            "model_version": {"type": "string"},
            "gpu_type": {"type": "string"},
            "region": {"type": "string"},
            "estimated_warm_request_ms": _NUMBER_OR_NULL,
            "estimated_warm_request_cost_usd": _NUMBER_OR_NULL,
            "estimated_cold_request_ms": _NUMBER_OR_NULL,
            "estimated_cold_request_cost_usd": _NUMBER_OR_NULL,
            "cost_per_gpu_hour_usd": _NUMBER_OR_NULL,
            "confidence": {"type": "string", "description": "none, low, medium or high."},
            "cold_confidence": {"type": "string"},
            "phase": _TEXT_OR_NULL,
            "message": {"type": "string"},
        }
    ),
)
START_MODEL = Tool(
    name="start_model",
    title="Start a model",
    description=(
        "Make a model ready to answer, and wait for that up to wait_s seconds. Running models cost money on paid machines, and stop by themselves when they are idle. "
        "When it is not ready in time it goes on starting: ask model_status."
    ),
    takes=_takes({"model": _MODEL, **_TARGET, "wait_s": {"type": "number", "minimum": 0, "maximum": 600, "default": 60}}, "model"),
    gives=_gives(
        {
            "slug": {"type": "string"},
            "version": {"type": "string"},
            "gpu_type": {"type": "string"},
            "region": {"type": "string"},
            "phase": _PHASE,
            "startup_ms": _NUMBER_OR_NULL,
            "step": _TEXT_OR_NULL,
            "percent": _NUMBER_OR_NULL,
            "eta_s": _NUMBER_OR_NULL,
            "message": {"type": "string"},
        }
    ),
    reads_only=False,
)
MODEL_STATUS = Tool(
    name="model_status",
    title="Status of a model",
    description="Whether a model runs, where, how far its start is, and why it failed if it did.",
    takes=_takes({"model": _MODEL, "model_version": _TARGET["model_version"]}, "model"),
    gives=_gives({"slug": {"type": "string"}, "phase": _PHASE, "endpoints": {"type": "array", "items": _ENDPOINT}, "message": {"type": "string"}}),
)

TOOLS: tuple[Tool, ...] = (LIST_MODELS, RANK, EMBED, ESTIMATE, START_MODEL, MODEL_STATUS)
