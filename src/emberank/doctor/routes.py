"""The routes that clients use, as data: path, body and reader of each. Pure. What clients send is in docs/behaviour/gateway.md."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeAlias, TypeVar
from urllib.parse import quote

from emberank.contract.inference import Task
from emberank.doctor import readings
from emberank.doctor.readings import Scores, Vectors
from emberank.doctor.texts import PASSAGES, QUERY

Family: TypeAlias = Literal["nim", "cohere", "tei", "score", "predict", "openai", "tei embed", "cohere embed"]
Read = TypeVar("Read", Scores, Vectors)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What to ask of a route. None and False leave a field out of the body."""

    model: str | None = None
    query: str = QUERY
    texts: tuple[str, ...] = PASSAGES
    top_n: int | None = None
    documents: bool = False
    raw: bool = False
    truncate: Literal["NONE", "END"] | None = None
    base64: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Route(Generic[Read]):
    """One route in one dialect. `clients` says who uses it."""

    name: str
    path: str
    task: Task
    family: Family
    clients: str
    write: Callable[[Question], dict[str, Any]]
    read: Callable[[Any], Read]

    def where(self, model: str | None) -> str | None:
        """The path with the model's name in it; None when it needs one and there is none."""
        if "{model}" not in self.path:
            return self.path
        return self.path.replace("{model}", quote(model, safe="/:")) if model else None


def _nim(asked: Question) -> dict[str, Any]:
    # top_k is what LiteLLM sent here until it cut for itself, and sends to the hosted path still.
    body = {"model": asked.model, "query": {"text": asked.query}, "passages": [{"text": text} for text in asked.texts]}
    return _whole(body | {"truncate": asked.truncate, "top_k": asked.top_n})


def _cohere(asked: Question) -> dict[str, Any]:
    body = {"model": asked.model, "query": asked.query, "documents": list(asked.texts), "top_n": asked.top_n}
    return _whole(body | {"return_documents": asked.documents or None, "raw_scores": asked.raw or None, "truncate": asked.truncate})


def _tei(asked: Question) -> dict[str, Any]:
    # TEI knows no top_n; LiteLLM sends it there all the same.
    body = {"query": asked.query, "texts": list(asked.texts), "return_text": asked.documents or None, "raw_scores": asked.raw or None, "top_n": asked.top_n}
    return _whole(body | {"model": asked.model, "truncate": None if asked.truncate is None else asked.truncate == "END"})


def _score(asked: Question) -> dict[str, Any]:
    return _whole({"model": asked.model, "text_1": asked.query, "text_2": list(asked.texts)})


def _predict(asked: Question) -> dict[str, Any]:
    return _whole({"model": asked.model, "inputs": [[asked.query, text] for text in asked.texts], "raw_scores": asked.raw or None})


def _openai(asked: Question) -> dict[str, Any]:
    # A NIM embeds asymmetrically and refuses a body without `input_type`; OpenAI's servers pass over the field.
    body = {"model": asked.model, "input": [asked.query, *asked.texts], "encoding_format": "base64" if asked.base64 else None}
    return _whole(body | {"input_type": "passage", "truncate": asked.truncate})


def _tei_embed(asked: Question) -> dict[str, Any]:
    return _whole({"model": asked.model, "inputs": [asked.query, *asked.texts], "truncate": None if asked.truncate is None else asked.truncate == "END"})


def _cohere_embed(asked: Question) -> dict[str, Any]:
    body = {"model": asked.model, "texts": [asked.query, *asked.texts], "input_type": "search_document", "embedding_types": ["float"]}
    return _whole(body | {"truncate": asked.truncate})


def _whole(body: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if value is not None}


_RANK: list[tuple[str, str, Family, str]] = [
    ("NIM ranking", "/v1/ranking", "nim", "LiteLLM nvidia_nim/ranking/, LangChain, LlamaIndex, Haystack"),
    ("NIM hosted", "/v1/retrieval/{model}/reranking", "nim", "LiteLLM nvidia_nim/"),
    ("NIM reranking", "/v1/reranking", "nim", "RAGFlow NVIDIA"),
    ("Cohere v1", "/v1/rerank", "cohere", "Cohere v1, Jina, Voyage, LiteLLM jina_ai, Dify, RAGFlow, Open WebUI"),
    ("Cohere v2", "/v2/rerank", "cohere", "Cohere v2, LiteLLM cohere"),
    ("rerank", "/rerank", "cohere", "Infinity, vLLM, LiteLLM hosted_vllm and infinity"),
    ("TEI rerank", "/rerank", "tei", "TEI's clients, LiteLLM huggingface, LlamaIndex TEI"),
    ("score", "/score", "score", "vLLM"),
    ("score v1", "/v1/score", "score", "vLLM"),
    ("TEI predict", "/predict", "predict", "TEI's clients"),
    ("native", "/v1/inference/{model}", "nim", "Forge's own clients"),
]
_EMBED: list[tuple[str, str, Family, str]] = [
    ("OpenAI embeddings", "/v1/embeddings", "openai", "OpenAI's SDK and everything on it, LangChain, LlamaIndex, Haystack"),
    ("embeddings", "/embeddings", "openai", "infinity_client, LiteLLM infinity"),
    ("TEI embed", "/embed", "tei embed", "HF InferenceClient, LlamaIndex TEI"),
    ("Cohere embed v1", "/v1/embed", "cohere embed", "Cohere v1"),
    ("Cohere embed v2", "/v2/embed", "cohere embed", "Cohere v2"),
    ("native", "/v1/inference/{model}", "openai", "Forge's own clients"),
]
_WRITE = {
    "nim": _nim, "cohere": _cohere, "tei": _tei, "score": _score, "predict": _predict,
    "openai": _openai, "tei embed": _tei_embed, "cohere embed": _cohere_embed,
}  # fmt: skip
_READ_SCORES: dict[Family, readings.ReadScores] = {
    "nim": readings.nim, "cohere": readings.cohere, "tei": readings.tei, "score": readings.score, "predict": readings.predict,
}  # fmt: skip
_READ_VECTORS: dict[Family, readings.ReadVectors] = {
    "openai": readings.openai, "tei embed": readings.tei_embed, "cohere embed": readings.cohere_embed,
}  # fmt: skip

RANK_ROUTES: tuple[Route[Scores], ...] = tuple(
    Route(name=name, path=path, task="rank", family=family, clients=clients, write=_WRITE[family], read=_READ_SCORES[family])
    for name, path, family, clients in _RANK
)
EMBED_ROUTES: tuple[Route[Vectors], ...] = tuple(
    Route(name=name, path=path, task="embed", family=family, clients=clients, write=_WRITE[family], read=_READ_VECTORS[family])
    for name, path, family, clients in _EMBED
)
# What is looked at before anything is asked: who this is, and what it serves.
ABOUT_PATHS = (
    "/v1/models", "/models", "/v1/health/ready", "/health", "/health/readiness", "/info", "/openapi.json", "/v1/metadata", "/version", "/v1/version", "/model/info",
)  # fmt: skip
