"""A config.json in, the random tensors that a network of that family has out, under its own names; and the file format they are kept in.

Written from transformers' models, not from the networks under test: what those expect is checked against this.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Weights = dict[str, Floats]
Config = Mapping[str, Any]
Stored = Literal["F32", "BF16"]


def normal(random: np.random.Generator, *shape: int, std: float | None = None) -> Floats:
    """Numbers around zero; without `std` such that a row times a vector of unit numbers has standard deviation 2, which makes attention sharp."""
    spread = 2.0 / math.sqrt(shape[-1]) if std is None else std
    return random.normal(0, spread, shape).astype(np.float32)


def gain(random: np.random.Generator, width: int) -> Floats:
    """A norm's weight: around one."""
    return 1 + normal(random, width, std=0.25)


def under(prefix: str, weights: Mapping[str, Floats]) -> Weights:
    """The same tensors with something in front of their names."""
    return {prefix + name: array for name, array in weights.items()}


def linear(random: np.random.Generator, name: str, out: int, into: int, bias: bool) -> Weights:
    """`name`.weight (out, in) and, where there is one, `name`.bias (out,)."""
    made = {f"{name}.weight": normal(random, out, into)}
    return made | {f"{name}.bias": normal(random, out, std=0.25)} if bias else made


def layer_norm(random: np.random.Generator, name: str, width: int, bias: bool = True) -> Weights:
    """`name`.weight around one, and `name`.bias."""
    made = {f"{name}.weight": gain(random, width)}
    return made | {f"{name}.bias": normal(random, width, std=0.25)} if bias else made


def llama(random: np.random.Generator, config: Config) -> Weights:
    """transformers' LlamaModel; with `model_type` qwen3 its Qwen3Model, which has a norm for each head of queries and keys."""
    h, i, hd = config["hidden_size"], config["intermediate_size"], config["head_dim"]
    heads, kv = config["num_attention_heads"], config["num_key_value_heads"]
    biased, mlp_biased = config.get("attention_bias", False), config.get("mlp_bias", False)
    made: Weights = {"embed_tokens.weight": normal(random, config["vocab_size"], h, std=0.5)}
    for n in range(config["num_hidden_layers"]):
        at = f"layers.{n}"
        for name, out, into in (("q", heads * hd, h), ("k", kv * hd, h), ("v", kv * hd, h), ("o", h, heads * hd)):
            made |= linear(random, f"{at}.self_attn.{name}_proj", out, into, biased)
        for name, out, into in (("gate", i, h), ("up", i, h), ("down", h, i)):
            made |= linear(random, f"{at}.mlp.{name}_proj", out, into, mlp_biased)
        made |= {f"{at}.{norm}.weight": gain(random, h) for norm in ("input_layernorm", "post_attention_layernorm")}
        if config["model_type"] == "qwen3":
            made |= {f"{at}.self_attn.{part}_norm.weight": gain(random, hd) for part in ("q", "k")}
    return made | {"norm.weight": gain(random, h)}


def bert(random: np.random.Generator, config: Config) -> Weights:
    """transformers' BertModel, or XLMRobertaModel, without a pooler."""
    h, i = config["hidden_size"], config["intermediate_size"]
    tables = {"word": config["vocab_size"], "position": config["max_position_embeddings"], "token_type": config["type_vocab_size"]}
    made = {f"embeddings.{name}_embeddings.weight": normal(random, rows, h, std=0.5) for name, rows in tables.items()}
    made |= layer_norm(random, "embeddings.LayerNorm", h)
    linears = [(f"attention.self.{part}", h, h) for part in ("query", "key", "value")]
    linears += [("attention.output.dense", h, h), ("intermediate.dense", i, h), ("output.dense", h, i)]
    for n in range(config["num_hidden_layers"]):
        at = f"encoder.layer.{n}"
        for name, out, into in linears:
            made |= linear(random, f"{at}.{name}", out, into, True)
        made |= layer_norm(random, f"{at}.attention.output.LayerNorm", h) | layer_norm(random, f"{at}.output.LayerNorm", h)
    return made


def modernbert(random: np.random.Generator, config: Config) -> Weights:
    """transformers' ModernBertModel."""
    h, i, biased = config["hidden_size"], config["intermediate_size"], config["norm_bias"]
    made = {"embeddings.tok_embeddings.weight": normal(random, config["vocab_size"], h, std=0.5)} | layer_norm(random, "embeddings.norm", h, biased)
    for n in range(config["num_hidden_layers"]):
        at = f"layers.{n}"
        if n:
            made |= layer_norm(random, f"{at}.attn_norm", h, biased)
        for name, out, into in (("attn.Wqkv", 3 * h, h), ("attn.Wo", h, h)):
            made |= linear(random, f"{at}.{name}", out, into, config["attention_bias"])
        for name, out, into in (("mlp.Wi", 2 * i, h), ("mlp.Wo", h, i)):
            made |= linear(random, f"{at}.{name}", out, into, config["mlp_bias"])
        made |= layer_norm(random, f"{at}.mlp_norm", h, biased)
    return made | layer_norm(random, "final_norm", h, biased)


def siglip(random: np.random.Generator, config: Config) -> Weights:
    """transformers' SiglipVisionModel, its pooling head included, which the published files have and nobody reads."""
    h, i, patch, channels = config["hidden_size"], config["intermediate_size"], config["patch_size"], config["num_channels"]
    patches = (config["image_size"] // patch) ** 2
    made: Weights = {"embeddings.patch_embedding.weight": normal(random, h, channels * patch * patch).reshape(h, channels, patch, patch)}
    made |= {"embeddings.patch_embedding.bias": normal(random, h, std=0.25), "embeddings.position_embedding.weight": normal(random, patches, h, std=0.5)}
    for n in range(config["num_hidden_layers"]):
        at = f"encoder.layers.{n}"
        for part in ("q", "k", "v", "out"):
            made |= linear(random, f"{at}.self_attn.{part}_proj", h, h, True)
        made |= linear(random, f"{at}.mlp.fc1", i, h, True) | linear(random, f"{at}.mlp.fc2", h, i, True)
        made |= layer_norm(random, f"{at}.layer_norm1", h) | layer_norm(random, f"{at}.layer_norm2", h)
    made |= layer_norm(random, "post_layernorm", h)
    made |= {
        "head.probe": normal(random, 1, 1, h),
        "head.attention.in_proj_weight": normal(random, 3 * h, h),
        "head.attention.in_proj_bias": normal(random, 3 * h),
    }
    made |= linear(random, "head.attention.out_proj", h, h, True) | layer_norm(random, "head.layernorm", h)
    return made | linear(random, "head.mlp.fc1", i, h, True) | linear(random, "head.mlp.fc2", h, i, True)


def mlp1(random: np.random.Generator, vision: Config, hidden: int) -> Weights:
    """The projector between them: a norm of four patches' numbers, and two linear layers."""
    wide = 4 * vision["hidden_size"]
    return layer_norm(random, "mlp1.0", wide) | linear(random, "mlp1.1", hidden, wide, True) | linear(random, "mlp1.3", hidden, hidden, True)


def write_weights(folder: Path, weights: Mapping[str, Floats], *, shards: int = 1, dtype: Stored = "F32", keep: frozenset[str] = frozenset()) -> None:
    """model.safetensors, or so many shards with their index; tensors named in `keep` stay F32."""
    if shards == 1:
        write_safetensors(folder / "model.safetensors", weights, dtype, keep)
        return
    names = list(weights)
    files = [f"model-{n + 1:05}-of-{shards:05}.safetensors" for n in range(shards)]
    parts = [names[n * len(names) // shards : (n + 1) * len(names) // shards] for n in range(shards)]
    for file, part in zip(files, parts):
        write_safetensors(folder / file, {name: weights[name] for name in part}, dtype, keep)
    size = sum(array.size * (4 if dtype == "F32" or name in keep else 2) for name, array in weights.items())
    index = {"metadata": {"total_size": size}, "weight_map": {name: file for file, part in zip(files, parts) for name in part}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def write_safetensors(path: Path, weights: Mapping[str, Floats], dtype: Stored = "F32", keep: Iterable[str] = ()) -> None:
    """The format by hand: a header with each tensor's place, then the numbers; those named in `keep` stay F32."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    parts, at = [], 0
    for name, array in weights.items():
        kind = "F32" if name in keep else dtype
        data = (np.ascontiguousarray(array, np.float32) if kind == "F32" else bf16(array)).tobytes()
        header[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [at, at + len(data)]}
        parts.append(data)
        at += len(data)
    head = json.dumps(header).encode()
    path.write_bytes(b"".join([struct.pack("<Q", len(head)), head, *parts]))


def bf16(array: Floats) -> NDArray[np.uint16]:
    """The upper half of a float32, rounded to the nearest and to even in the middle."""
    bits = np.ascontiguousarray(array, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
