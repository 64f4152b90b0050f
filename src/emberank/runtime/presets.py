"""presets.toml or a model file in, model specifications out; and the words a person may use to say which models to serve."""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from emberank.contract.errors import SettingError
from emberank.contract.inference import EMBEDDING_TYPES, EmbeddingType, Task
from emberank.settings import RuntimeSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Golden:
    """An example whose outcome is known: `passages` must come out in this order for `query`, `scores` within `tolerance` when given.

    A score is what the model itself says of the pair: a reranker's logit, an embedder's cosine.
    """

    query: str
    passages: tuple[str, ...]
    scores: tuple[float, ...] = ()
    tolerance: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """What to serve, where its files come from, and what must be true of it."""

    name: str
    source: str
    aliases: tuple[str, ...] = ()
    task: Task | None = None  # None: as the checkpoint says
    head: Literal["auto", "late_interaction"] = "auto"
    dimensions: tuple[int, ...] = ()  # lengths an embedding may have; empty: as the checkpoint's kind says
    embedding_types: tuple[EmbeddingType, ...] = EMBEDDING_TYPES  # codes an embedding may have; NVIDIA lists float alone for some models
    max_tokens: int | None = None  # the longest input; None: as the checkpoint says
    sha256: Mapping[str, str] = field(default_factory=dict)
    license: str = ""
    license_url: str = ""
    golden: Golden | None = None
    calibration: tuple[float, float] | None = None  # (a, b): σ(a · logit + b) is how often such a passage was relevant, measured on judged data
    default: bool = False  # served when nobody says what to serve


def presets() -> tuple[ModelSpec, ...]:
    """The models that ship as a few lines of data each, the default ones first."""
    return tuple(_spec(row) for row in _rows())


def defaults() -> tuple[ModelSpec, ...]:
    """The presets that the word `default` stands for."""
    return tuple(spec for spec in presets() if spec.default)


def _rows() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = tomllib.loads(files("emberank.runtime").joinpath("presets.toml").read_text("utf-8"))["model"]
    return rows


def _spec(row: dict[str, Any]) -> ModelSpec:
    golden: dict[str, Any] | Golden | None = row.pop("golden", None)
    aliases, dimensions = tuple(row.pop("aliases", ())), tuple(row.pop("dimensions", ()))
    if isinstance(golden, dict):
        values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in golden.items()}
        golden = Golden(**values)
    return ModelSpec(aliases=aliases, dimensions=dimensions, embedding_types=_embedding_types(row), golden=golden, calibration=_calibration(row), **row)


def _calibration(row: dict[str, Any]) -> tuple[float, float] | None:
    said = row.pop("calibration", None)
    if said is None:
        return None
    numbers = isinstance(said, list | tuple) and len(said) == 2 and all(type(one) in (int, float) and math.isfinite(one) for one in said)
    if not numbers or said[0] <= 0:
        raise ValueError(f"calibration {said!r} has to be two numbers, slope and intercept, and the slope greater than 0")
    if row.get("task") == "embed":
        raise ValueError("a calibration is of a reranker's scores, and `task` is 'embed'")
    return float(said[0]), float(said[1])


def _embedding_types(row: dict[str, Any]) -> tuple[EmbeddingType, ...]:
    said = row.pop("embedding_types", EMBEDDING_TYPES)
    if not said or not set(said) <= set(EMBEDDING_TYPES):
        raise ValueError(f"embedding_types {said!r} has to hold one or more of {', '.join(EMBEDDING_TYPES)}")
    return tuple(said)


def specs(settings: RuntimeSettings) -> tuple[ModelSpec, ...]:
    """The models that the settings ask for. Raises SettingError for an unknown word or a name used twice."""
    if settings.model_file:
        return _from_file(Path(settings.model_file))
    words = (f"file:{settings.model_path}",) if settings.model_path else settings.models
    found = [spec for word in words for spec in _specs_of(word)]
    if settings.served_model_name:
        found = [_renamed(found, settings.served_model_name)]
    names = [spec.name for spec in found]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise SettingError(f"EMBERANK_MODELS names {sorted(twice)[0]!r} twice")
    return tuple(found)


def _from_file(path: Path) -> tuple[ModelSpec, ...]:
    """The entries of a model file. One with `preset` takes from it what it does not say itself."""
    try:
        entries = json.loads(path.read_text("utf-8"))["model"]
        return tuple(_spec(_on_preset(dict(entry))) for entry in entries)
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as cause:
        raise SettingError(f"EMBERANK_MODEL_FILE: {str(path)!r} cannot be read: {cause}") from cause
    except (KeyError, TypeError, ValueError) as cause:
        raise SettingError(f"EMBERANK_MODEL_FILE: {str(path)!r} has to hold `model`, a list of objects with the fields of presets.toml: {cause}") from cause


def _on_preset(entry: dict[str, Any]) -> dict[str, Any]:
    name = entry.pop("preset", None)
    if name is None:
        return entry
    for row in _rows():
        if name in (row["name"], *row.get("aliases", ())):
            # A calibration holds for the preset's own weights and head only.
            another = any(key in entry and entry[key] != row.get(key) for key in ("source", "head", "sha256"))
            kept = {key: value for key, value in row.items() if key != "calibration" or not another}
            return kept | {"aliases": [*row.get("aliases", ()), row["name"]]} | entry
    raise SettingError(f"EMBERANK_MODEL_FILE: there is no preset {name!r}; presets: {', '.join(row['name'] for row in _rows())}")


def _specs_of(word: str) -> tuple[ModelSpec, ...]:
    if word == "default":
        return defaults()
    for preset in presets():
        if word in (preset.name, *preset.aliases):
            return (preset,)
    name, equals, source = word.partition("=")
    # A version pin (`pypi:name==1.0`) also holds an equals sign: a name holds no colon.
    if not equals or ":" in name:
        name, source = "", word
    if ":" not in source and not Path(source).is_dir():
        raise SettingError(
            f"EMBERANK_MODELS: {word!r} is neither a preset ({', '.join(preset.name for preset in presets())}) nor a source (hf:org/name, file:/folder, pypi:package==version#folder)"
        )
    return (ModelSpec(name=name or _default_name(source), source=source),)


def _default_name(source: str) -> str:
    """The name a source is served under when none is given: the hub id, or the folder's own name."""
    scheme, colon, rest = source.partition(":")
    if scheme == "file" or not colon:
        return Path(rest if colon else source).resolve().name
    location = rest.partition("#")[0]
    return location.partition("@")[0] if scheme == "hf" else location.partition("==")[0]


def _renamed(found: list[ModelSpec], names: str) -> ModelSpec:
    name, *aliases = [part.strip() for part in names.split(",") if part.strip()] or [""]
    if not name:
        raise SettingError(f"EMBERANK_SERVED_MODEL_NAME={names!r} holds no name")
    if len(found) != 1:
        raise SettingError(f"EMBERANK_SERVED_MODEL_NAME needs exactly one model, and {len(found)} are asked for; write EMBERANK_MODELS=name=source instead")
    return replace(found[0], name=name, aliases=(*aliases, *found[0].aliases))
