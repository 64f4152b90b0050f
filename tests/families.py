"""A folder in, a tiny checkpoint of one model family with random weights written there, in the layout and under the tensor names its publisher uses.

The same arguments give the same bytes. Weights are large (0.25 and more at these widths), so that attention is far from uniform and a causal mask,
a wrong head or a wrong position shows. The frequencies of a llama3-scaled RoPE fall into all three of its branches.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from family_configs import Dialect, in_dialect, llama_config, modernbert_config, processor_config, qwen3_config, siglip_config, vl_config, xlm_config
from family_tokenizers import tokenizer_llama3_like, tokenizer_modernbert_like, tokenizer_qwen3_like, tokenizer_xlm_like
from family_weights import Stored, Weights, bert, gain, llama, mlp1, modernbert, normal, siglip, under, write_weights

__all__ = ["tokenizer_llama3_like"]  # for those who want only that

_AUTO_MAP = "llama_bidirectional_model.LlamaBidirectional"


def write_llama_reranker(
    folder: Path, *, seed: int = 1, dialect: Dialect = "old", shards: int = 1, dtype: Stored = "F32", temperature: float = 1.0, **config: Any
) -> Path:
    """llama-3.2-nv-rerankqa-1b-v2 in small: tensors under `model.`, and `score.weight`. `config` overrides keys of config.json in the old dialect."""
    made = tokenizer_llama3_like()
    head = {"architectures": ["LlamaBidirectionalForSequenceClassification"], "id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}}
    head["auto_map"] = {"AutoConfig": f"{_AUTO_MAP}Config", "AutoModelForSequenceClassification": f"{_AUTO_MAP}ForSequenceClassification"}
    if temperature != 1.0:
        head["temperature"] = temperature
    numbers = llama_config(made) | head | config
    random = np.random.default_rng(seed)
    weights = under("model.", llama(random, numbers)) | {"score.weight": normal(random, 1, numbers["hidden_size"], std=0.5)}
    return _write(folder, in_dialect(numbers, dialect, dtype), weights, made, _llama_tokenizer_config(8192), shards=shards, dtype=dtype)


def write_llama_embedder(
    folder: Path, *, seed: int = 2, dialect: Dialect = "old", shards: int = 1, dtype: Stored = "F32", prompts: bool = True, **config: Any
) -> Path:
    """llama-3.2-nv-embedqa-1b-v2 in small: tensors without `model.`, mean pooling in 1_Pooling, prompts in config_sentence_transformers.json."""
    made = tokenizer_llama3_like()
    head = {"architectures": ["LlamaBidirectionalModel"], "auto_map": {"AutoConfig": f"{_AUTO_MAP}Config", "AutoModel": f"{_AUTO_MAP}Model"}}
    numbers = llama_config(made) | head | config
    weights = llama(np.random.default_rng(seed), numbers)
    _write(folder, in_dialect(numbers, dialect, dtype), weights, made, _llama_tokenizer_config(8192), shards=shards, dtype=dtype)
    _sentence_transformers(folder, numbers["hidden_size"], dialect, {"query": "query: ", "document": "passage: "} if prompts else None)
    return folder


def write_vl_embedder(folder: Path, *, hidden: int = 64, layers: int | None = None, flattened_vision: bool = False, seed: int = 3, **more: Any) -> Path:
    """llama-nemotron-embed-vl-1b-v2 in small: 4 tokens a tile of 32 × 32 pixels. Arguments as for write_vl_reranker, without a temperature."""
    return _write_vl(folder, "LlamaNemotronVLModel", hidden, layers, flattened_vision, seed, **more)


def write_vl_reranker(folder: Path, *, hidden: int = 64, layers: int | None = None, flattened_vision: bool = False, seed: int = 4, **more: Any) -> Path:
    """llama-nemotron-rerank-vl-1b-v2 in small: everything under `model.`, and a float32 `score.weight`.

    `hidden` and `layers` are the language model's (by default 2 layers, 1 above 256 dimensions). `more`: dialect, shards, dtype, temperature; any other key overrides config.json,
    where a mapping given as `llm_config` or `vision_config` is merged into the nested one.
    """
    return _write_vl(folder, "LlamaNemotronVLForSequenceClassification", hidden, layers, flattened_vision, seed, **more)


def write_xlm_reranker(folder: Path, *, seed: int = 5, shards: int = 1, dtype: Stored = "F32", **config: Any) -> Path:
    """bge-reranker-v2-m3 in small: tensors under `roberta.`, `classifier.dense` and `classifier.out_proj`."""
    made = tokenizer_xlm_like()
    numbers = xlm_config(made) | config
    random, h = np.random.default_rng(seed), numbers["hidden_size"]
    weights = under("roberta.", bert(random, numbers))
    for name, out in (("dense", h), ("out_proj", 1)):
        weights |= {f"classifier.{name}.weight": normal(random, out, h), f"classifier.{name}.bias": normal(random, out)}
    marks = {
        "bos_token": "<s>",
        "cls_token": "<s>",
        "eos_token": "</s>",
        "mask_token": "<mask>",
        "pad_token": "<pad>",
        "sep_token": "</s>",
        "unk_token": "<unk>",
    }
    tokenizer_config = marks | {"model_max_length": 8192, "tokenizer_class": "XLMRobertaTokenizer"}
    return _write(folder, numbers, weights, made, tokenizer_config, shards=shards, dtype=dtype)


def write_modernbert_reranker(
    folder: Path, *, pooling: str = "mean", seed: int = 6, dialect: Dialect = "old", shards: int = 1, dtype: Stored = "F32", layers: int = 5, **config: Any
) -> Path:
    """gte-reranker-modernbert-base in small: five layers, so that local ones stand between global ones; 128 tokens of local attention, as the real one."""
    made = tokenizer_modernbert_like()
    numbers = modernbert_config(made, layers, pooling, dialect) | config
    random, h = np.random.default_rng(seed), numbers["hidden_size"]
    weights = under("model.", modernbert(random, numbers)) | {"head.dense.weight": normal(random, h, h), "head.norm.weight": gain(random, h)}
    if numbers["classifier_bias"]:
        weights["head.dense.bias"] = normal(random, h)
    weights |= {"classifier.weight": normal(random, 1, h), "classifier.bias": normal(random, 1)}
    marks = {"cls_token": "[CLS]", "mask_token": "[MASK]", "pad_token": "[PAD]", "sep_token": "[SEP]", "unk_token": "[UNK]"}
    tokenizer_config = marks | {"model_max_length": 8192, "model_input_names": ["input_ids", "attention_mask"], "tokenizer_class": "PreTrainedTokenizerFast"}
    return _write(folder, numbers, weights, made, tokenizer_config, shards=shards, dtype=dtype)


def write_qwen3_reranker(
    folder: Path, *, seed: int = 7, dialect: Dialect = "old", shards: int = 1, dtype: Stored = "F32", tied: bool = True, **config: Any
) -> Path:
    """Qwen3-Reranker in small: a causal language model under `model.`, its head either the token table itself (`tied`) or `lm_head.weight`."""
    made = tokenizer_qwen3_like()
    numbers = qwen3_config(made) | {"tie_word_embeddings": tied} | config
    random = np.random.default_rng(seed)
    weights = under("model.", llama(random, numbers))
    if not tied:
        weights["lm_head.weight"] = normal(random, numbers["vocab_size"], numbers["hidden_size"])
    marks = {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>", "bos_token": None, "unk_token": None}
    tokenizer_config = marks | {"model_max_length": 131072, "add_bos_token": False, "padding_side": "left", "tokenizer_class": "Qwen2Tokenizer"}
    return _write(folder, in_dialect(numbers, dialect, dtype), weights, made, tokenizer_config, shards=shards, dtype=dtype)


def _write_vl(
    folder: Path,
    architecture: str,
    hidden: int,
    layers: int | None,
    flattened_vision: bool,
    seed: int,
    *,
    dialect: Dialect = "old",
    shards: int = 1,
    dtype: Stored = "F32",
    temperature: float = 1.0,
    llm_config: Mapping[str, Any] | None = None,
    vision_config: Mapping[str, Any] | None = None,
    **config: Any,
) -> Path:
    ranks = architecture != "LlamaNemotronVLModel"
    made = tokenizer_llama3_like(images=True)
    inner = "LlamaBidirectionalForSequenceClassification" if ranks else "LlamaBidirectionalModel"
    llm = (
        llama_config(made)
        | {"architectures": [inner], "hidden_size": hidden, "num_hidden_layers": layers or (2 if hidden <= 256 else 1)}
        | dict(llm_config or {})
    )
    vision = siglip_config() | dict(vision_config or {})
    numbers = vl_config(made, architecture, vision, ranks, temperature) | config
    random = np.random.default_rng(seed)
    tower = "vision_model." if flattened_vision else "vision_model.vision_model."
    weights = under("language_model.", llama(random, llm)) | under(tower, siglip(random, vision)) | mlp1(random, vision, llm["hidden_size"])
    if ranks:
        weights = under("model.", weights) | {"score.weight": normal(random, 1, llm["hidden_size"], std=0.5)}
    word = "bfloat16" if dtype == "BF16" else "float32"
    nested = {"llm_config": in_dialect(llm, dialect, dtype), "vision_config": vision, ("dtype" if dialect == "v5" else "torch_dtype"): word}
    _write(folder, numbers | nested, weights, made, _llama_tokenizer_config(10240), shards=shards, dtype=dtype, keep=frozenset({"score.weight"}))
    (folder / "processor_config.json").write_text(json.dumps(processor_config(vision, ranks)))
    return folder


def _llama_tokenizer_config(longest: int) -> dict[str, Any]:
    marks = {"bos_token": "<|begin_of_text|>", "eos_token": "<|end_of_text|>", "pad_token": "<|finetune_right_pad_id|>"}
    return marks | {"model_max_length": longest, "padding_side": "left", "truncation_side": "right", "tokenizer_class": "PreTrainedTokenizerFast"}


def _sentence_transformers(folder: Path, hidden: int, dialect: Dialect, prompts: Mapping[str, str] | None) -> None:
    """modules.json, 1_Pooling and the prompts: class paths and pooling's keys changed with the dialect too."""
    old = dialect == "old"
    kinds = ("Transformer", "Pooling", "Normalize")
    paths = [f"sentence_transformers.models.{kind}" if old else f"sentence_transformers.sentence_transformer.modules.{kind.lower()}.{kind}" for kind in kinds]
    places = ("", "1_Pooling", "2_Normalize")
    modules = [{"idx": n, "name": str(n), "path": place, "type": path} for n, (place, path) in enumerate(zip(places, paths))]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    booleans = {f"pooling_mode_{mode}": mode == "mean_tokens" for mode in ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens", "lasttoken")}
    pooling = {"word_embedding_dimension": hidden, **booleans} if old else {"embedding_dimension": hidden, "pooling_mode": "mean"}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling | {"include_prompt": True}))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 8192, "do_lower_case": False}))
    if prompts is not None:
        settings = {"prompts": dict(prompts), "default_prompt_name": None, "similarity_fn_name": "cosine"}
        (folder / "config_sentence_transformers.json").write_text(json.dumps(settings))


def _write(
    folder: Path,
    config: Mapping[str, Any],
    weights: Weights,
    made: Tokenizer,
    tokenizer_config: Mapping[str, Any],
    *,
    shards: int,
    dtype: Stored,
    keep: frozenset[str] = frozenset(),
) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    made.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer_config))
    marks = {key: value for key, value in tokenizer_config.items() if key.endswith("_token") and isinstance(value, str)}
    (folder / "special_tokens_map.json").write_text(json.dumps(marks))
    write_weights(folder, weights, shards=shards, dtype=dtype, keep=keep)
    return folder
