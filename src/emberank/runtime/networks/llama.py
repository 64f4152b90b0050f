"""Llama and its kin: token ids in, last hidden states (tokens, hidden) out, over the operations of ops.py.

One network for three families: NVIDIA's bidirectional Llama (`llama_bidirec`: every token sees every other), the same with image
states among its token embeddings, and the causal Qwen 3 (a norm for each head of queries and keys).
Formulas and tensor names: transformers `models/llama/modeling_llama.py` and `models/qwen3/modeling_qwen3.py`. Pre-norm layers,
RMS norms, rotary positions, grouped keys, SiLU gates. Does not know prompts, pooling or scores.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from emberank.contract.errors import UnknownArchitecture, WeightsCorrupt
from emberank.runtime.networks import reading, rope
from emberank.runtime.networks.network import number, real
from emberank.runtime.networks.ops import Ops

T = TypeVar("T")

_PER_HEAD_NORMS = {"llama_bidirec": False, "llama": False, "qwen3": True}  # by model_type: those that are computed here


@dataclass(frozen=True, slots=True, kw_only=True)
class Llama:
    """The numbers of one network, from its config.json."""

    hidden: int
    layers: int
    heads: int
    kv_heads: int  # each is read by heads / kv_heads heads of queries
    head_dim: int
    intermediate: int
    vocabulary: int  # rows of the token table; a tokenizer may know more tokens than that
    positions: int
    eps: float
    frequencies: rope.Frequencies
    causal: bool = False
    head_norms: bool = False
    attention_bias: bool = False
    mlp_bias: bool = False
    features: int = 0  # width of the image states that may stand among the token embeddings: `hidden` or 0

    @classmethod
    def from_config(cls, config: Mapping[str, Any], *, features: int = 0) -> Llama:
        """Read Hugging Face's keys in either dialect; raises UnknownArchitecture for a variant that is not computed here, WeightsCorrupt.

        `features` is `hidden_size` for the language model of a vision model. Attention is causal by `is_causal`, else by `model_type`.
        """
        kind = reading.choice(config, "model_type", tuple(_PER_HEAD_NORMS), network="Llama")
        reading.refuse_quantized(config)
        reading.choice(config, "hidden_act", ("silu",), "silu", network="Llama")
        _refuse_windows(config)
        hidden, heads = number(config, "hidden_size"), number(config, "num_attention_heads")
        kv_heads = heads if config.get("num_key_value_heads") is None else number(config, "num_key_value_heads")
        if heads % kv_heads:
            raise WeightsCorrupt(f"config.json: num_attention_heads {heads} is not a multiple of num_key_value_heads {kv_heads}")
        head_dim = _head_dim(config, hidden, heads)
        if features not in (0, hidden):
            raise WeightsCorrupt(f"config.json: image states of width {features} cannot stand among token embeddings of width {hidden}")
        return cls(
            hidden=hidden,
            layers=reading.layers(config),
            heads=heads,
            kv_heads=kv_heads,
            head_dim=head_dim,
            intermediate=number(config, "intermediate_size"),
            vocabulary=number(config, "vocab_size"),
            positions=number(config, "max_position_embeddings"),
            eps=real(config, "rms_norm_eps", 1e-6),
            frequencies=rope.from_config(config, head_dim),
            causal=reading.flag(config, "is_causal", default=kind != "llama_bidirec"),
            head_norms=_PER_HEAD_NORMS[kind],
            attention_bias=reading.flag(config, "attention_bias"),
            mlp_bias=reading.flag(config, "mlp_bias"),
            features=features,
        )

    @property
    def max_positions(self) -> int:
        """The longest sequence that config.json promises, in tokens; there is no table that would end."""
        return self.positions

    @property
    def feature_width(self) -> int:
        """Width of image states; 0 when it reads text only."""
        return self.features

    @property
    def merged(self) -> int:
        """Every token has its state."""
        return 1

    @property
    def attention_tokens(self) -> int:
        """A layer's products for one token (its linear layers) over those for one key (q·k and ·v, heads · head_dim each)."""
        wide, narrow = self.heads * self.head_dim, self.kv_heads * self.head_dim
        linears = self.hidden * (2 * wide + 2 * narrow + 3 * self.intermediate)
        return max(1, linears // (2 * wide))

    def forward(self, ops: Ops[T]) -> T:
        """Last hidden states (tokens, hidden) of the packed batch that `ops` holds, after the final norm."""
        frequencies = np.array(self.frequencies)
        x = ops.embedding(ops.tokens(), "embed_tokens.weight")
        if self.features:
            x = ops.insert_features(x)
        for i in range(self.layers):
            at = f"layers.{i}"
            x = ops.add(x, self._attention(ops, ops.rms_norm(x, f"{at}.input_layernorm", self.eps), f"{at}.self_attn", frequencies))
            x = ops.add(x, self._mlp(ops, ops.rms_norm(x, f"{at}.post_attention_layernorm", self.eps), f"{at}.mlp"))
        return ops.rms_norm(x, "norm", self.eps)

    def _attention(self, ops: Ops[T], x: T, at: str, frequencies: NDArray[np.float64]) -> T:
        q, k, v = ops.linears(x, [f"{at}.{part}_proj" for part in "qkv"])  # (tokens, heads · head_dim), twice (tokens, kv_heads · head_dim)
        if self.head_norms:
            q = ops.rms_norm(q, f"{at}.q_norm", self.eps, self.heads)
            k = ops.rms_norm(k, f"{at}.k_norm", self.eps, self.kv_heads)
        q, k = ops.rope(q, self.heads, frequencies), ops.rope(k, self.kv_heads, frequencies)
        return ops.linear(ops.attention(q, k, v, self.heads, self.kv_heads, causal=self.causal), f"{at}.o_proj")

    def _mlp(self, ops: Ops[T], x: T, at: str) -> T:
        gate, up = ops.linears(x, [f"{at}.gate_proj", f"{at}.up_proj"])
        return ops.linear(ops.multiply(ops.silu(gate), up), f"{at}.down_proj")

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Every tensor `forward` reads."""
        h, i, wide, narrow = self.hidden, self.intermediate, self.heads * self.head_dim, self.kv_heads * self.head_dim
        attention = {"q_proj": (wide, h), "k_proj": (narrow, h), "v_proj": (narrow, h), "o_proj": (h, wide)}
        mlp = {"gate_proj": (i, h), "up_proj": (i, h), "down_proj": (h, i)}
        shapes: dict[str, tuple[int, ...]] = {"embed_tokens.weight": (self.vocabulary, h), "norm.weight": (h,)}
        for n in range(self.layers):
            at = f"layers.{n}"
            for part, linears, biased in (("self_attn", attention, self.attention_bias), ("mlp", mlp, self.mlp_bias)):
                for name, shape in linears.items():
                    shapes[f"{at}.{part}.{name}.weight"] = shape
                    if biased:
                        shapes[f"{at}.{part}.{name}.bias"] = shape[:1]
            shapes |= {f"{at}.{norm}.weight": (h,) for norm in ("input_layernorm", "post_attention_layernorm")}
            if self.head_norms:
                shapes |= {f"{at}.self_attn.{part}_norm.weight": (self.head_dim,) for part in "qk"}
        return shapes


def _head_dim(config: Mapping[str, Any], hidden: int, heads: int) -> int:
    if config.get("head_dim") is not None:
        return number(config, "head_dim")
    if hidden % heads:
        raise WeightsCorrupt(f"config.json: hidden_size {hidden} is not a multiple of num_attention_heads {heads}, and head_dim is not given")
    return hidden // heads


def _refuse_windows(config: Mapping[str, Any]) -> None:
    """Qwen 3 may let its upper layers look back only so far; no published reranker does, and it is not computed here."""
    kinds = config.get("layer_types") or ()
    windowed = any(kind != "full_attention" for kind in kinds) if isinstance(kinds, list | tuple) else True
    if windowed or (reading.flag(config, "use_sliding_window") and config.get("sliding_window") is not None):
        raise UnknownArchitecture("config.json: sliding windows (use_sliding_window, layer_types) are not supported for Llama; every layer must see all tokens")
