"""Hidden states in, a vector or a logit out, and vectors into the types a caller may ask for. Knows no network and no engine.

All arithmetic is float32 on hidden states that an engine hands over as float32, whatever it computed in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from emberank.contract.inference import EmbeddingType

Floats = NDArray[np.float32]
Pooling = Literal["mean", "cls", "max", "mean_sqrt_len", "last"]


def pool(hidden: Floats, how: Pooling) -> Floats:
    """(tokens, hidden) → (hidden,), special tokens included as sentence-transformers does (`Pooling` module)."""
    if how == "cls":
        return hidden[0].copy()
    if how == "last":
        return hidden[-1].copy()
    if how == "max":
        return hidden.max(0)
    total: Floats = hidden.sum(0, dtype=np.float32)
    return total / np.float32(len(hidden) if how == "mean" else np.sqrt(len(hidden)))


def unit(x: Floats) -> Floats:
    """x / ‖x‖ over the last axis; a zero vector stays zero."""
    norm = np.sqrt(np.einsum("...i,...i->...", x, x))[..., None]
    return x / np.maximum(norm, np.float32(1e-12))


@dataclass(frozen=True, slots=True)
class CrossEncoder:
    """BERT's sequence-classification head with one label: classifier · tanh(pooler · h_[CLS]).

    Source: transformers `BertForSequenceClassification`. Answers the raw logit, no sigmoid.
    """

    pooler_weight: Floats  # (hidden, hidden)
    pooler_bias: Floats  # (hidden,)
    weight: Floats  # (1, hidden)
    bias: Floats  # (1,)

    def score(self, hidden: Floats) -> float:
        """(tokens, hidden) of one pair → its logit."""
        pooled = np.tanh(self.pooler_weight @ hidden[0] + self.pooler_bias)
        return float((self.weight @ pooled + self.bias)[0])


def quantise(vectors: Floats, kind: EmbeddingType) -> NDArray[np.generic]:
    """Unit vectors (n, d) float32 → the type asked for.

    int8:    round(127 · x), −127 … 127.                 uint8: int8 + 128, 1 … 255.
    ubinary: bit x > 0, eight to a byte, first dimension in the highest bit (numpy.packbits) → (n, ⌈d/8⌉) uint8.
    binary:  ubinary − 128 as int8, as sentence-transformers' `quantize_embeddings` and the Cohere API define it.
    The scale of int8 is fixed (a unit vector's entries lie in −1 … 1), so that vectors of different calls compare.
    """
    if kind == "float":
        return vectors
    if kind in ("int8", "uint8"):
        steps = np.clip(np.rint(vectors * 127.0), -127, 127)
        return steps.astype(np.int8) if kind == "int8" else (steps + 128).astype(np.uint8)
    packed = np.packbits(vectors > 0, axis=-1)
    return packed if kind == "ubinary" else (packed.astype(np.int16) - 128).astype(np.int8)
