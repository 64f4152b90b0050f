"""One block of text to copy, and what a reader must know of it. Knows no model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

# check: is the target there? · setup: variables and files · preflight: before the first request · request: the request itself · config: other programs · deploy: where to run it
Group: TypeAlias = Literal["check", "setup", "preflight", "request", "config", "deploy"]
Language: TypeAlias = Literal["sh", "url", "dotenv", "gitignore", "python", "javascript", "go", "yaml", "toml", "dockerfile"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Snippet:
    """A block. `executed` says that our tests run this very text against a real server; where it is False, `note` says why they do not."""

    id: str  # unique among a model's blocks, and the same for every model
    title: str
    language: Language
    group: Group
    text: str  # without a line break at its end
    note: str = ""
    executed: bool = True
