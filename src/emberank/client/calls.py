"""What a program asks for in, a call out: method, path, body, and how its answer is read. Knows no transport; both clients send these."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar
from urllib.parse import quote, urlencode

import numpy as np
import orjson
from numpy.typing import NDArray

from emberank.client.answer import Answer
from emberank.client.record import R
from emberank.client.records import Key, ModelEntry, ModelInfo, NewKey, Started, Status, Stopped
from emberank.client.results import Ranking, read_nothing, read_ranking, read_vectors, record, records
from emberank.contract.errors import BadRequest

T = TypeVar("T")
Passage = str | Mapping[str, str]  # a text, or {"text": …, "image": "data:image/…"}
Value: TypeAlias = str | int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Generic[T]):
    """One request below a server's base, and the reader of its answer."""

    method: str
    path: str
    read: Callable[[Answer], T]
    body: bytes = b""
    wait_s: int | None = None  # None: until it is done; else 202 after so many seconds instead
    resend: bool = True  # whether it does no harm when it is done twice

    @property
    def headers(self) -> dict[str, str]:
        """Those that come with the call itself."""
        named = {"content-type": "application/json"} if self.body else {}
        if self.wait_s is None:
            return named
        return named | {"prefer": f"respond-async, wait={self.wait_s}" if self.wait_s else "respond-async"}


def rank(query: str, passages: Sequence[Passage], options: Mapping[str, Value]) -> Call[Ranking]:
    """NIM's ranking. `options` are the body's other fields, the pin (gpu_type, region, model_version) among them; None leaves one out."""
    contents = [{"text": passage} if isinstance(passage, str) else dict(passage) for passage in passages]
    fields: dict[str, Any] = {"query": {"text": query}, "passages": contents, **options}
    return Call(method="POST", path=_inference("/v1/ranking", options), body=_json(fields), read=read_ranking)


def embed(texts: Sequence[str], options: Mapping[str, Value]) -> Call[NDArray[np.float32]]:
    """NIM's embeddings, as base64: a third of the bytes, and no digits lost."""
    fields: dict[str, Any] = {"input": list(texts), "encoding_format": "base64", **options}
    return Call(method="POST", path=_inference("/v1/embeddings", options), body=_json(fields), read=read_vectors)


def _inference(route: str, options: Mapping[str, Value]) -> str:
    """A pinned call takes the native route, any other the one that every server of the family has."""
    if not any(options.get(name) for name in ("gpu_type", "region", "model_version")):
        return route
    model = options.get("model")
    if not model:
        raise BadRequest("gpu_type, region and model_version go with a model: name it")
    return f"/v1/inference/{_part(str(model))}"


def models() -> Call[list[ModelEntry]]:
    """What is served."""
    return Call(method="GET", path="/v1/models", read=records(ModelEntry))


def model(slug: str) -> Call[ModelInfo]:
    """One catalogue entry."""
    return Call(method="GET", path=f"/v1/models/{_part(slug)}", read=record(ModelInfo))


def about(slug: str, what: str, cls: type[R], filters: Mapping[str, Value]) -> Call[R]:
    """`inference-routes`, `run-estimate` or `reliability` of a model."""
    return Call(method="GET", path=_filtered(f"/v1/models/{_part(slug)}/{what}", filters), read=record(cls))


def status(slug: str, version: str | None) -> Call[Status]:
    """The runtime state now."""
    return Call(method="GET", path=_filtered(f"/v1/model-families/{_part(slug)}/status", {"version": version}), read=record(Status))


def start(slug: str, target: Mapping[str, Value], *, run_until_stopped: bool | None = None, wait_s: int | None = None) -> Call[Started]:
    """Prewarm. `run_until_stopped` None leaves it as it is."""
    body = _json({"run_until_stopped": run_until_stopped, **target})
    return Call(method="POST", path=f"/v1/model-families/{_part(slug)}/start", body=body, read=record(Started), wait_s=wait_s)


def stop(slug: str, target: Mapping[str, Value]) -> Call[Stopped]:
    """Drain and free."""
    return Call(method="POST", path=f"/v1/model-families/{_part(slug)}/stop", body=_json(target), read=record(Stopped))


def keys() -> Call[list[Key]]:
    """All keys, without the keys themselves."""
    return Call(method="GET", path="/v1/keys", read=records(Key))


def create_key(name: str, scopes: Sequence[str], limits: Mapping[str, Any]) -> Call[NewKey]:
    """A new key; its answer is the only time it is shown."""
    body = _json({"name": name, "scopes": list(scopes), **limits})
    return Call(method="POST", path="/v1/keys", body=body, read=record(NewKey), resend=False)


def revoke_key(key_id: str) -> Call[None]:
    """It is refused from now on."""
    return Call(method="DELETE", path=f"/v1/keys/{_part(key_id)}", read=read_nothing)


def _part(name: str) -> str:
    """A name as one part of a path. Names of publishers hold a slash, which is no border between parts here."""
    if not name or name in (".", ".."):
        raise BadRequest("a name must not be empty")
    return quote(name, safe="")


def _filtered(path: str, filters: Mapping[str, Value]) -> str:
    given = {name: value for name, value in filters.items() if value is not None}
    return f"{path}?{urlencode(given)}" if given else path


def _json(fields: Mapping[str, Any]) -> bytes:
    try:
        return orjson.dumps({name: value for name, value in fields.items() if value is not None})
    except orjson.JSONEncodeError as cause:  # a lone surrogate, an object of the program's
        raise BadRequest(f"this cannot be written as JSON: {cause}") from cause
