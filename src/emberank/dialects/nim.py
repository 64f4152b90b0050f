"""NVIDIA's retrieval NIM, both directions: bytes ↔ contract. Pure.

Sources: the HTTP reference of NVIDIA's NeMo Retriever embedding NIM and the reranking NIM's OpenAPI document, with the error texts
of both generations (1.x and 2.x). Where they differ, the answer is a superset that satisfies readers of either.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

import numpy as np
import orjson

from emberank.contract.errors import BadRequest, EmberankError
from emberank.contract.inference import (
    EMBEDDING_TYPES,
    ENCODING_FORMATS,
    MODALITIES,
    Content,
    EmbedCall,
    EmbedResult,
    InputType,
    Modality,
    RankCall,
    RankResult,
    Truncate,
)
from emberank.dialects.embedded_image import SeveralImages, embedded, is_data_url
from emberank.dialects.reading import body_object, choice, kind, optional_count, optional_text, refuse_unknown, shown, text_field, unknown_fields

Call = TypeVar("Call")

# NIM's four fields, and the two that real clients send although NIM refuses them: LiteLLM top_k, RAGFlow top_n.
RANKING_FIELDS = ("model", "query", "passages", "truncate", "top_n", "top_k")
EMBEDDING_FIELDS = ("model", "input", "input_type", "modality", "embedding_type", "encoding_format", "dimensions", "truncate", "user")
_CONTENT_FIELDS = ("text", "image")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How strict a parser is, from the settings of the same names."""

    max_passages: int = 512
    max_inputs: int = 8192
    default_truncate: Truncate = "NONE"
    ranking_unknown_fields: Literal["reject", "ignore"] = "reject"
    embeddings_unknown_fields: Literal["reject", "ignore"] = "ignore"


@dataclass(frozen=True, slots=True)
class Parsed(Generic[Call]):
    """A call, and the fields of the body that were ignored."""

    call: Call
    ignored: tuple[str, ...]


def parse_ranking(body: bytes, rules: Rules) -> Parsed[RankCall]:
    """POST /v1/ranking. Raises BadRequest naming the field and what would be right."""
    return read_ranking(body_object(body), rules)


def read_ranking(fields: dict[str, Any], rules: Rules) -> Parsed[RankCall]:
    """As `parse_ranking`, of a body that is an object already."""
    ignored = unknown_fields(fields, RANKING_FIELDS)
    if rules.ranking_unknown_fields == "reject":
        refuse_unknown(ignored, RANKING_FIELDS)
    strict = rules.ranking_unknown_fields == "reject"
    call = RankCall(
        model=optional_text(fields, "model"),
        query=_query(fields, strict),
        passages=_passages(fields, rules.max_passages, strict),
        truncate=_ranking_truncate(fields, rules),
        top_n=optional_count(fields, "top_n") or optional_count(fields, "top_k"),
    )
    return Parsed(call, tuple(ignored))


def _ranking_truncate(fields: dict[str, Any], rules: Rules) -> Truncate:
    # The reranking NIM has no START: a pair is always cut from the right, starting with the passage.
    allowed: tuple[Truncate, ...] = ("NONE", "END")
    return choice(fields, "truncate", allowed, "END" if rules.default_truncate == "START" else rules.default_truncate)


def _query(fields: dict[str, Any], strict: bool) -> Content:
    query = fields.get("query")
    if query is None:
        raise BadRequest('query: missing field; it must be an object such as {"text": "…"}')
    if not isinstance(query, dict):
        raise BadRequest(f'query must be an object such as {{"text": "…"}}, not {kind(query)}')
    if strict:
        refuse_unknown(unknown_fields(query, ("text",), "query."), ("text",))
    elif query.get("image") is not None:  # not a field to look away from
        raise BadRequest("query holds an image, and a query is text; images are passages")
    return Content(text_field(query, "text", "query."))


def _passages(fields: dict[str, Any], limit: int, strict: bool) -> tuple[Content, ...]:
    passages = fields.get("passages")
    if passages is None:
        raise BadRequest('passages: missing field; it must be an array of objects such as {"text": "…"}')
    if not isinstance(passages, list):
        raise BadRequest(f'passages must be an array of objects such as {{"text": "…"}}, not {kind(passages)}')
    if not passages:
        raise BadRequest("passages must not be empty")
    if len(passages) > limit:
        raise BadRequest(f"passages holds {len(passages)} entries; at most {limit} are allowed in one request")
    return tuple(_passage(passage, f"passages[{i}]", strict) for i, passage in enumerate(passages))


def _passage(passage: object, at: str, strict: bool) -> Content:
    if not isinstance(passage, dict):
        raise BadRequest(f'{at} must be an object such as {{"text": "…"}}, not {kind(passage)}')
    if strict:
        refuse_unknown(unknown_fields(passage, _CONTENT_FIELDS, f"{at}."), _CONTENT_FIELDS)
    image = passage.get("image")
    if image is None:
        return Content(text_field(passage, "text", f"{at}."))
    if not isinstance(image, str) or not is_data_url(image):
        raise BadRequest(f"{at}.image must be a base64 data URL such as data:image/png;base64,…; nothing is fetched from elsewhere")
    text = passage.get("text")
    if text is not None and not isinstance(text, str):
        raise BadRequest(f"{at}.text must be a string, not {kind(text)}")
    # NVIDIA's own clients send text "" beside an image: the same as none.
    return Content(text if text and not text.isspace() else None, image)


def parse_embeddings(body: bytes, rules: Rules) -> Parsed[EmbedCall]:
    """POST /v1/embeddings, NIM's and OpenAI's fields. Raises BadRequest with NIM's own sentences where it has them."""
    return read_embeddings(body_object(body), rules)


def read_embeddings(fields: dict[str, Any], rules: Rules) -> Parsed[EmbedCall]:
    """As `parse_embeddings`, of a body that is an object already."""
    ignored = unknown_fields(fields, EMBEDDING_FIELDS)
    if rules.embeddings_unknown_fields == "reject":
        refuse_unknown(ignored, EMBEDDING_FIELDS)
    optional_text(fields, "user")
    texts = _inputs(fields, rules.max_inputs)
    modalities = _modalities(fields, len(texts))
    dimensions = optional_count(fields, "dimensions")
    embedding_type = fields.get("embedding_type")
    if embedding_type is None:
        embedding_type = "float"
    if embedding_type not in EMBEDDING_TYPES:
        raise BadRequest("Input should be 'float', 'binary', 'ubinary', 'int8' or 'uint8'")
    if dimensions is not None and embedding_type != "float":
        raise BadRequest("dimensions cannot be used in combination with embedding_type; send one of the two")
    truncates: tuple[Truncate, ...] = ("NONE", "START", "END")
    inputs = tuple(_content(text, modality, f"input[{i}]") for i, (text, modality) in enumerate(zip(texts, modalities)))
    call = EmbedCall(
        model=optional_text(fields, "model"),
        inputs=inputs,
        truncate=choice(fields, "truncate", truncates, rules.default_truncate),
        input_type=_input_type(fields, inputs),
        dimensions=dimensions,
        embedding_type=embedding_type,
        encoding_format=choice(fields, "encoding_format", ENCODING_FORMATS, "float"),
    )
    return Parsed(call, tuple(ignored))


def _inputs(fields: dict[str, Any], limit: int) -> list[str]:
    value = fields.get("input")
    if value is None:
        raise BadRequest("input: missing field; it must be a string or an array of strings")
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list):
        raise BadRequest(f"input must be a string or an array of strings, not {kind(value)}")
    if not texts:
        raise BadRequest("input must not be empty")
    if len(texts) > limit:
        raise BadRequest(f"input holds {len(texts)} entries; at most {limit} are allowed in one request")
    for i, text in enumerate(texts):
        if isinstance(text, (int, list)) and not isinstance(text, bool):
            raise BadRequest(f"input[{i}] is {kind(text)}: token ids are not accepted, send text (langchain-openai: check_embedding_ctx_length=False)")
        if not isinstance(text, str):
            raise BadRequest(f"input[{i}] must be a string, not {kind(text)}")
        if not text.strip():
            raise BadRequest(f"input[{i}] must not be blank or empty")
    return texts


def _modalities(fields: dict[str, Any], count: int) -> list[Modality | None]:
    """One modality per input; None where the request leaves it to us."""
    value = fields.get("modality")
    given = value if isinstance(value, list) else [value]
    if len(given) not in (1, count):
        raise BadRequest(f"modality holds {len(given)} entries for {count} inputs; send one for all, or one for each")
    for modality in given:
        if modality is not None and modality not in MODALITIES:
            raise BadRequest(f"modality must be one of 'text', 'image', 'text_image'; got {shown(modality)}")
    return given * count if len(given) == 1 else given


def _content(text: str, modality: Modality | None, at: str) -> Content:
    """One input by its modality, inferred as NIM does: a data URL is an image, a text that holds one is both, all else is text."""
    if modality == "text":
        return Content(text)
    try:
        found = embedded(text)
    except SeveralImages as cause:
        raise BadRequest(f"{at} holds several images; an input is at most one image and a text beside it: send each image as an input of its own") from cause
    if found is None:
        if modality is None:
            return Content(text)  # though it may speak of data URLs
        elsewhere = "; nothing is fetched from elsewhere" if "://" in text[:4096] else ""
        raise BadRequest(f"{at} has modality '{modality}' and holds no image data URL such as data:image/png;base64,…{elsewhere}")
    return Content(None if modality == "image" else found.rest or None, found.url)


IMAGE_AS_QUERY = (
    'input_type="query" is not supported with images; the VLM model processes images as passages only. Use input_type="passage" or omit input_type.'
)


def _input_type(fields: dict[str, Any], inputs: tuple[Content, ...]) -> InputType | None:
    # "document" is what Voyage and Cohere clients call a passage.
    if fields.get("input_type") is None:
        return None
    allowed = ("query", "passage", "document")
    if choice(fields, "input_type", allowed, "passage") != "query":
        return "passage"
    if any(content.image is not None for content in inputs):
        raise BadRequest(IMAGE_AS_QUERY)
    return "query"


def write_ranking(call: RankCall, model: str) -> bytes:
    """The body that asks a NIM's /v1/ranking for `call`, under the name by which that NIM knows the model."""
    fields: dict[str, object] = {
        "model": model,
        "query": {"text": call.query.text},
        "passages": [{"text": passage.text} if passage.image is None else _image_passage(passage) for passage in call.passages],
        "truncate": call.truncate,
    }
    if call.top_n is not None:
        fields["top_n"] = call.top_n
    return orjson.dumps(fields)


def _image_passage(passage: Content) -> dict[str, object]:
    return {"image": passage.image} if passage.text is None else {"text": passage.text, "image": passage.image}


def write_embeddings(call: EmbedCall, model: str) -> bytes:
    """The body that asks a NIM's /v1/embeddings for `call`. What is as NIM's defaults have it is left out: older ones know fewer fields."""
    fields: dict[str, object] = {"model": model, "input": [_input(content) for content in call.inputs], "truncate": call.truncate}
    if any(content.image is not None or "data:image/" in (content.text or "") for content in call.inputs):
        fields["modality"] = [content.modality for content in call.inputs]  # or it would be guessed from the texts
    if call.input_type is not None:
        fields["input_type"] = call.input_type
    if call.dimensions is not None:
        fields["dimensions"] = call.dimensions
    if call.embedding_type != "float":
        fields["embedding_type"] = call.embedding_type
    if call.encoding_format != "float":
        fields["encoding_format"] = call.encoding_format
    return orjson.dumps(fields)


def _input(content: Content) -> str:
    if content.image is None:
        return content.text or ""
    return content.image if content.text is None else f'<img src="{content.image}"/>{content.text}'


def render_ranking(result: RankResult) -> bytes:
    """`rankings` with every passage, best first, and `usage`, which some clients read without looking whether it is there."""
    # As float32, which is what a logit is: the shortest decimals that read back to the same number.
    rankings = [{"index": ranked.index, "logit": np.float32(ranked.logit)} for ranked in result.ranked]
    return orjson.dumps({"rankings": rankings, "usage": _usage(result)}, option=orjson.OPT_SERIALIZE_NUMPY)


def cut_ranking(body: bytes, top_n: int) -> bytes:
    """A NIM's ranking answer with its best `top_n` passages."""
    fields = orjson.loads(body)
    return orjson.dumps({**fields, "rankings": fields["rankings"][:top_n]})


def render_embeddings(result: EmbedResult, encoding_format: Literal["float", "base64"]) -> bytes:
    """OpenAI's list. base64 is the vector's bytes: little-endian float32, or one byte per entry of a compressed type."""
    if encoding_format == "base64":
        little = result.vectors.astype("<f4", copy=False) if result.vectors.dtype.kind == "f" else result.vectors
        vectors: Iterable[object] = (base64.b64encode(vector.tobytes()).decode("ascii") for vector in little)
    else:
        vectors = np.ascontiguousarray(result.vectors)
    data = [{"object": "embedding", "index": i, "embedding": vector} for i, vector in enumerate(vectors)]
    return orjson.dumps({"object": "list", "data": data, "model": result.model, "usage": _usage(result)}, option=orjson.OPT_SERIALIZE_NUMPY)


def _usage(result: RankResult | EmbedResult) -> dict[str, int]:
    return {"prompt_tokens": result.usage.prompt_tokens, "total_tokens": result.usage.total_tokens}


def render_error(error: EmberankError, request_id: str, *, openai: bool) -> bytes:
    """One body for readers of every generation: `message` (NIM), `error` (hosted NIM: a string; OpenAI: an object), `detail` always a string."""
    status = error.http_status
    body: dict[str, object] = {
        "object": "error",
        "message": error.message,
        "type": error.type,
        "code": status,
        "detail": error.message,
        "error": {"message": error.message, "type": error.type, "param": None, "code": status} if openai else error.message,
        "request_id": request_id,
    }
    # A name or a value of the caller's may hold what is not UTF-8 in a path: say it with replacement marks.
    return orjson.dumps(body) if error.message.isascii() else orjson.dumps(body | _clean(error, openai))


def _clean(error: EmberankError, openai: bool) -> dict[str, object]:
    message = error.message.encode("utf-8", "replace").decode("utf-8")
    return {
        "message": message,
        "detail": message,
        "error": {"message": message, "type": error.type, "param": None, "code": error.http_status} if openai else message,
    }


def render_models(models: Iterable[tuple[str, int, str]]) -> bytes:
    """GET /v1/models from (name, created as Unix time, owner). `root` equals `id`: LangChain takes any other for a LoRA."""
    return orjson.dumps({"object": "list", "data": [model_entry(*model) for model in models]})


def model_entry(name: str, created: int, owner: str) -> dict[str, object]:
    """One entry of the list."""
    return {"id": name, "object": "model", "created": created, "owned_by": owner, "root": name}


def render_health(live: bool, message: str, *, word: Literal["live", "ready"]) -> bytes:
    """Both generations' health body: 1.x reads `status`, 2.x reads `live` or `ready`."""
    return orjson.dumps({"object": "health.response", "message": message, "status": message, word: live})
