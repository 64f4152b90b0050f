"""What a program asks for in, a call out: method, path, body, and how its answer is read. Knows no transport; both clients send these."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from urllib.parse import quote, urlencode

import numpy as np
import orjson
from numpy.typing import NDArray

from emberank.client.answer import Answer
from emberank.client.results import Ranking, read_list, read_nothing, read_object, read_ranking, read_vectors
from emberank.contract.errors import BadRequest
from emberank.contract.inference import InputType, Truncate

T = TypeVar("T")
Passage = str | Mapping[str, str]  # a text, or {"text": …, "image": "data:image/…"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Generic[T]):
    """One request below a server's base, and the reader of its answer."""

    method: str
    path: str
    read: Callable[[Answer], T]
    body: bytes = b""
    wait: bool = True  # False: 202 at once instead of an answer when it is done
    resend: bool = True  # whether it does no harm when it is done twice

    @property
    def headers(self) -> dict[str, str]:
        """Those that come with the call itself."""
        named = {"content-type": "application/json"} if self.body else {}
        return named if self.wait else named | {"prefer": "respond-async"}


def rank(query: str, passages: Sequence[Passage], *, model: str | None, top_n: int | None, truncate: Truncate | None, **pin: str | None) -> Call[Ranking]:
    """NIM's ranking; `pin` are gpu_type, region and model_version."""
    fields = {
        "query": {"text": query},
        "passages": [{"text": passage} if isinstance(passage, str) else dict(passage) for passage in passages],
        "truncate": truncate,
        "top_n": top_n,
    }
    return Call(method="POST", path=_inference("/v1/ranking", model, pin), body=_json(fields, model=model, **pin), read=read_ranking)


def embed(
    texts: Sequence[str], *, model: str | None, input_type: InputType, dimensions: int | None, truncate: Truncate | None, **pin: str | None
) -> Call[NDArray[np.float32]]:
    """NIM's embeddings, as base64: a third of the bytes, and no digits lost."""
    if isinstance(texts, str):
        raise BadRequest("texts must be a list of strings; for one text send a list of one")
    fields = {"input": list(texts), "input_type": input_type, "dimensions": dimensions, "truncate": truncate, "encoding_format": "base64"}
    return Call(method="POST", path=_inference("/v1/embeddings", model, pin), body=_json(fields, model=model, **pin), read=read_vectors)


def _inference(route: str, model: str | None, pin: Mapping[str, str | None]) -> str:
    """A pinned call takes the native route, any other the one that every server of the family has."""
    if not any(pin.values()):
        return route
    if not model:
        raise BadRequest("gpu_type, region and model_version go with a model: name it")
    return f"/v1/inference/{_part(model)}"


def models() -> Call[list[dict[str, Any]]]:
    """What is served."""
    return Call(method="GET", path="/v1/models", read=read_list)


def model(slug: str) -> Call[dict[str, Any]]:
    """One catalogue entry."""
    return Call(method="GET", path=f"/v1/models/{_part(slug)}", read=read_object)


def about(slug: str, what: str, **filters: str | int | None) -> Call[dict[str, Any]]:
    """`inference-routes`, `run-estimate` or `reliability` of a model."""
    return Call(method="GET", path=_filtered(f"/v1/models/{_part(slug)}/{what}", filters), read=read_object)


def status(slug: str, version: str | None) -> Call[dict[str, Any]]:
    """The runtime state now."""
    return Call(method="GET", path=_filtered(f"/v1/model-families/{_part(slug)}/status", {"version": version}), read=read_object)


def start(slug: str, *, run_until_stopped: bool, wait: bool, **target: str | None) -> Call[dict[str, Any]]:
    """Prewarm."""
    body = _json({"run_until_stopped": run_until_stopped}, **target)
    return Call(method="POST", path=f"/v1/model-families/{_part(slug)}/start", body=body, read=read_object, wait=wait)


def stop(slug: str, **target: str | None) -> Call[dict[str, Any]]:
    """Drain and free."""
    return Call(method="POST", path=f"/v1/model-families/{_part(slug)}/stop", body=_json({}, **target), read=read_object)


def keys() -> Call[list[dict[str, Any]]]:
    """All keys, without the keys themselves."""
    return Call(method="GET", path="/v1/keys", read=read_list)


def create_key(name: str, scopes: Sequence[str], limits: Mapping[str, Any]) -> Call[dict[str, Any]]:
    """A new key; its answer is the only time it is shown."""
    body = _json({"name": name, "scopes": list(scopes)}, **limits)
    return Call(method="POST", path="/v1/keys", body=body, read=read_object, resend=False)


def revoke_key(key_id: str) -> Call[None]:
    """It is refused from now on."""
    return Call(method="DELETE", path=f"/v1/keys/{_part(key_id)}", read=read_nothing)


def _part(name: str) -> str:
    """A name as one part of a path. Names of publishers hold a slash, which is no border between parts here."""
    if not name or name in (".", ".."):
        raise BadRequest("a name must not be empty")
    return quote(name, safe="")


def _filtered(path: str, filters: Mapping[str, str | int | None]) -> str:
    given = {name: value for name, value in filters.items() if value is not None}
    return f"{path}?{urlencode(given)}" if given else path


def _json(fields: Mapping[str, Any], **more: Any) -> bytes:
    try:
        return orjson.dumps({name: value for name, value in {**fields, **more}.items() if value is not None})
    except orjson.JSONEncodeError as cause:  # a lone surrogate, an object of the program's
        raise BadRequest(f"this cannot be written as JSON: {cause}") from cause
