"""Every path that takes a call, the reader of its body, and the shape of its errors: one table for the gateway and for a bare runtime. Pure.

Where dialects share a path, the body tells which one it is: on `/rerank` and its kin `texts` are TEI's and `documents` everybody else's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from emberank.contract.inference import Task
from emberank.dialects import cohere, cohere_embed, nim_asked, openai_embeddings, tei, tei_embed, tei_predict, vllm
from emberank.dialects.asked import Asked, AskedRank
from emberank.dialects.errors import ErrorStyle, style_of
from emberank.dialects.nim import Rules

Reader: TypeAlias = Callable[[dict[str, Any], Rules], Asked]  # raises BadRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class InferenceRoute:
    """One path. `{org}` and `{model}` in it name the model."""

    path: str
    task: Task
    read: Reader
    label: str = ""  # in logs and metrics, when several paths are one route

    @property
    def errors(self) -> ErrorStyle:
        """The shape of its errors."""
        return style_of(self.path)


def rerank(fields: dict[str, Any], rules: Rules, *, strings: bool = False, version: str = "2") -> AskedRank:
    """With `texts` it is TEI's body, else Cohere's or a relative's."""
    if fields.get("texts") is not None:
        return tei.read_rerank(fields, rules.max_documents)
    return cohere.read_rerank(fields, rules.max_documents, strings=strings, version=version)


def _v1(fields: dict[str, Any], rules: Rules) -> AskedRank:
    return rerank(fields, rules, version="1")


def _strings(fields: dict[str, Any], rules: Rules) -> AskedRank:
    return rerank(fields, rules, strings=True)


HOSTED = "/v1/retrieval/{org}/{model}/reranking"

ROUTES: tuple[InferenceRoute, ...] = (
    InferenceRoute(path="/v1/ranking", task="rank", read=nim_asked.ask_ranking),
    InferenceRoute(path=HOSTED, task="rank", read=nim_asked.ask_hosted),
    # RAGFlow and Dify name no model in the path; the body does.
    InferenceRoute(path="/v1/retrieval/{org}/reranking", task="rank", read=nim_asked.ask_hosted, label=HOSTED),
    InferenceRoute(path="/v1/reranking", task="rank", read=nim_asked.ask_ranking, label="/v1/ranking"),
    InferenceRoute(path="/v1/rerank", task="rank", read=_v1),
    InferenceRoute(path="/v2/rerank", task="rank", read=rerank),
    InferenceRoute(path="/rerank", task="rank", read=rerank),
    # Infinity gives documents back as strings, where everybody else's readers want objects; LiteLLM sends both the same body, so that only a path can tell.
    InferenceRoute(path="/infinity/rerank", task="rank", read=_strings),
    InferenceRoute(path="/v1/embeddings", task="embed", read=openai_embeddings.read_embeddings),
    InferenceRoute(path="/embeddings", task="embed", read=openai_embeddings.read_embeddings, label="/v1/embeddings"),
    InferenceRoute(path="/v1/embed", task="embed", read=cohere_embed.read_v1),
    InferenceRoute(path="/v2/embed", task="embed", read=cohere_embed.read_v2),
    InferenceRoute(path="/embed", task="embed", read=tei_embed.read_embed),
    InferenceRoute(path="/similarity", task="embed", read=tei_embed.read_similarity),
    InferenceRoute(path="/predict", task="rank", read=tei_predict.read_predict),
    InferenceRoute(path="/score", task="rank", read=vllm.read_scoring),
    InferenceRoute(path="/v1/score", task="rank", read=vllm.read_scoring, label="/score"),
    InferenceRoute(path="/pooling", task="embed", read=vllm.read_pooling),
)

# What stands below a model's own base URL, /models/{slug}: the paths above, and those that say what is served there.
OF_A_MODEL: tuple[str, ...] = (
    "/v1/retrieval/",
    *(route.path for route in ROUTES if "{" not in route.path),
    "/v1/models",
    "/models",
    "/info",
    "/health",
    "/v1/health/",
)
