"""A layout's name and a config.json in, every tensor of the published file out: its name, its shape and what random numbers it gets.

Written from the publishers' files and not from networks/: that the networks find in such a file what they read, and under which names, is thereby shown
and not presupposed. Shapes are (out, in) for linear layers, rows first for tables.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Config = Mapping[str, Any]
Shape = tuple[int, ...]
Fill = Literal["normal", "one", "zero"]

_TABLE_STD = 0.02  # of token and position tables and of biases: the `initializer_range` of all of these models
_HEAD_GAIN = 8.0  # logits differ between texts by about what a trained model's do
_FUSED_VISION_HEAD = 3  # query, key and value in one matrix


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """One tensor of the file. `float32`: stored so whatever the rest is stored as."""

    name: str
    shape: Shape
    fill: Fill = "normal"
    std: float = 0.0  # of its normal numbers
    float32: bool = False

    @property
    def numbers(self) -> int:
        """How many it holds."""
        return math.prod(self.shape)


def tensors(layout: str, config: Config) -> tuple[Planned, ...]:
    """Every tensor of a checkpoint of that layout, in the order of the file. Raises KeyError for a layout that there is not."""
    found = LAYOUTS[layout](config).items()
    return tuple(Planned(name=name, shape=shape, fill=_fill(name), std=_std(name, shape), float32=(layout, name) == _IN_FLOAT32) for name, shape in found)


def _fill(name: str) -> Fill:
    # mlp1.0 is a LayerNorm by its place only.
    if "norm" in name.lower() or name.startswith(_NORMS):
        return "zero" if name.endswith("bias") else "one"
    return "normal"


def _std(name: str, shape: Shape) -> float:
    """A matrix keeps the size of what it multiplies: 1/√inputs. So states stay of one size through all layers, and attention is far from uniform."""
    if len(shape) == 1 or "embed_tokens" in name or "_embeddings" in name or "position_embedding" in name:
        return _TABLE_STD
    inputs = math.prod(shape[1:])
    return (_HEAD_GAIN if name in _HEADS else 1.0) / math.sqrt(inputs)


_NORMS = ("mlp1.0.", "model.mlp1.0.")
_HEADS = ("score.weight", "classifier.weight", "classifier.out_proj.weight")
_IN_FLOAT32 = ("vl_rerank", "score.weight")


def _llama_rerank(c: Config) -> dict[str, Shape]:
    return _under("model.", _llama(c)) | {"score.weight": (len(c["id2label"]), c["hidden_size"])}


def _llama(c: Config) -> dict[str, Shape]:
    """Llama's, and Qwen 3's with a norm for each head's queries and keys. The head of a tied language model is the token table, and not in the file."""
    h, wide, d = c["hidden_size"], c["intermediate_size"], c["head_dim"]
    q, kv = c["num_attention_heads"] * d, c["num_key_value_heads"] * d
    found: dict[str, Shape] = {"embed_tokens.weight": (c["vocab_size"], h)}
    for i in range(c["num_hidden_layers"]):
        at = f"layers.{i}."
        found |= {f"{at}input_layernorm.weight": (h,), f"{at}self_attn.q_proj.weight": (q, h)}
        found |= {f"{at}self_attn.{part}_proj.weight": (kv, h) for part in "kv"} | {f"{at}self_attn.o_proj.weight": (h, q)}
        if c["model_type"] == "qwen3":
            found |= {f"{at}self_attn.{part}_norm.weight": (d,) for part in "qk"}
        found |= {f"{at}post_attention_layernorm.weight": (h,)}
        found |= {f"{at}mlp.{part}_proj.weight": (wide, h) for part in ("gate", "up")} | {f"{at}mlp.down_proj.weight": (h, wide)}
    return found | {"norm.weight": (h,)}


def _qwen3(c: Config) -> dict[str, Shape]:
    tied = {} if c["tie_word_embeddings"] else {"lm_head.weight": (c["vocab_size"], c["hidden_size"])}
    return _under("model.", _llama(c)) | tied


def _vl_rerank(c: Config) -> dict[str, Shape]:
    return _under("model.", _vl(c)) | {"score.weight": (len(c["id2label"]), c["llm_config"]["hidden_size"])}


def _vl(c: Config) -> dict[str, Shape]:
    """The language model, the vision tower (its name stands twice), and the projector between them."""
    llm, vision = c["llm_config"], c["vision_config"]
    merged, h = int(vision["hidden_size"] / c["downsample_ratio"] ** 2), llm["hidden_size"]
    mlp1: dict[str, Shape] = {"mlp1.0.weight": (merged,), "mlp1.0.bias": (merged,)}
    mlp1 |= _linear("mlp1.1", h, merged) | _linear("mlp1.3", h, h)
    return _under("language_model.", _llama(llm)) | _under("vision_model.vision_model.", _siglip(vision)) | mlp1


def _siglip(c: Config) -> dict[str, Shape]:
    h, wide, patch = c["hidden_size"], c["intermediate_size"], c["patch_size"]
    found: dict[str, Shape] = {"embeddings.patch_embedding.weight": (h, c["num_channels"], patch, patch), "embeddings.patch_embedding.bias": (h,)}
    found |= {"embeddings.position_embedding.weight": ((c["image_size"] // patch) ** 2, h)}
    for i in range(c["num_hidden_layers"]):
        at = f"encoder.layers.{i}."
        for part in ("q", "k", "v", "out"):
            found |= _linear(f"{at}self_attn.{part}_proj", h, h)
        found |= _norm(f"{at}layer_norm1", h) | _norm(f"{at}layer_norm2", h) | _linear(f"{at}mlp.fc1", wide, h) | _linear(f"{at}mlp.fc2", h, wide)
    # SigLIP's own pooling is in the file, and nothing reads it.
    found |= _norm("post_layernorm", h) | {"head.probe": (1, 1, h), "head.attention.in_proj_weight": (_FUSED_VISION_HEAD * h, h)}
    found |= {"head.attention.in_proj_bias": (_FUSED_VISION_HEAD * h,)} | _linear("head.attention.out_proj", h, h)
    return found | _norm("head.layernorm", h) | _linear("head.mlp.fc1", wide, h) | _linear("head.mlp.fc2", h, wide)


def _bert(c: Config) -> dict[str, Shape]:
    h, wide = c["hidden_size"], c["intermediate_size"]
    rows = {"word": c["vocab_size"], "position": c["max_position_embeddings"], "token_type": c["type_vocab_size"]}
    found: dict[str, Shape] = {f"embeddings.{name}_embeddings.weight": (count, h) for name, count in rows.items()}
    found |= _norm("embeddings.LayerNorm", h)
    for i in range(c["num_hidden_layers"]):
        at = f"encoder.layer.{i}."
        for part in ("query", "key", "value"):
            found |= _linear(f"{at}attention.self.{part}", h, h)
        found |= _linear(f"{at}attention.output.dense", h, h) | _norm(f"{at}attention.output.LayerNorm", h)
        found |= _linear(f"{at}intermediate.dense", wide, h) | _linear(f"{at}output.dense", h, wide) | _norm(f"{at}output.LayerNorm", h)
    return found


def _bert_embed(c: Config) -> dict[str, Shape]:
    return _bert(c) | _linear("pooler.dense", c["hidden_size"], c["hidden_size"])


def _bert_rank(c: Config) -> dict[str, Shape]:
    return _under("bert.", _bert_embed(c)) | _linear("classifier", len(c["id2label"]), c["hidden_size"])


def _xlm_roberta_rank(c: Config) -> dict[str, Shape]:
    h = c["hidden_size"]
    return _under("roberta.", _bert(c)) | _linear("classifier.dense", h, h) | _linear("classifier.out_proj", len(c["id2label"]), h)


def _modernbert_rank(c: Config) -> dict[str, Shape]:
    """No bias but the classifier's; the first layer has no norm before its attention, the table's being one already."""
    h, wide = c["hidden_size"], c["intermediate_size"]
    found: dict[str, Shape] = {"embeddings.tok_embeddings.weight": (c["vocab_size"], h), "embeddings.norm.weight": (h,)}
    for i in range(c["num_hidden_layers"]):
        at = f"layers.{i}."
        found |= {f"{at}attn_norm.weight": (h,)} if i else {}
        found |= {f"{at}attn.Wqkv.weight": (3 * h, h), f"{at}attn.Wo.weight": (h, h), f"{at}mlp_norm.weight": (h,)}
        found |= {f"{at}mlp.Wi.weight": (2 * wide, h), f"{at}mlp.Wo.weight": (h, wide)}
    head: dict[str, Shape] = {"head.dense.weight": (h, h), "head.norm.weight": (h,)}
    return _under("model.", found | {"final_norm.weight": (h,)}) | head | _linear("classifier", len(c["id2label"]), h)


def _linear(name: str, out: int, into: int) -> dict[str, Shape]:
    return {f"{name}.weight": (out, into), f"{name}.bias": (out,)}


def _norm(name: str, size: int) -> dict[str, Shape]:
    return {f"{name}.weight": (size,), f"{name}.bias": (size,)}


def _under(prefix: str, found: Mapping[str, Shape]) -> dict[str, Shape]:
    return {prefix + name: shape for name, shape in found.items()}


LAYOUTS: Mapping[str, Callable[[Config], dict[str, Shape]]] = {
    "llama_rerank": _llama_rerank,
    "llama_embed": _llama,
    "vl_rerank": _vl_rerank,
    "vl_embed": _vl,
    "qwen3_rerank": _qwen3,
    "bert_embed": _bert_embed,
    "bert_rank": _bert_rank,
    "xlm_roberta_rank": _xlm_roberta_rank,
    "modernbert_rank": _modernbert_rank,
}
