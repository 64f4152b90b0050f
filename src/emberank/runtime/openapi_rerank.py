"""The rerank dialects' part of the runtime's OpenAPI document: Cohere's body and TEI's on the same paths. Knows no settings but a limit."""

from __future__ import annotations

from typing import Any

from emberank.dialects import cohere, tei

Schema = dict[str, Any]

_FLAG: Schema = {"type": ["boolean", "null"]}
_TOP: Schema = {"type": ["integer", "null"], "minimum": 0, "description": "Only so many of the best; 0 and null mean all."}
_NOT_BLANK: Schema = {"type": "string", "minLength": 1, "pattern": r"\S"}


def request(most: int, model: Schema) -> Schema:
    """One body: with `documents` it is Cohere's, with `texts` TEI's."""
    document = {"anyOf": [_NOT_BLANK, {"type": "object", "properties": {"text": _NOT_BLANK}, "required": ["text"]}]}
    many = {"type": "array", "minItems": 1, "maxItems": most}
    properties: Schema = {
        "model": model,
        "query": _NOT_BLANK | {"description": "What is looked for."},
        "documents": many | {"items": document, "description": "Cohere's dialect: what is ordered, strings or objects with a text."},
        "texts": many | {"items": _NOT_BLANK, "description": "TEI's dialect instead of `documents`: the answer is a bare array."},
        "top_n": _TOP,
        "top_k": _TOP,
        "return_documents": _FLAG,
        "return_text": _FLAG,
        "rank_fields": {
            "type": ["array", "null"],
            "items": {"type": "string", "minLength": 1},
            "minItems": 1,
            "description": "Fields of an object that are ranked.",
        },
        "raw_scores": _FLAG | {"description": "Logits instead of their sigmoids."},
        "truncate": {
            "enum": ["NONE", "END", True, False, None],
            "description": "With `documents` NONE or END (the default), with `texts` true or false (the default).",
        },
        "truncation": _FLAG | {"description": "Voyage's word: false refuses what is too long."},
        "truncation_direction": {"enum": ["Right", "right", None]},
    }
    assert set(properties) == {*cohere.FIELDS, *tei.FIELDS}
    example = {"query": "which way should i go?", "documents": ["two roads diverged in a yellow wood", "the weather is fine"], "top_n": 1}
    return {
        "type": "object",
        "properties": properties,
        "required": ["query"],
        "anyOf": [{"required": ["documents"]}, {"required": ["texts"]}],
        "examples": [example],
    }


def response() -> Schema:
    """Cohere's object, or TEI's array."""
    scored = {"index": {"type": "integer"}, "relevance_score": {"type": "number"}}
    result = {"type": "object", "properties": scored, "required": list(scored)}
    whole = {
        "id": {"type": "string"},
        "object": {"const": "rerank"},
        "model": {"type": "string"},
        "results": {"type": "array", "items": result},
        "data": {"type": "array", "items": result},
        "usage": {"type": "object"},
        "meta": {"type": "object"},
    }
    text = {"index": {"type": "integer"}, "score": {"type": "number"}, "text": {"type": "string"}}
    return {
        "anyOf": [
            {"type": "object", "properties": whole, "required": list(whole)},
            {"type": "array", "items": {"type": "object", "properties": text, "required": ["index", "score"]}},
        ]
    }
