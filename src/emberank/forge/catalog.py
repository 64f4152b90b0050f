"""What can be served, as data: models, their versions, and the names they answer to. Knows nothing of what is running."""

from __future__ import annotations

import difflib
import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from emberank.contract.errors import ModelNotFound, NotFound, SettingError
from emberank.contract.inference import Modality, Task
from emberank.forge.remote_names import is_remote

_LIKELY = 24
MOST_NEAR_NAMES = 6  # a 404 names what may have been meant, not the whole catalogue
_LONGEST_NAME = 200  # a caller's text: comparing it with every name must stay cheap


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
class Calibration:
    """σ(slope · logit + intercept) is how often a passage with that logit was relevant, on the judged data that it was fitted to. `emberank calibrate` makes one."""

    slope: float
    intercept: float
    data: str  # what was judged, by whom, how much of it; never empty
    date: str = ""  # ISO date
    prevalence: float | None = None  # the share of that data that was relevant
    brier: float | None = None  # on queries that were not fitted to
    ece: float | None = None  # likewise: expected calibration error


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """How well a version finds what was judged relevant. Figures compare only where metric and data are the same; `how` says what was done with it."""

    metric: str  # nDCG@10
    value: float  # 0 to 1
    data: str  # the judged collection
    queries: int
    how: str  # e.g. the best 100 of BM25 reranked, fp32
    source: str  # who measured it and where it is written down
    date: str  # ISO date


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One set of weights and settings. `source` is what the runtime fetches (preset:, pypi:, hf:, file:), or someone else's server (remote_names.py)."""

    name: str
    source: str
    head: Literal["auto", "late_interaction"] = "auto"
    sha256: Mapping[str, str] = field(default_factory=dict)
    memory_gb: float | None = None  # what it needs, known or estimated, until starts have measured it
    settings: Mapping[str, str] = field(default_factory=dict)  # runtime settings, e.g. {"precision": "int8"}; of a remote source: remote_settings.py's
    idle_after_s: float | None = None  # None: as the forge's setting says
    gpu_types: tuple[str, ...] = ()  # on which it may run; empty: any that has the memory
    note: str = ""  # what a reader should know, e.g. that the weights need an accepted licence
    calibration: Calibration | None = None  # of a reranker's scores; of these weights and this head only
    published: tuple[Published, ...] = ()
    quality: tuple[Quality, ...] = ()  # of these weights and this head only


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
    dimensions: int | None = None  # of a whole vector
    shorter_dimensions: tuple[int, ...] = ()  # to which a vector may be cut as well
    modalities: tuple[Modality, ...] = ("text",)  # what a passage or an input may be
    dtype: str = ""  # of the weights: BF16, FP32
    min_memory_gb: float | None = None  # the configured floor of a GPU's memory
    links: Mapping[str, str] = field(default_factory=dict)  # title → URL
    golden: Golden | None = None
    fallbacks: tuple[str, ...] = ()  # slugs of models that answer in its place, in this order, while no endpoint of it can
    versions: tuple[Version, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Every name it answers to."""
        return (self.slug, self.id, *self.aliases)


def plain(name: str) -> str:
    """A name without the differences clients make of it: case, and `.`, `_`, `-` for one another. The same as runtime/roster.py's, plus LiteLLM's `ranking/`."""
    return name.strip().lower().replace("_", "-").replace(".", "-").removeprefix("ranking/")


def launch_spec(model: Model, version: Version) -> dict[str, Any]:
    """The runtime's model-file entry for a version: what to fetch, what it must be, and every name it answers to."""
    if is_remote(version.source):
        raise SettingError(f"{model.slug} {version.name} is somebody else's server ({version.source}): it is not started here")
    scheme, _, rest = version.source.partition(":")
    spec: dict[str, Any] = {"name": model.id, "aliases": [name for name in dict.fromkeys(model.names) if name != model.id], "task": model.task}
    spec |= {"preset": rest} if scheme == "preset" else {"source": version.source}
    # A preset brings its own head, hashes and licence: what is not said here must not be said over it.
    spec |= {"head": version.head} if version.head != "auto" else {}
    spec |= {"sha256": dict(version.sha256)} if version.sha256 else {}
    spec |= {"calibration": [version.calibration.slope, version.calibration.intercept]} if version.calibration else {}
    spec |= {"license": "; ".join(model.licenses)} if model.licenses else {}
    license_url = next((url for title, url in model.links.items() if "licen" in title.lower()), "")
    spec |= {"license_url": license_url} if license_url else {}
    if model.golden is not None:
        golden = model.golden
        spec["golden"] = {"query": golden.query, "passages": list(golden.passages), "scores": list(golden.scores), "tolerance": golden.tolerance}
    return spec


class Catalog:
    """Models in order, and every name they answer to. Raises SettingError when two of them claim one name."""

    def __init__(self, models: Sequence[Model] = ()) -> None:
        self._models = tuple(models)
        self._names: dict[str, Model] = {}
        for model in self._models:
            for name in model.names:
                taken = self._names.setdefault(plain(name), model)
                if taken is not model:
                    raise SettingError(f"model {model.slug!r}: the name {name!r} is already a name of {taken.slug!r}")
        self._derived = self._derive()
        self._pieces = {name: _pieces(name) for name in (*self._names, *self._derived)}

    def __iter__(self) -> Iterator[Model]:
        return iter(self._models)

    def __len__(self) -> int:
        return len(self._models)

    def resolve(self, name: str) -> Model:
        """The model of that slug, id or alias in any spelling, with or without its publisher. Raises ModelNotFound, which says what is near."""
        found = self._find(plain(name))
        if found is None:
            raise ModelNotFound(name, tuple(model.id for model in self.near(name)))
        return found

    def __contains__(self, name: str) -> bool:
        return self._find(plain(name)) is not None

    def names(self, model: Model) -> tuple[str, ...]:
        """Every name the model answers to, those that are derived from others among them; none twice but for its spelling."""
        names = {plain(name): name for name in reversed(model.names)}
        derived = [name for name, owner in self._derived.items() if owner is model]
        return (*dict.fromkeys(names[plain(name)] for name in model.names), *derived)

    def version(self, model: Model, name: str | None = None) -> Version:
        """The version called `name` (`v1` or `1`), the first one for None. Raises NotFound, which lists them."""
        if name is None:
            return model.versions[0]
        wanted = name.strip().lower()
        for version in model.versions:
            if version.name.lower() in (wanted, f"v{wanted}"):
                return version
        known = ", ".join(version.name for version in model.versions)
        raise NotFound(f"{model.slug} has no version {name[:_LONGEST_NAME]!r}; known versions: {known}")

    def search(self, text: str = "", *, task: Task | None = None, tags: Sequence[str] = ()) -> tuple[Model, ...]:
        """The models for `task` that carry all `tags` and have every word of `text` in a name, title, description, tag, category or licence."""
        words = [plain(word) for word in text.split()]
        return tuple(
            model
            for model in self._models
            if task in (None, model.task) and all(tag in model.tags for tag in tags) and all(word in searched(model) for word in words)
        )

    def tags(self) -> tuple[str, ...]:
        """Every tag that a model carries, sorted."""
        return tuple(sorted({tag for model in self._models for tag in model.tags}))

    def _find(self, name: str) -> Model | None:
        return self._names.get(name) or self._derived.get(name)

    def _derive(self) -> dict[str, Model]:
        """Names nobody wrote down: `publisher/name` as a slug, and without the publisher. One that would mean two models means none."""
        owners: dict[str, dict[str, Model]] = {}
        for model in self._models:
            for name in (plain(name) for name in model.names if "/" in name):
                for derived in (name.replace("/", "-"), name.rpartition("/")[2]):
                    owners.setdefault(derived, {})[model.slug] = model
        return {name: next(iter(models.values())) for name, models in owners.items() if name not in self._names and len(models) == 1}

    def near(self, name: str) -> tuple[Model, ...]:
        """The models whose names are most like this one; the first ones where none is."""
        name = plain(name[:_LONGEST_NAME])
        # difflib is thorough and slow: it looks only at the names that share most three-letter pieces, so that a wrong name costs milliseconds.
        wanted = _pieces(name)
        likely = heapq.nlargest(_LIKELY, self._pieces, key=lambda known: len(self._pieces[known] & wanted))
        near = difflib.get_close_matches(name, likely, MOST_NEAR_NAMES, 0.5)
        models = [self._names.get(match) or self._derived[match] for match in near] or self._models[:MOST_NEAR_NAMES]
        return tuple({model.slug: model for model in models}.values())


def _pieces(name: str) -> frozenset[str]:
    return frozenset(name[start : start + 3] for start in range(max(1, len(name) - 2)))


def searched(model: Model) -> str:
    """What the words of a search are looked for in, as `plain` writes it."""
    return plain("\n".join((*model.names, model.title, model.description, model.category, model.source, *model.tags, *model.licenses)))
