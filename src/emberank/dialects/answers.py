"""A NIM's answer in, checked numbers out: what other dialects are rendered from. Pure.

An endpoint may be somebody else's: nothing in its answer is believed that a client would stumble over.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from emberank.contract.errors import ServerFault
from emberank.contract.inference import Chunk, Ranked

MOST_FLOAT32 = 3.4028234e38  # a logit is a float32 on NIM's wire


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """Every passage with its raw logit, best first, and the tokens that were read."""

    ranked: tuple[Ranked, ...]
    prompt_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Embeddings:
    """(inputs, dimensions) float32, or a compressed type as asked for, in the order of the inputs; and the tokens that were read."""

    vectors: NDArray[np.generic]
    prompt_tokens: int


def read_ranking(body: bytes, passages: int, *, pieces: bool = False) -> Ranking:
    """The answer of /v1/ranking to a call of so many passages, with the best pieces of passages where `pieces` says that the server is ours.

    Raises ServerFault for one that is not whole: each passage once, each logit a finite number.
    """
    try:
        fields = orjson.loads(body)
        ranked = [Ranked(entry["index"], _logit(entry["logit"]), _chunk(entry.get("chunk")) if pieces else None) for entry in fields["rankings"]]
    except (AttributeError, orjson.JSONDecodeError, KeyError, TypeError, ValueError, OverflowError) as cause:
        raise ServerFault from cause
    places = {one.index for one in ranked if type(one.index) is int and 0 <= one.index < passages}
    if len(places) != passages or len(ranked) != passages:
        raise ServerFault from ValueError(f"the endpoint ranked {len(ranked)} passages of {passages}, or one of them twice")
    # Some servers leave the order to their clients.
    return Ranking(ranked=tuple(sorted(ranked, key=lambda one: (-one.logit, one.index))), prompt_tokens=_tokens(fields.get("usage")))


def _logit(value: Any) -> float:
    if type(value) not in (float, int):
        raise ValueError("a logit is no number")
    logit = float(value)
    if not abs(logit) <= MOST_FLOAT32:
        raise ValueError("a logit is no finite number")
    return logit


def _tokens(usage: Any) -> int:
    """Of a usage block as NIM writes it; 0 where there is none."""
    tokens = usage.get("prompt_tokens") if isinstance(usage, dict) else None
    return tokens if type(tokens) is int and tokens >= 0 else 0


def _chunk(fields: Any) -> Chunk | None:
    """The piece of a passage that our runtime names."""
    if fields is None:
        return None
    chunk = Chunk(*(fields[name] for name in ("start", "end", "number", "of")))
    if any(type(value) is not int for value in (chunk.start, chunk.end, chunk.number, chunk.of)) or not (
        0 <= chunk.start < chunk.end and 0 <= chunk.number < chunk.of
    ):
        raise ValueError("a piece of a passage is none")
    return chunk


_TYPES = {"float": "<f4", "int8": "i1", "binary": "i1", "uint8": "u1", "ubinary": "u1"}


def read_embeddings(body: bytes, inputs: int, embedding_type: str = "float") -> Embeddings:
    """The answer of /v1/embeddings to a call of so many inputs, in numbers or in base64. Raises ServerFault for one that is not whole: each input once, all vectors of one length."""
    dtype = np.dtype(_TYPES[embedding_type])
    try:
        fields = orjson.loads(body)
        rows = sorted(fields["data"], key=lambda row: row["index"])
        if [row["index"] for row in rows] != list(range(inputs)):
            raise ValueError(f"the endpoint embedded {len(rows)} inputs of {inputs}, or one of them twice")
        vectors = np.stack([_vector(row["embedding"], dtype) for row in rows])
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, OverflowError, binascii.Error) as cause:
        raise ServerFault from cause
    if vectors.ndim != 2 or not vectors.size or not np.isfinite(vectors).all():
        raise ServerFault from ValueError("the endpoint's embeddings are no finite numbers")
    return Embeddings(vectors=vectors, prompt_tokens=_tokens(fields.get("usage")))


def _vector(value: Any, dtype: np.dtype[Any]) -> NDArray[np.generic]:
    if isinstance(value, str):
        return np.frombuffer(base64.b64decode(value, validate=True), dtype=dtype)
    if dtype.kind == "f":
        with np.errstate(over="ignore"):  # what is no float32 is refused as infinite
            return np.asarray(value, dtype=dtype)
    numbers = np.asarray(value)
    if numbers.size and numbers.dtype.kind not in "iu":  # a float would be cut to a whole number, 0.9 to 0
        raise ValueError("codes are whole numbers")
    if numbers.size and not (np.iinfo(dtype).min <= numbers.min() and numbers.max() <= np.iinfo(dtype).max):
        raise ValueError("a code does not fit its type")
    return numbers.astype(dtype)
