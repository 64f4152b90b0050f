"""Config files in, a description of the checkpoint out: network, task, pooling, prompts, limits. Never runs code that ships with a checkpoint.

Rules, first match wins: the architecture named in config.json says the task (`…ForSequenceClassification` with one label ranks,
everything else embeds), `model_type` says the network; pooling comes from sentence-transformers' module files.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast, get_args

from emberank.contract.errors import UnknownArchitecture, WeightsError
from emberank.contract.inference import Task
from emberank.runtime.heads import Pooling
from emberank.runtime.networks.bert import Bert
from emberank.runtime.sources.base import inside

NETWORKS: dict[str, type[Bert]] = {"bert": Bert}
ARCHITECTURES: dict[str, Task] = {"BertModel": "embed", "BertForMaskedLM": "embed", "BertForSequenceClassification": "rank"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Recognised:
    """What a checkpoint folder holds."""

    network: Bert
    task: Task
    max_tokens: int  # the longest input, special tokens included
    pooling: Pooling = "mean"
    normalize: bool = True
    prompts: Mapping[str, str] = field(default_factory=dict)  # "query" and "passage" → text put in front


def recognise(folder: Path) -> Recognised:
    """Read a checkpoint's configuration. Raises WeightsError (missing or broken file), UnknownArchitecture."""
    config = _json(folder / "config.json")
    kind = str(config.get("model_type", ""))
    architectures = config.get("architectures") or []
    architecture = str(architectures[0]) if architectures else ""
    if kind not in NETWORKS or (architecture and architecture not in ARCHITECTURES):
        raise UnknownArchitecture(
            f"architecture {architecture or 'unnamed'!r} of model_type {kind or 'unnamed'!r} is not known here; known architectures: {', '.join(ARCHITECTURES)}. "
            "Code that ships with a checkpoint is never run."
        )
    network = NETWORKS[kind].from_config(config)
    task = ARCHITECTURES.get(architecture, "embed")
    if task == "rank":
        _one_label(config)
        return Recognised(network=network, task=task, max_tokens=network.max_positions)
    pooling, normalize = _modules(folder)
    return Recognised(
        network=network, task=task, max_tokens=_max_tokens(folder, network.max_positions), pooling=pooling, normalize=normalize, prompts=_prompts(folder)
    )


def _json(path: Path) -> dict[str, Any]:
    loaded = _loaded(path)
    if not isinstance(loaded, dict):
        raise WeightsError(f"{path} must hold a JSON object")
    return loaded


def _loaded(path: Path) -> object:
    try:
        return json.loads(path.read_text("utf-8"))
    except FileNotFoundError as cause:
        raise WeightsError(f"{path} is missing") from cause
    except (OSError, ValueError) as cause:
        raise WeightsError(f"{path} cannot be read: {cause}") from cause


def _one_label(config: Mapping[str, Any]) -> None:
    # transformers leaves both out of a config.json when there are two labels, its default.
    labels = config.get("num_labels") or len(config.get("id2label") or ()) or 2
    if labels != 1:
        raise UnknownArchitecture(f"a sequence classifier of {labels} labels is not a reranker: one label is needed")


def _modules(folder: Path) -> tuple[Pooling, bool]:
    """Pooling and normalisation from modules.json. Without one: mean and normalised, the common case of embedders."""
    path = folder / "modules.json"
    if not path.is_file():
        return "mean", True
    pooling: Pooling = "mean"
    normalize = False
    # modules.json is a list; the class path changed in sentence-transformers 5, the last word did not.
    modules = _loaded(path)
    if not isinstance(modules, list) or not all(isinstance(module, dict) for module in modules):
        raise WeightsError(f"{path} must hold a JSON list of objects")
    for module in modules:
        last = str(module.get("type", "")).rpartition(".")[2]
        if last == "Pooling":
            pooling = _pooling(_json(inside(folder, str(module.get("path", "1_Pooling"))) / "config.json"))
        elif last == "Normalize":
            normalize = True
        elif last != "Transformer":
            raise UnknownArchitecture(f"{path}: module {last!r} is not known; known: Transformer, Pooling, Normalize")
    return pooling, normalize


def _pooling(config: Mapping[str, Any]) -> Pooling:
    """Both forms of 1_Pooling/config.json: `pooling_mode` (sentence-transformers ≥ 5) and the older booleans."""
    aliases = {"mean_tokens": "mean", "cls_token": "cls", "max_tokens": "max", "mean_sqrt_len_tokens": "mean_sqrt_len", "lasttoken": "last"}
    modes = [key.removeprefix("pooling_mode_") for key, value in config.items() if key.startswith("pooling_mode_") and value is True]
    old = [aliases.get(mode, mode) for mode in modes]
    found = [str(config["pooling_mode"])] if "pooling_mode" in config else old or ["mean"]
    if len(found) > 1 or found[0] not in get_args(Pooling):
        raise UnknownArchitecture(f"pooling {'+'.join(found)!r} is not known; known, one at a time: {', '.join(get_args(Pooling))}")
    return cast(Pooling, found[0])


def _max_tokens(folder: Path, positions: int) -> int:
    path = folder / "sentence_bert_config.json"
    limit = _json(path).get("max_seq_length") if path.is_file() else None
    return min(int(limit), positions) if isinstance(limit, int) and limit > 2 else positions


def _prompts(folder: Path) -> dict[str, str]:
    """config_sentence_transformers.json's prompts under our names; sentence-transformers calls a passage `document` or `passage`."""
    path = folder / "config_sentence_transformers.json"
    prompts = _json(path).get("prompts") if path.is_file() else None
    if not isinstance(prompts, dict):
        return {}
    passage = prompts.get("passage", prompts.get("document"))
    found = {"query": prompts.get("query"), "passage": passage}
    return {name: text for name, text in found.items() if isinstance(text, str) and text}
