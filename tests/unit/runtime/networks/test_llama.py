"""Llama's numbers from a config.json in either dialect, its tensors, and what is refused. What it computes is held against transformers elsewhere."""

from __future__ import annotations

from typing import Any

import pytest

from emberank.contract.errors import UnknownArchitecture, WeightsCorrupt
from emberank.runtime.networks.llama import Llama
from emberank.runtime.networks.network import parameters
from family_configs import in_dialect, llama_config, qwen3_config
from family_tokenizers import tokenizer_llama3_like, tokenizer_qwen3_like

SMALL = llama_config(tokenizer_llama3_like())
QWEN = qwen3_config(tokenizer_qwen3_like())

# What llama-3.2-nv-embedqa-1b-v2's config.json says.
LLAMA_1B = SMALL | {
    "vocab_size": 128256,
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "num_hidden_layers": 16,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 64,
}


def test_the_published_1b_has_as_many_numbers_as_its_file() -> None:
    network = Llama.from_config(LLAMA_1B)
    assert parameters(network) == 1_235_814_400
    assert network.hidden == 2048
    assert network.max_positions == 131072
    assert network.attention_tokens == 14848  # 60.8 million products a token and layer, 4096 a key


@pytest.mark.parametrize("config", [SMALL, QWEN], ids=["llama_bidirec", "qwen3"])
def test_both_dialects_of_config_json_give_the_same_network(config: dict[str, Any]) -> None:
    assert Llama.from_config(in_dialect(config, "v5", "BF16")) == Llama.from_config(in_dialect(config, "old", "BF16"))


@pytest.mark.parametrize(
    ("change", "causal"),
    [
        ({}, False),
        ({"is_causal": True}, True),
        ({"is_causal": None}, False),
        ({"model_type": "llama"}, True),
        ({"model_type": "llama", "is_causal": False}, False),
        ({"model_type": "qwen3"}, True),
    ],
    ids=str,
)
def test_attention_is_causal_by_the_family_unless_the_config_says_otherwise(change: dict[str, Any], causal: bool) -> None:
    assert Llama.from_config(SMALL | change).causal is causal


def test_what_a_config_leaves_out_is_as_transformers_has_it() -> None:
    left_out = ("num_key_value_heads", "head_dim", "rms_norm_eps", "attention_bias", "mlp_bias", "hidden_act", "rope_scaling", "rope_theta")
    network = Llama.from_config({key: value for key, value in SMALL.items() if key not in left_out})
    assert (network.kv_heads, network.head_dim, network.eps) == (4, 16, 1e-6)
    assert not network.attention_bias
    assert not network.mlp_bias
    assert network.frequencies[1] == pytest.approx(10000 ** (-1 / 8))


def test_a_head_may_be_wider_than_its_share_of_the_hidden_states() -> None:
    shapes = Llama.from_config(QWEN).shapes()
    assert shapes["layers.0.self_attn.q_proj.weight"] == (4 * 32, 64)
    assert shapes["layers.0.self_attn.k_proj.weight"] == (2 * 32, 64)
    assert shapes["layers.0.self_attn.o_proj.weight"] == (64, 4 * 32)
    assert shapes["layers.1.self_attn.k_norm.weight"] == (32,)


def test_only_qwen3_has_a_norm_for_each_head() -> None:
    assert not [name for name in Llama.from_config(SMALL).shapes() if "q_norm" in name]


def test_biases_are_expected_where_the_config_has_them() -> None:
    shapes = Llama.from_config(SMALL | {"attention_bias": True, "mlp_bias": True}).shapes()
    assert shapes["layers.1.self_attn.o_proj.bias"] == (64,)
    assert shapes["layers.1.mlp.gate_proj.bias"] == (128,)
    assert not [name for name in Llama.from_config(SMALL).shapes() if name.endswith("bias")]


def test_image_states_are_as_wide_as_token_embeddings() -> None:
    assert Llama.from_config(SMALL).feature_width == 0
    assert Llama.from_config(SMALL, features=64).feature_width == 64
    with pytest.raises(WeightsCorrupt, match="width 32 cannot stand among token embeddings of width 64"):
        Llama.from_config(SMALL, features=32)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"model_type": "ministral3"}, "model_type 'ministral3' is not supported for Llama; known: 'llama_bidirec', 'llama', 'qwen3'"),
        ({"hidden_act": "gelu"}, "hidden_act 'gelu' is not supported for Llama; known: 'silu'"),
        ({"rope_scaling": {"rope_type": "yarn"}}, "'yarn'"),
        ({"use_sliding_window": True, "sliding_window": 4096}, "sliding windows"),
        ({"layer_types": ["full_attention", "sliding_attention"]}, "sliding windows"),
        ({"quantization_config": {"quant_method": "modelopt", "quant_algo": "FP8"}}, r"quantization_config \(quant_method 'modelopt', quant_algo 'FP8'\)"),
        ({"quantization_config": ["int4"]}, "of an unnamed method"),
    ],
    ids=str,
)
def test_a_variant_that_is_not_computed_here_is_refused(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(UnknownArchitecture, match=reason):
        Llama.from_config(SMALL | change)


def test_a_window_that_is_switched_off_is_none() -> None:
    network = Llama.from_config(
        QWEN | {"use_sliding_window": False, "sliding_window": 4096, "layer_types": ["full_attention"] * 2, "quantization_config": None}
    )
    assert network == Llama.from_config(QWEN)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"num_key_value_heads": 3}, "num_attention_heads 4 is not a multiple of num_key_value_heads 3"),
        ({"head_dim": 15}, "even size of the heads"),
        ({"head_dim": None, "num_attention_heads": 6}, "hidden_size 64 is not a multiple of num_attention_heads 6"),
        ({"rms_norm_eps": 0}, "rms_norm_eps must be a number above 0"),
        ({"num_hidden_layers": 10**6}, "num_hidden_layers 1000000 is more than any network has"),
        ({"attention_bias": "no"}, "attention_bias must be true or false, not 'no'"),
        ({"is_causal": 1}, "is_causal must be true or false, not 1"),
        ({"vocab_size": 0}, "vocab_size must be a whole number from 1 on, not 0"),
    ],
    ids=str,
)
def test_numbers_that_cannot_be_are_refused(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(WeightsCorrupt, match=reason):
        Llama.from_config(SMALL | change)


@pytest.mark.parametrize("key", ["hidden_size", "num_attention_heads", "num_hidden_layers", "intermediate_size", "vocab_size", "max_position_embeddings"])
def test_a_number_that_is_missing_is_named(key: str) -> None:
    with pytest.raises(WeightsCorrupt, match=f"config.json lacks '{key}'"):
        Llama.from_config({name: value for name, value in SMALL.items() if name != key})
