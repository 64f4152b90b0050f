"""The dialects' bodies and answers as JSON Schemas, for the OpenAPI documents of whoever serves `routes.ROUTES`. Pure; states no limit that is a setting.

NIM's own routes and the rerank dialects' common body are described by the runtime, whose settings are their limits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Schema = dict[str, Any]

_TEXT: Schema = {"type": "string", "minLength": 1, "pattern": r"\S"}
_TEXTS: Schema = {"type": "array", "items": _TEXT, "minItems": 1}
_FLAG: Schema = {"type": ["boolean", "null"]}
_COUNT: Schema = {"type": ["integer", "null"], "minimum": 0, "description": "0 and null are absent."}
_MODEL: Schema = {"type": ["string", "null"], "description": "A served name; absent or null: the first model of the route's task."}
_SCORE_MODE: Schema = {
    "enum": ["raw", "logit", "sigmoid", "calibrated", None],
    "description": "What a score is; absent: between 0 and 1. `calibrated` needs a calibration of the model's version.",
}
_LONG: Schema = {
    "max_tokens_per_doc": _COUNT,
    "max_chunks_per_doc": _COUNT | {"maximum": 1000, "description": "A text that is too long is read in up to so many pieces, of which the best counts."},
}
_VECTOR: Schema = {"type": "array", "items": {"type": "number"}}
_USAGE: Schema = {
    "type": "object",
    "properties": {"prompt_tokens": {"type": "integer"}, "total_tokens": {"type": "integer"}},
    "required": ["prompt_tokens", "total_tokens"],
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """One route for a reader of the document. `request` and `response` are schemas."""

    operation: str
    tag: str
    summary: str
    request: Schema
    response: Schema


def _body(required: list[str], example: Schema, **properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "required": required, "examples": [example]}


def _answer(**properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _listed(entry: Schema) -> Schema:
    return _answer(object={"const": "list"}, model={"type": "string"}, data={"type": "array", "items": entry}, usage=_USAGE)


_SCORED = _answer(index={"type": "integer"}, object={"const": "score"}, score={"type": "number"})
_SIDE: Schema = {"anyOf": [_TEXT, _TEXTS]}
_SCORE = Described(
    operation="score",
    tag="Score",
    summary="vLLM's scores of pairs: one to one, one to all, or each to each",
    request=_body(
        ["text_1", "text_2"],
        {"text_1": "which way should i go?", "text_2": ["two roads diverged in a yellow wood", "the weather is fine"]},
        model=_MODEL,
        text_1=_SIDE | {"description": "Queries. `queries` and `documents` are other names of the two sides."},
        text_2=_SIDE,
        use_activation=_FLAG | {"description": "false: logits."},
        score_mode=_SCORE_MODE,
        **_LONG,
    ),
    response=_listed(_SCORED),
)
_LABEL: Schema = _answer(score={"type": "number"}, label={"type": "string"})
_PAIR: Schema = {"type": "array", "items": _TEXT, "minItems": 2, "maxItems": 2}
_PREDICT = Described(
    operation="predict",
    tag="Score",
    summary="TEI's predictions of a reranker: a score for a pair, or for each of several",
    request=_body(
        ["inputs"],
        {"inputs": [["which way should i go?", "two roads diverged in a yellow wood"]]},
        model=_MODEL,
        inputs={"anyOf": [_PAIR, {"type": "array", "items": _PAIR, "minItems": 1}]},
        raw_scores=_FLAG,
        truncate=_FLAG,
        truncation_direction={"enum": ["Right", "right", None]},
        score_mode=_SCORE_MODE,
        **_LONG,
    ),
    response={"type": "array", "items": {"anyOf": [_LABEL, {"type": "array", "items": _LABEL}]}},
)
_POOLING = Described(
    operation="pooling",
    tag="Embeddings",
    summary="vLLM's pooling of an embedder: one vector an input",
    request=_body(
        ["input"],
        {"input": ["two roads diverged in a yellow wood"]},
        model=_MODEL,
        input={"anyOf": [_TEXT, _TEXTS]},
        task={"enum": ["embed", None]},
        encoding_format={"enum": ["float", "base64", None]},
        dimensions=_COUNT,
    ),
    response=_listed(_answer(index={"type": "integer"}, object={"const": "pooling"}, data={"anyOf": [_VECTOR, {"type": "string"}]})),
)
_EMBED = Described(
    operation="teiEmbed",
    tag="Embeddings",
    summary="TEI's embeddings: a bare array of vectors, also for one text",
    request=_body(
        ["inputs"],
        {"inputs": ["two roads diverged in a yellow wood"]},
        model=_MODEL,
        inputs={"anyOf": [_TEXT, _TEXTS]},
        normalize={"enum": [True, None], "description": "Vectors are of length one."},
        truncate=_FLAG,
        truncation_direction={"enum": ["Left", "Right", "left", "right", None]},
        prompt_name={"enum": ["query", "passage", "document", None]},
        dimensions=_COUNT,
        encoding_format={"enum": ["float", "base64", None]},
    ),
    response={"type": "array", "items": {"anyOf": [_VECTOR, {"type": "string"}]}},
)
_SIMILARITY = Described(
    operation="similarity",
    tag="Embeddings",
    summary="Hugging Face's similarity: the cosine of a sentence with each of others",
    request=_body(
        ["inputs"],
        {"inputs": {"source_sentence": "which way should i go?", "sentences": ["two roads diverged in a yellow wood", "the weather is fine"]}},
        model=_MODEL,
        inputs={"type": "object", "properties": {"source_sentence": _TEXT, "sentences": _TEXTS}, "required": ["source_sentence", "sentences"]},
        parameters={"type": ["object", "null"]},
    ),
    response=_VECTOR,
)


def _cohere_embed(version: int) -> Described:
    by_type: Schema = {"type": "object", "additionalProperties": {"type": "array"}}
    return Described(
        operation=f"cohereEmbedV{version}",
        tag="Embeddings",
        summary=f"Cohere's embed, version {version}: texts, images" + (" or inputs of both" if version == 2 else ""),
        request=_body(
            [],
            {"texts": ["two roads diverged in a yellow wood"], "input_type": "search_document"},
            model=_MODEL,
            texts=_TEXTS | {"type": ["array", "null"]},
            images={"type": ["array", "null"], "items": {"type": "string"}, "description": "Data URLs, for a vision model."},
            inputs={"type": ["array", "null"], "items": {"type": "object"}},
            input_type={"enum": ["search_document", "search_query", "classification", "clustering", "image", None]},
            embedding_types={
                "type": ["array", "null"],
                "items": {"enum": ["float", "int8", "uint8", "binary", "ubinary", "base64"]},
                "description": "Several cost no more than one.",
            },
            output_dimension=_COUNT,
            truncate={"enum": ["NONE", "START", "END", None]},
        ),
        response=_answer(
            id={"type": "string"},
            texts={"type": "array", "items": {"type": "string"}},
            embeddings={"anyOf": [by_type, {"type": "array", "items": _VECTOR}]} if version == 1 else by_type,
            meta={"type": "object"},
            response_type={"enum": ["embeddings_floats", "embeddings_by_type"]},
        ),
    )


# By path. What answers in NIM's, OpenAI's and the rerank dialects' common shapes is not among them.
DESCRIBED: dict[str, Described] = {
    "/score": _SCORE,
    "/v1/score": _SCORE,
    "/predict": _PREDICT,
    "/pooling": _POOLING,
    "/embed": _EMBED,
    "/similarity": _SIMILARITY,
    "/v1/embed": _cohere_embed(1),
    "/v2/embed": _cohere_embed(2),
}
