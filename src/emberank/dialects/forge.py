"""The native route's body in, a call and the target it asks for out: a NIM body with `model_version`, `gpu_type` and `region` beside it. Pure.

The three mean the same on every route that takes a NIM body. Does not know which versions and targets there are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

from emberank.contract.errors import BadRequest
from emberank.contract.inference import EmbedCall, RankCall
from emberank.dialects import nim
from emberank.dialects.openai_embeddings import read_embeddings
from emberank.dialects.reading import body_object, optional_text, shown

Call = TypeVar("Call")

# `version` is what the page's own warm-up sends for `model_version`.
ROUTING_FIELDS = ("model_version", "version", "gpu_type", "region")


class Pin(NamedTuple):
    """Where a call wants to run, as its caller wrote it; None leaves the choice to the scheduler."""

    version: str | None = None
    gpu_type: str | None = None
    region: str | None = None


ANYWHERE = Pin()


@dataclass(frozen=True, slots=True)
class Asked(Generic[Call]):
    """A call, where it wants to run, and the fields of the body that were ignored."""

    call: Call
    pin: Pin
    ignored: tuple[str, ...]


def parse_ranking(body: bytes, rules: nim.Rules) -> Asked[RankCall]:
    """A NIM ranking body with a pin. Raises BadRequest naming the field and what would be right."""
    fields = body_object(body)
    pin = take_pin(fields)
    parsed = nim.read_ranking(fields, rules)
    return Asked(parsed.call, pin, parsed.ignored)


def parse_embeddings(body: bytes, rules: nim.Rules) -> Asked[EmbedCall]:
    """A NIM embeddings body with a pin. Raises BadRequest as well."""
    fields = body_object(body)
    pin = take_pin(fields)
    asked = read_embeddings(fields, rules)
    return Asked(asked.call, pin, asked.ignored)


def take_pin(fields: dict[str, Any]) -> Pin:
    """The pin in a body's fields, taken out of them. Null and empty are absent, as scripts send what a variable holds."""
    if not any(name in fields for name in ROUTING_FIELDS):
        return ANYWHERE
    version, also, gpu_type, region = (_word(fields, name) for name in ROUTING_FIELDS)
    for name in ROUTING_FIELDS:
        fields.pop(name, None)
    if version is not None and also is not None and version != also:
        raise BadRequest(f"model_version is {shown(version)} and version is {shown(also)}; send one of the two")
    return Pin(version or also, gpu_type, region)


def _word(fields: dict[str, Any], name: str) -> str | None:
    value = optional_text(fields, name)
    return (value.strip() or None) if value else None
