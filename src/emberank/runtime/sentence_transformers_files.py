"""A checkpoint folder in, what sentence-transformers' files in it say out: pooling, normalisation, prompts, the longest input. Runs nothing.

The files are optional. Both of their dialects are read: class paths and pooling keys changed in versions 5 and 6, their last words did not.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast, get_args

from emberank.contract.errors import UnknownArchitecture, WeightsError
from emberank.runtime.heads import Pooling
from emberank.runtime.sources.base import inside

_OLD_MODES = {"mean_tokens": "mean", "cls_token": "cls", "max_tokens": "max", "mean_sqrt_len_tokens": "mean_sqrt_len", "lasttoken": "last"}
_NOT_COMPUTED = {"sum"}  # a word of ours, which in these files would mean nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Modules:
    """modules.json, read as far as it says what becomes of the states."""

    pooling: Pooling | None = None
    normalize: bool = False
    answers: tuple[int, int] | None = None  # of a LogitScore: the tokens of a yes and a no
    scores_logits: bool = False  # a LogitScore is there


def read_object(path: Path) -> dict[str, Any]:
    """A JSON object; raises WeightsError for a file that is missing, broken or something else."""
    loaded = _loaded(path)
    if not isinstance(loaded, dict):
        raise WeightsError(f"{path} must hold a JSON object")
    return loaded


def optional_object(path: Path) -> dict[str, Any]:
    """The same, empty when there is no such file."""
    return read_object(path) if path.is_file() else {}


def modules(folder: Path) -> Modules | None:
    """What modules.json lists; None without one. Raises UnknownArchitecture for a module that is not computed here."""
    path = folder / "modules.json"
    if not path.is_file():
        return None
    listed = _loaded(path)
    if not isinstance(listed, list) or not all(isinstance(module, dict) for module in listed):
        raise WeightsError(f"{path} must hold a JSON list of objects")
    found: dict[str, Any] = {}
    for module in listed:
        kind = str(module.get("type", "")).rpartition(".")[2]
        at = folder if kind == "Transformer" else inside(folder, str(module.get("path") or f"1_{kind}"))
        if kind == "Pooling":
            found["pooling"] = pooling_of(read_object(at / "config.json"))
        elif kind == "Normalize":
            found["normalize"] = True
        elif kind == "LogitScore":
            found |= {"scores_logits": True, "answers": _answers(optional_object(at / "config.json"))}
        elif kind != "Transformer":
            raise UnknownArchitecture(f"{path}: module {kind!r} is not known; known: Transformer, Pooling, Normalize, LogitScore")
    return Modules(**found)


def pooling_of(config: Mapping[str, Any]) -> Pooling:
    """Both forms of 1_Pooling/config.json: `pooling_mode` (sentence-transformers ≥ 5) and the older booleans, of which one is true."""
    modes = [key.removeprefix("pooling_mode_") for key, value in config.items() if key.startswith("pooling_mode_") and value is True]
    old = [_OLD_MODES.get(mode, mode) for mode in modes]
    found = [str(config["pooling_mode"])] if "pooling_mode" in config else old or ["mean"]
    known = [mode for mode in get_args(Pooling) if mode not in _NOT_COMPUTED]
    if len(found) > 1 or found[0] not in known:
        raise UnknownArchitecture(f"pooling {'+'.join(found)!r} is not known; known, one at a time: {', '.join(known)}")
    return cast(Pooling, found[0])


def max_seq_length(folder: Path) -> int | None:
    """The publisher's longest input in sentence_bert_config.json."""
    limit = optional_object(folder / "sentence_bert_config.json").get("max_seq_length")
    return limit if isinstance(limit, int) and not isinstance(limit, bool) and limit > 2 else None


def prompts(folder: Path) -> dict[str, str]:
    """config_sentence_transformers.json's prompts under our names, empty ones included; a passage is `document` or `passage` there."""
    said = optional_object(folder / "config_sentence_transformers.json").get("prompts")
    if not isinstance(said, dict):
        return {}
    found = {"query": said.get("query"), "passage": said.get("passage", said.get("document"))}
    return {name: text for name, text in found.items() if isinstance(text, str)}


def _answers(config: Mapping[str, Any]) -> tuple[int, int] | None:
    yes, no = config.get("true_token_id"), config.get("false_token_id")
    return (yes, no) if isinstance(yes, int) and isinstance(no, int) else None


def _loaded(path: Path) -> object:
    try:
        return json.loads(path.read_text("utf-8"))
    except FileNotFoundError as cause:
        raise WeightsError(f"{path} is missing") from cause
    except (OSError, ValueError) as cause:
        raise WeightsError(f"{path} cannot be read: {cause}") from cause
