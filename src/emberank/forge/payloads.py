"""A task in, the payloads that probes send: fixed texts, so that figures of different days and targets compare. Knows no wire but NIM's."""

from __future__ import annotations

from dataclasses import dataclass

import orjson

from emberank.contract.inference import Content, EmbedCall, RankCall, Task

# The catalogue page's own example: what a reader of the figures can repeat.
QUERY = "what is retrieval augmented generation?"
PASSAGES = (
    "Retrieval augmented generation combines search over external documents with language model generation.",
    "A graphics processing unit accelerates parallel numerical workloads.",
    "Embeddings map text into vectors for semantic search.",
)
# About as long as the passages that search engines hand to a reranker.
_PARAGRAPH = (
    "A reranker reads the question and one passage together and says how well the passage answers it, which a comparison of two vectors made apart cannot. "
    "It is slower, so a first stage picks some tens or hundreds of candidates, and the reranker puts those in order before the best few are shown or read further."
)


@dataclass(frozen=True, slots=True)
class Payload:
    """One request: its route, the texts' number and length, and its body for a model of any name."""

    name: str
    route: str
    passages: int
    chars: int
    fields: dict[str, object]
    call: RankCall | EmbedCall  # the same, for an endpoint that does not speak NIM

    def body(self, model: str) -> bytes:
        """NIM's JSON."""
        return orjson.dumps({"model": model} | self.fields)


def sample_payload(task: Task) -> Payload:
    """The page's example: three passages, or its four texts to embed."""
    return _payload("sample", task, PASSAGES)


def larger_payload(task: Task, passages: int = 24) -> Payload:
    """The same with paragraphs, so that cost per token and cost per request can be told apart."""
    return _payload("paragraphs", task, tuple(f"{i}. {_PARAGRAPH}" for i in range(1, passages + 1)))


def _payload(name: str, task: Task, passages: tuple[str, ...]) -> Payload:
    chars = len(QUERY) + sum(map(len, passages))
    if task == "rank":
        ranking: dict[str, object] = {"query": {"text": QUERY}, "passages": [{"text": text} for text in passages], "truncate": "END"}
        rank = RankCall(model=None, query=Content(QUERY), passages=tuple(map(Content, passages)), truncate="END")
        return Payload(name, "/v1/ranking", len(passages), chars, ranking, rank)
    embedding: dict[str, object] = {"input": [QUERY, *passages], "input_type": "passage", "truncate": "END"}
    embed = EmbedCall(model=None, inputs=tuple(map(Content, (QUERY, *passages))), truncate="END", input_type="passage")
    return Payload(name, "/v1/embeddings", len(passages) + 1, chars, embedding, embed)
