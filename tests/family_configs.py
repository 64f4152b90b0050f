"""A tokenizer in, the config.json of a model family out: every key of the published file, with small numbers.

Two dialects: what transformers wrote up to version 4, and what it writes since 5.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from tokenizers import Tokenizer

from family_weights import Stored

Dialect = Literal["old", "v5"]

# With heads of 16 and θ 500000 the wavelengths are 6, 32, 167 … positions: one is kept, one lies between, the others are divided.
LLAMA3_SCALING = {"rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 64}


def llama_config(made: Tokenizer) -> dict[str, Any]:
    """The keys of llama-3.2-nv-embedqa-1b-v2's config.json with small numbers."""
    return {
        "model_type": "llama_bidirec",
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": made.token_to_id("<|begin_of_text|>"),
        "eos_token_id": made.token_to_id("<|end_of_text|>"),
        "head_dim": 16,
        "hidden_act": "silu",
        "hidden_size": 64,
        "initializer_range": 0.02,
        "intermediate_size": 128,
        "max_position_embeddings": 131072,
        "mlp_bias": False,
        "num_attention_heads": 4,
        "num_hidden_layers": 2,
        "num_key_value_heads": 2,
        "pooling": "avg",
        "pretraining_tp": 1,
        "rms_norm_eps": 1e-5,
        "rope_scaling": dict(LLAMA3_SCALING),
        "rope_theta": 500000.0,
        "tie_word_embeddings": True,
        "transformers_version": "4.44.2",
        "use_cache": True,
        "vocab_size": made.get_vocab_size(),
    }


def siglip_config() -> dict[str, Any]:
    """The `vision_config` of a vision model: 16 patches, which become 4 tokens."""
    return {
        "architectures": ["SiglipVisionModel"],
        "model_type": "siglip_vision_model",
        "attention_dropout": 0.0,
        "hidden_act": "gelu_pytorch_tanh",
        "hidden_size": 32,
        "image_size": 32,
        "intermediate_size": 64,
        "layer_norm_eps": 1e-6,
        "num_attention_heads": 2,
        "num_channels": 3,
        "num_hidden_layers": 2,
        "patch_size": 8,
    }


def vl_config(made: Tokenizer, architecture: str, vision: Mapping[str, Any], ranks: bool, temperature: float) -> dict[str, Any]:
    """Of llama-nemotron-embed-vl-1b-v2 or, when it `ranks`, llama-nemotron-rerank-vl-1b-v2; the nested configurations are still to be put in."""
    at = "llama_nemotron_vl"
    numbers: dict[str, Any] = {
        "architectures": [architecture],
        "auto_map": {"AutoConfig": f"configuration_{at}.LlamaNemotronVLConfig", "AutoModel": f"modeling_{at}.{architecture}"},
        "model_type": "llama_nemotron_vl_rerank" if ranks else "llama_nemotron_vl",
        "bidirectional_attention": True,
        "downsample_ratio": 0.5,
        "dynamic_image_size": True,
        "force_image_size": vision["image_size"],
        "img_context_token_id": made.token_to_id("<IMG_CONTEXT>"),
        "keep_aspect_ratio": False,
        "max_input_tiles": 4 if ranks else 2,
        "p_max_length": 10240 if ranks else 4096,
        "passage_prefix": "passage:",
        "pooling": "avg",
        "ps_version": "v2",
        "q_max_length": 512,
        "query_prefix": "query:",
        "select_layer": -1,
        "template": "bidirectional-llama-retriever",
        "use_thumbnail": True,
        "vocab_size": made.get_vocab_size(),
    }
    if ranks:
        numbers |= {"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}, "prompt_template": "v1", "temperature": temperature}
    return numbers


def processor_config(vision: Mapping[str, Any], ranks: bool) -> dict[str, Any]:
    """processor_config.json of a vision model."""
    lengths = {"rerank_max_length": 10240} if ranks else {"p_max_length": 10240, "q_max_length": 512}
    prompt = {"prompt_template": "v1"} if ranks else {}
    return {
        "processor_class": "LlamaNemotronVLRerankProcessor" if ranks else "LlamaNemotronVLProcessor",
        "dynamic_image_size": True,
        "image_size": vision["image_size"],
        "max_input_tiles": 6,
        "norm_type": "siglip",
        "num_channels": 3,
        "num_image_token": (vision["image_size"] // vision["patch_size"]) ** 2 // 4,
        "passage_prefix": "passage:",
        "query_prefix": "query:",
        "template": "bidirectional-llama-retriever",
        "use_thumbnail": True,
        **lengths,
        **prompt,
    }


def modernbert_config(made: Tokenizer, layers: int, pooling: str, dialect: Dialect) -> dict[str, Any]:
    """Of gte-reranker-modernbert-base; the new dialect lists the kind of each layer, and has RoPE by kind."""
    numbers: dict[str, Any] = {
        "architectures": ["ModernBertForSequenceClassification"],
        "model_type": "modernbert",
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": made.token_to_id("[CLS]"),
        "classifier_activation": "gelu",
        "classifier_bias": False,
        "classifier_dropout": 0.0,
        "classifier_pooling": pooling,
        "cls_token_id": made.token_to_id("[CLS]"),
        "decoder_bias": True,
        "deterministic_flash_attn": False,
        "embedding_dropout": 0.0,
        "eos_token_id": made.token_to_id("[SEP]"),
        "global_attn_every_n_layers": 3,
        "global_rope_theta": 160000.0,
        "hidden_activation": "gelu",
        "hidden_size": 64,
        "id2label": {"0": "LABEL_0"},
        "initializer_cutoff_factor": 2.0,
        "initializer_range": 0.02,
        "intermediate_size": 96,
        "label2id": {"LABEL_0": 0},
        "layer_norm_eps": 1e-5,
        "local_attention": 128,
        "local_rope_theta": 10000.0,
        "max_position_embeddings": 8192,
        "mlp_bias": False,
        "mlp_dropout": 0.0,
        "norm_bias": False,
        "norm_eps": 1e-5,
        "num_attention_heads": 4,
        "num_hidden_layers": layers,
        "pad_token_id": made.token_to_id("[PAD]"),
        "position_embedding_type": "absolute",
        "sep_token_id": made.token_to_id("[SEP]"),
        "torch_dtype": "float32",
        "transformers_version": "4.48.0",
        "vocab_size": made.get_vocab_size(),
    }
    if dialect == "v5":
        local, every = numbers.pop("local_rope_theta"), numbers.pop("global_attn_every_n_layers")
        numbers["layer_types"] = ["sliding_attention" if i % every else "full_attention" for i in range(layers)]
        thetas = {"full_attention": numbers.pop("global_rope_theta"), "sliding_attention": local}
        numbers["rope_parameters"] = {kind: {"rope_theta": theta, "rope_type": "default"} for kind, theta in thetas.items()}
        numbers["dtype"] = numbers.pop("torch_dtype")
    return numbers


def xlm_config(made: Tokenizer) -> dict[str, Any]:
    """Of bge-reranker-v2-m3."""
    return {
        "architectures": ["XLMRobertaForSequenceClassification"],
        "model_type": "xlm-roberta",
        "attention_probs_dropout_prob": 0.1,
        "bos_token_id": 0,
        "classifier_dropout": None,
        "eos_token_id": 2,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "hidden_size": 64,
        "id2label": {"0": "LABEL_0"},
        "initializer_range": 0.02,
        "intermediate_size": 128,
        "label2id": {"LABEL_0": 0},
        "layer_norm_eps": 1e-5,
        "max_position_embeddings": 514,
        "num_attention_heads": 4,
        "num_hidden_layers": 2,
        "output_past": True,
        "pad_token_id": 1,
        "position_embedding_type": "absolute",
        "torch_dtype": "float32",
        "transformers_version": "4.38.1",
        "type_vocab_size": 1,
        "use_cache": True,
        "vocab_size": made.get_vocab_size(),
    }


def qwen3_config(made: Tokenizer) -> dict[str, Any]:
    """Of Qwen3-Reranker-0.6B."""
    return {
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": made.token_to_id("<|endoftext|>"),
        "eos_token_id": made.token_to_id("<|im_end|>"),
        "head_dim": 32,  # more than hidden / heads, as the real one's 128
        "hidden_act": "silu",
        "hidden_size": 64,
        "initializer_range": 0.02,
        "intermediate_size": 128,
        "max_position_embeddings": 40960,
        "max_window_layers": 2,
        "num_attention_heads": 4,
        "num_hidden_layers": 2,
        "num_key_value_heads": 2,
        "rms_norm_eps": 1e-6,
        "rope_scaling": None,
        "rope_theta": 1e6,
        "sliding_window": None,
        "tie_word_embeddings": True,
        "transformers_version": "4.51.3",
        "use_cache": True,
        "use_sliding_window": False,
        "vocab_size": made.get_vocab_size(),
    }


def in_dialect(config: Mapping[str, Any], dialect: Dialect, dtype: Stored) -> dict[str, Any]:
    """A config.json in the old dialect as it stands, or with RoPE in one object and the shorter word for the type of weights."""
    word = "bfloat16" if dtype == "BF16" else "float32"
    if dialect == "old":
        return {**config, "torch_dtype": word}
    made = {key: value for key, value in config.items() if key not in ("rope_theta", "rope_scaling")}
    rope = {"rope_theta": config["rope_theta"], **(config["rope_scaling"] or {"rope_type": "default"})}
    return made | {"rope_parameters": rope, "dtype": word, "transformers_version": "5.0.0"}
