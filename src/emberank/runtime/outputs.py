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
from emberank.dialects.vectors import Floats, unit
from emberank.dialects.vectors import quantise as quantise  # the codes' formulas; a gateway codes by them too


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
