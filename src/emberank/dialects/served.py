"""The models that are served in, the lists and the health that other servers' clients ask for out: NIM's and Infinity's lists, TEI's `/info`. Pure.

Sources: Infinity's OpenAPI document and the models of `infinity_client`, TEI's OpenAPI document (`Info`), and what `langchain_nvidia_ai_endpoints` and Dify read.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import orjson

from emberank.contract.inference import Task
from emberank.dialects.tei_predict import LABEL

# What `python -m langchain_nvidia_ai_endpoints doctor` compares a model's use with.
_MODEL_TYPES: dict[Task, str] = {"rank": "ranking", "embed": "embedding"}
_CAPABILITIES: dict[Task, list[str]] = {"rank": ["rerank"], "embed": ["embed"]}  # Infinity's words


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """What is known of one model: None where whoever serves it does not know."""

    id: str
    task: Task
    created: int  # Unix time, seconds
    owner: str
    max_tokens: int | None = None  # of one input, or of a query and a passage together
    dtype: str | None = None
    pooling: str | None = None  # of an embedder
    dimensions: int | None = None  # of an embedder's whole vector
    engine: str | None = None
    max_entries: int | None = None  # documents or inputs in one request
    max_requests: int | None = None  # at one time
    max_batch_tokens: int | None = None
    tokenizers: int | None = None  # that work at one time


def model_entry(model: Served) -> dict[str, object]:
    """One entry of `/v1/models`. `root` equals `id`: LangChain takes any other for a LoRA."""
    return {
        "id": model.id,
        "object": "model",
        "created": model.created,
        "owned_by": model.owner,
        "root": model.id,
        "model_type": _MODEL_TYPES[model.task],
    }


def render_models(models: Iterable[Served]) -> bytes:
    """GET /v1/models: OpenAI's list."""
    return orjson.dumps({"object": "list", "data": [model_entry(model) for model in models]})


def render_infinity_models(models: Iterable[Served]) -> bytes:
    """GET /models: the same list as Infinity's clients take it, which want `stats` and no owner but Infinity."""
    data = [
        {**model_entry(model), "owned_by": "infinity", "stats": {}, "backend": model.engine or "", "capabilities": _CAPABILITIES[model.task]}
        for model in models
    ]
    return orjson.dumps({"object": "list", "data": data})


def render_info(model: Served, version: str) -> bytes:
    """GET /info: TEI's. `model_type` is an object whose one key says what the model does.

    What is not known is left out, null only where TEI's own schema has it: Dify takes its default for what is absent, and fails on null.
    """
    known: dict[str, object] = {
        "model_dtype": model.dtype,
        "max_concurrent_requests": model.max_requests,
        "max_input_length": model.max_tokens,
        "max_batch_tokens": model.max_batch_tokens,
        "max_client_batch_size": model.max_entries,
        "tokenization_workers": model.tokenizers,
        "dimensions": model.dimensions,
    }
    body = {
        "model_id": model.id,
        "model_sha": None,
        "model_type": _model_type(model),
        **{name: value for name, value in known.items() if value is not None},
        "max_batch_requests": None,
        "auto_truncate": False,  # TEI's routes here cut only where a body says `truncate`
        "version": version,
        "sha": None,
        "docker_label": None,
    }
    return orjson.dumps(body)


def first(models: Sequence[Served]) -> Served:
    """The one that a server of many says it is, where a dialect has place for one: the first reranker, or the first model where there is none."""
    return next((model for model in models if model.task == "rank"), models[0])


def _model_type(model: Served) -> dict[str, object]:
    if model.task == "rank":
        return {"reranker": {"id2label": {"0": LABEL}, "label2id": {LABEL: 0}}}
    return {"embedding": {} if model.pooling is None else {"pooling": model.pooling}}


def render_health(unix: float) -> bytes:
    """GET /health of a server that is up: Infinity's clients read when it was said, in seconds of Unix time; TEI's and vLLM's look at the status only."""
    return orjson.dumps({"unix": unix})
