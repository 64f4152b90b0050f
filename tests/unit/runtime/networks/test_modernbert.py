"""ModernBERT's numbers from a config.json in either dialect, its tensors, and what is refused. What it computes is held against transformers elsewhere."""

from __future__ import annotations

from typing import Any

import pytest

from emberank.contract.errors import UnknownArchitecture, WeightsCorrupt
from emberank.runtime.networks.modernbert import ModernBert
from emberank.runtime.networks.network import parameters
from emberank.runtime.networks.rope import plain
from family_configs import modernbert_config
from family_tokenizers import tokenizer_modernbert_like

OLD, NEW = (modernbert_config(tokenizer_modernbert_like(), 5, "mean", dialect) for dialect in ("old", "v5"))


def without(config: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in config.items() if key not in keys}


def test_both_dialects_of_config_json_give_the_same_network() -> None:
    network = ModernBert.from_config(OLD)
    assert ModernBert.from_config(NEW) == network
    assert network.local == (False, True, True, False, True)
    assert network.window == 64
    assert network.global_frequencies == tuple(plain(16, 160000.0))
    assert network.local_frequencies == tuple(plain(16, 10000.0))


def test_what_a_config_leaves_out_is_as_transformers_has_it() -> None:
    keys = ("norm_eps", "local_attention", "global_attn_every_n_layers", "global_rope_theta", "local_rope_theta", "norm_bias", "hidden_activation")
    assert ModernBert.from_config(without(OLD, *keys, "attention_bias", "mlp_bias")) == ModernBert.from_config(OLD)
    assert ModernBert.from_config(without(NEW, "rope_parameters")) == ModernBert.from_config(OLD)


def test_a_local_base_of_null_is_the_global_one() -> None:
    network = ModernBert.from_config(OLD | {"local_rope_theta": None})
    assert network.local_frequencies == network.global_frequencies


def test_the_published_size_is_known_by_its_number_of_numbers() -> None:
    base = OLD | {"hidden_size": 768, "num_hidden_layers": 22, "num_attention_heads": 12, "intermediate_size": 1152, "vocab_size": 50368}
    assert parameters(ModernBert.from_config(base)) == 149_014_272  # ModernBERT-base without a head


def test_the_first_layer_has_no_norm_before_its_attention() -> None:
    shapes = ModernBert.from_config(OLD).shapes()
    assert "layers.0.attn_norm.weight" not in shapes
    assert shapes["layers.1.attn_norm.weight"] == (64,)
    assert shapes["layers.0.attn.Wqkv.weight"] == (192, 64)
    assert shapes["layers.0.mlp.Wi.weight"] == (192, 64)
    assert not [name for name in shapes if name.endswith("bias")]


def test_biases_are_expected_where_the_config_has_them() -> None:
    shapes = ModernBert.from_config(OLD | {"norm_bias": True, "attention_bias": True, "mlp_bias": True}).shapes()
    assert {"embeddings.norm.bias", "final_norm.bias", "layers.4.attn_norm.bias", "layers.0.attn.Wqkv.bias", "layers.0.mlp.Wo.bias"} <= shapes.keys()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"hidden_activation": "silu"}, "hidden_activation 'silu' is not supported for ModernBERT; known: 'gelu'"),
        ({"layer_types": ["full_attention"] * 4 + ["chunked_attention"]}, "layer_types 'chunked_attention' is not supported"),
        ({"layer_types": ["full_attention"] * 4 + [{}]}, "layer_types {} is not supported"),
        ({"rope_scaling": {"rope_type": "linear", "factor": 2.0}}, "rope_scaling is not supported for ModernBERT"),
        ({"rope_parameters": {"rope_type": "default", "rope_theta": 1e4}}, "by kind of layer"),
        ({"rope_parameters": {"full_attention": {"rope_type": "yarn"}}}, "'yarn'"),
        ({"quantization_config": {"quant_method": "gptq"}}, "quant_method 'gptq'"),
    ],
    ids=str,
)
def test_a_variant_that_is_not_computed_here_is_refused(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(UnknownArchitecture, match=reason):
        ModernBert.from_config(OLD | change)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"num_attention_heads": 5}, "hidden_size 64 is not a multiple of num_attention_heads 5"),
        ({"layer_types": ["full_attention"]}, "a word for each of the 5 layers"),
        ({"rope_parameters": {"full_attention": 3}}, "rope_parameters must hold an object for 'full_attention'"),
        ({"local_attention": -1}, "local_attention must be a whole number"),
    ],
    ids=str,
)
def test_numbers_that_cannot_be_are_refused(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(WeightsCorrupt, match=reason):
        ModernBert.from_config(OLD | change)
