"""Settings in, the OpenAPI 3.1 document of the runtime out. The limits it states are the ones in force.

Schemas follow dialects/nim.py; tests send what the document allows and forbids and hold the server to it.
"""

from __future__ import annotations

from typing import Any

from emberank import __version__
from emberank.dialects.described import DESCRIBED, Described
from emberank.dialects.nim import RANKING_FIELDS
from emberank.dialects.nim_asked import MOST_HOSTED
from emberank.dialects.openai_embeddings import FIELDS as EMBEDDING_FIELDS
from emberank.runtime import openapi_rerank
from emberank.settings import RuntimeSettings

Schema = dict[str, Any]

_NOT_BLANK: Schema = {"type": "string", "minLength": 1, "pattern": r"\S"}
_DATA_URL: Schema = {
    "type": "string",
    "pattern": r"^data:image/[A-Za-z0-9.+-]{1,64};base64,",
    "description": "A data URL in base64: PNG, JPEG, WebP, GIF, BMP or TIFF of at most 25 MiB and 8192 x 16384 pixels in either direction. Nothing is fetched.",
}
_MODEL: Schema = {"type": ["string", "null"], "description": "A served name or alias; `.`, `_` and `-` are alike. Absent or null: the route's own model."}


# A schema that several paths share is one operation's by its first path.
DESCRIBED_ONCE = {each.operation: path for path, each in reversed(DESCRIBED.items())}
_RERANK_PATHS = ("/v1/rerank", "/v2/rerank", "/rerank", "/infinity/rerank")
_RERANK = dict.fromkeys(_RERANK_PATHS, "Cohere's rerank, and what is like it: Jina's, Voyage's, vLLM's, Infinity's; with `texts` TEI's")


def document(settings: RuntimeSettings) -> Schema:
    """The whole document."""
    paths = {
        "/v1/ranking": {"post": _ranking("rank", "Order passages by their relevance to a query")},
        "/v1/retrieval/{org}/{model}/reranking": {
            "post": _ranking("rankHosted", "The same by the path NVIDIA's hosted API has", "HostedRankingRequest")
            | {"parameters": [_path("org"), _path("model")]}
        },
        **{path: {"post": _post(f"rerank{i}", "Rerank", summary, "RerankRequest", "RerankResponse")} for i, (path, summary) in enumerate(_RERANK.items())},
        "/v1/embeddings": {"post": _post("embed", "Embeddings", "Turn texts and images into vectors", "EmbeddingsRequest", "EmbeddingsResponse")},
        "/embeddings": {"post": _post("embedAlso", "Embeddings", "The same for clients whose base URL has no /v1", "EmbeddingsRequest", "EmbeddingsResponse")},
        **{path: {"post": _described(path, each)} for path, each in DESCRIBED.items()},
        "/models": {"get": _get("listModelsInfinity", "Models", "The same list for Infinity's clients", "Models")},
        "/info": {"get": _get("info", "Models", "TEI's facts of the model in the path; else of the first reranker", "Object")},
        "/health": {"get": _get("health", "Health", "200 when requests are taken, 503 otherwise", "Object")},
        "/v1/models": {"get": _get("listModels", "Models", "Served models", "Models")},
        "/v1/models/{name}": {"get": _get("getModel", "Models", "One served model", "Model") | {"parameters": [_path("name")]}},
        "/v1/health/live": {"get": _get("live", "Health", "The process runs", "Health")},
        "/v1/health/ready": {"get": _get("ready", "Health", "The golden examples came out right and requests are taken; 503 otherwise", "Health")},
        "/v1/metadata": {"get": _get("metadata", "About", "Models, engine, device, precision", "Object")},
        "/v1/manifest": {"get": _get("manifest", "About", "Files of the models with their sha256", "Object")},
        "/v1/license": {"get": _get("license", "About", "Licences of the server and the models", "Object")},
        "/v1/version": {"get": _get("version", "About", "Release and API version", "Object")},
        "/v1/metrics": {
            "get": {
                "operationId": "metrics",
                "tags": ["About"],
                "summary": "Prometheus metrics",
                "responses": {"200": {"description": "Text", "content": {"text/plain": {}}}},
            }
        },
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Emberank runtime",
            "version": __version__,
            "description": "Rerankers and embedders behind NVIDIA's retrieval NIM API.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {"schemas": _schemas(settings)},
    }


def _path(name: str) -> Schema:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}


def _ref(name: str) -> Schema:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}}


def _errors(*statuses: int) -> Schema:
    words = {
        400: "The body is wrong; the message says what would be right",
        404: "No such model; the message lists what is served",
        405: "Wrong method",
        408: "The body came too slowly",
    }
    words |= {
        413: "The body is too large",
        422: "Over-long input, where so configured",
        429: "Queue full; see Retry-After",
        500: "Our mistake",
        503: "Not ready",
        504: "Deadline passed",
    }
    return {str(status): {"description": words[status], "content": _ref("Error")} for status in statuses}


def _post(operation: str, tag: str, summary: str, request: str, response: str) -> Schema:
    timeout = {
        "name": "X-Request-Timeout",
        "in": "header",
        "schema": {"type": "number", "exclusiveMinimum": 0},
        "description": "The caller's own deadline in seconds.",
    }
    return {
        "operationId": operation,
        "tags": [tag],
        "summary": summary,
        "parameters": [timeout],
        "requestBody": {"required": True, "content": _ref(request)},
        "responses": {"200": {"description": "OK", "content": _ref(response)}} | _errors(400, 404, 405, 408, 413, 422, 429, 500, 503, 504),
    }


def _ranking(operation: str, summary: str, request: str = "RankingRequest") -> Schema:
    return _post(operation, "Ranking", summary, request, "RankingResponse")


def _described(path: str, each: Described) -> Schema:
    operation = each.operation if DESCRIBED_ONCE[each.operation] == path else each.operation + "Also"
    return _post(operation, each.tag, each.summary, _capital(each.operation) + "Request", _capital(each.operation) + "Response")


def _capital(word: str) -> str:
    return word[0].upper() + word[1:]


def _get(operation: str, tag: str, summary: str, response: str) -> Schema:
    return {
        "operationId": operation,
        "tags": [tag],
        "summary": summary,
        "responses": {"200": {"description": "OK", "content": _ref(response)}} | _errors(404, 405, 503),
    }


def _object(properties: Schema, required: list[str], **more: Any) -> Schema:
    return {"type": "object", "properties": properties, "required": required} | more


def _schemas(settings: RuntimeSettings) -> Schema:
    usage = _object({"prompt_tokens": {"type": "integer"}, "total_tokens": {"type": "integer"}}, ["prompt_tokens", "total_tokens"])
    ranked = _object(
        {
            "index": {"type": "integer", "description": "Place in the request's passages."},
            "logit": {"type": "number", "description": "Raw, unbounded; higher is more relevant."},
        },
        ["index", "logit"],
    )
    model = _object(
        {"id": {"type": "string"}, "object": {"const": "model"}, "created": {"type": "integer"}, "owned_by": {"type": "string"}, "root": {"type": "string"}},
        ["id", "object"],
    )
    return {
        "RankingRequest": _ranking_request(settings, settings.max_passages),
        "HostedRankingRequest": _ranking_request(settings, max(settings.max_passages, MOST_HOSTED)),
        **{_capital(each.operation) + "Request": each.request for each in DESCRIBED.values()},
        **{_capital(each.operation) + "Response": each.response for each in DESCRIBED.values()},
        "RankingResponse": _object(
            {"rankings": {"type": "array", "items": ranked, "description": "Best first; equal logits by index."}, "usage": usage}, ["rankings", "usage"]
        ),
        "RerankRequest": openapi_rerank.request(settings.max_documents, _MODEL),
        "RerankResponse": openapi_rerank.response(),
        "EmbeddingsRequest": _embeddings_request(settings),
        "EmbeddingsResponse": _object(
            {"object": {"const": "list"}, "data": {"type": "array", "items": _embedding()}, "model": {"type": "string"}, "usage": usage},
            ["object", "data", "model", "usage"],
        ),
        "Models": _object({"object": {"const": "list"}, "data": {"type": "array", "items": model}}, ["object", "data"]),
        "Model": model,
        "Health": _object(
            {
                "object": {"const": "health.response"},
                "message": {"type": "string"},
                "status": {"type": "string"},
                "live": {"type": "boolean"},
                "ready": {"type": "boolean"},
            },
            ["object", "message"],
        ),
        "Object": {"type": "object"},
        "Error": _object(
            {
                "object": {"const": "error"},
                "message": {"type": "string"},
                "type": {"type": "string"},
                "code": {"type": "integer"},
                "detail": {"type": "string"},
                "error": {"type": ["string", "object"]},
                "request_id": {"type": "string"},
            },
            ["object", "message", "type", "code", "detail", "error", "request_id"],
        ),
    }


def _ranking_request(settings: RuntimeSettings, most: int) -> Schema:
    text = _object({"text": _NOT_BLANK}, ["text"], description="What is looked for.")
    passage = {
        "anyOf": [
            _object({"text": _NOT_BLANK, "image": {"type": "null"}}, ["text"]),
            _object({"text": {"type": ["string", "null"]}, "image": _DATA_URL}, ["image"]),
        ],
        "description": "A text, an image or both. Images need a vision model: a text model answers 400.",
    }
    top = {"type": ["integer", "null"], "minimum": 0, "description": "Only so many of the best; 0 and null mean all."}
    properties = {
        "model": _MODEL,
        "query": text,
        "passages": {
            "type": "array",
            "items": passage,
            "minItems": 1,
            "maxItems": most,
            "description": "What is ordered. Equal texts are computed once.",
        },
        "truncate": {
            "enum": ["NONE", "END", None],
            "default": "END" if settings.default_truncate == "START" else settings.default_truncate,
            "description": "Over-long pairs: refuse the request, or cut from the right, starting with the passage.",
        },
        "top_n": top,
        "top_k": top,
        **openapi_rerank.asked_more(),
    }
    assert tuple(properties) == RANKING_FIELDS
    strict = {"additionalProperties": False} if settings.ranking_unknown_fields == "reject" else {}
    example = {
        "query": {"text": "which way should i go?"},
        "passages": [{"text": "two roads diverged in a yellow wood"}, {"text": "the weather is fine"}],
        "truncate": "END",
    }
    return _object(properties, ["query", "passages"], examples=[example], **strict)


def _embeddings_request(settings: RuntimeSettings) -> Schema:
    kinds = {"enum": ["text", "image", "text_image", None]}
    properties = {
        "model": _MODEL | {"description": _MODEL["description"] + " `<name>-query` and `<name>-passage` say the input type."},
        "input": {
            "anyOf": [_NOT_BLANK, {"type": "array", "items": _NOT_BLANK, "minItems": 1, "maxItems": settings.max_inputs}],
            "description": "Texts; for a vision model also an image as a base64 data URL, or a text with one, bare or in `<img src=…>`.",
        },
        "input_type": {"enum": ["query", "passage", "document", None]},
        "modality": {"anyOf": [kinds, {"type": "array", "items": kinds}], "description": "One for all inputs or one for each; inferred when absent."},
        "embedding_type": {"enum": ["float", "int8", "uint8", "binary", "ubinary", None], "default": "float"},
        "encoding_format": {
            "enum": ["float", "base64", None],
            "default": "float",
            "description": "base64: little-endian float32, or one byte per entry of a compressed type.",
        },
        "dimensions": {
            "type": ["integer", "null"],
            "minimum": 0,
            "description": "A length the model supports; 0 and null mean its full length. Not together with embedding_type.",
        },
        "truncate": {"enum": ["NONE", "START", "END", True, False, None], "default": settings.default_truncate},
        "user": {"type": ["string", "null"]},
        **_others(),
    }
    assert tuple(properties) == EMBEDDING_FIELDS
    strict = {"additionalProperties": False} if settings.embeddings_unknown_fields == "reject" else {}
    return _object(properties, ["input"], examples=[{"input": ["hello world"], "input_type": "query"}], **strict)


def _others() -> Schema:
    """What Voyage's and Jina's clients say besides."""
    return {
        "output_dimension": {"type": ["integer", "null"], "minimum": 0, "description": "Voyage's word for dimensions; it goes with output_dtype."},
        "output_dtype": {"enum": ["float", "int8", "uint8", "binary", "ubinary", None]},
        "truncation": {"type": ["boolean", "null"], "description": "Voyage's: whether what is too long is cut."},
        "task": {"enum": ["retrieval.query", "retrieval.passage", "text-matching", "classification", "separation", None], "description": "Jina's."},
        "normalized": {"enum": [True, None], "description": "Jina's: length one."},
        "late_chunking": {"enum": [False, None]},
    }


def _embedding() -> Schema:
    vector = {"anyOf": [{"type": "array", "items": {"type": "number"}}, {"type": "string", "description": "base64"}]}
    return _object({"object": {"const": "embedding"}, "index": {"type": "integer"}, "embedding": vector}, ["object", "index", "embedding"])
