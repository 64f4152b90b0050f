"""published_shapes.toml in, the shape of a published checkpoint out: its config.json, its files, and how its tensors are laid out. Knows no weights."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from emberank.contract.errors import SettingError
from emberank.runtime.published_tensors import Planned, tensors
from emberank.runtime.random_tokenizer import Kind

Dtype = Literal["bf16", "fp32"]
DEPTH = "num_hidden_layers"


@dataclass(frozen=True, slots=True, kw_only=True)
class SentenceTransformers:
    """What an embedder's files beside config.json say: the length of a vector, and the texts put in front."""

    dimensions: int
    prompts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedShape:
    """One checkpoint as it was published, without its numbers."""

    id: str  # as in the catalogue
    layout: str  # key into published_tensors.LAYOUTS
    tokenizer: Kind
    dtype: Dtype
    max_tokens: int
    config: Mapping[str, Any]  # config.json
    parameters: int | None = None  # by the publisher's count
    unknown: str = ""  # what has not been published of it, in words; empty: nothing is missing
    sentence_transformers: SentenceTransformers | None = None
    files: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # further JSON files by name

    @property
    def depth(self) -> int | None:
        """Layers of the network that reads the text; None when nobody has published it."""
        depth: int | None = self._text.get(DEPTH)
        return depth

    @property
    def vocabulary(self) -> int:
        """Rows of the token table."""
        return int(self._text["vocab_size"])

    @property
    def _text(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.config.get("llm_config", self.config)
        return found

    def with_depth(self, layers: int) -> PublishedShape:
        """The same with another number of layers: no longer a published shape."""
        text = {**self._text, DEPTH: layers}
        config = {**self.config, "llm_config": text} if "llm_config" in self.config else text
        return replace(self, config=config, parameters=None)

    def tensors(self) -> tuple[Planned, ...]:
        """Every tensor of its file. Raises SettingError when its depth is not known."""
        if self.depth is None:
            raise SettingError(f"the number of layers of {self.id} is not known: {self.unknown}. Say how many with --layers; it is a guess of yours then")
        return tensors(self.layout, self.config)


@cache
def shapes() -> tuple[PublishedShape, ...]:
    """Every shape that is known."""
    table = tomllib.loads(files("emberank.runtime").joinpath("published_shapes.toml").read_text("utf-8"))
    return tuple(_shape(row, table["config"]) for row in table["shape"])


def _shape(row: dict[str, Any], shared: Mapping[str, Mapping[str, Any]]) -> PublishedShape:
    base = dict(shared.get(row.pop("base", ""), {}))
    for key in row.pop("without", ()):
        del base[key]
    own = row.pop("config")
    nested = {key: {**shared[name], **own.pop(key, {})} for key, name in row.pop("nested", {}).items()}
    beside = row.pop("sentence_transformers", None)
    return PublishedShape(config=base | own | nested, sentence_transformers=None if beside is None else SentenceTransformers(**beside), **row)
