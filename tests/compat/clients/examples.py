"""The question and the documents that most tests ask about, and what is true of every answer. Knows no client."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

QUERY = "what is retrieval augmented generation?"
DOCUMENTS = [
    "A graphics processing unit accelerates parallel numerical workloads.",
    "Retrieval augmented generation combines search over external documents with language model generation.",
    "Embeddings map text into vectors for semantic search.",
]
ORDER = [1, 2, 0]  # best first, as the default model's golden example has it
UNKNOWN = "nobody/nothing-here"
BAD_KEY = "not-a-key-0123456789abcdef"
LONG = "retrieval " * 2_000  # more than any of these models reads
BLANK = ["", "a document that is not blank"]  # refused: a document must not be blank


@dataclass(frozen=True)
class Trouble:
    """A call that is refused with `status`: all of it is right but for one thing."""

    status: int
    model: str
    key: str
    texts: list[str]


def is_sigmoid_order(scores: Sequence[float]) -> bool:
    """Scores of an answer in its own order: between 0 and 1, falling."""
    return all(0.0 <= score <= 1.0 for score in scores) and list(scores) == sorted(scores, reverse=True)


def is_logit_order(scores: Sequence[float]) -> bool:
    """The same for raw logits: of the three documents the best is above 0 and the worst far below."""
    return scores[0] > 0 and scores[-1] < 0 and list(scores) == sorted(scores, reverse=True)


def cosine(one: Sequence[float], other: Sequence[float]) -> float:
    """Of two vectors."""
    return sum(a * b for a, b in zip(one, other, strict=True)) / math.sqrt(sum(a * a for a in one) * sum(b * b for b in other))


def is_nearest_to_query(query: Sequence[float], documents: Sequence[Sequence[float]]) -> bool:
    """Vectors of QUERY and DOCUMENTS: whether they put the documents into the order that they should."""
    near = [cosine(query, document) for document in documents]
    return sorted(range(len(near)), key=lambda i: -near[i]) == ORDER
