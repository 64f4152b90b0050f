"""What all blocks of one page are about: a model's version, perhaps a target, and the address of the installation. Knows no block."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from emberank.contract.inference import Task
from emberank.forge.catalog import Model, Version
from emberank.forge.payloads import sample_payload
from emberank.forge.snippets.literals import address, path_part, unicode, word
from emberank.forge.targets import Target

PLACEHOLDER = "replace-with-your-forge-api-key"
NO_KEY = "Set FORGE_API_KEY to a real Forge API key before running this snippet; browser SSO sessions are not sent to copied curl or SDK clients."  # the page's sentence
TIMEOUT_S = 600  # a GPU's cold start is waited for
UNPINNED = "It cannot say a version or a target: the model's first version answers, where Forge chooses."


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """The names, each fit to stand in any block, and what is sent."""

    slug: str
    id: str
    task: Task
    version: str
    gpu_type: str  # "" without a pin
    region: str
    base: str  # without /v1 and without a slash at the end
    fields: Mapping[str, Any]  # NIM's body without the model

    @property
    def route(self) -> str:
        """The native route."""
        return f"/v1/inference/{path_part(self.slug)}"

    @property
    def filters(self) -> dict[str, str]:
        """What chooses version and target, in a query or a body."""
        named = {"model_version": self.version, "gpu_type": self.gpu_type, "region": self.region}
        return {name: value for name, value in named.items() if value}

    @property
    def pin(self) -> dict[str, str]:
        """What chooses the target alone; empty without a pin."""
        return {name: value for name, value in self.filters.items() if name != "model_version"}

    @property
    def body(self) -> dict[str, Any]:
        """The native route's body."""
        return {"model": self.slug, **self.fields, **self.filters}

    def about(self, what: str) -> str:
        """A route of the catalogue's about this version and target."""
        return f"/v1/models/{path_part(self.slug)}/{what}?{urlencode(self.filters)}"

    @property
    def status(self) -> str:
        """The route of the runtime state."""
        return f"/v1/model-families/{path_part(self.slug)}/status?{urlencode({'version': self.version})}"

    def said(self, route: str) -> str:
        """What a block is pinned to, in words."""
        target = "".join(f" {name}={value}" for name, value in (("gpu", self.gpu_type), ("region", self.region)) if value)
        return f"Forge selected target: route={route} model={self.slug} version={self.version}{target}"

    @property
    def query(self) -> str:
        """What passages are ranked for."""
        return self.fields["query"].get("text") or ""

    @property
    def texts(self) -> list[str]:
        """The passages' texts, or the inputs."""
        if self.task == "rank":
            return [passage.get("text") or "" for passage in self.fields["passages"]]
        given = self.fields["input"]
        return [given] if isinstance(given, str) else list(given)


def subject_of(model: Model, version: Version, pin: Target | None, base: str, payload: Mapping[str, Any] | None) -> Subject:
    """What the blocks are about. `payload` is a NIM body; without one it is the payload that probes send, so that estimates speak of it."""
    fields: dict[str, Any] = sample_payload(model.task).fields if payload is None else json.loads(unicode(json.dumps(payload, ensure_ascii=False)))
    return Subject(
        slug=word(model.slug),
        id=word(model.id),
        task=model.task,
        version=word(version.name),
        gpu_type=word(pin.gpu_type) if pin else "",
        region=word(pin.region) if pin else "",
        base=address(base).removesuffix("/v1").rstrip("/"),
        fields={name: value for name, value in fields.items() if name not in ("model", "model_version", "version", "gpu_type", "region")},
    )
