"""An answer's JSON in, its scores or vectors out, with what is odd about it; the one place that knows what each dialect answers. Pure.

Sources: NVIDIA's, Cohere's, Jina's and Voyage's API references, TEI's OpenAPI document, vLLM's score API, OpenAI's embeddings; and what those
dialects' clients were seen to need.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np

Documents: TypeAlias = Literal["absent", "null", "object", "string", "other"]


class WrongShape(Exception):
    """The answer is not the dialect's; says how in half a sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """(index, score) in the order of the answer."""

    entries: tuple[tuple[int, float], ...]
    documents: Documents = "absent"
    tokens: int | None = None  # that were read, as it says
    model: str = ""
    odd: tuple[str, ...] = ()  # what some client stumbles over

    def of(self, index: int) -> float:
        """The score of one passage; NaN when it was left out."""
        return dict(self.entries).get(index, math.nan)

    @property
    def values(self) -> tuple[float, ...]:
        """The scores by index."""
        return tuple(score for _, score in sorted(self.entries))


@dataclass(frozen=True, slots=True, kw_only=True)
class Vectors:
    """(inputs, dimensions), in the order of the inputs."""

    rows: tuple[tuple[float, ...], ...]
    tokens: int | None = None
    model: str = ""
    base64: bool = False  # whether they were written in base64
    odd: tuple[str, ...] = ()


ReadScores: TypeAlias = Callable[[Any], Scores]
ReadVectors: TypeAlias = Callable[[Any], Vectors]


def nim(body: Any) -> Scores:
    """`{"rankings": [{"index", "logit"}]}`."""
    fields = _object(body)
    entries = _entries(_list(fields, "rankings"), "logit")
    return Scores(entries=entries, tokens=_tokens(fields), model=_model(fields), odd=_odd_usage(fields, "nvidia_nim of LiteLLM"))


def cohere(body: Any) -> Scores:
    """`{"results": [{"index", "relevance_score", "document"?}]}`; Voyage's `data` in the place of `results` is read too."""
    fields = _object(body)
    name = "results" if "results" in fields or "data" not in fields else "data"
    rows = _list(fields, name)
    odd = list(_odd_usage(fields, "voyageai, infinity_client and seven more"))
    if "id" in fields and not isinstance(fields["id"], str):
        odd.append("`id` is not a string, which LiteLLM needs")
    documents = _documents(rows)
    if documents == "null":
        odd.append("`document` is null, which breaks LiteLLM's cohere and jina_ai and Dify's LocalAI and GPUStack: it has to be left out")
    return Scores(entries=_entries(rows, "relevance_score"), documents=documents, tokens=_tokens(fields), model=_model(fields), odd=tuple(odd))


def tei(body: Any) -> Scores:
    """`[{"index", "score", "text"?}]`, bare."""
    if not isinstance(body, list):
        raise WrongShape("it is no bare array, which every client of this dialect needs")
    texts = [row.get("text") for row in body if isinstance(row, dict)]
    documents: Documents = "string" if texts and all(isinstance(text, str) for text in texts) else "absent"
    return Scores(entries=_entries(body, "score"), documents=documents)


def score(body: Any) -> Scores:
    """vLLM's `{"data": [{"index", "score"}]}`."""
    fields = _object(body)
    return Scores(entries=_entries(_list(fields, "data"), "score"), tokens=_tokens(fields), model=_model(fields))


def predict(body: Any) -> Scores:
    """TEI's `[[{"score", "label"}], …]`, one list a pair, of which a reranker's holds one label."""
    if not isinstance(body, list) or not body or not all(isinstance(row, list) and row and isinstance(row[0], dict) for row in body):
        raise WrongShape("it is no array of arrays of labels")
    return Scores(entries=_entries([{"index": i, "score": row[0].get("score")} for i, row in enumerate(body)], "score"))


def openai(body: Any) -> Vectors:
    """`{"data": [{"index", "embedding"}]}`, numbers or base64 of little-endian float32."""
    fields = _object(body)
    rows = _list(fields, "data")
    if not all("embedding" in row for row in rows):
        raise WrongShape("an entry of its `data` holds no `embedding`")
    if [row.get("index") for row in rows] != list(range(len(rows))):
        raise WrongShape("`data` is not in the order of the inputs, or its `index` is missing")
    odd = list(_odd_usage(fields, "voyageai and nvidia-haystack"))
    if "usage" not in fields:
        odd.append("`usage` is missing, which nvidia-haystack, voyageai and infinity_client need")
    packed = any(isinstance(row["embedding"], str) for row in rows)
    rows_read = _matrix([_vector(row["embedding"]) for row in rows])
    return Vectors(rows=rows_read, tokens=_tokens(fields), model=_model(fields), base64=packed, odd=tuple(odd))


def tei_embed(body: Any) -> Vectors:
    """`[[…], …]`, bare."""
    if not isinstance(body, list):
        raise WrongShape("it is no array of arrays")
    return Vectors(rows=_matrix([_vector(row) for row in body]))


def cohere_embed(body: Any) -> Vectors:
    """`{"embeddings": {"float": […]}}` of v2, `{"embeddings": […]}` of v1."""
    fields = _object(body)
    found = fields.get("embeddings")
    rows = found.get("float") if isinstance(found, dict) else found
    if not isinstance(rows, list):
        raise WrongShape("it holds no `embeddings`")
    return Vectors(rows=_matrix([_vector(row) for row in rows]))


def _object(body: Any) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise WrongShape("it is no JSON object")
    return body


def _list(fields: dict[str, Any], name: str) -> list[Any]:
    rows = fields.get(name)
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise WrongShape(f"it holds no list `{name}`")
    return rows


def _entries(rows: Sequence[Any], name: str) -> tuple[tuple[int, float], ...]:
    found = []
    for row in rows:
        index: Any = row.get("index") if isinstance(row, dict) else None
        value: Any = row.get(name) if isinstance(row, dict) else None
        if type(index) is not int or index < 0:
            raise WrongShape("an entry has no whole number as its `index`")
        if type(value) not in (int, float) or not math.isfinite(value):
            raise WrongShape(f"an entry's `{name}` is no finite number")
        found.append((index, float(value)))
    return tuple(found)


def _documents(rows: Sequence[Any]) -> Documents:
    kinds: set[Documents] = set()
    for row in rows:
        if "document" not in row:
            kinds.add("absent")
        else:
            value = row["document"]
            kinds.add("null" if value is None else "string" if isinstance(value, str) else "object" if isinstance(value, dict) and "text" in value else "other")
    return kinds.pop() if len(kinds) == 1 else "other"


def _tokens(fields: dict[str, Any]) -> int | None:
    usage, meta = fields.get("usage"), fields.get("meta")
    found = usage.get("prompt_tokens", usage.get("total_tokens")) if isinstance(usage, dict) else None
    tokens = meta.get("tokens") if isinstance(meta, dict) else None
    if found is None and isinstance(tokens, dict):
        found = tokens.get("input_tokens")
    return found if type(found) is int and found > 0 else None


def _model(fields: dict[str, Any]) -> str:
    model = fields.get("model")
    return model if isinstance(model, str) else ""


def _odd_usage(fields: dict[str, Any], who: str) -> tuple[str, ...]:
    if "usage" not in fields:
        return ()
    usage = fields["usage"]
    whole = isinstance(usage, dict) and type(usage.get("total_tokens")) is int
    return () if whole else (f"`usage` is there and holds no whole `total_tokens`, which breaks {who}",)


def _vector(value: Any) -> list[float]:
    if isinstance(value, str):
        try:
            return [float(number) for number in np.frombuffer(base64.b64decode(value, validate=True), dtype="<f4")]
        except (ValueError, binascii.Error) as cause:
            raise WrongShape("an embedding is text that is no base64 of float32") from cause
    if not isinstance(value, list) or not value or not all(type(number) in (int, float) and math.isfinite(number) for number in value):
        raise WrongShape("an embedding is no list of finite numbers")
    return value


def _matrix(rows: list[list[float]]) -> tuple[tuple[float, ...], ...]:
    if not rows or len({len(row) for row in rows}) != 1:
        raise WrongShape("there are no embeddings, or they differ in length")
    return tuple(tuple(map(float, row)) for row in rows)
