"""What a server says about itself in, which server it probably is out, with the evidence. Pure. A guess: only routes and numbers are judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from emberank.doctor.heard import Heard, shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A name, and what speaks for it; nothing speaks for an unknown one."""

    name: str = "unknown"
    evidence: tuple[str, ...] = ()


GATEWAY, RUNTIME, LITELLM, INFINITY = "Emberank gateway", "Emberank runtime", "LiteLLM proxy", "Infinity"
TEI, VLLM, NIM = "Text Embeddings Inference", "vLLM", "NVIDIA NIM"


def kind_of(about: Mapping[str, Heard], answers: Sequence[Heard]) -> Kind:
    """`about` are the answers of ABOUT_PATHS by path, `answers` those of the inference routes."""
    found: dict[str, list[str]] = {}
    for name, said in [*_of_headers([*about.values(), *answers]), *_of_title(about), *_of_bodies(about)]:
        evidence = found.setdefault(name, [])
        if said not in evidence:
            evidence.append(said)
    if not found:
        return Kind()
    # In the order in which they were looked for: headers are said of every answer, and a body may be another's imitation.
    name = next(iter(found))
    return Kind(name=name, evidence=tuple(found[name]))


def _of_headers(heard: Sequence[Heard]) -> list[tuple[str, str]]:
    found = []
    for name, header in ((LITELLM, "x-litellm-version"), (GATEWAY, "x-emberank-model"), (GATEWAY, "x-emberank-target")):
        said = next((one.header(header) for one in heard if one.header(header)), "")
        if said:
            found.append((name, f"header {header}: {shown(said)}"))
    if not any(name == GATEWAY for name, _ in found):
        said = next((one.header("emberank-prompt-tokens") for one in heard if one.header("emberank-prompt-tokens")), "")
        found += [(RUNTIME, f"header emberank-prompt-tokens: {said}")] if said else []
    return found


def _of_title(about: Mapping[str, Heard]) -> list[tuple[str, str]]:
    document = about.get("/openapi.json")
    info = document.fields.get("info") if document is not None and document.ok else None
    title = info.get("title") if isinstance(info, dict) else None
    if not isinstance(title, str):
        return []
    titles = {"Emberank": GATEWAY, "Emberank runtime": RUNTIME, "LiteLLM": LITELLM, "Infinity": INFINITY, "Text Embeddings Inference": TEI}
    known = next((name for word, name in sorted(titles.items(), key=lambda item: -len(item[0])) if word.lower() in title.lower()), None)
    return [(known, f"GET /openapi.json has the title {shown(title)!r}")] if known else []


def _of_bodies(about: Mapping[str, Heard]) -> list[tuple[str, str]]:
    found = []
    info, ready = _fields(about, "/info"), _fields(about, "/health/readiness")
    if "litellm_version" in ready:
        found.append((LITELLM, "GET /health/readiness tells a litellm_version"))
    owners = {row.get("owned_by") for path in ("/v1/models", "/models") for row in rows(about.get(path))}
    if "infinity" in owners and _fields(about, "/openapi.json"):
        found.append((INFINITY, "GET /models: owned_by infinity"))
    if "vllm" in owners:
        found.append((VLLM, "GET /v1/models: owned_by vllm"))
    if "model_id" in info and "max_client_batch_size" in info:
        found.append((TEI, "GET /info tells model_id and max_client_batch_size"))
    metadata = _fields(about, "/v1/metadata")
    if "modelInfo" in metadata:
        found.append((NIM, "GET /v1/metadata tells modelInfo"))
    elif _fields(about, "/v1/health/ready").get("object") == "health.response":
        found.append((NIM, "GET /v1/health/ready answers as a NIM's"))
    return found


def _fields(about: Mapping[str, Heard], path: str) -> dict[str, object]:
    heard = about.get(path)
    return heard.fields if heard is not None and heard.ok else {}


def rows(heard: Heard | None) -> list[dict[str, object]]:
    """The entries of a model list, whoever wrote it."""
    data = heard.fields.get("data") if heard is not None and heard.ok else None
    return [row for row in data if isinstance(row, dict)] if isinstance(data, list) else []
