"""The served models in, the answers of /v1/metadata, /v1/manifest and /v1/license out: what this process is and what it runs."""

from __future__ import annotations

from collections.abc import Iterable

from emberank import __version__
from emberank.dialects.served import Served
from emberank.runtime.model import ServedModel
from emberank.settings import RuntimeSettings


def owner(model: ServedModel) -> str:
    """The publisher part of a name."""
    return model.name.partition("/")[0] if "/" in model.name else "local"


def served(model: ServedModel, settings: RuntimeSettings) -> Served:
    """What other servers' clients ask of a model."""
    facts = model.backend.engine.facts
    return Served(
        id=model.name,
        task=model.task,
        created=model.created,
        owner=owner(model),
        max_tokens=model.max_tokens,
        dtype=facts.precision,
        pooling=model.recognised.pooling if model.task == "embed" else None,
        dimensions=model.dimensions[-1] if model.task == "embed" and model.dimensions else None,
        engine=facts.engine,
        max_entries=settings.max_documents if model.task == "rank" else settings.max_inputs,
        max_requests=settings.max_queue_size,
        max_batch_tokens=settings.max_batch_tokens or None,
        tokenizers=settings.tokenizer_threads or None,
    )


def metadata(models: Iterable[ServedModel]) -> dict[str, object]:
    """`modelInfo` is NIM's field; everything inside `models` is ours."""
    listed = list(models)
    return {
        "version": __version__,
        "modelInfo": [{"shortName": model.name, "modelUrl": _public_source(model.spec.source)} for model in listed],
        "models": [_model(model) for model in listed],
    }


def _model(model: ServedModel) -> dict[str, object]:
    facts = model.backend.engine.facts
    return {
        "id": model.name,
        "aliases": list(model.spec.aliases),
        "task": model.task,
        "source": _public_source(model.spec.source),
        "content_hash": model.manifest.content_hash,
        "max_tokens": model.max_tokens,
        "dimensions": model.dimensions[-1] if model.dimensions else None,
        "supported_dimensions": list(model.dimensions),
        "modalities": list(model.modalities),
        "random_weights": model.random_weights,
        "golden": _golden(model),
        "calibration": None if model.calibration is None else model.calibration._asdict(),
        "engine": {"name": facts.engine, "device": facts.device, "precision": facts.precision, "threads": facts.threads, "detail": facts.detail}
        | ({"gpu": dict(facts.gpu)} if facts.gpu else {}),
    }


def _golden(model: ServedModel) -> str:
    if model.random_weights:
        return "none: the weights are random numbers, to measure speed and memory with; scores and vectors mean nothing"
    return "checked" if model.spec.golden else "none known; a warm-up inference gave finite numbers"


def _public_source(source: str) -> str:
    # A folder's path is the server's own affair.
    return source if source.startswith(("pypi:", "hf:")) else "file"


def manifest(models: Iterable[ServedModel]) -> dict[str, object]:
    """Files of every model: name, size in bytes, sha256."""
    return {
        "models": [
            {
                "id": model.name,
                "content_hash": model.manifest.content_hash,
                "files": [{"name": file.name, "size": file.size, "sha256": file.sha256} for file in model.manifest.files],
            }
            for model in models
        ]
    }


def licenses(models: Iterable[ServedModel]) -> dict[str, object]:
    """The server's licence and each model's, as its publisher states it."""
    return {
        "name": "Apache-2.0",
        "server": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        "models": [{"id": model.name, "name": model.spec.license or "see the checkpoint's own licence", "url": model.spec.license_url} for model in models],
    }
