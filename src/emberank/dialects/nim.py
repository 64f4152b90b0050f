"""NVIDIA's retrieval NIM, both directions: bytes ↔ contract. Pure.

Sources: the HTTP reference of NVIDIA's NeMo Retriever embedding NIM and the reranking NIM's OpenAPI document, with the error texts
of both generations (1.x and 2.x). Where they differ, the answer is a superset that satisfies readers of either.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

import numpy as np
import orjson
from numpy.typing import NDArray

from emberank.contract.errors import BadRequest
from emberank.contract.inference import Content, EmbedCall, EncodingFormat, RankCall, Truncate
from emberank.dialects.embedded_image import is_data_url
from emberank.dialects.long_documents import FIELDS as LONG
from emberank.dialects.long_documents import max_chunks, max_passage_tokens
from emberank.dialects.reading import choice, kind, optional_count, optional_text, refuse_unknown, text_field, unknown_fields
from emberank.dialects.vectors import in_base64

Call = TypeVar("Call")

# NIM's four fields, and the two that real clients send although NIM refuses them: LiteLLM top_k, RAGFlow top_n.
RANKING_FIELDS = ("model", "query", "passages", "truncate", "top_n", "top_k", "score_mode", *LONG)
EMBEDDING_FIELDS = ("model", "input", "input_type", "modality", "embedding_type", "encoding_format", "dimensions", "truncate", "user")
_CONTENT_FIELDS = ("text", "image")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How strict a parser is, from the settings of the same names."""

    max_passages: int = 512
    max_inputs: int = 8192
    max_documents: int = 10_000  # in one request of every other rerank dialect
    default_truncate: Truncate = "NONE"
    ranking_unknown_fields: Literal["reject", "ignore"] = "reject"
    embeddings_unknown_fields: Literal["reject", "ignore"] = "ignore"


@dataclass(frozen=True, slots=True)
class Parsed(Generic[Call]):
    """A call, and the fields of the body that were ignored."""

    call: Call
    ignored: tuple[str, ...]


def read_ranking(fields: dict[str, Any], rules: Rules) -> Parsed[RankCall]:
    """POST /v1/ranking. Raises BadRequest naming the field and what would be right."""
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
        max_passage_tokens=max_passage_tokens(fields),
        max_chunks=max_chunks(fields),
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


IMAGE_AS_QUERY = (
    'input_type="query" is not supported with images; the VLM model processes images as passages only. Use input_type="passage" or omit input_type.'
)


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
    if call.max_passage_tokens is not None:
        fields["max_tokens_per_doc"] = call.max_passage_tokens
    if call.max_chunks is not None:
        fields["max_chunks_per_doc"] = call.max_chunks
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


def rankings_body(rankings: Iterable[Mapping[str, object]], prompt_tokens: int) -> bytes:
    """The answer of /v1/ranking. A logit is a float32: written as one it has the shortest decimals that read back to the same number."""
    usage = {"prompt_tokens": prompt_tokens, "total_tokens": prompt_tokens}
    return orjson.dumps({"rankings": list(rankings), "usage": usage}, option=orjson.OPT_SERIALIZE_NUMPY)


def cut_ranking(body: bytes, top_n: int) -> bytes:
    """A NIM's ranking answer with its best `top_n` passages."""
    fields = orjson.loads(body)
    return orjson.dumps({**fields, "rankings": fields["rankings"][:top_n]})


def embeddings_body(vectors: NDArray[np.generic], encoding_format: EncodingFormat, model: str, prompt_tokens: int) -> bytes:
    """OpenAI's list. base64 is the vector's bytes: little-endian float32, or one byte per entry of a compressed type."""
    entries: Iterable[object] = in_base64(vectors) if encoding_format == "base64" else np.ascontiguousarray(vectors)
    data = [{"object": "embedding", "index": i, "embedding": entry} for i, entry in enumerate(entries)]
    usage = {"prompt_tokens": prompt_tokens, "total_tokens": prompt_tokens}
    return orjson.dumps({"object": "list", "data": data, "model": model, "usage": usage}, option=orjson.OPT_SERIALIZE_NUMPY)


def render_health(live: bool, message: str, *, word: Literal["live", "ready"]) -> bytes:
    """Both generations' health body: 1.x reads `status`, 2.x reads `live` or `ready`."""
    return orjson.dumps({"object": "health.response", "message": message, "status": message, word: live})
