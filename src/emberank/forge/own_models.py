"""A checkpoint folder in, a [[model]] entry in the user's models.toml out. Does not know which networks can run: whoever calls brings that along.

Only config.json, tokenizer.json, the *.safetensors files and sentence-transformers' own files are looked at. The file is added to, never rewritten,
so that a person's comments stay; with `force` the old entry of the same slug is taken out first.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import struct
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from emberank.contract.errors import ModelNotFound, SettingError, WeightsError
from emberank.contract.inference import Modality, Task
from emberank.forge.catalog import Catalog, Model, Version
from emberank.forge.catalog_file import FILE, NAME, SLUG, load_catalog, model_table, overlaid, shipped
from emberank.forge.entries_text import appended, replace_file, without
from emberank.forge.tables import parse_toml, read_toml
from emberank.forge.toml_text import emit

MOST_HEADER_BYTES = 100_000_000  # of a safetensors file; the format's own limit
_DTYPES = {"F32": "FP32", "F16": "FP16", "BF16": "BF16", "F64": "FP64", "F8_E4M3": "FP8", "F8_E5M2": "FP8"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What a checkpoint's configuration says, as far as the catalogue has a field for it."""

    task: Task
    context_tokens: int | None = None
    dimensions: int | None = None
    shorter_dimensions: tuple[int, ...] = ()
    modalities: tuple[Modality, ...] = ("text",)
    random_weights: bool = False


Recognise = Callable[[Path], Look]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the user said beside the folder. Empty: as the folder says."""

    slug: str = ""
    name: str = ""  # the id, publisher/name
    title: str = ""
    task: Task | None = None
    force: bool = False  # take the place of an entry with the same slug


def add(folder: Path, data_dir: Path, recognise: Recognise, *, wanted: Wanted, today: str) -> Model:
    """Write the folder's entry into the user's models.toml. `recognise` reads the configuration and refuses what cannot run.

    Raises SettingError for a name that is taken or a file that cannot be written, and what `recognise` raises (StartError).
    """
    folder = _checkpoint(folder)
    look = recognise(folder)
    model = _model(folder, look, wanted, today)
    path = Path(os.path.realpath(data_dir / FILE))
    text = read_toml(path)
    mine = {entry.values().get("slug") for entry in parse_toml(text, str(path)).tables("model")}
    _refuse_taken_names(model, load_catalog(data_dir), wanted.force)
    if model.slug in mine:
        text = without(text, lambda values: values.get("slug") == model.slug, str(path), called=model.slug)
    text = appended(text, _entry(model))
    # It has to read back on top of the shipped models, or nothing is written.
    overlaid(shipped(), text, str(path))
    replace_file(path, text)
    return model


def slugified(name: str) -> str:
    """A name as a slug: `Acme/My_Reranker v1.5` is `acme-my-reranker-v1-5`."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-")[:100].rstrip("-")


def hashes(folder: Path) -> dict[str, str]:
    """sha256 of every *.safetensors in the folder, by name."""
    found = {}
    for path in _weights(folder):
        with path.open("rb") as file:
            found[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def count_parameters(folder: Path) -> tuple[int, str]:
    """How many floating-point numbers the weights are, and of which type most of them are. Raises WeightsError for a header that cannot be read."""
    counts: Counter[str] = Counter()
    for path in _weights(folder):
        for name, tensor in _header(path).items():
            dtype = _DTYPES.get(str(tensor.get("dtype"))) if isinstance(tensor, Mapping) and name != "__metadata__" else None
            if dtype is not None:
                counts[dtype] += math.prod(int(length) for length in tensor.get("shape", ()))
    return counts.total(), max(counts, key=lambda dtype: counts[dtype], default="")


def _checkpoint(folder: Path) -> Path:
    folder = folder.expanduser().absolute()
    if not folder.is_dir():
        raise SettingError(f"{str(folder)!r} is not a folder")
    for name in ("config.json", "tokenizer.json"):
        if not (folder / name).is_file():
            raise WeightsError(f"{str(folder)!r} holds no {name}: a checkpoint has config.json, tokenizer.json and *.safetensors")
    if not _weights(folder):
        raise WeightsError(f"{str(folder)!r} holds no *.safetensors file: pickled weights (*.bin) are never read; save the model with safe_serialization=True")
    return folder


def _weights(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.safetensors") if path.is_file() and not path.name.startswith("."))


def _header(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(length)) if length <= MOST_HEADER_BYTES else None
    except (OSError, struct.error, ValueError) as cause:
        raise WeightsError(f"{path.name} is not a whole safetensors file: {cause}") from cause
    if not isinstance(header, dict):
        raise WeightsError(f"{path.name} is not a safetensors file: its header is no JSON object")
    return header


def _model(folder: Path, look: Look, wanted: Wanted, today: str) -> Model:
    slug = wanted.slug or slugified(wanted.name or folder.name)
    name = wanted.name or f"local/{slug}"
    if not SLUG.fullmatch(slug):
        raise SettingError(f"--slug: {slug!r} has to be lower-case letters, digits and single hyphens, such as my-reranker")
    if not NAME.fullmatch(name) or len(name) > 128:
        raise SettingError(f"--name: {name[:200]!r} has to be letters, digits and . _ - with / between publisher and name, such as acme/reranker")
    task = wanted.task or look.task
    if (task, look.task) == ("embed", "rank"):
        raise SettingError("--task embed: the checkpoint is a cross-encoder, which makes no vectors")
    # An embedder ranks by comparing token states, as the default reranker does.
    head: Literal["auto", "late_interaction"] = "auto" if task == look.task else "late_interaction"
    parameters, dtype = count_parameters(folder)
    return Model(
        slug=slug,
        id=name,
        title=f"{wanted.title or folder.name}{' (random weights)' if look.random_weights else ''}",
        description="",
        task=task,
        source="yours",
        added=today,
        tags=("retrieval", "rerank" if task == "rank" else "embedding", "yours", *(["random-weights"] if look.random_weights else [])),
        context_tokens=look.context_tokens,
        parameters=parameters or None,
        dimensions=look.dimensions if task == "embed" else None,
        shorter_dimensions=look.shorter_dimensions if task == "embed" else (),
        modalities=look.modalities,
        dtype=dtype,
        versions=(Version(name="v1", source=f"file:{folder}", head=head, sha256=hashes(folder)),),
    )


def _refuse_taken_names(model: Model, catalog: Catalog, force: bool) -> None:
    for name in model.names:
        try:
            taken = catalog.resolve(name)
        except ModelNotFound:
            continue
        if taken.slug != model.slug:
            raise SettingError(f"{name!r} is already a name of {taken.slug!r}: choose another with --slug and --name")
        if not force:
            raise SettingError(f"there is already a model {taken.slug!r}: choose another with --slug and --name, or take its place with --force")


def _entry(model: Model) -> str:
    try:
        return emit(model_table(model), entry="model")
    except ValueError as cause:
        raise SettingError(f"the folder's name cannot be written down: {cause}") from cause
