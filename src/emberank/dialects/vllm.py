"""vLLM's scores and poolings, both directions: bytes ↔ contract. Pure. Its rerank is Cohere's, its embeddings are OpenAI's.

Source: vLLM's scoring and pooling protocols (`ScoreRequest`, `PoolingRequest`). A score is asked for in one of four spellings; each side is a text, an object of content
parts, or an array of those, and they meet one to one, one to all, or each to each.

An answer's `created` is left out: vLLM's schema does not require it, and nothing here knows the time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np
import orjson

from emberank.contract.errors import BadRequest
from emberank.contract.inference import ENCODING_FORMATS, Content, EncodingFormat, RankCall
from emberank.dialects import vllm_options
from emberank.dialects.answers import Embeddings, Ranking
from emberank.dialects.asked import AskedEmbed, AskedRank, Told
from emberank.dialects.embedded_image import image_url
from emberank.dialects.long_documents import FIELDS as LONG
from emberank.dialects.long_documents import max_chunks, max_passage_tokens, rendered_chunk
from emberank.dialects.nim import Rules
from emberank.dialects.openai_embeddings import read_embeddings
from emberank.dialects.pairs import group, in_order
from emberank.dialects.reading import choice, kind, optional_text, shown, unknown_fields
from emberank.dialects.scores import Score, scored_as
from emberank.dialects.vectors import in_base64

_SIDES = (("text_1", "text_2"), ("queries", "documents"), ("queries", "items"), ("data_1", "data_2"))
_SPELLINGS = ", ".join(f"{first} and {second}" for first, second in _SIDES)
SCORE_FIELDS = ("model", *dict.fromkeys(sum(_SIDES, ())), "encoding_format", "score_mode", *LONG, *vllm_options.FIELDS)
POOLING_FIELDS = ("model", "input", "input_type", "task", "dimensions", "encoding_format", "embed_dtype", "endianness", *vllm_options.FIELDS)


def read_scoring(fields: dict[str, Any], rules: Rules) -> AskedRank:
    """POST /score and /v1/score: one call for each query. Raises BadRequest naming the field and what would be right."""
    vllm_options.refuse_what_cannot_be(fields)
    if choice(fields, "encoding_format", ("float", "base64", "bytes", "bytes_only"), "float") != "float":
        raise BadRequest("encoding_format must be 'float' for scores: they are written as numbers")
    score = vllm_options.score_of(fields, "sigmoid")
    new_call = partial(
        RankCall,
        model=optional_text(fields, "model"),
        truncate=vllm_options.pairs_truncate(fields, "NONE"),
        max_passage_tokens=max_passage_tokens(fields),
        max_chunks=max_chunks(fields),
    )
    grouped = group(_pairs(fields, rules.max_documents), new_call)
    ignored = tuple(name for name in unknown_fields(fields, SCORE_FIELDS) if fields[name] is not None)
    return AskedRank(calls=grouped.calls, score=score, render=partial(_render_scores, score, grouped.places), ignored=ignored)


def _pairs(fields: dict[str, Any], limit: int) -> list[tuple[str, Content]]:
    first, second = _spelling(fields)
    queries = [_query(value, at) for value, at in _entries(fields[first], first, limit)]
    passages = [_content(value, at) for value, at in _entries(fields[second], second, limit)]
    if len(queries) == 1:
        queries *= len(passages)
    if len(queries) != len(passages):
        raise BadRequest(f"{first} holds {len(queries)} entries and {second} {len(passages)}: send one {first} for all, or as many as {second}")
    return list(zip(queries, passages))


def _spelling(fields: dict[str, Any]) -> tuple[str, str]:
    """The one of the four that the body has whole, and nothing of the others."""
    given = [name for name in dict.fromkeys(sum(_SIDES, ())) if fields.get(name) is not None]
    for sides in _SIDES:
        if set(given) == set(sides):
            return sides
    if len(given) > 1:
        raise BadRequest(f"{', '.join(given)}: send one pair of {_SPELLINGS}")
    of = next((sides for sides in _SIDES if not given or given[0] in sides), _SIDES[0])
    missing = next(name for name in of if name not in given)
    raise BadRequest(f"{missing}: missing field; send {of[0]} and {of[1]}, each a string or an array of strings")


def _entries(value: object, name: str, limit: int) -> list[tuple[object, str]]:
    """What one side holds, and where each is."""
    if isinstance(value, (str, dict)):
        return [(value, name)]
    if not isinstance(value, list):
        raise BadRequest(f"{name} must be a string or an array of strings, not {kind(value)}")
    if not value:
        raise BadRequest(f"{name} must not be empty")
    if len(value) > limit:
        raise BadRequest(f"{name} holds {len(value)} entries; at most {limit} are allowed in one request")
    return [(each, f"{name}[{i}]") for i, each in enumerate(value)]


def _query(value: object, at: str) -> str:
    content = _content(value, at)
    if content.image is not None or content.text is None:
        raise BadRequest(f"{at} holds an image, and a query is text; images are passages")
    return content.text


def _content(value: object, at: str) -> Content:
    """A text, or vLLM's object of content parts: one document, whose texts are one text and which holds at most one image."""
    if isinstance(value, (int, list)) and not isinstance(value, bool):
        raise BadRequest(f"{at} is {kind(value)}: token ids are not accepted, send text")
    texts, images = ([value], []) if isinstance(value, str) else _parts(value, at)
    if len(images) > 1:
        raise BadRequest(f"{at} holds {len(images)} images; a document is at most one image and text beside it")
    text = "\n".join(texts)
    if not images and not text.strip():
        raise BadRequest(f"{at} must not be blank or empty")
    return Content(text if text.strip() else None, images[0] if images else None)


def _parts(value: object, at: str) -> tuple[list[str], list[str]]:
    """Texts and image data URLs of `{"content": [parts]}`."""
    parts = value.get("content") if isinstance(value, dict) else None
    if not isinstance(parts, list):
        raise BadRequest(f'{at} must be a string, or an object such as {{"content": [{{"type": "text", "text": "…"}}]}}')
    texts, images = [], []
    for i, part in enumerate(parts):
        where = f"{at}.content[{i}]"
        of = part.get("type") if isinstance(part, dict) else None
        if of == "text":
            if not isinstance(part.get("text"), str):
                raise BadRequest(f"{where}.text must be a string, not {kind(part.get('text'))}")
            texts.append(part["text"])
        elif of == "image_url":
            held = part.get("image_url")
            images.append(image_url(held.get("url") if isinstance(held, dict) else held, f"{where}.image_url"))
        else:
            raise BadRequest(f"{where} must be an object whose type is 'text' or 'image_url'; got {kind(part) if of is None else shown(of)}")
    return texts, images


def _render_scores(score: Score, places: Sequence[tuple[int, int]], rankings: Sequence[Ranking], told: Told) -> bytes:
    data = [
        {"index": i, "object": "score", "score": scored_as(one.logit, score, told.calibration), **rendered_chunk(one)}
        for i, one in enumerate(in_order(rankings, places))
    ]
    tokens = sum(ranking.prompt_tokens for ranking in rankings)
    return orjson.dumps({"id": f"score-{told.request_id}", "object": "list", "model": told.model, "data": data, "usage": _usage(tokens)})


def read_pooling(fields: dict[str, Any], rules: Rules) -> AskedEmbed:
    """POST /pooling of an embedder: one vector an input. Raises BadRequest naming the field and what would be right."""
    _check_task(fields)
    vllm_options.refuse_what_cannot_be(fields)
    if vllm_options.activation(fields) is False:
        raise BadRequest("use_activation false is not supported for embeddings: they are of length 1 where the model says so; leave it out")
    encoding_format = _encoding(fields)
    asked = {name: fields.get(name) for name in ("model", "input", "input_type", "dimensions")}
    truncate = vllm_options.inputs_truncate(fields, "NONE")
    call = read_embeddings({**asked, "truncate": truncate, "encoding_format": "base64"}, rules).call  # between servers: the shorter and the exact one
    ignored = tuple(name for name in unknown_fields(fields, POOLING_FIELDS) if fields[name] is not None)
    return AskedEmbed(call=call, render=partial(_render_pooling, encoding_format), ignored=ignored)


def _check_task(fields: dict[str, Any]) -> None:
    for name in ("messages", "data"):
        if fields.get(name) is not None:
            raise BadRequest(f"{name} is not supported: send input, a string or an array of strings")
    task = fields.get("task")
    if task in (None, "embed"):
        return
    if task in ("score", "classify"):
        raise BadRequest(f"task '{task}' is not supported on /pooling: a pair's score is to be had from /score, an order from /rerank")
    raise BadRequest(f"task must be 'embed': one vector an input, and none for each token; got {shown(task)}")


def _encoding(fields: dict[str, Any]) -> EncodingFormat:
    encoding_format = choice(fields, "encoding_format", ENCODING_FORMATS, "float")
    if encoding_format == "base64":
        choice(fields, "embed_dtype", ("float32",), "float32")
        choice(fields, "endianness", ("native", "little"), "native")  # numbers are little-endian on every machine that this runs on
    return encoding_format


def _render_pooling(encoding_format: EncodingFormat, embeddings: Embeddings, told: Told) -> bytes:
    vectors: Iterable[object] = in_base64(embeddings.vectors) if encoding_format == "base64" else np.ascontiguousarray(embeddings.vectors)
    data = [{"index": i, "object": "pooling", "data": vector} for i, vector in enumerate(vectors)]
    body = {"id": f"pool-{told.request_id}", "object": "list", "model": told.model, "data": data, "usage": _usage(embeddings.prompt_tokens)}
    return orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)


def _usage(tokens: int) -> dict[str, int]:
    return {"prompt_tokens": tokens, "total_tokens": tokens, "completion_tokens": 0}
