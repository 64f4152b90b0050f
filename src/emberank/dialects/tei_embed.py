"""Text Embeddings Inference's `/embed` and Hugging Face's `/similarity`, both directions: fields ↔ contract. Pure.

Source: TEI's OpenAPI document (`EmbedRequest`, `SimilarityRequest`) and what `huggingface_hub.InferenceClient` sends: it puts the options of `/embed` beside `inputs`,
TEI puts those of `/similarity` into `parameters`; both places are read on both. An answer is a bare array, also for one text.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import orjson

from emberank.contract.errors import BadRequest
from emberank.contract.inference import ENCODING_FORMATS, Content, EmbedCall, EncodingFormat, InputType, Truncate
from emberank.dialects.answers import Embeddings
from emberank.dialects.asked import AskedEmbed, Told
from emberank.dialects.nim import Rules
from emberank.dialects.reading import choice, flag, kind, optional_count, optional_text, shown, text_field, text_list, unknown_fields
from emberank.dialects.vectors import as_units, cosines, in_base64

OPTIONS = ("truncate", "truncation_direction", "prompt_name", "dimensions")
FIELDS = ("model", "inputs", "parameters", *OPTIONS)
EMBED_FIELDS = (*FIELDS, "normalize", "encoding_format")

# Names of sentence-transformers' prompts, as models for retrieval have them.
_PROMPTS: dict[str, InputType] = {"query": "query", "passage": "passage", "document": "passage"}


def read_embed(fields: dict[str, Any], rules: Rules) -> AskedEmbed:
    """A body of /embed. Null is absent. Raises BadRequest naming the field and what would be right."""
    fields = _flat(fields)
    if not flag(fields, "normalize", default=True):
        raise BadRequest("normalize must be true or left out: vectors are answered at length one, and other lengths cannot be had")
    value = fields.get("inputs")
    if value is None or not isinstance(value, (str, list)):
        raise BadRequest(f"inputs must be a string or an array of strings, not {kind(value)}")
    texts = text_list([value] if isinstance(value, str) else value, "inputs", rules.max_inputs)
    encoding_format = choice(fields, "encoding_format", ENCODING_FORMATS, "float")
    return AskedEmbed(call=_call(fields, texts, rules), render=partial(render_embed, encoding_format), ignored=_ignored(fields, EMBED_FIELDS))


def read_similarity(fields: dict[str, Any], rules: Rules) -> AskedEmbed:
    """A body of /similarity: the first input of the call is the source sentence. Raises BadRequest as well."""
    fields = _flat(fields)
    inputs = fields.get("inputs")
    if not isinstance(inputs, dict):
        raise BadRequest(f'inputs must be an object such as {{"source_sentence": "…", "sentences": ["…"]}}, not {kind(inputs)}')
    source = text_field(inputs, "source_sentence", "inputs.")
    sentences = text_list(inputs.get("sentences"), "inputs.sentences", rules.max_inputs - 1)
    return AskedEmbed(call=_call(fields, [source, *sentences], rules), render=render_similarity, ignored=_ignored(fields, FIELDS))


def _flat(fields: dict[str, Any]) -> dict[str, Any]:
    """The options in `parameters` beside the others. Raises BadRequest where a name is in both places and says two things."""
    parameters = fields.get("parameters")
    if parameters is None:
        return fields
    if not isinstance(parameters, dict):
        raise BadRequest(f"parameters must be an object, not {kind(parameters)}")
    said = {name: value for name, value in parameters.items() if value is not None}
    for name, value in said.items():
        if fields.get(name) not in (None, value):
            raise BadRequest(f"{shown(name)} is in parameters and beside them, and differs; send it once")
    return fields | said


def _call(fields: dict[str, Any], texts: list[str], rules: Rules) -> EmbedCall:
    return EmbedCall(
        model=optional_text(fields, "model"),
        inputs=tuple(map(Content, texts)),
        truncate=_truncate(fields, rules.default_truncate),
        input_type=_prompt(fields),
        dimensions=optional_count(fields, "dimensions"),
        encoding_format="base64",  # between servers: the shorter and the exact one
    )


def _truncate(fields: dict[str, Any], default: Truncate) -> Truncate:
    """TEI's `truncate` says whether, its `truncation_direction` ("Left", "Right", in any case) where."""
    direction = fields.get("truncation_direction")
    said = {"truncation_direction": direction.lower() if isinstance(direction, str) else direction}
    side = choice(said, "truncation_direction", ("right", "left"), "left" if default == "START" else "right")
    if not flag(fields, "truncate", default=default != "NONE"):
        return "NONE"
    return "START" if side == "left" else "END"


def _prompt(fields: dict[str, Any]) -> InputType | None:
    if fields.get("prompt_name") is None:
        return None
    return _PROMPTS[choice(fields, "prompt_name", tuple(_PROMPTS), "query")]


def _ignored(fields: dict[str, Any], known: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name in unknown_fields(fields, known) if fields[name] is not None)


def render_embed(encoding_format: EncodingFormat, embeddings: Embeddings, told: Told) -> bytes:
    """An array of vectors of length one: arrays of numbers, or strings of base64."""
    vectors = as_units(embeddings.vectors)
    return orjson.dumps(in_base64(vectors) if encoding_format == "base64" else np.ascontiguousarray(vectors), option=orjson.OPT_SERIALIZE_NUMPY)


def render_similarity(embeddings: Embeddings, told: Told) -> bytes:
    """The cosine of the source sentence with every sentence, in their order."""
    return orjson.dumps(cosines(embeddings.vectors))
