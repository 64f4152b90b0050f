"""ModernBERT: token ids in, last hidden states (tokens, hidden) out, over the operations of ops.py.

Formulas and tensor names: Warner et al. 2024 and transformers `models/modernbert/modeling_modernbert.py`. Pre-norm layers (the first
has no norm before its attention), norms mostly without bias, one matrix for queries, keys and values and one for both halves of a gated
GELU, rotary positions. Most layers are local: a token sees those up to `window` away; the others are global, with slower rotations.
Does not know pooling or scores: those are heads.
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

_GLOBAL, _LOCAL = "full_attention", "sliding_attention"  # transformers' words for the kinds of layers
_THETAS = {_GLOBAL: ("global_rope_theta", 160000.0), _LOCAL: ("local_rope_theta", 10000.0)}  # old key, default


@dataclass(frozen=True, slots=True, kw_only=True)
class ModernBert:
    """The numbers of one ModernBERT, from its config.json."""

    hidden: int
    heads: int
    intermediate: int
    vocabulary: int
    positions: int
    eps: float
    local: tuple[bool, ...]  # of each layer: whether it sees only its window
    window: int  # the farthest key a local layer sees, in tokens to either side
    global_frequencies: rope.Frequencies
    local_frequencies: rope.Frequencies
    norm_bias: bool = False
    attention_bias: bool = False
    mlp_bias: bool = False

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> ModernBert:
        """Read Hugging Face's keys in either dialect; raises UnknownArchitecture for a variant that is not computed here, WeightsCorrupt."""
        reading.refuse_quantized(config)
        reading.choice(config, "hidden_activation", ("gelu",), "gelu", network="ModernBERT")
        hidden, heads = number(config, "hidden_size"), number(config, "num_attention_heads")
        if hidden % heads:
            raise WeightsCorrupt(f"config.json: hidden_size {hidden} is not a multiple of num_attention_heads {heads}")
        frequencies = {kind: _frequencies(config, kind, hidden // heads) for kind in _THETAS}
        return cls(
            hidden=hidden,
            heads=heads,
            intermediate=number(config, "intermediate_size"),
            vocabulary=number(config, "vocab_size"),
            positions=number(config, "max_position_embeddings", 8192),
            eps=real(config, "norm_eps", 1e-5),
            local=_local(config),
            window=number(config, "local_attention", 128) // 2,  # the key counts both sides
            global_frequencies=frequencies[_GLOBAL],
            local_frequencies=frequencies[_LOCAL],
            norm_bias=reading.flag(config, "norm_bias"),
            attention_bias=reading.flag(config, "attention_bias"),
            mlp_bias=reading.flag(config, "mlp_bias"),
        )

    @property
    def max_positions(self) -> int:
        """The longest sequence that config.json promises, in tokens; there is no table that would end."""
        return self.positions

    @property
    def feature_width(self) -> int:
        """None."""
        return 0

    @property
    def merged(self) -> int:
        """Every token has its state."""
        return 1

    @property
    def attention_tokens(self) -> int:
        """4h² + 3hi products a token against 2h a key; engines may compute a local layer's far keys and mask them, so these count too."""
        return (4 * self.hidden + 3 * self.intermediate) // 2

    def forward(self, ops: Ops[T]) -> T:
        """Last hidden states (tokens, hidden) of the packed batch that `ops` holds, after the final norm."""
        slow, fast = np.array(self.global_frequencies), np.array(self.local_frequencies)
        x = ops.layer_norm(ops.embedding(ops.tokens(), "embeddings.tok_embeddings.weight"), "embeddings.norm", self.eps)
        for i, local in enumerate(self.local):
            at = f"layers.{i}"
            before = ops.layer_norm(x, f"{at}.attn_norm", self.eps) if i else x
            x = ops.add(x, self._attention(ops, before, f"{at}.attn", fast if local else slow, self.window if local else None))
            x = ops.add(x, self._mlp(ops, ops.layer_norm(x, f"{at}.mlp_norm", self.eps), f"{at}.mlp"))
        return ops.layer_norm(x, "final_norm", self.eps)

    def _attention(self, ops: Ops[T], x: T, at: str, frequencies: NDArray[np.float64], window: int | None) -> T:
        q, k, v = ops.split(ops.linear(x, f"{at}.Wqkv"), 3)
        q, k = ops.rope(q, self.heads, frequencies), ops.rope(k, self.heads, frequencies)
        return ops.linear(ops.attention(q, k, v, self.heads, window=window), f"{at}.Wo")

    def _mlp(self, ops: Ops[T], x: T, at: str) -> T:
        first, gate = ops.split(ops.linear(x, f"{at}.Wi"), 2)
        return ops.linear(ops.multiply(ops.gelu(first), gate), f"{at}.Wo")

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Every tensor `forward` reads."""
        h, i = self.hidden, self.intermediate
        linears = [("attn.Wqkv", (3 * h, h), self.attention_bias), ("attn.Wo", (h, h), self.attention_bias)]
        linears += [("mlp.Wi", (2 * i, h), self.mlp_bias), ("mlp.Wo", (h, i), self.mlp_bias)]
        shapes: dict[str, tuple[int, ...]] = {"embeddings.tok_embeddings.weight": (self.vocabulary, h)}
        norms = ["embeddings.norm", "final_norm"]
        for n in range(len(self.local)):
            for name, shape, biased in linears:
                shapes[f"layers.{n}.{name}.weight"] = shape
                if biased:
                    shapes[f"layers.{n}.{name}.bias"] = shape[:1]
            norms += [f"layers.{n}.attn_norm"] if n else []
            norms.append(f"layers.{n}.mlp_norm")
        for norm in norms:
            shapes[f"{norm}.weight"] = (h,)
            if self.norm_bias:
                shapes[f"{norm}.bias"] = (h,)
        return shapes


def _local(config: Mapping[str, Any]) -> tuple[bool, ...]:
    """Of each layer whether it is local: listed since transformers 5, before that every n-th was global."""
    count, kinds = reading.layers(config), config.get("layer_types")
    if kinds is None:
        every = number(config, "global_attn_every_n_layers", 3)
        return tuple(bool(i % every) for i in range(count))
    if not isinstance(kinds, list) or len(kinds) != count:
        raise WeightsCorrupt(f"config.json: layer_types must be a list with a word for each of the {count} layers")
    unknown = [kind for kind in kinds if kind not in (_GLOBAL, _LOCAL)]
    if unknown:
        raise UnknownArchitecture(f"config.json: layer_types {unknown[0]!r} is not supported for ModernBERT; known: {_GLOBAL!r}, {_LOCAL!r}")
    return tuple(kind == _LOCAL for kind in kinds)


def _frequencies(config: Mapping[str, Any], kind: str, head_dim: int) -> rope.Frequencies:
    """The rotary frequencies of one kind of layer: nested in `rope_parameters`, or by an old key of its own."""
    if config.get("rope_scaling"):
        raise UnknownArchitecture("config.json: rope_scaling is not supported for ModernBERT")
    key, default = _THETAS[kind]
    theta = default if config.get(key) is None else real(config, key)
    if kind == _LOCAL and key in config and config[key] is None:  # null in an old file says: as the global layers
        theta = real(config, *_THETAS[_GLOBAL])
    nested = config.get("rope_parameters") or {}
    if not isinstance(nested, Mapping) or not isinstance(nested.get(kind) or {}, Mapping):
        raise WeightsCorrupt(f"config.json: rope_parameters must hold an object for {kind!r}")
    if nested and not nested.keys() <= _THETAS.keys():
        raise UnknownArchitecture(f"config.json: rope_parameters of ModernBERT must be given by kind of layer ({_GLOBAL!r}, {_LOCAL!r})")
    return rope.of_kind(nested.get(kind) or {}, head_dim, theta=theta)
