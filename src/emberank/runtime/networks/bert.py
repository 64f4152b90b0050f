"""BERT: token ids in, last hidden states (tokens, hidden) out, over the operations of ops.py.

Formulas and tensor names: Devlin et al. 2019 and transformers `models/bert/modeling_bert.py`. Post-norm layers, learned
positions, exact GELU. Does not know pooling or scores: those are heads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from emberank.contract.errors import UnknownArchitecture, WeightsCorrupt
from emberank.runtime.networks.ops import Ops, Weights

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bert:
    """The numbers of one BERT, from its config.json."""

    hidden: int
    layers: int
    heads: int
    intermediate: int
    vocabulary: int
    positions: int
    types: int
    eps: float

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Bert:
        """Read Hugging Face's keys; raises UnknownArchitecture for a variant this network does not compute."""
        act = config.get("hidden_act", "gelu")
        if act != "gelu":
            raise UnknownArchitecture(f"config.json: hidden_act {act!r} is not supported for BERT; known: 'gelu'")
        kind = config.get("position_embedding_type", "absolute")
        if kind != "absolute":
            raise UnknownArchitecture(f"config.json: position_embedding_type {kind!r} is not supported; known: 'absolute'")
        try:
            network = cls(
                hidden=int(config["hidden_size"]),
                layers=int(config["num_hidden_layers"]),
                heads=int(config["num_attention_heads"]),
                intermediate=int(config["intermediate_size"]),
                vocabulary=int(config["vocab_size"]),
                positions=int(config["max_position_embeddings"]),
                types=int(config.get("type_vocab_size", 2)),
                eps=float(config.get("layer_norm_eps", 1e-12)),
            )
        except KeyError as cause:
            raise WeightsCorrupt(f"config.json lacks {cause.args[0]!r}, which a BERT checkpoint must have") from cause
        except (TypeError, ValueError) as cause:
            raise WeightsCorrupt(f"config.json: {cause}") from cause
        if network.heads < 1 or network.hidden % network.heads:
            raise WeightsCorrupt(f"config.json: hidden_size {network.hidden} is not a multiple of num_attention_heads {network.heads}")
        return network

    @property
    def max_positions(self) -> int:
        """The longest sequence the position table covers, in tokens."""
        return self.positions

    def forward(self, ops: Ops[T]) -> T:
        """Last hidden states (tokens, hidden) of the packed batch that `ops` holds."""
        x = ops.add(
            ops.add(ops.embedding(ops.tokens(), "embeddings.word_embeddings.weight"), ops.embedding(ops.positions(), "embeddings.position_embeddings.weight")),
            ops.embedding(ops.types(), "embeddings.token_type_embeddings.weight"),
        )
        x = ops.layer_norm(x, "embeddings.LayerNorm", self.eps)
        for i in range(self.layers):
            x = self._layer(ops, x, f"encoder.layer.{i}")
        return x

    def _layer(self, ops: Ops[T], x: T, at: str) -> T:
        q, k, v = (ops.linear(x, f"{at}.attention.self.{part}") for part in ("query", "key", "value"))
        a = ops.linear(ops.attention(q, k, v, self.heads), f"{at}.attention.output.dense")
        x = ops.layer_norm(ops.add(x, a), f"{at}.attention.output.LayerNorm", self.eps)
        f = ops.linear(ops.gelu(ops.linear(x, f"{at}.intermediate.dense")), f"{at}.output.dense")
        return ops.layer_norm(ops.add(x, f), f"{at}.output.LayerNorm", self.eps)

    def check(self, weights: Weights) -> None:
        """Raises WeightsCorrupt when a tensor has not the shape that config.json promises."""
        h, i = self.hidden, self.intermediate
        shapes: dict[str, tuple[int, ...]] = {
            "embeddings.word_embeddings.weight": (self.vocabulary, h),
            "embeddings.position_embeddings.weight": (self.positions, h),
            "embeddings.token_type_embeddings.weight": (self.types, h),
            "embeddings.LayerNorm.weight": (h,),
        }
        for n in range(self.layers):
            at = f"encoder.layer.{n}"
            shapes |= {f"{at}.attention.self.{part}.weight": (h, h) for part in ("query", "key", "value")}
            shapes |= {f"{at}.attention.output.dense.weight": (h, h), f"{at}.intermediate.dense.weight": (i, h), f"{at}.output.dense.weight": (h, i)}
        for name, shape in shapes.items():
            found = weights.get(name).shape
            if found != shape:
                raise WeightsCorrupt(f"tensor {name!r} has shape {list(found)}, config.json says {list(shape)}")
