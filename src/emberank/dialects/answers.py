"""A NIM's answer in, checked numbers out: what other dialects are rendered from. Pure.

An endpoint may be somebody else's: nothing in its answer is believed that a client would stumble over.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import orjson

from emberank.contract.errors import ServerFault
from emberank.contract.inference import Ranked

Score: TypeAlias = Literal["sigmoid", "logit"]  # what a score is: between 0 and 1, or the model's own number


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """Every passage with its raw logit, best first, and the tokens that were read."""

    ranked: tuple[Ranked, ...]
    prompt_tokens: int


def read_ranking(body: bytes, passages: int) -> Ranking:
    """The answer of /v1/ranking to a call of so many passages. Raises ServerFault for one that is not whole: each passage once, each logit a number."""
    try:
        fields = orjson.loads(body)
        ranked = tuple(Ranked(entry["index"], float(entry["logit"])) for entry in fields["rankings"])
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as cause:
        raise ServerFault from cause
    places = [one.index for one in ranked]
    if sorted(places, key=str) != sorted(range(passages), key=str) or any(type(place) is not int for place in places):
        raise ServerFault from ValueError(f"the endpoint ranked {len(ranked)} passages of {passages}, or one of them twice")
    if not all(math.isfinite(one.logit) for one in ranked):
        raise ServerFault from ValueError("the endpoint's ranking holds a logit that is no finite number")
    # Some servers leave the order to their clients.
    return Ranking(ranked=tuple(sorted(ranked, key=lambda one: (-one.logit, one.index))), prompt_tokens=_tokens(fields.get("usage")))


def _tokens(usage: Any) -> int:
    """Of a usage block as NIM writes it; 0 where there is none."""
    tokens = usage.get("prompt_tokens") if isinstance(usage, dict) else None
    return tokens if type(tokens) is int and tokens >= 0 else 0


def scored_as(logit: float, score: Score) -> float:
    """The number a dialect gives for a logit."""
    return sigmoid(logit) if score == "sigmoid" else logit


def sigmoid(logit: float) -> float:
    """1 / (1 + e^−x), without overflow."""
    if logit >= 0:
        return 1.0 / (1.0 + math.exp(-logit))
    grown = math.exp(logit)
    return grown / (1.0 + grown)
