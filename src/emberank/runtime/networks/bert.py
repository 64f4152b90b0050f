"""BERT and XLM-RoBERTa: token ids in, last hidden states (tokens, hidden) out, over the operations of ops.py.

Formulas and tensor names: Devlin et al. 2019, Conneau et al. 2020 and transformers `models/bert/modeling_bert.py` and
`models/xlm_roberta/modeling_xlm_roberta.py`. Post-norm layers, learned positions, exact GELU. RoBERTa's kin count positions from the
padding token's id + 1 on and have one token type. Does not know pooling or scores: those are heads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from emberank.contract.errors import WeightsCorrupt
from emberank.runtime.networks import reading
from emberank.runtime.networks.network import number, real
from emberank.runtime.networks.ops import Ops

T = TypeVar("T")

_ROBERTA = ("roberta", "xlm-roberta")  # model_types whose tables of positions begin with rows that no token uses


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
    position_first: int = 0  # row of the first token's position; those before it are for padding

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Bert:
        """Read Hugging Face's keys; raises UnknownArchitecture for a variant this network does not compute."""
        reading.refuse_quantized(config)
        reading.choice(config, "hidden_act", ("gelu",), "gelu", network="BERT")
        reading.choice(config, "position_embedding_type", ("absolute",), "absolute", network="BERT")
        hidden, heads = number(config, "hidden_size"), number(config, "num_attention_heads")
        if hidden % heads:
            raise WeightsCorrupt(f"config.json: hidden_size {hidden} is not a multiple of num_attention_heads {heads}")
        network = cls(
            hidden=hidden,
            layers=reading.layers(config),
            heads=heads,
            intermediate=number(config, "intermediate_size"),
            vocabulary=number(config, "vocab_size"),
            positions=number(config, "max_position_embeddings"),
            types=number(config, "type_vocab_size", 2),
            eps=real(config, "layer_norm_eps", 1e-12),
            position_first=_position_first(config),
        )
        if network.positions <= network.position_first:
            raise WeightsCorrupt(f"config.json: max_position_embeddings {network.positions} leaves no position for a token after pad_token_id")
        return network

    @property
    def max_positions(self) -> int:
        """The longest sequence the position table covers, in tokens."""
        return self.positions - self.position_first

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
        """By arithmetic 2·h + i numbers a token against h a key; see backlog.py for what was measured."""
        return 2 * self.hidden + self.intermediate

    def forward(self, ops: Ops[T]) -> T:
        """Last hidden states (tokens, hidden) of the packed batch that `ops` holds."""
        x = ops.add(
            ops.add(
                ops.embedding(ops.tokens(), "embeddings.word_embeddings.weight"),
                ops.embedding(ops.positions(self.position_first), "embeddings.position_embeddings.weight"),
            ),
            ops.embedding(ops.types(), "embeddings.token_type_embeddings.weight"),
        )
        x = ops.layer_norm(x, "embeddings.LayerNorm", self.eps)
        for i in range(self.layers):
            x = self._layer(ops, x, f"encoder.layer.{i}")
        return x

    def _layer(self, ops: Ops[T], x: T, at: str) -> T:
        q, k, v = ops.linears(x, [f"{at}.attention.self.{part}" for part in ("query", "key", "value")])
        a = ops.linear(ops.attention(q, k, v, self.heads), f"{at}.attention.output.dense")
        x = ops.layer_norm(ops.add(x, a), f"{at}.attention.output.LayerNorm", self.eps)
        f = ops.linear(ops.gelu(ops.linear(x, f"{at}.intermediate.dense")), f"{at}.output.dense")
        return ops.layer_norm(ops.add(x, f), f"{at}.output.LayerNorm", self.eps)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Every tensor `forward` reads."""
        h, i = self.hidden, self.intermediate
        shapes: dict[str, tuple[int, ...]] = {
            "embeddings.word_embeddings.weight": (self.vocabulary, h),
            "embeddings.position_embeddings.weight": (self.positions, h),
            "embeddings.token_type_embeddings.weight": (self.types, h),
        }
        linears = {f"attention.self.{part}": (h, h) for part in ("query", "key", "value")}
        linears |= {"attention.output.dense": (h, h), "intermediate.dense": (i, h), "output.dense": (h, i)}
        norms = ["embeddings.LayerNorm"]
        for n in range(self.layers):
            at = f"encoder.layer.{n}"
            for name, shape in linears.items():
                shapes |= {f"{at}.{name}.weight": shape, f"{at}.{name}.bias": shape[:1]}
            norms += [f"{at}.attention.output.LayerNorm", f"{at}.output.LayerNorm"]
        for norm in norms:
            shapes |= {f"{norm}.weight": (h,), f"{norm}.bias": (h,)}
        return shapes


def _position_first(config: Mapping[str, Any]) -> int:
    # transformers' create_position_ids_from_input_ids: padding keeps its own id's row, the first token has the row after it.
    return number(config, "pad_token_id", 1, least=0) + 1 if config.get("model_type") in _ROBERTA else 0
