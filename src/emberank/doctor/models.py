"""A server's lists in, which names to ask under out, the likeliest first; `None` leaves the choice to the server. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from emberank.contract.inference import Task
from emberank.doctor.heard import Heard
from emberank.doctor.kind import rows

MOST_TRIED = 5
_WORDS: dict[Task, tuple[str, ...]] = {"rank": ("rank", "cross-encoder"), "embed": ("embed", "minilm", "bge", "e5-", "gte-")}
_TYPES: dict[str, Task] = {"ranking": "rank", "rerank": "rank", "reranker": "rank", "embedding": "embed", "embed": "embed"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One model of a list; `task` as far as the list says it."""

    id: str
    task: Task | None = None
    max_tokens: int | None = None


def listed(about: Mapping[str, Heard]) -> tuple[Listed, ...]:
    """All names that the lists hold, each once."""
    found: dict[str, Listed] = {}
    for row in (*rows(about.get("/v1/models")), *rows(about.get("/models"))):
        name = row.get("id")
        if isinstance(name, str) and name:
            one, old = _read(name, row), found.get(name)
            found[name] = one if old is None else Listed(id=name, task=old.task or one.task, max_tokens=old.max_tokens or one.max_tokens)
    for row in rows(about.get("/model/info")):  # LiteLLM's, which alone says what its models are for
        name, info = row.get("model_name"), row.get("model_info")
        mode = info.get("mode") if isinstance(info, dict) else None
        if isinstance(name, str) and name in found and isinstance(mode, str):
            found[name] = Listed(id=name, task=_TYPES.get(mode, found[name].task), max_tokens=found[name].max_tokens)
    metadata = about.get("/v1/metadata")
    for row in _dicts(metadata.fields.get("models") if metadata is not None and metadata.ok else None):  # our runtime's
        name, task, tokens = row.get("id"), row.get("task"), row.get("max_tokens")
        if isinstance(name, str):
            known: Task | None = "rank" if task == "rank" else "embed" if task == "embed" else None
            found[name] = Listed(id=name, task=known, max_tokens=tokens if type(tokens) is int else None)
    return tuple(found.values())


def _dicts(value: object) -> list[dict[str, object]]:
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []


def _read(name: str, row: dict[str, object]) -> Listed:
    said = row.get("model_type")
    task = _TYPES.get(said) if isinstance(said, str) else None
    can = row.get("capabilities")
    if isinstance(can, list):  # Infinity's
        task = "rank" if "rerank" in can else "embed" if "embed" in can else task
    tokens = row.get("max_model_len")
    return Listed(id=name, task=task, max_tokens=tokens if type(tokens) is int else None)


def candidates(models: tuple[Listed, ...], task: Task, wanted: str | None) -> tuple[str | None, ...]:
    """The names to try for a task."""
    if wanted:
        return (wanted,)
    known = [one.id for one in models if one.task == task]
    likely = [one.id for one in models if one.task is None and any(word in one.id.lower() for word in _WORDS[task])]
    other: Task = "embed" if task == "rank" else "rank"
    rest = [one.id for one in models if one.task is None and one.id not in likely and not any(word in one.id.lower() for word in _WORDS[other])]
    # A list may hold models that are cold or cannot run here at all: the server's own choice is more likely to answer than a name that sounds right.
    return tuple(dict.fromkeys([*known[:2], None, *likely, *rest]))[:MOST_TRIED]


def advertised_tokens(about: Mapping[str, Heard], models: tuple[Listed, ...], name: str | None) -> int | None:
    """The longest input, as the server tells it."""
    info = about.get("/info")
    tokens = info.fields.get("max_input_length") if info is not None and info.ok else None
    if type(tokens) is int:
        return tokens
    return next((one.max_tokens for one in models if one.id == name), None)
