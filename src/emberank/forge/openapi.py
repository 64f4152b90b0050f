"""The OpenAPI 3.1 document of an installation out: the control plane's routes, and those that a gateway in front of it answers itself."""

from __future__ import annotations

from typing import Any, NamedTuple

from emberank import __version__
from emberank.dialects.described import DESCRIBED
from emberank.dialects.routes import HOSTED
from emberank.forge.openapi_schemas import SCHEMAS, Schema, ref

_NATIVE_EXAMPLE = {
    "query": {"text": "what is retrieval augmented generation?"},
    "passages": [{"text": "Embeddings map text into vectors for semantic search."}, {"text": "The weather is fine."}],
    "truncate": "END",
    "model_version": "v1",
}
_QUERY: dict[str, tuple[Schema, str]] = {
    "model_version": ({"type": "string"}, "A version; also `version`."),
    "version": ({"type": "string"}, "The same as `model_version`."),
    "gpu_type": ({"type": "string"}, "A kind of machine: CPU, L40S, B200…"),
    "region": ({"type": "string"}, "Where; this machine is `local`."),
    "baseline": ({"type": "string"}, "The target that the others are compared with: `CPU/local`."),
    "tokens": ({"type": "integer", "minimum": 1}, "Tokens the model reads, the query once with every passage."),
    "passages": ({"type": "integer", "minimum": 1}, "Passages, or inputs."),
    "chars": ({"type": "integer", "minimum": 1}, "Characters the model reads, when tokens are not known."),
    "task": ({"enum": ["rank", "embed"]}, "What it does."),
    "tag": ({"type": "string"}, "Tags it must have, separated by commas."),
    "q": ({"type": "string"}, "Words to be found in its names, title, description or tags."),
    "by": ({"enum": ["day", "hour"], "default": "day"}, "What sums are of."),
    "from": ({"type": "string"}, "A day or a time."),
    "to": ({"type": "string"}, "A day or a time."),
    "key_id": ({"type": "string"}, "Of this key only."),
    "model": ({"type": "string"}, "Of this model only."),
}
_PIN = ("model_version", "version", "gpu_type", "region")
_WORDS = {
    "400": "The request is wrong; the message says what would be right",
    "401": "No key, or one that is unknown, revoked or expired",
    "403": "The key's scopes or models do not allow this",
    "404": "No such model, version, GPU type, region or id; the message lists what there is",
    "405": "Wrong method",
    "408": "The body came too slowly",
    "409": "The model cannot run on that target; the message says why, and where it can",
    "413": "The body is too large",
    "429": "A limit of the key is used up, or too much waits; see Retry-After",
    "500": "Our mistake",
    "503": "It could not be started, or the server is not ready; see Retry-After",
    "504": "The request's deadline passed",
}


class Operation(NamedTuple):
    """One route as its reader needs it. `open_to_all`: no key is asked for."""

    method: str
    path: str
    tag: str
    summary: str
    answer: str
    status: str = "200"
    body: str = ""
    query: tuple[str, ...] = ()
    open_to_all: bool = False


OPERATIONS: tuple[Operation, ...] = (
    Operation("get", "/v1/models", "Models", "What there is", "Models", query=("task", "tag", "q")),
    Operation("get", "/v1/models/{slug}", "Models", "A catalogue entry with its target tables", "Model", query=_PIN),
    Operation("get", "/v1/models/{slug}/inference-routes", "Models", "Whether there is a route to a target", "InferenceRoutes", query=_PIN),
    Operation(
        "get",
        "/v1/models/{slug}/run-estimate",
        "Models",
        "Time and cost of one request, before it is sent",
        "RunEstimate",
        query=(*_PIN, "tokens", "passages", "chars"),
    ),
    Operation("post", "/v1/models/{slug}/run-estimate", "Models", "The same for a body of the native route", "RunEstimate", body="NativeRequest", query=_PIN),
    Operation("get", "/v1/models/{slug}/reliability", "Models", "The target table and what to make of it", "Reliability", query=(*_PIN, "baseline")),
    Operation("get", "/v1/model-families/{slug}/status", "Life cycle", "What runs now", "FamilyStatus", query=_PIN),
    Operation("post", "/v1/model-families/{slug}/start", "Life cycle", "Prewarm; answers when it is warm", "Started", body="StartRequest", query=_PIN),
    Operation("post", "/v1/model-families/{slug}/stop", "Life cycle", "Drain and free the target", "Stopped", body="StopRequest", query=_PIN),
    Operation("get", "/v1/targets", "Targets", "Machines, what is free, and prices", "Targets", query=("gpu_type", "region")),
    Operation("get", "/v1/probes", "Targets", "The last probes", "Probes", query=("model",)),
    Operation("post", "/v1/probes", "Targets", "Measure a model on a target", "Probe", "202", body="ProbeRequest"),
    Operation("get", "/v1/probes/{probe_id}", "Targets", "One probe", "Probe"),
    Operation("get", "/v1/schedules", "Targets", "What is prewarmed or probed at fixed times", "Schedules"),
    Operation("post", "/v1/schedules", "Targets", "Prewarm or probe at fixed times", "Schedule", "201", body="ScheduleRequest"),
    Operation("delete", "/v1/schedules/{schedule_id}", "Targets", "No more", "Schedule"),
    Operation("get", "/v1/keys", "Keys", "All keys, never a key itself", "Keys"),
    Operation("post", "/v1/keys", "Keys", "A new key, shown once", "NewKey", "201", body="KeyRequest"),
    Operation("get", "/v1/keys/{key_id}", "Keys", "One key", "Key"),
    Operation("patch", "/v1/keys/{key_id}", "Keys", "Other rights or limits", "Key", body="KeyChange"),
    Operation("delete", "/v1/keys/{key_id}", "Keys", "Revoke", "Key"),
    Operation("post", "/v1/keys/{key_id}/rotate", "Keys", "A new key with the same rights", "NewKey", "201", body="RotateRequest"),
    Operation("get", "/v1/usage", "Keys", "What was asked for and what it cost", "Usage", query=("by", "from", "to", "key_id", "model")),
    Operation("get", "/v1/health/live", "About", "The process runs", "Health", open_to_all=True),
    Operation("get", "/v1/health/ready", "About", "Requests are taken; 503 otherwise", "Health", open_to_all=True),
    Operation("get", "/v1/version", "About", "Release and API version", "Object", open_to_all=True),
)
# What a gateway answers itself. A forge that is asked directly does not have these.
_COHERE = "Cohere's rerank and what is like it; with `texts` Text Embeddings Inference's"
GATEWAY_OPERATIONS: tuple[Operation, ...] = (
    Operation("post", "/v1/inference/{slug}", "Inference", "The model's own payload, and where it shall run", "Object", body="NativeRequest"),
    Operation("post", "/v1/ranking", "Inference", "NIM's ranking", "Object", body="NativeRequest"),
    Operation("post", HOSTED, "Inference", "The same by the path NVIDIA's hosted API has", "Object", body="NativeRequest"),
    *(Operation("post", path, "Inference", _COHERE, "Object", body="RerankRequest") for path in ("/v1/rerank", "/v2/rerank", "/rerank", "/infinity/rerank")),
    Operation("post", "/v1/embeddings", "Inference", "NIM's, OpenAI's, Voyage's and Jina's embeddings", "Object", body="EmbeddingsRequest"),
    *(Operation("post", path, "Inference", each.summary, f"{each.operation}Answer", body=f"{each.operation}Request") for path, each in DESCRIBED.items()),
    Operation("get", "/models", "Models", "The list of models for Infinity's clients", "Object"),
    Operation("get", "/info", "Models", "TEI's facts of the first reranker; below `/models/{slug}` of that model", "Object"),
    Operation("get", "/health", "About", "200 when requests are taken, 503 otherwise", "Object", open_to_all=True),
)


def document() -> Schema:
    """The whole document."""
    paths: dict[str, Schema] = {}
    for operation in (*GATEWAY_OPERATIONS, *OPERATIONS):
        paths.setdefault(operation.path, {})[operation.method] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Emberank",
            "version": __version__,
            "description": "Rerankers and embedders on your own machines: find one, check a target, see what a request costs, warm it up, send it.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "security": [{"key": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": "`Authorization: Bearer $FORGE_API_KEY`"}},
            "schemas": SCHEMAS
            | _REQUESTS
            | {f"{each.operation}Request": each.request for each in DESCRIBED.values()}
            | {f"{each.operation}Answer": each.response for each in DESCRIBED.values()},
        },
    }


_TEXT_OBJECT: Schema = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
_PIN_FIELDS: Schema = {name: {"type": ["string", "null"], "description": _QUERY[name][1]} for name in _PIN}
_RANK_MORE: Schema = {
    "score_mode": {"enum": ["raw", "logit", "sigmoid", "calibrated", None], "description": "What a score is; absent: as the dialect has it."},
    "max_tokens_per_doc": {"type": ["integer", "null"], "description": "A document is cut to so many tokens."},
    "max_chunks_per_doc": {"type": ["integer", "null"], "description": "A document that is too long is read in up to so many pieces; the best counts."},
}
_REQUESTS: Schema = {
    "NativeRequest": {
        "type": "object",
        "description": "A reranker's payload; an embedder takes that of /v1/embeddings.",
        "properties": {
            "model": {"type": ["string", "null"], "description": "Any name of the model; the path goes before it."},
            "query": _TEXT_OBJECT,
            "passages": {"type": "array", "items": _TEXT_OBJECT},
            "truncate": {"enum": ["NONE", "END", None]},
            "top_n": {"type": ["integer", "null"]},
            **_RANK_MORE,
            **_PIN_FIELDS,
        },
        "required": [],
        "examples": [_NATIVE_EXAMPLE],
    },
    "RerankRequest": {
        "type": "object",
        "properties": {
            "model": {"type": ["string", "null"]},
            "query": {"type": "string"},
            "documents": {"type": "array", "items": {"anyOf": [{"type": "string"}, _TEXT_OBJECT]}, "description": "Cohere's dialect."},
            "texts": {
                "type": "array",
                "items": {"type": "string"},
                "description": "TEI's instead: the answer is a bare array.",
            },
            "top_n": {"type": ["integer", "null"]},
            "return_documents": {"type": ["boolean", "null"]},
            "raw_scores": {"type": ["boolean", "null"], "description": "Logits instead of their sigmoids."},
            **_RANK_MORE,
            **_PIN_FIELDS,
        },
        "required": ["query"],
        "examples": [
            {"model": "all-minilm-l6-v2-rerank", "query": "which way?", "documents": ["two roads diverged in a wood", "the weather is fine"], "top_n": 1}
        ],
    },
    "EmbeddingsRequest": {
        "type": "object",
        "properties": {
            "model": {"type": ["string", "null"]},
            "input": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]},
            "input_type": {"enum": ["query", "passage", None]},
            "encoding_format": {"enum": ["float", "base64", None]},
            "dimensions": {"type": ["integer", "null"]},
        },
        "required": ["input"],
        "examples": [{"model": "all-minilm-l6-v2", "input": ["hello world"], "input_type": "query"}],
    },
}


def _operation(operation: Operation) -> Schema:
    answers: Schema = {operation.status: {"description": "OK", "content": _content(operation.answer)}}
    if operation.path.endswith("/start"):
        answers["202"] = {"description": "With `Prefer: respond-async`: it is being started", "content": _content(operation.answer)}
    found: dict[str, Any] = {
        "operationId": operation.method + "".join(word.strip("{}").title() for word in operation.path.replace("-", "/").split("/")).replace("_", ""),
        "tags": [operation.tag],
        "summary": operation.summary,
        "parameters": [*map(_path, _names(operation.path)), *map(_in_query, operation.query)],
        "responses": answers | {status: {"description": words, "content": _content("Error")} for status, words in _WORDS.items() if status not in answers},
    }
    if operation.body:
        found["requestBody"] = {"required": operation.body not in ("StartRequest", "StopRequest", "RotateRequest"), "content": _content(operation.body)}
    if operation.open_to_all:
        found["security"] = []
    return found


def _names(path: str) -> list[str]:
    return [word.strip("{}") for word in path.split("/") if word.startswith("{")]


def _path(name: str) -> Schema:
    words = {"slug": "Any name of the model; a slash in it may be written as %2F."}
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}, "description": words.get(name, "")}


def _in_query(name: str) -> Schema:
    schema, words = _QUERY[name]
    return {"name": name, "in": "query", "required": False, "schema": schema, "description": words}


def _content(name: str) -> Schema:
    return {"application/json": {"schema": ref(name)}}
