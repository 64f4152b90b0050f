"""Cohere's embed, both directions: fields ↔ contract. Pure.

Source: Cohere's API reference (`/v1/embed`, `/v2/embed`) and the types that its SDK reads. Version 1 answers a bare list of floats unless types are asked for,
version 2 always by type. Floats are asked of a model once, whatever types are wanted, and coded here: so several types cost no more than one, and any type
goes with `output_dimension`. Does not know the size of an image: `images` in an answer, which is optional, is left out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypeAlias

import numpy as np
import orjson

from emberank.contract.errors import BadRequest
from emberank.contract.inference import Content, EmbedCall, InputType, Truncate
from emberank.dialects.answers import Embeddings
from emberank.dialects.asked import AskedEmbed, Told
from emberank.dialects.embedded_image import image_url
from emberank.dialects.nim import Rules
from emberank.dialects.reading import choice, kind, optional_count, optional_text, shown, text_field, text_list, unknown_fields
from emberank.dialects.vectors import coded, in_base64

FIELDS = ("model", "texts", "images", "inputs", "input_type", "embedding_types", "output_dimension", "max_tokens", "truncate")
SOURCES = ("texts", "images", "inputs")

Type: TypeAlias = Literal["float", "int8", "uint8", "binary", "ubinary", "base64"]
TYPES: tuple[Type, ...] = ("float", "int8", "uint8", "binary", "ubinary", "base64")
_TRUNCATES: tuple[Truncate, ...] = ("NONE", "START", "END")
# An image is a passage; the two that are no search have no prompt of their own in a retrieval model.
_INPUT_TYPES: dict[str, InputType | None] = {
    "search_document": "passage",
    "search_query": "query",
    "classification": None,
    "clustering": None,
    "image": "passage",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """How the vectors of a call are to be written. `types` None is version 1's bare list of floats."""

    version: Literal["1", "2"]
    types: tuple[Type, ...] | None
    texts: tuple[str, ...]  # said again in the answer
    images: int


def read_v1(fields: dict[str, Any], rules: Rules) -> AskedEmbed:
    """A body of /v1/embed. Null is absent. Raises BadRequest naming the field and what would be right."""
    return _read(fields, rules, "1")


def read_v2(fields: dict[str, Any], rules: Rules) -> AskedEmbed:
    """A body of /v2/embed; the same."""
    return _read(fields, rules, "2")


def _read(fields: dict[str, Any], rules: Rules, version: Literal["1", "2"]) -> AskedEmbed:
    if optional_count(fields, "max_tokens") is not None:
        raise BadRequest("max_tokens is not supported: an input is read up to the model's own limit; leave it out, and let truncate say what is cut")
    source, inputs = _inputs(fields, rules.max_inputs)
    types = _types(fields)
    call = EmbedCall(
        model=optional_text(fields, "model"),
        inputs=inputs,
        truncate=choice(fields, "truncate", _TRUNCATES, "END"),
        input_type=_input_type(fields, source, inputs),
        dimensions=optional_count(fields, "output_dimension"),
        encoding_format="base64",  # between servers: the shorter and the exact one
    )
    wanted = Wanted(
        version=version,
        types=types if types is not None or version == "1" else ("float",),
        texts=tuple(content.text or "" for content in inputs) if source == "texts" else (),
        images=sum(content.image is not None for content in inputs),
    )
    ignored = tuple(name for name in unknown_fields(fields, FIELDS) if fields[name] is not None)
    return AskedEmbed(call=call, render=partial(render_embed, wanted), ignored=ignored)


def _inputs(fields: dict[str, Any], most: int) -> tuple[str, tuple[Content, ...]]:
    """What is to be embedded, and the field that holds it. An empty array beside another field is none."""
    named = [name for name in SOURCES if fields.get(name) is not None]
    filled = [name for name in named if fields[name] != []]
    if len(filled) > 1:
        raise BadRequest(f"{filled[0]} and {filled[1]} cannot be sent together; send one of texts, images and inputs")
    if not named:
        raise BadRequest("texts: missing field; send texts (an array of strings), images (an array of data URLs) or inputs (an array of objects with content)")
    source = (filled or named)[0]
    if source == "texts":
        return source, tuple(map(Content, text_list(fields["texts"], "texts", most)))
    value = fields[source]
    if not isinstance(value, list):
        raise BadRequest(f"{source} must be an array, not {kind(value)}")
    if not value:
        raise BadRequest(f"{source} must not be empty")
    if len(value) > most:
        raise BadRequest(f"{source} holds {len(value)} entries; at most {most} are allowed in one request")
    read: Callable[[Any, str], Content] = _image if source == "images" else _mixed
    return source, tuple(read(one, f"{source}[{i}]") for i, one in enumerate(value))


def _image(value: Any, at: str) -> Content:
    return Content(None, image_url(value, at))


def _mixed(value: Any, at: str) -> Content:
    """Version 2's `{"content": [{"type": "text", …}, {"type": "image_url", …}]}`: one vector of all its parts."""
    parts = value.get("content") if isinstance(value, dict) else None
    if not isinstance(parts, list) or not parts:
        raise BadRequest(f'{at} must be an object such as {{"content": [{{"type": "text", "text": "…"}}]}}')
    texts, images = [], []
    for i, part in enumerate(parts):
        here = f"{at}.content[{i}]"
        if not isinstance(part, dict):
            raise BadRequest(f"{here} must be an object with a type, not {kind(part)}")
        of = f"{here}.type"
        if choice({of: part.get("type") or ""}, of, ("text", "image_url"), "text") == "text":
            texts.append(text_field(part, "text", f"{here}."))
        else:
            image = part.get("image_url")
            images.append(image_url(image.get("url") if isinstance(image, dict) else image, f"{here}.image_url.url"))
    if len(images) > 1:
        raise BadRequest(f"{at} holds several images; an input is at most one image and a text beside it: send each image as an input of its own")
    return Content("\n".join(texts) or None, images[0] if images else None)


def _input_type(fields: dict[str, Any], source: str, inputs: tuple[Content, ...]) -> InputType | None:
    if fields.get("input_type") is None:
        return None
    said = choice(fields, "input_type", tuple(_INPUT_TYPES), "search_document")
    if said == "image" and not all(content.image is not None for content in inputs):
        raise BadRequest(f"input_type 'image' is for images, and {source} holds text; send search_document or search_query")
    if said == "search_query" and any(content.image is not None for content in inputs):
        raise BadRequest("input_type 'search_query' is for text: an image is embedded as a document; send input_type 'image' or 'search_document'")
    return _INPUT_TYPES[said]


def _types(fields: dict[str, Any]) -> tuple[Type, ...] | None:
    """Each type once, in the order they were asked for."""
    value = fields.get("embedding_types")
    if value is None:
        return None
    if not isinstance(value, list) or not value:
        raise BadRequest(f"embedding_types must be an array with at least one of {', '.join(map(repr, TYPES))}; got {shown(value)}")
    found = [choice({"embedding_types": one if one is not None else ""}, "embedding_types", TYPES, "float") for one in value]
    return tuple(dict.fromkeys(found))


def render_embed(wanted: Wanted, embeddings: Embeddings, told: Told) -> bytes:
    """`embeddings` is a list of vectors (`response_type` "embeddings_floats") or an object of such lists by type ("embeddings_by_type")."""
    floats = np.ascontiguousarray(embeddings.vectors)
    units: dict[str, int] = {"input_tokens": embeddings.prompt_tokens}
    if wanted.images:
        units["images"] = wanted.images
    answer = {
        "id": told.request_id,
        "texts": wanted.texts,
        "embeddings": floats if wanted.types is None else {kind: _written(floats, kind) for kind in wanted.types},
        "meta": {"api_version": {"version": wanted.version}, "billed_units": units},
        "response_type": "embeddings_floats" if wanted.types is None else "embeddings_by_type",
    }
    return orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)


def _written(floats: np.ndarray[Any, Any], kind: Type) -> object:
    return in_base64(floats) if kind == "base64" else np.ascontiguousarray(coded(floats, kind))
