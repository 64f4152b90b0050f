"""A remote version's source, and where its server stands, in; the URL that takes its calls and the name it goes by there out. Pure: reads no environment.

    nim:http://host:port                 a NIM that runs already: its own paths, and its own health route
    nvidia_nim/<model>                   rank: {base}/v1/retrieval/<model>/reranking · embed: {base}/v1/embeddings
    nvidia_nim/ranking/<model>           rank: {base}/v1/ranking
    cohere:https://host[/path]           any server that speaks Cohere's rerank: Cohere's, Jina's, vLLM's, another gateway's

The rules of `nvidia_nim` are LiteLLM's, so that a name may be moved from its configuration into a catalogue unchanged
(https://docs.litellm.ai/docs/providers/nvidia_nim_rerank): the URL keeps the model's underscores, the body of a ranking has dots in their place.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, TypeAlias
from urllib.parse import SplitResult, urlsplit

from emberank.contract.errors import SettingError
from emberank.contract.fleet import EndpointDialect
from emberank.contract.inference import Task

Kind: TypeAlias = Literal["nim", "nvidia_nim", "cohere"]

HOSTED_RANKING, HOSTED_EMBEDDINGS = "https://ai.api.nvidia.com", "https://integrate.api.nvidia.com"
API_BASE, API_KEY = "NVIDIA_NIM_API_BASE", "NVIDIA_NIM_API_KEY"
NVIDIA, RANKING = "nvidia_nim/", "ranking/"
# A publisher and a name; no segment that a server could take for a step up.
_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]*(/[A-Za-z0-9][A-Za-z0-9._:-]*)*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote:
    """Where a version's calls go."""

    origin: str  # http://host[:port]; of nim: with what stands before its routes
    path: str  # of the call; empty: the dialect's own
    model: str  # what the body calls it; empty: nothing in the source says
    dialect: EndpointDialect
    has_health: bool  # whether it may be asked on /v1/health/ready, for nothing


def kind_of(source: str) -> Kind | None:
    """Which kind of server a source names; None for one that is started here."""
    if source.startswith(NVIDIA):
        return "nvidia_nim"
    scheme = source.partition(":")[0]
    return "nim" if scheme == "nim" else "cohere" if scheme == "cohere" else None


def is_remote(source: str) -> bool:
    """Whether a source names somebody else's server."""
    return kind_of(source) is not None


def remote_of(source: str, task: Task, api_base: str = "") -> Remote:
    """What a source means for a task. `api_base` is where nvidia_nim's server stands; empty: NVIDIA's own. Raises SettingError, which says what would be right."""
    kind = kind_of(source)
    if kind == "nvidia_nim":
        return _nvidia(source.removeprefix(NVIDIA), task, api_base)
    if kind == "cohere":
        return _cohere(source, task)
    url = source.removeprefix("nim:")
    if kind is None or not _is_server(url):
        raise SettingError(f"{source!r} names no server: it has to be nim:http://host:port")
    return Remote(origin=url.rstrip("/"), path="", model="", dialect="nim", has_health=True)


def base_of(source: str, task: Task, setting: str, environment: str) -> str:
    """The server's base URL for nvidia_nim: as the version says, else as NVIDIA_NIM_API_BASE says, else NVIDIA's own for the task."""
    if kind_of(source) != "nvidia_nim":
        return ""
    return setting or environment or (HOSTED_RANKING if task == "rank" else HOSTED_EMBEDDINGS)


def host_of(source: str, api_base: str = "") -> str:
    """The server's host, to be shown: no path, no key."""
    url = api_base or HOSTED_RANKING if kind_of(source) == "nvidia_nim" else source.partition(":")[2]
    try:
        parts = urlsplit(url)
        return parts.hostname + (f":{parts.port}" if parts.port else "") if parts.hostname else ""
    except ValueError:
        return ""


def is_hosted_by_nvidia(source: str, api_base: str) -> bool:
    """Whether it is NVIDIA's own server, which answers nobody without a key."""
    return kind_of(source) == "nvidia_nim" and host_of(source, api_base).endswith(".api.nvidia.com")


def retrieval_url(api_base: str, model: str) -> str:
    """LiteLLM's rule for `nvidia_nim/<model>`: a base with /retrieval/ in it is the whole URL; else the model's own path, and no second /v1."""
    base = api_base.rstrip("/")
    return base if "/retrieval/" in base else f"{base.removesuffix('/v1')}/v1/retrieval/{model}/reranking"


def ranking_url(api_base: str) -> str:
    """LiteLLM's rule for `nvidia_nim/ranking/<model>`: a base that ends in /ranking is the whole URL."""
    base = api_base.rstrip("/")
    return base if base.endswith("/ranking") else f"{base.removesuffix('/v1')}/v1/ranking"


def embeddings_url(api_base: str) -> str:
    """OpenAI's route below the base, which may end in /v1 or in the route itself."""
    base = api_base.rstrip("/")
    return base if base.endswith("/embeddings") else f"{base.removesuffix('/v1')}/v1/embeddings"


def rerank_url(url: str) -> str:
    """A URL whose path holds `rerank` is used as it is; one that ends in a version of the API gets /rerank; any other /v1/rerank."""
    base = url.rstrip("/")
    if "rerank" in urlsplit(base).path:
        return base
    return f"{base}/rerank" if re.search(r"/v[12]$", base) else f"{base}/v1/rerank"


def model_in_body(model: str) -> str:
    """LiteLLM's rule: NVIDIA's paths have underscores where its names have dots (llama-3_2 is llama-3.2)."""
    return model.replace("_", ".")


def _nvidia(name: str, task: Task, api_base: str) -> Remote:
    base = api_base or (HOSTED_RANKING if task == "rank" else HOSTED_EMBEDDINGS)
    if not _is_server(base):
        raise SettingError(f"api_base is {base!r}: it has to be a URL such as https://nim.internal:8000, without a user name, a query or a fragment")
    forced = name.startswith(RANKING)
    model = name.removeprefix(RANKING)
    if not _MODEL.fullmatch(model):
        raise SettingError(f"{NVIDIA + name!r} names no model: it has to be nvidia_nim/publisher/model or nvidia_nim/ranking/publisher/model")
    if task == "embed":
        if forced:
            raise SettingError(f"{NVIDIA + name!r} is for rerankers, and the model's task is embed: leave ranking/ out")
        return _whole(embeddings_url(base), model, "nim")
    return _whole(ranking_url(base) if forced else retrieval_url(base, model), model_in_body(model), "nim")


def _cohere(source: str, task: Task) -> Remote:
    url = source.removeprefix("cohere:")
    if not _is_server(url):
        raise SettingError(f"{source!r} names no server: it has to be cohere:https://host or cohere:https://host/path/rerank")
    if task != "rank":
        raise SettingError("cohere: is for rerankers; an embedder elsewhere is nvidia_nim/<model> with its `api_base`, or nim:http://host:port")
    return _whole(rerank_url(url), "", "cohere")


def _whole(url: str, model: str, dialect: EndpointDialect) -> Remote:
    parts: SplitResult = urlsplit(url)
    return Remote(origin=f"{parts.scheme}://{parts.netloc}", path=parts.path, model=model, dialect=dialect, has_health=False)


def _is_server(text: str) -> bool:
    """A URL that can be asked, and that holds no secret: it is shown and logged."""
    try:
        parts = urlsplit(text)
        named = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return named and text.isprintable() and text.isascii() and " " not in text and not parts.query and not parts.fragment and "@" not in parts.netloc
