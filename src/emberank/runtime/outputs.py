"""Pooled vectors in, embeddings as the caller asked for them out: cut, then length one, then the type. Knows no model and no wire.

The order is the one Matryoshka training assumes (NVIDIA Export-Deploy, `embedding_adapter.py`: the first d components, then L2):
a vector normalised before it is cut would be shorter than one. All arithmetic is float32.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from emberank.contract.errors import BadRequest, ServerFault
from emberank.contract.inference import EMBEDDING_TYPES, EmbeddingType
from emberank.runtime.heads import Floats, unit

STEPS = 127  # int8 codes of 0 … 1; a constant, so that a vector has the same code in every call and codes of different calls compare


def finish(vectors: Floats, *, normalize: bool, dimensions: int | None, embedding_type: EmbeddingType) -> NDArray[np.generic]:
    """(n, hidden) as pooled → (n, d) float32, int8 or uint8, or (n, ⌈d/8⌉) int8 or uint8 of packed bits.

    `dimensions` d, from 1 to hidden, keeps the first d components; None keeps all. `normalize` says whether floats get the length one.
    Compressed types hold a vector's direction only: a model whose floats keep their own length (`normalize` False) is coded at
    length one too, because a fixed scale has no room for any length. A zero vector stays zero: its length is taken for 1e-12.
    Raises ServerFault for numbers that are not finite, which only a fault of ours or broken weights can make.
    """
    assert dimensions is None or 1 <= dimensions <= vectors.shape[1], "what a model does not have is refused by check_asked"
    cut = vectors if dimensions is None else vectors[:, :dimensions]
    if not np.isfinite(cut).all():
        raise ServerFault from FloatingPointError("the network gave a vector that holds NaN or an infinity")
    return quantise(unit(cut) if normalize or embedding_type != "float" else cut, embedding_type)


def check_logits(logits: Floats) -> None:
    """Raise ServerFault for a score that is NaN or infinite: it cannot be sorted, and JSON has no word for it."""
    if not np.isfinite(logits).all():
        raise ServerFault from FloatingPointError("the network gave a logit that is NaN or an infinity")


def quantise(vectors: Floats, kind: EmbeddingType) -> NDArray[np.generic]:
    """Unit vectors (n, d) float32 → the type asked for.

    int8:    round(127 · x), halves to even, −127 … 127.     uint8: int8 + 128, 1 … 255.
    ubinary: bit x > 0, eight to a byte, first dimension in the highest bit, zeros behind the last → (n, ⌈d/8⌉) uint8.
    binary:  ubinary − 128 as int8.
    The bits are sentence-transformers' (`quantize_embeddings`, 6.2). Its int8 spreads each dimension over the range it has in a
    calibration set, which a server has not; NVIDIA does not publish its own.
    """
    if kind == "float":
        return vectors
    if kind in ("int8", "uint8"):
        steps = np.clip(np.rint(vectors * np.float32(STEPS)), -STEPS, STEPS)
        return steps.astype(np.int8) if kind == "int8" else (steps + 128).astype(np.uint8)
    packed = np.packbits(vectors > 0, axis=-1)
    return packed if kind == "ubinary" else (packed.astype(np.int16) - 128).astype(np.int8)


def check_asked(
    model: str,
    *,
    dimensions: int | None,
    embedding_type: EmbeddingType,
    supported_dimensions: Collection[int],
    supported_types: Collection[EmbeddingType] = EMBEDDING_TYPES,
) -> None:
    """Raise BadRequest, listing what there is, where `model` has no embeddings of that length or type."""
    if dimensions is not None and dimensions not in supported_dimensions:
        listed = ", ".join(str(length) for length in supported_dimensions)
        raise BadRequest(f"dimensions {dimensions} is not supported by model '{model}'; supported: {listed}")
    if embedding_type not in supported_types:
        listed = ", ".join(f"'{kind}'" for kind in supported_types)
        raise BadRequest(f"embedding_type '{embedding_type}' is not supported by model '{model}'; supported: {listed}")
