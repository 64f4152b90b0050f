"""A published shape in, the same with few and small layers out: its random checkpoint takes megabytes, and everything but the sizes is as published."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from emberank.runtime.published_shapes import PublishedShape, SentenceTransformers, shapes
from emberank.runtime.random_checkpoint import Wanted, Written, write

_TEXT = {"hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4, "num_hidden_layers": 3}
_GROUPED = {"num_key_value_heads": 2, "head_dim": 16}
_VISION = {"hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 2, "num_hidden_layers": 2}


def shape_of(name: str) -> PublishedShape:
    """The one whose id ends so."""
    return next(shape for shape in shapes() if shape.id.endswith(name))


def tiny(shape: PublishedShape) -> PublishedShape:
    """The vocabulary stays, so that the tokenizer does."""
    config: dict[str, Any] = dict(shape.config)
    if "llm_config" in config:
        config |= {"llm_config": _small(config["llm_config"]), "vision_config": config["vision_config"] | _VISION}
    else:
        config = _small(config)
    beside = shape.sentence_transformers
    return replace(
        shape, config=config, parameters=None, sentence_transformers=None if beside is None else SentenceTransformers(dimensions=64, prompts=beside.prompts)
    )


def _small(config: Mapping[str, Any]) -> dict[str, Any]:
    return {**config, **_TEXT, **(_GROUPED if "head_dim" in config else {})}


def write_random(shape: PublishedShape, folder: Path, **wanted: Any) -> Written:
    """Without telling anybody how far it is."""
    return write(shape, folder, Wanted(**wanted), lambda file, done, total: None)
