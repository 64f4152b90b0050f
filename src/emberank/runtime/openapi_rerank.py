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
        **asked_more(),
        "truncate": {
            "enum": ["NONE", "END", True, False, None],
            "description": "With `documents` NONE or END (the default), with `texts` true or false (the default).",
        },
        **_vllms(),
        "truncation": _FLAG | {"description": "Voyage's word: false refuses what is too long."},
        "truncation_direction": {"enum": ["Right", "right", None]},
    }
    assert set(properties) == {*cohere.FIELDS, *tei.FIELDS, "truncate"}
    example = {"query": "which way should i go?", "documents": ["two roads diverged in a yellow wood", "the weather is fine"], "top_n": 1}
    return {
        "type": "object",
        "properties": properties,
        "required": ["query"],
        "anyOf": [{"required": ["documents"]}, {"required": ["texts"]}],
        "examples": [example],
    }


def _vllms() -> Schema:
    """Options of vLLM's that its rerank takes: those that would change a score are described by the values that do not."""
    one: Schema = {"use_activation": _FLAG | {"description": "false: logits."}, "activation": _FLAG, "softmax": _FLAG}
    return one | {
        "user": {"type": ["string", "null"]},
        "truncation_side": {"enum": ["right", None]},
        "truncate_prompt_tokens": {"enum": [-1, None], "description": "-1 is the model's own limit."},
        "instruction": {"enum": ["", None], "description": "A model's prompt is its own."},
        "chat_template": {"enum": ["", None]},
        "chat_template_kwargs": {"enum": [{}, None]},
        "mm_processor_kwargs": {"enum": [{}, None]},
        "media_io_kwargs": {"enum": [{}, None]},
        "add_special_tokens": {"enum": [True, None]},
        "padding": {"enum": ["do_not_pad", None]},
    }


def asked_more() -> Schema:
    """What every rerank dialect takes besides, NIM's among them."""
    return {
        "score_mode": {
            "enum": ["raw", "logit", "sigmoid", "calibrated", None],
            "description": "What a score is; absent: as the dialect has it. `calibrated` needs a calibration of the model's version.",
        },
        "max_tokens_per_doc": _TOP | {"description": "A document is cut to so many tokens; 0 and null: only by the model's own limit."},
        "max_chunks_per_doc": _TOP
        | {
            "maximum": 1000,
            "description": "A document that is too long is read in up to so many pieces, and the best of them counts; 0 and null: it is cut or refused.",
        },
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
